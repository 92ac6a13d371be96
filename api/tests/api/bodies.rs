//! Bodies: size on the wire and inflated, codings, encodings, admission.

use std::io::Write as _;

use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::support::{Service, event, padded, read_answer, read_to_end};

const VALIDATE: &str = "/api/v1/events/t/validate";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &[u8]) -> Vec<u8> {
    zstd::encode_all(text, 1).unwrap()
}

#[tokio::test]
async fn a_client_that_sends_a_body_whole_before_it_reads_learns_that_it_is_too_large() {
    let service = Service::start().await;
    for bytes in [(10 << 20) + (1 << 19), 50 << 20] {
        let mut socket = service.connect().await;
        let head = format!(
            "POST {VALIDATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b' '; 1 << 20];
        for at in (0..bytes).step_by(piece.len()) {
            let piece = &piece[..piece.len().min(bytes - at)];
            socket.write_all(piece).await.unwrap_or_else(|error| panic!("{error} after {at} of {bytes} bytes"));
        }
        let answer = read_to_end(&mut socket).await;
        assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("body_too_large"), "{bytes}: {answer}");
    }
    service.assert_alive().await;
}

#[tokio::test]
async fn wire_limit_by_content_length_and_in_chunks() {
    let service = Service::start_with(|s| s.settings.limits.body_bytes = 1_000).await;
    for (bytes, status) in [(999, 200), (1_000, 200), (1_001, 413)] {
        let body = padded(&event("e"), bytes);
        let answer = service.post(VALIDATE, body.clone()).await;
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text);
        if status == 413 {
            answer.problem(413, "body_too_large");
        }
        let (first, second) = body.split_at(400);
        let chunked = format!(
            "POST {VALIDATE} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
            first.len(),
            second.len()
        );
        let answer = service.raw(chunked).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes} in chunks: {answer}");
    }
}

#[tokio::test]
async fn the_wire_limit_is_decided_before_the_body_is_asked_for() {
    let service = Service::start().await;
    let head =
        "POST /api/v1/events/t HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n";
    let mut socket = service.connect().await;
    socket.write_all(format!("{head}Content-Length: 99999999\r\n\r\n").as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "no 100 Continue: {answer}");
    let mut socket = service.connect().await;
    let body = event("e").to_string();
    socket.write_all(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes()).await.unwrap();
    assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 100"));
    socket.write_all(body.as_bytes()).await.unwrap();
    assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_answer_is_seen_although_the_client_is_still_sending() {
    let service = Service::start_with(|s| s.settings.limits.body_bytes = 1_000).await;
    let body = "x".repeat(900 << 10);
    let answer = service
        .raw(format!(
            "POST {VALIDATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[tokio::test]
async fn inflated_limit() {
    let service = Service::start_with(|s| s.settings.limits.inflated_bytes = 1_000).await;
    for (name, encode) in [("gzip", gzip as fn(&[u8]) -> Vec<u8>), ("zstd", zstd)] {
        for (bytes, status) in [(999, 200), (1_000, 200), (1_001, 413)] {
            let body = encode(padded(&event("e"), bytes).as_bytes());
            let headers = [("content-type", "application/json"), ("content-encoding", name)];
            let answer = service.send("POST", VALIDATE, &headers, body).await;
            assert_eq!(answer.status, status, "{name} {bytes}: {}", answer.text);
            if status == 413 {
                answer.problem(413, "inflated_too_large");
            }
        }
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A gzip stream of 2 GiB of zeros in 2 MiB: one flushed megabyte, over and over.
fn gzip_bomb() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    encoder.flush().unwrap();
    let start = encoder.get_ref().len();
    encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    encoder.flush().unwrap();
    let mut bomb = encoder.get_ref().clone();
    let megabyte = bomb[start..].to_vec();
    for _ in 0..2_046 {
        bomb.extend_from_slice(&megabyte);
    }
    bomb
}

fn zstd_bomb() -> Vec<u8> {
    let megabyte = zstd(&vec![b' '; 1 << 20]);
    megabyte.repeat(2_048)
}

#[tokio::test]
async fn bombs_are_refused_while_they_inflate() {
    let service = Service::start().await;
    let bombs = [("gzip", gzip_bomb()), ("zstd", zstd_bomb())];
    service.assert_alive().await;
    let before = resident_kib();
    for (name, bomb) in bombs {
        let headers = [("content-type", "application/json"), ("content-encoding", name)];
        service.send("POST", "/api/v1/events/t", &headers, bomb).await.problem(413, "inflated_too_large");
    }
    let grown = resident_kib() - before;
    assert!(grown < 96 << 10, "the process grew by {grown} KiB over two bombs of 2 GiB");
    service.assert_alive().await;
}

#[tokio::test]
async fn codings() {
    let service = Service::start().await;
    let body = event("e").to_string();
    let json = ("content-type", "application/json");
    for (headers, bytes, status, code) in [
        (vec![("content-encoding", "gzip")], gzip(body.as_bytes()), 200, ""),
        (vec![("content-encoding", "GZIP")], gzip(body.as_bytes()), 200, ""),
        (vec![("content-encoding", "zstd")], zstd(body.as_bytes()), 200, ""),
        (vec![("content-encoding", "identity")], body.clone().into_bytes(), 200, ""),
        (vec![("content-encoding", "br")], body.clone().into_bytes(), 415, "unsupported_encoding"),
        (vec![("content-encoding", "gzip, gzip")], gzip(&gzip(body.as_bytes())), 415, "unsupported_encoding"),
        (
            vec![("content-encoding", "gzip"), ("content-encoding", "gzip")],
            gzip(&gzip(body.as_bytes())),
            415,
            "unsupported_encoding",
        ),
        (vec![("content-encoding", "gzip")], body.clone().into_bytes(), 400, "bad_encoding"),
        (vec![("content-encoding", "zstd")], body.clone().into_bytes(), 400, "bad_encoding"),
        (vec![("content-encoding", "gzip")], cut(gzip(body.as_bytes())), 400, "bad_encoding"),
        (vec![("content-encoding", "zstd")], cut(zstd(body.as_bytes())), 400, "bad_encoding"),
        (vec![("content-encoding", "gzip")], [gzip(body.as_bytes()), gzip(b" ")].concat(), 400, "bad_encoding"),
        (vec![], b"{\"event_id\":\"\xff\"}".to_vec(), 400, "bad_encoding"),
    ] {
        let mut all = vec![json];
        all.extend(&headers);
        let answer = service.send("POST", VALIDATE, &all, bytes).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
        if status != 200 {
            answer.problem(status, code);
        }
    }
}

fn cut(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 3);
    bytes
}

#[tokio::test]
async fn types() {
    let service = Service::start().await;
    for (headers, status, code) in [
        (vec![("content-type", "application/json; charset=utf-8")], 200, ""),
        (vec![], 415, "unsupported_media_type"),
        (vec![("content-type", "text/plain")], 415, "unsupported_media_type"),
        (vec![("content-type", "application/json; charset=utf-16")], 415, "unsupported_media_type"),
        (vec![("content-type", "application/json"), ("accept", "text/html")], 406, "not_acceptable"),
    ] {
        let answer = service.send("POST", VALIDATE, &headers, event("e").to_string()).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text);
        if status != 200 {
            answer.problem(status, code);
        }
        if status == 415 {
            assert_eq!(answer.header("accept-post"), "application/json");
        }
    }
}

/// Opens a request whose body never comes.
async fn held(service: &Service, length: usize) -> tokio::net::TcpStream {
    let mut socket = service.connect().await;
    let head = format!(
        "POST {VALIDATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n\
         Content-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // The service asks for the body only once it was admitted.
    assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 100"));
    socket
}

#[tokio::test]
async fn requests_in_admission_are_bounded() {
    let service = Service::start_with(|s| s.settings.limits.admission_requests = 3).await;
    let body = event("e").to_string();
    let mut sockets = Vec::new();
    for _ in 0..2 {
        sockets.push(held(&service, body.len()).await);
    }
    assert_eq!(service.post(VALIDATE, body.clone()).await.status, 200, "the third has room");
    sockets.push(held(&service, body.len()).await);
    let answer = service.post(VALIDATE, body.clone()).await;
    answer.problem(503, "queue_full");
    assert_eq!(answer.header("retry-after"), "1");
    for mut socket in sockets {
        socket.write_all(body.as_bytes()).await.unwrap();
        assert!(read_answer(&mut socket).await.starts_with("HTTP/1.1 200"), "what was admitted is served");
    }
    assert_eq!(service.post(VALIDATE, body).await.status, 200);
}

#[tokio::test]
async fn bytes_in_admission_are_bounded() {
    let service = Service::start_with(|s| s.settings.limits.admission_bytes = 200_000).await;
    let socket = held(&service, 199_000).await;
    for (bytes, status) in [(999, 200), (1_000, 200), (1_001, 503)] {
        let answer = service.post(VALIDATE, padded(&event("e"), bytes)).await;
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text);
    }
    // Of unknown size: a step of 64 KiB is more than the rest.
    let answer = service
        .raw(format!(
            "POST {VALIDATE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("forebay_inflight_bytes 199000"), "{metrics}");
    drop(socket);
}

#[tokio::test]
async fn an_empty_body_is_no_json() {
    let service = Service::start().await;
    let body = service.post(VALIDATE, "").await.problem(400, "malformed_json");
    assert_eq!(body["errors"][0]["loc"], json!(["body"]));
    assert_eq!(body["errors"][0]["type"], "json_invalid");
}
