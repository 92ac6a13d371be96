//! The document over HTTP: what it says, its versions, and the page that shows it.

use std::{fs, path::Path, time::Duration};

use forebay_broker::{Log, TopicSpec};
use serde_json::{Value, json};

use crate::support::{PATIENCE, Service, settings};

/// The static part as it is checked in. `FOREBAY_RENEW=1 cargo test -p forebay-api checked_in` writes it anew.
#[test]
fn the_document_is_the_one_checked_in() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let text = format!("{:#}\n", forebay_api::openapi::document());
    if std::env::var_os("FOREBAY_RENEW").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    let difference = checked_in.lines().zip(text.lines()).find(|(old, new)| old != new);
    assert!(
        checked_in == text,
        "docs/openapi.json is not what the routes say, first in {difference:?}. Look at the change, then write it anew: \
         FOREBAY_RENEW=1 cargo test -p forebay-api checked_in"
    );
}

#[test]
fn every_operation_says_what_it_is_and_how_it_can_fail() {
    let document = forebay_api::openapi::document();
    assert_eq!(document["openapi"], "3.1.0");
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for member in ["summary", "operationId"] {
                assert!(operation[member].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {member}");
            }
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{method} {path}");
            let responses = &operation["responses"];
            for status in ["400", "414", "431", "500", "503"] {
                assert!(responses[status].is_object(), "{method} {path}: {status}");
            }
        }
    }
}

/// `Allow` lists what is served; the document must list the same.
#[tokio::test]
async fn methods_are_those_that_are_served() {
    let service = Service::start().await;
    for (path, item) in forebay_api::openapi::document()["paths"].as_object().unwrap() {
        let answer = service.send("TRACE", &path.replace(['{', '}'], ""), &[], "").await;
        assert_eq!(answer.status, 405, "{path}");
        let mut served: Vec<String> =
            answer.header("allow").split(',').filter(|m| *m != "HEAD").map(str::to_lowercase).collect();
        let mut documented: Vec<String> = item.as_object().unwrap().keys().cloned().collect();
        served.sort();
        documented.sort();
        assert_eq!(served, documented, "{path}");
    }
}

async fn document(service: &Service) -> (String, Value) {
    let answer = service.get("/openapi.json").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    (answer.header("etag").to_owned(), answer.json())
}

/// The document, once it is another one than that of `etag`.
async fn changed(service: &Service, etag: &str) -> Value {
    let wait = async {
        loop {
            let (now, document) = document(service).await;
            if now != etag {
                return document;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the document stays as it was")
}

const ORDER: &str =
    r#"{"type":"record","name":"Order","fields":[{"name":"amount","type":"double","doc":"In euros."}]}"#;

#[tokio::test]
async fn a_document_at_hand_is_not_sent_again() {
    let service = Service::start().await;
    let (etag, _) = document(&service).await;
    assert!(etag.starts_with('"') && etag.len() > 20, "strong: {etag}");
    for (given, status) in [(&*etag, 304), (&format!("\"x\", {etag}"), 304), ("*", 304), ("\"x\"", 200)] {
        let answer = service.send("GET", "/openapi.json", &[("if-none-match", given)], "").await;
        assert_eq!((answer.status, answer.header("etag")), (status, &*etag), "{given}");
        assert_eq!((answer.text.is_empty(), answer.header("cache-control")), (status == 304, "no-cache"));
    }
    service.get("/openapi.json?topics=x").await.problem(422, "request_validation_failed");
    service.send("GET", "/openapi.json", &[("accept", "text/html")], "").await.problem(406, "not_acceptable");
}

#[tokio::test]
async fn it_follows_topics_and_schemas() {
    let service = Service::start().await;
    let (etag, first) = document(&service).await;
    assert_eq!(first["paths"].get("/api/v1/events/orders"), None);

    service.post("/api/v1/topics", r#"{"name":"orders"}"#).await;
    let second = changed(&service, &etag).await;
    let operation = &second["paths"]["/api/v1/events/orders"]["post"];
    assert!(operation["description"].as_str().unwrap().contains("default envelope"), "{operation}");

    let (etag, _) = document(&service).await;
    let body = json!({ "schema": ORDER }).to_string();
    assert_eq!(service.post("/api/v1/schemas/orders-value/versions", body).await.status, 201);
    let third = changed(&service, &etag).await;
    let schema = &third["components"]["schemas"]["topic.orders"]["properties"]["payload"];
    assert_eq!(schema["properties"]["amount"]["description"], "In euros.");
    assert_eq!(schema["required"], json!(["amount"]));
}

/// Topics of every shape, and names that are hard: each example passes `validate`.
#[tokio::test]
async fn every_example_passes() {
    let service = Service::start_with(|setup| {
        setup.settings = settings(json!({
            "keyed": {"key": "/payload/region/code", "key_required": true},
            "made": {"generate": ["event_id", "timestamp"], "unknown_fields": "ignore"},
            "typed-keyed": {"key": ["/payload/tailnum"], "key_required": true},
        }));
    })
    .await;
    let long = "x".repeat(249);
    let flight = r#"{"type":"record","name":"n.F","fields":[
        {"name":"tailnum","type":["null","string"],"default":null},
        {"name":"fare","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
        {"name":"cabin","type":{"type":"enum","name":"Cabin","symbols":["Y","C"]}},
        {"name":"legs","type":{"type":"array","items":{"type":"record","name":"Leg","fields":[
            {"name":"left","type":{"type":"long","logicalType":"timestamp-millis"}},
            {"name":"next","type":["null","Leg"],"default":null}]}}}]}"#;
    let typed = format!(
        r#"{{"type":"record","name":"E","fields":[{{"name":"event_id","type":"string"}},{{"name":"event_type","type":"string"}},
            {{"name":"timestamp","type":"long"}},{{"name":"payload","type":{flight}}}]}}"#
    );
    let topics = ["keyed", "made", "plain", "a.b", "a_b", "A_b", "typed-keyed", &long];
    for (topic, schema) in
        [("plain", flight), ("a.b", &typed), ("a_b", ORDER), ("typed-keyed", &typed), (&long, flight)]
    {
        let body = json!({ "schema": schema }).to_string();
        let answer = service.post(&format!("/api/v1/schemas/{topic}-value/versions"), body).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }
    for topic in topics {
        let spec = TopicSpec { name: topic.to_owned(), partitions: 1, config: Default::default() };
        // The configured ones are there already.
        let _ = service.log.create_topic(&spec).await;
    }
    let (_, document) = document(&service).await;
    for topic in topics {
        let path = format!("/api/v1/events/{topic}");
        let content = &document["paths"][&path]["post"]["requestBody"]["content"]["application/json"];
        assert!(content["example"].is_object(), "{topic}");
        let answer = service.post(&format!("{path}/validate"), content["example"].to_string()).await;
        assert_eq!(
            (answer.status, answer.text.as_str()),
            (200, r#"{"valid":true}"#),
            "{topic}: {}",
            content["example"]
        );
        let alone = service.get(&format!("/openapi.json?topic={topic}")).await.json();
        assert_eq!(alone["paths"][&path], document["paths"][&path]);
    }
    service.get("/openapi.json?topic=events.dlq").await.problem(403, "forbidden");
    service.get("/openapi.json?topic=nope").await.problem(404, "unknown_topic");
}

#[tokio::test]
async fn as_many_topics_as_fit_and_those_of_the_configuration_first() {
    let service = Service::start_with(|setup| setup.settings = settings(json!({"zz": {}}))).await;
    for i in 0..203 {
        let spec = TopicSpec { name: format!("t{i:03}"), partitions: 1, config: Default::default() };
        service.log.create_topic(&spec).await.unwrap();
    }
    let (_, document) = document(&service).await;
    let typed =
        document["paths"].as_object().unwrap().keys().filter(|path| path.starts_with("/api/v1/events/t")).count();
    assert_eq!(typed, 199);
    assert!(document["paths"]["/api/v1/events/zz"].is_object());
    assert!(document["info"]["description"].as_str().unwrap().contains("4 more topics"));
    let one = service.get("/openapi.json?topic=t202").await.json();
    assert!(one["paths"]["/api/v1/events/t202"].is_object());
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let service = Service::start().await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().unwrap();
    let redirect = client.get(format!("http://{}/docs", service.address)).send().await.unwrap();
    assert_eq!((redirect.status().as_u16(), redirect.headers()["location"].as_bytes()), (308, &b"docs/"[..]));

    let page = service.get("/docs/").await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html"));
    assert!(page.header("content-security-policy").starts_with("default-src 'self';"));
    assert!(!page.text.contains("http://") && !page.text.contains("https://"), "{}", page.text);
    for part in page.text.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        let file = service.get(&format!("/docs/{}", part.trim_start_matches("./"))).await;
        assert_eq!(file.status, 200, "{part}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
    }
    let start = service.get("/docs/swagger-initializer.js").await;
    assert!(start.text.contains("../openapi.json") && start.text.contains("SwaggerUIBundle("), "{}", start.text);
    service.get("/docs/nope.js").await.problem(404, "not_found");
    service.get("/docs/..%2Fopenapi.json").await.problem(404, "not_found");
}

#[tokio::test]
async fn the_page_can_be_left_out() {
    let service = Service::start_with(|setup| setup.settings.docs = false).await;
    for path in ["/docs", "/docs/", "/docs/index.html"] {
        let answer = service.send_unchecked("GET", path).await;
        answer.problem(404, "not_found");
    }
    assert_eq!(service.get("/openapi.json").await.status, 200);
}
