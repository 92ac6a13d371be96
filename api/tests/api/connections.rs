//! Connections: time-outs, limits, framing, half-closed sockets.

use std::time::{Duration, Instant};

use tokio::{io::AsyncWriteExt, time::timeout};

use crate::support::{PATIENCE, Service, answers, event, read_answer, read_to_end};

const LIVE: &str = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";

#[tokio::test]
async fn a_silent_connection_is_closed_after_the_header_timeout() {
    let service = Service::start_with(|s| s.settings.limits.header_timeout = Duration::from_secs(1)).await;
    let began = Instant::now();
    assert_eq!(read_to_end(&mut service.connect().await).await, "");
    assert!(began.elapsed() >= Duration::from_millis(950), "{:?}", began.elapsed());
    service.assert_alive().await;
}

#[tokio::test]
async fn trickled_headers_buy_no_time() {
    let service = Service::start_with(|s| s.settings.limits.header_timeout = Duration::from_secs(1)).await;
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(service.connect().await);
    }
    let trickle = async {
        for byte in LIVE.bytes().cycle() {
            // Never an empty line: the headers do not end.
            let byte = if byte == b'\r' || byte == b'\n' { b'x' } else { byte };
            let mut open = 0;
            for socket in &mut sockets {
                open += usize::from(socket.write_all(&[byte]).await.is_ok());
            }
            if open == 0 {
                return;
            }
            service.assert_alive().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, trickle).await.expect("slow headers keep their connections");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout_and_ends_at_its_own() {
    let service = Service::start_with(|s| {
        s.settings.limits.header_timeout = Duration::from_secs(1);
        s.settings.limits.idle_timeout = Duration::from_secs(6);
    })
    .await;
    let mut socket = service.connect().await;
    for idle in [Duration::from_millis(1_500), Duration::ZERO] {
        socket.write_all(LIVE.as_bytes()).await.unwrap();
        assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 200"));
        tokio::time::sleep(idle).await;
    }
    // Not the 75 s that are the default.
    assert_eq!(read_to_end(&mut socket).await, "");
}

#[tokio::test]
async fn the_next_requests_headers_have_their_own_time() {
    let service = Service::start_with(|s| s.settings.limits.header_timeout = Duration::from_secs(1)).await;
    let mut socket = service.connect().await;
    socket.write_all(LIVE.as_bytes()).await.unwrap();
    read_answer(&mut socket).await;
    socket.write_all(b"GET /livez HT").await.unwrap();
    // Not the idle time-out of 75 s.
    assert_eq!(read_to_end(&mut socket).await, "");
}

#[tokio::test]
async fn a_slow_body_is_refused_in_time() {
    let service = Service::start_with(|s| s.settings.limits.body_timeout = Duration::from_millis(300)).await;
    let mut socket = service.connect().await;
    socket
        .write_all(b"POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        .await
        .unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("\"code\":\"body_timeout\""), "{answer}");
    service.assert_alive().await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_cut_off() {
    let service = Service::start_with(|s| s.settings.limits.body_timeout = Duration::from_millis(500)).await;
    let mut socket = service.connect().await;
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(1_000);
    let flood = async {
        // Nothing is read: the answers fill the buffers on both sides, and then the service waits for us.
        while socket.write_all(requests.as_bytes()).await.is_ok() {}
    };
    timeout(PATIENCE, flood).await.expect("the connection stays open");
    service.assert_alive().await;
}

#[tokio::test]
async fn a_client_that_has_said_all_gets_its_answer() {
    let service = Service::start().await;
    let mut socket = service.connect().await;
    let body = event("half-closed").to_string();
    let head = format!(
        "POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(service.records("t").await.len(), 1);
}

#[tokio::test]
async fn a_body_that_ends_early_produces_nothing() {
    let service = Service::start().await;
    let mut socket = service.connect().await;
    socket
        .write_all(b"POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{}")
        .await
        .unwrap();
    socket.shutdown().await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    service.assert_alive().await;
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let service = Service::start().await;
    let text = service
        .raw("GET /livez HTTP/1.1\r\nHost: x\r\n\r\nGET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await;
    let statuses: Vec<_> = text.match_indices("HTTP/1.1 ").map(|(i, m)| &text[i + m.len()..i + m.len() + 3]).collect();
    assert_eq!(statuses, ["200", "404", "200"]);
}

/// Each vector ends in bytes that a confused server would take for a second request.
#[tokio::test]
async fn one_request_is_never_answered_as_two() {
    let service = Service::start().await;
    let smuggled = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    let n = smuggled.len();
    let mut vectors = Vec::new();
    for te in [
        "Transfer-Encoding: chunked",
        "Transfer-Encoding: Chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding:\tchunked",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
        "X: y\r\n Transfer-Encoding: chunked",
        "Transfer-Encoding:\r\n chunked",
    ] {
        for cl in ["Content-Length: 6", "Content-Length: 0", "Content-Length: 3"] {
            vectors.push(format!("{post}{cl}\r\n{te}\r\n\r\n0\r\n\r\n{smuggled}"));
            vectors.push(format!("{post}{te}\r\n{cl}\r\n\r\n0\r\n\r\n{smuggled}"));
        }
    }
    for cl in [
        format!("Content-Length: 0\r\nContent-Length: {n}"),
        format!("Content-Length: {n}\r\nContent-Length: 0"),
        format!("Content-Length: {n}\r\nContent-Length: {n}"),
        format!("Content-Length: {n}, 0"),
        format!("Content-Length: +{n}"),
        "Content-Length: -1".to_owned(),
        "Content-Length: 0x10".to_owned(),
        "Content-Length: 99999999999999999999999".to_owned(),
        format!("Content-Length : {n}"),
        format!("Content-Length:\r\n {n}"),
        format!("X: y\r\n Content-Length: {n}"),
    ] {
        vectors.push(format!("{post}{cl}\r\n\r\n{smuggled}"));
    }
    for chunk in ["fffffffffffffffff\r\n", "-1\r\n", "0x5\r\n", "5;\r\n", "zz\r\n", "\r\n", "ffffffffffffffff\r\n"] {
        vectors.push(format!("{post}Transfer-Encoding: chunked\r\n\r\n{chunk}{smuggled}"));
    }
    assert!(vectors.len() >= 60, "{}", vectors.len());
    for vector in vectors {
        let mut socket = service.connect().await;
        let _ = socket.write_all(vector.as_bytes()).await;
        let _ = socket.shutdown().await;
        let text = read_to_end(&mut socket).await;
        let stored_or_ok = text.matches("HTTP/1.1 200").count();
        assert!(answers(&text) <= 1 && stored_or_ok == 0, "{vector:?} was answered as {text:?}");
    }
    service.assert_alive().await;
}

#[tokio::test]
async fn host_is_wanted_once() {
    let service = Service::start().await;
    for (request, code) in [
        ("GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", "400"),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", "400"),
        ("GET /livez HTTP/1.0\r\n\r\n", "200"),
    ] {
        let answer = service.raw(request).await;
        assert_eq!(&answer[9..12], code, "{request:?}: {answer}");
        assert!(code == "200" || answer.contains("\"code\":\"ambiguous_request\""), "{answer}");
    }
}

#[tokio::test]
async fn head_limits_are_answered_with_problems_where_the_request_can_be_read() {
    let service = Service::start().await;
    let headers = |n: usize| (0..n).map(|i| format!("x-{i}: v\r\n")).collect::<String>();
    for (name, request, status, ours) in [
        (
            "100 fields",
            format!("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", headers(98)),
            "200",
            false,
        ),
        (
            "101 fields",
            format!("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", headers(99)),
            "431",
            true,
        ),
        ("300 fields", format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", headers(299)), "431", false),
        (
            "40 KiB",
            format!("GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\na: {}\r\n\r\n", "v".repeat(40 << 10)),
            "431",
            true,
        ),
        ("100 KiB", format!("GET /livez HTTP/1.1\r\nHost: x\r\na: {}\r\n\r\n", "v".repeat(100 << 10)), "431", false),
        ("8 KiB", format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "p".repeat(8191)), "404", true),
        (
            "8 KiB and 1",
            format!("GET /{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "p".repeat(8192)),
            "414",
            true,
        ),
    ] {
        let answer = service.raw(request).await;
        assert_eq!(answer.get(9..12), Some(status), "{name}: {answer}");
        assert_eq!(answer.contains("application/problem+json"), ours, "{name}: {answer}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let service = Service::start_with(|s| s.settings.limits.connections = 2).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = service.connect().await;
        socket.write_all(LIVE.as_bytes()).await.unwrap();
        assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 200"));
        held.push(socket);
    }
    assert_eq!(service.raw(LIVE).await, "", "a third connection");
    assert_eq!(service.get_management("/livez").await.status, 200, "supervisors still get through");
    drop(held);
    let again = async {
        while service.raw(LIVE.replace("Host", "Connection: close\r\nHost")).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("room is never given back");
}
