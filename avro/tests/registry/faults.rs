//! Registries that are away, slow, wrong or hostile: each is "unavailable" in words that say what to do, and none is
//! taken for "there is no such schema".

use std::time::Duration;

use forebay_avro::registry::{Registry, RegistryError, Remote, config::RemoteSettings};
use serde_json::json;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::any};

use crate::support::*;

/// Why an id can't be had.
async fn reason(remote: &Remote) -> String {
    match remote.by_id(1).await {
        Err(RegistryError::Unavailable(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_wrong_answer_says_what_to_do() {
    let html = |status| ResponseTemplate::new(status).set_body_raw("<html>hello</html>", "text/html");
    let huge = format!("{{\"schema\":\"{}\"}}", "x".repeat(9 << 20));
    for (answer, says) in [
        (error(401, 401), "answered 401 (message 401): check registry.auth"),
        (html(401), "answered 401 (Unauthorized): check registry.auth"),
        (error(403, 40301), "answered 403 (message 40301): the user of registry.auth may not do this"),
        (html(404), "answered 404 (Not Found): that is no answer of a registry: check the path of registry.url"),
        (ResponseTemplate::new(404), "check the path of registry.url"),
        (error(404, 404), "answered 404 (message 404)"),
        (error(404, 40401), "answered 404"),
        (error(429, 42901), "answered 429"),
        (error(500, 50001), "answered 500 (message 50001)"),
        (html(502), "answered 502 (Bad Gateway)"),
        (html(200), "answered with text/html that is no JSON, as no registry does: check registry.url"),
        (ResponseTemplate::new(200), "no JSON"),
        (ResponseTemplate::new(200).set_body_raw("{\"schema\":", "application/json"), "no JSON"),
        (ok(&json!([1, 2])), "none of a schema registry"),
        (ok(&json!({})), "none of a schema registry"),
        (ok(&json!({"schema": 5})), "none of a schema registry"),
        (ResponseTemplate::new(200).set_body_raw(huge, "application/json"), "more than 8388608 bytes"),
        (
            ResponseTemplate::new(302).insert_header("location", "http://elsewhere/"),
            "answered 302 (go to http://elsewhere/): redirects are not followed: set registry.url",
        ),
    ] {
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(answer).mount(&server).await;
        let why = reason(&client(&server)).await;
        assert!(why.contains(says) && why.contains(&server.uri()), "{why}\nexpected: {says}");
    }
}

#[tokio::test]
async fn a_content_type_alone_decides_nothing() {
    let server = MockServer::start().await;
    let answer = ResponseTemplate::new(200).set_body_raw(json!({"schema": USER}).to_string(), "text/plain");
    get(&server, "/schemas/ids/1", answer).await;
    assert_eq!(client(&server).by_id(1).await.unwrap().schema.text(), USER);
}

#[tokio::test]
async fn what_is_no_avro_is_refused_for_good() {
    let server = MockServer::start().await;
    for (id, body, says) in [
        (1, json!({"schema": "syntax", "schemaType": "PROTOBUF"}), "it is Protobuf, not Avro"),
        (2, json!({"schema": "{"}), "at the schema's root: "),
        (3, json!({"schema": format!("\"int\"{}", " ".repeat(1 << 20))}), "over the limit of 1048576"),
    ] {
        get(&server, &format!("/schemas/ids/{id}"), ok(&body)).await;
        let error = client(&server).by_id(id).await.unwrap_err();
        assert!(matches!(&error, RegistryError::Invalid(why) if why.contains(says)), "{error}");
    }
}

#[tokio::test]
async fn a_slow_answer_ends_at_the_time_out() {
    let server = MockServer::start().await;
    get(&server, "/schemas/ids/1", ok(&json!({"schema": USER})).set_delay(Duration::from_secs(30))).await;
    let remote = Remote::open(&RemoteSettings { timeout: Duration::from_secs(1), ..settings(&server.uri()) }).unwrap();
    let why = reason(&remote).await;
    assert!(why.contains("gave no answer within registry.timeout_ms"), "{why}");
}

#[tokio::test]
async fn who_does_not_listen_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let why = reason(&Remote::open(&settings(&format!("http://{free}"))).unwrap()).await;
    assert!(why.contains(&format!("http://{free} takes no connection")) && why.contains("is it running"), "{why}");
    let why = reason(&Remote::open(&settings("http://no-such-host.invalid")).unwrap()).await;
    assert!(why.contains("no-such-host.invalid") && why.contains("registry.url"), "{why}");
}

#[tokio::test]
async fn https_at_a_plain_port_is_told() {
    let server = MockServer::start().await;
    let remote = Remote::open(&settings(&server.uri().replace("http:", "https:"))).unwrap();
    let why = reason(&remote).await;
    assert!(why.contains("takes no connection"), "{why}");
}

#[tokio::test]
async fn a_node_that_is_away_is_passed_over_and_the_one_that_answers_comes_first() {
    let (away, good) = (MockServer::start().await, MockServer::start().await);
    Mock::given(any()).respond_with(error(503, 50003)).mount(&away).await;
    for id in 1..=5 {
        get(&good, &format!("/schemas/ids/{id}"), ok(&json!({"schema": USER}))).await;
    }
    let remote = Remote::open(&settings(&format!("{},{}", away.uri(), good.uri()))).unwrap();
    for id in 1..=5 {
        remote.by_id(id).await.unwrap();
    }
    assert_eq!(away.received_requests().await.unwrap().len(), 1);
    good.reset().await;
    Mock::given(any()).respond_with(error(500, 50001)).mount(&good).await;
    let why = remote.by_id(6).await.unwrap_err().to_string();
    assert!(why.contains(&away.uri()) && why.contains(&good.uri()), "both are named: {why}");
}

#[tokio::test]
async fn a_node_that_says_no_is_believed() {
    let (first, second) = (MockServer::start().await, MockServer::start().await);
    for (at, answer) in [("/schemas/ids/1", error(404, 40403)), ("/schemas/ids/2", error(401, 401))] {
        get(&first, at, answer).await;
    }
    let remote = Remote::open(&settings(&format!("{},{}", first.uri(), second.uri()))).unwrap();
    assert!(matches!(remote.by_id(1).await, Err(RegistryError::UnknownId(1))));
    assert!(matches!(remote.by_id(2).await, Err(RegistryError::Unavailable(_))));
    assert!(second.received_requests().await.unwrap().is_empty());
}

#[test]
fn a_ca_file_must_hold_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.pem");
    let open = || {
        let settings = RemoteSettings { ca_file: Some(file.clone()), ..settings("https://r") };
        Remote::open(&settings).err().unwrap().to_string()
    };
    assert!(open().contains("registry.ca_file: "), "{}", open());
    std::fs::write(&file, "no certificate").unwrap();
    assert!(open().contains("it holds no PEM certificate"), "{}", open());
}
