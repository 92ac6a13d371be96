//! Publishing: one event, batches, dry runs, dead letters, addresses.

use forebay_avro::registry::Registry as _;
use forebay_broker::Log as _;
use serde_json::{Value, json};

use crate::support::{Service, event, settings};

const FLIGHT: &str = r#"{"type":"record","name":"Flight","fields":[
    {"name":"carrier","type":"string"},
    {"name":"status","type":{"type":"enum","name":"Status","symbols":["scheduled","departed","landed"]}},
    {"name":"origin","type":{"type":"record","name":"Place","fields":[
        {"name":"code","type":"string"},{"name":"gate","type":["null","int"],"default":null}]}}]}"#;

fn flight(id: &str) -> Value {
    json!({
        "event_id": id,
        "timestamp": "2026-05-01T12:00:00.5+02:00",
        "event_type": "flight.departed",
        "payload": {"carrier": "UA", "status": "departed", "origin": {"code": "EWR", "gate": 7}},
    })
}

async fn flights(topics: Value) -> Service {
    let service = Service::start_with(|s| s.settings.topics = settings(topics).topics).await;
    service.registry.register("flights-value", FLIGHT, &[]).await.unwrap();
    service
}

#[tokio::test]
async fn one_event_is_answered_with_its_place() {
    let service = Service::start().await;
    let answer = service.post("/api/v1/events/clicks", event("e-1").to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let records = service.records("clicks").await;
    let record = &records[0];
    let expected =
        format!(r#"{{"status":"accepted","event_id":"e-1","partition":{},"offset":0}}"#, record.part.partition);
    assert_eq!(answer.text, expected, "exactly four members");
    assert_eq!(records.len(), 1);
    assert_eq!(record.key.as_deref(), Some(&b"u-1"[..]), "the default key");
    assert_eq!(record.headers.text("correlation_id"), Some(answer.header("x-correlation-id")));
    assert_eq!(record.headers.0.len(), 1, "shape E holds the rest in its value: {:?}", record.headers);
    assert_eq!(service.registry.subjects().await.unwrap(), ["clicks-value"], "the default envelope was registered");
}

#[tokio::test]
async fn identity_and_trace_go_into_headers() {
    let service = flights(json!({"flights": {"header_metadata": ["source"]}})).await;
    let mut event = flight("e-1");
    event["metadata"] = json!({"source": "tower", "n": 1});
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("content-type", "application/json"),
        ("x-correlation-id", "req:7"),
        ("traceparent", trace),
        ("tracestate", "a=1"),
        ("event-key", "N123"),
    ];
    let answer = service.send("POST", "/api/v1/events/flights", &headers, event.to_string()).await;
    assert_eq!((answer.status, answer.header("x-correlation-id")), (200, "req:7"), "{}", answer.text);
    let record = service.records("flights").await.remove(0);
    assert_eq!(record.key.as_deref(), Some(&b"N123"[..]));
    let text: Vec<_> =
        record.headers.0.iter().map(|(n, v)| format!("{n}={}", String::from_utf8_lossy(v.as_ref().unwrap()))).collect();
    assert_eq!(
        text,
        [
            "correlation_id=req:7",
            &format!("traceparent={trace}"),
            "tracestate=a=1",
            "event_id=e-1",
            "event_type=flight.departed",
            "event_time=2026-05-01T10:00:00.5Z",
            r#"metadata={"source":"tower","n":1}"#,
            "source=tower",
        ]
    );
}

#[tokio::test]
async fn every_place_and_reason_in_one_answer() {
    let service = flights(json!({})).await;
    let mut broken = flight("e-1");
    broken["payload"] = json!({"status": "landedd", "origin": {"code": "EWR", "gate": "seven"}});
    let body =
        service.post("/api/v1/events/flights", broken.to_string()).await.problem(422, "schema_validation_failed");
    assert_eq!(body["event_id"], "e-1");
    let mut places: Vec<_> =
        body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places, ["/payload/carrier", "/payload/origin/gate", "/payload/status"], "{body}");
    let locs: Vec<_> = body["errors"].as_array().unwrap().iter().map(|e| e["loc"].clone()).collect();
    assert!(locs.contains(&json!(["body", "payload", "carrier"])), "{locs:?}");
    assert!(service.records("flights").await.is_empty());
}

#[tokio::test]
async fn a_batch_answers_for_each_event() {
    let service = flights(json!({})).await;
    let mut broken = flight("b");
    broken["payload"]["status"] = json!("lost");
    let batch = json!({"events": [flight("a"), broken, flight("c")]});
    let answer = service.post("/api/v1/events/flights/batch", batch.to_string()).await;
    assert_eq!(answer.status, 207, "{}", answer.text);
    let body = answer.json();
    assert_eq!(
        body["summary"],
        json!({"total": 3, "accepted": 2, "dead_lettered": 0, "invalid": 1, "retry": 0, "unknown": 0})
    );
    let statuses: Vec<_> = body["results"].as_array().unwrap().iter().map(|r| r["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["accepted", "invalid", "accepted"]);
    let error = &body["results"][1]["error"];
    assert_eq!((&error["code"], &error["status"]), (&json!("schema_validation_failed"), &json!(422)));
    assert_eq!(error["errors"][0]["loc"], json!(["body", "events", 1, "payload", "status"]));
    assert_eq!(error["errors"][0]["pointer"], "/payload/status");
    assert_eq!(service.records("flights").await.len(), 2);

    let array = json!([flight("x"), {"event_id": "y"}]).to_string();
    let answer = service.post("/api/v1/events/flights/batch", array).await;
    assert_eq!(answer.json()["results"][1]["error"]["errors"][0]["loc"][1], 1, "from the top of the body");

    let all = service.post("/api/v1/events/flights/batch", json!([flight("d"), flight("e")]).to_string()).await;
    assert_eq!((all.status, &all.json()["summary"]["accepted"]), (200, &json!(2)), "a bare array is a batch too");
}

#[tokio::test]
async fn a_batch_that_fails_for_one_reason_has_its_status() {
    let service = flights(json!({})).await;
    let broken = |id: &str| {
        let mut event = flight(id);
        event["payload"] = json!({});
        event
    };
    let body = service
        .post("/api/v1/events/flights/batch", json!([broken("a"), broken("b")]).to_string())
        .await
        .problem(422, "schema_validation_failed");
    assert_eq!(body["summary"]["invalid"], 2);
    assert_eq!(body["results"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_atomic_batch_is_produced_whole_or_not_at_all() {
    let service = flights(json!({})).await;
    let mut broken = flight("b");
    broken["payload"]["status"] = json!(1);
    let path = "/api/v1/events/flights/batch?atomic=validate";
    let keyed = json!({"event_id": "c", "timestamp": "yesterday", "event_type": "x", "payload": 1});
    for (events, invalid) in [(json!([flight("a"), broken]), 1), (json!([flight("a"), broken, keyed]), 2)] {
        let answer = service.post(path, events.to_string()).await;
        let body = answer.problem(422, "batch_refused");
        let (all, detail) = (events.as_array().unwrap().len(), body["detail"].as_str().unwrap());
        assert!(detail.starts_with(&format!("{invalid} of {all} events were refused")), "{detail}");
        assert_eq!((&body["summary"]["invalid"], &body["summary"]["retry"]), (&json!(invalid), &json!(1)));
        assert_eq!(body["retryable"], false, "the batch as it is");
        let fine = &body["results"][0];
        assert_eq!((&fine["status"], &fine["error"]["code"]), (&json!("retry"), &json!("batch_refused")));
        assert_eq!(fine["error"]["retryable"], true, "the event itself");
        assert_eq!(answer.header("retry-after"), "1");
        assert_eq!(body["results"][1]["status"], "invalid");
    }
    let answer = service.post(path, json!([broken]).to_string()).await;
    answer.problem(422, "schema_validation_failed");
    assert_eq!(answer.header("retry-after"), "", "there is nothing to send again");
    assert!(service.records("flights").await.is_empty());
    assert_eq!(service.post(path, json!([flight("a"), flight("b")]).to_string()).await.status, 200);
    assert_eq!(service.records("flights").await.len(), 2);
}

#[tokio::test]
async fn an_atomic_batch_refused_for_two_reasons_is_refused_as_one() {
    let service = flights(json!({"flights": {"key": "/payload/carrier", "key_required": true}})).await;
    let mut broken = flight("a");
    broken["payload"]["status"] = json!(1);
    let mut keyless = flight("b");
    keyless["payload"]["carrier"] = json!("");
    let path = "/api/v1/events/flights/batch?atomic=validate";
    let answer = service.post(path, json!([broken, keyless]).to_string()).await;
    let body = answer.problem(422, "batch_refused");
    assert_eq!((&body["summary"]["invalid"], body["results"].as_array().unwrap().len()), (&json!(2), 2), "{body}");
    assert_eq!(answer.header("retry-after"), "");
}

#[tokio::test]
async fn a_dead_letter_without_an_id_has_none_alone_and_in_a_batch() {
    let service = Service::start().await;
    let one = service.post("/api/v1/events/t?on_invalid=dlq", "{}").await;
    assert_eq!((one.status, one.json().get("event_id")), (202, None), "{}", one.text);
    let batch = service.post("/api/v1/events/t/batch?on_invalid=dlq", "[{}]").await;
    assert_eq!((batch.status, batch.json()["results"][0].get("event_id")), (202, None), "{}", batch.text);
}

#[tokio::test]
async fn a_key_may_stand_once() {
    let service = Service::start().await;
    let headers = [("content-type", "application/json"), ("event-key", "a"), ("event-key", "b")];
    for path in ["/api/v1/events/t", "/api/v1/events/t/validate"] {
        let answer = service.send("POST", path, &headers, event("e").to_string()).await;
        let body = answer.problem(422, "request_validation_failed");
        assert_eq!(
            (&body["errors"][0]["loc"], &body["errors"][0]["type"]),
            (&json!(["header", "event-key"]), &json!("duplicate_key"))
        );
    }
    assert!(service.records("t").await.is_empty());
}

#[tokio::test]
async fn refused_events_can_go_to_the_dead_letter_topic() {
    let service = flights(json!({"flights": {"key": "/payload/carrier"}})).await;
    let mut broken = flight("b");
    broken["payload"]["status"] = json!("lost");
    let headers = [("content-type", "application/json"), ("x-correlation-id", "shared")];
    let path = "/api/v1/events/flights?on_invalid=dlq";
    let answer = service.send("POST", path, &headers, broken.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["status"], "dead_lettered");
    let letter = service.records("events.dlq").await.remove(0);
    assert_eq!(answer.json()["partition"], letter.part.partition);
    assert_eq!(letter.value.as_deref(), Some(broken.to_string().as_bytes()), "the event as received");
    assert_eq!(letter.key.as_deref(), Some(&b"UA"[..]));
    for (name, value) in [
        ("__connect.errors.topic", "flights"),
        ("__connect.errors.connector.name", "http"),
        ("__connect.errors.stage", "VALUE_CONVERTER"),
        ("forebay.reason", "VALIDATION_FAILED"),
        ("forebay.event-id", "b"),
        ("correlation_id", "shared"),
    ] {
        assert_eq!(letter.headers.text(name), Some(value), "{name}");
    }
    let errors: Value = serde_json::from_str(letter.headers.text("forebay.errors").unwrap()).unwrap();
    assert_eq!(errors[0]["pointer"], "/payload/status");
    let key = letter.headers.text("forebay.dedupe-key").unwrap();
    assert!(key.starts_with("http/") && key.ends_with("/0") && !key.contains("shared"), "{key}");

    let batch = json!([flight("a"), broken]);
    let answer = service.post("/api/v1/events/flights/batch?on_invalid=dlq", batch.to_string()).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.json()["results"][1]["status"], "dead_lettered");
    service.post(path, "{").await.problem(400, "malformed_json");
}

#[tokio::test]
async fn a_dry_run_says_what_a_publish_would_and_leaves_nothing() {
    let service = Service::start().await;
    let answer = service.post("/api/v1/events/new/validate", event("e").to_string()).await;
    assert_eq!((answer.status, answer.json()), (200, json!({"valid": true})));
    assert!(service.log.topic("new").await.is_err(), "no topic was created");
    assert!(service.registry.subjects().await.unwrap().is_empty(), "no schema was registered");
    let service = flights(json!({})).await;
    let mut broken = flight("b");
    broken["payload"]["status"] = json!("lost");
    let dry = service.post("/api/v1/events/flights/validate", broken.to_string()).await;
    let wet = service.post("/api/v1/events/flights", broken.to_string()).await;
    assert_eq!(
        dry.problem(422, "schema_validation_failed")["errors"],
        wet.problem(422, "schema_validation_failed")["errors"]
    );
}

#[tokio::test]
async fn keys() {
    let service = Service::start_with(|s| {
        s.settings.topics =
            settings(json!({"keyed": {"key": ["/payload/a", "/metadata/b"], "key_required": true}})).topics;
        s.settings.limits.key_bytes = 8;
    })
    .await;
    let send = async |payload: Value, metadata: Value, header: Option<&str>| {
        let mut event = event("e");
        event["payload"] = payload;
        event["metadata"] = metadata;
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(header.map(|key| ("event-key", key)));
        service.send("POST", "/api/v1/events/keyed", &headers, event.to_string()).await
    };
    for (payload, metadata, header, key) in [
        (json!({"a": "x"}), json!({"b": "y"}), None, "x"),
        (json!({"a": -17}), json!({}), None, "-17"),
        (json!({"a": ""}), json!({"b": "y"}), None, "y"),
        (json!({"a": null}), json!({"b": "y"}), None, "y"),
        (json!({"a": "x"}), json!({}), Some("own"), "own"),
        (json!({"a": "x"}), json!({}), Some(""), "x"),
        (json!({"a": "12345678"}), json!({}), None, "12345678"),
    ] {
        let before = service.records("keyed").await.len();
        let answer = send(payload.clone(), metadata, header).await;
        assert_eq!(answer.status, 200, "{payload}: {}", answer.text);
        let (partition, offset) = (answer.json()["partition"].clone(), answer.json()["offset"].clone());
        let records = service.records("keyed").await;
        let record =
            records.iter().find(|r| json!(r.part.partition) == partition && json!(r.offset) == offset).unwrap();
        assert_eq!((records.len(), record.key.as_deref()), (before + 1, Some(key.as_bytes())), "{payload}");
    }
    for (payload, header, code, loc) in [
        (json!({"a": 1.5}), None, "key_invalid", json!(["body", "payload", "a"])),
        (json!({"a": [1]}), None, "key_invalid", json!(["body", "payload", "a"])),
        (json!({"a": "123456789"}), None, "key_invalid", json!(["body", "payload", "a"])),
        (json!({}), Some("123456789"), "key_invalid", json!(["header", "event-key"])),
        (json!({}), None, "key_required", json!(["body", "payload", "a"])),
    ] {
        let body = send(payload.clone(), json!(null), header).await.problem(422, code);
        assert_eq!((&body["errors"][0]["loc"], &body["errors"][0]["type"]), (&loc, &json!(code)), "{payload}");
    }
    let batch = json!([event("e")]).to_string();
    let headers = [("content-type", "application/json"), ("event-key", "k")];
    service.send("POST", "/api/v1/events/keyed/batch", &headers, batch).await.problem(422, "request_validation_failed");
}

#[tokio::test]
async fn topic_options_change_the_record() {
    let service = Service::start_with(|s| {
        s.settings.topics = settings(json!({
            "made": {"generate": ["event_id", "timestamp"]},
            "loose": {"subject": "flights-value", "unknown_fields": "ignore", "record_timestamp": "event"},
            "all": {"headers": "all"},
            "strict": {"missing_schema": "reject"},
        }))
        .topics;
    })
    .await;
    service.registry.register("flights-value", FLIGHT, &[]).await.unwrap();
    let answer = service.post("/api/v1/events/made", json!({"event_type": "t", "payload": {}}).to_string()).await;
    let id = answer.json()["event_id"].as_str().unwrap().to_owned();
    assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7, "{}", answer.text);

    let mut extra = flight("e");
    extra["payload"]["more"] = json!(1);
    assert_eq!(service.post("/api/v1/events/loose", extra.to_string()).await.status, 200);
    let record = service.records("loose").await.remove(0);
    assert_eq!(record.timestamp_ms, 1_777_629_600_500, "the event's own time");
    let metrics = service.get("/metrics").await.text;
    assert!(metrics.contains("forebay_fields_ignored_total{topic=\"loose\"} 1"), "{metrics}");

    service.post("/api/v1/events/all", event("e").to_string()).await;
    let record = service.records("all").await.remove(0);
    assert_eq!(record.headers.text("event_time"), Some("2026-05-01T12:00:00Z"));
    assert_eq!(record.headers.text("event_id"), Some("e"));

    service.post("/api/v1/events/strict", event("e").to_string()).await.problem(404, "unknown_schema");
}

#[tokio::test]
async fn a_schema_id_must_belong_to_the_subject() {
    let service = flights(json!({})).await;
    let other =
        service.registry.register("other-value", FLIGHT.replace("Flight", "Other").as_str(), &[]).await.unwrap();
    let own = service.registry.latest("flights-value").await.unwrap();
    let path = |id: u32| format!("/api/v1/events/flights?schema_id={id}");
    assert_eq!(service.post(&path(own.registered.id), flight("a").to_string()).await.status, 200);
    let body = service.post(&path(other.registered.id), flight("a").to_string()).await.problem(422, "schema_mismatch");
    assert_eq!(body["errors"][0]["loc"], json!(["query", "schema_id"]));
    service.post(&path(99), flight("a").to_string()).await.problem(422, "schema_mismatch");
}

#[tokio::test]
async fn a_schema_that_takes_no_events_is_named() {
    let service = Service::start().await;
    service.registry.register("x-value", r#"{"type":"array","items":"int"}"#, &[]).await.unwrap();
    service.post("/api/v1/events/x", event("e").to_string()).await.problem(409, "schema_unsupported");
}

#[tokio::test]
async fn topics_that_may_not_be_written() {
    let service = Service::start().await;
    for topic in ["events.dlq", "__state", "replay.lake"] {
        service.post(&format!("/api/v1/events/{topic}"), event("e").to_string()).await.problem(403, "forbidden");
    }
    for topic in ["history", "%2e%2e", "a%2Fb", "a%20b", &"x".repeat(250)] {
        let body = service.post(&format!("/api/v1/events/{topic}"), event("e").to_string()).await;
        // The client resolves dot segments by itself; then nothing is there.
        if body.status != 404 {
            assert_eq!(body.problem(422, "request_validation_failed")["errors"][0]["loc"], json!(["path", "topic"]));
        }
    }
    let service = Service::start_with(|s| s.settings.topics_auto_create = false).await;
    let body = service.post("/api/v1/events/nope", event("e").to_string()).await.problem(404, "unknown_topic");
    assert!(body["detail"].as_str().unwrap().contains("POST /api/v1/topics"), "{body}");
}

/// Everything that a service has made so far: topics, subjects.
async fn made(service: &Service) -> (Vec<String>, Vec<String>) {
    let topics = service.log.topics().await.unwrap().iter().map(|topic| topic.name.to_string()).collect();
    (topics, service.registry.subjects().await.unwrap())
}

#[tokio::test]
async fn only_an_event_that_is_fit_has_its_topic_and_subject_made() {
    let service = Service::start().await;
    service.assert_alive().await;
    let before = made(&service).await;
    let fit = event("e").to_string();
    let unfit = json!({"event_id": 7}).to_string();
    for (path, body, status) in [
        ("typo", "{".to_owned(), 400),
        ("typo", unfit.clone(), 422),
        ("typo?schema_id=9", fit.clone(), 422),
        ("typo/batch", "[]".to_owned(), 400),
        ("typo/batch", format!("[{unfit}]"), 422),
        ("typo/batch?atomic=validate", format!("[{fit},{unfit}]"), 422),
        ("typo/validate", fit.clone(), 200),
    ] {
        let answer = service.post(&format!("/api/v1/events/{path}"), body).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        assert_eq!(made(&service).await, before, "{path}");
    }
    let answer = service.post("/api/v1/events/typo/batch?on_invalid=dlq", format!("[{unfit}]")).await;
    assert_eq!(answer.json()["results"][0]["status"], "dead_lettered", "{}", answer.text);
    assert_eq!(made(&service).await, before, "a dead letter needs no more than the topic's name");
    let letter = service.records("events.dlq").await.remove(0);
    assert_eq!(letter.headers.text("__connect.errors.topic"), Some("typo"));
    assert_eq!(letter.headers.text("forebay.schema-id"), None, "it was held against a schema that has no id");

    let answer = service.post("/api/v1/events/typo/batch", format!("[{unfit},{fit}]")).await;
    assert_eq!(answer.json()["results"][1]["status"], "accepted", "{}", answer.text);
    let (topics, subjects) = made(&service).await;
    assert!(topics.contains(&"typo".to_owned()) && subjects.contains(&"typo-value".to_owned()));
    let id = service.registry.latest("typo-value").await.unwrap().registered.id;
    let value = service.records("typo").await.remove(0).value.unwrap();
    assert_eq!(value[1..5], id.to_be_bytes(), "the record names the schema that was registered for it");
}

#[tokio::test]
async fn events_create_topics_up_to_a_limit() {
    let service = Service::start_with(|s| {
        s.settings.limits.topics_auto_create_max = 3;
        s.settings.dlq.topic = "{topic}.dlq".to_owned();
    })
    .await;
    let publish = |path: &str, body: String| {
        let path = format!("/api/v1/events/{path}");
        async {
            let path = path;
            service.post(&path, body).await
        }
    };
    let fit = || event("e").to_string();
    for name in ["a", "b", "c"] {
        assert_eq!(publish(name, fit()).await.status, 200, "{name}");
    }
    let before = made(&service).await;
    let body = publish("d", fit()).await.problem(404, "unknown_topic");
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("api.topics_auto_create_max is 3") && detail.contains("by hand"), "{detail}");
    let lettered = publish("d?on_invalid=dlq", json!({}).to_string()).await;
    lettered.problem(404, "unknown_topic");
    assert_eq!(made(&service).await, before, "nor its subject, nor a dead letter topic of its name");
    assert_eq!(publish("a", fit()).await.status, 200, "those that exist go on");
    let lettered = publish("a?on_invalid=dlq", json!({}).to_string()).await;
    assert_eq!(lettered.status, 202, "{}", lettered.text);

    let by_hand = service.post("/api/v1/topics", json!({"name": "d"}).to_string()).await;
    assert_eq!(by_hand.status, 201);
    assert_eq!(publish("d", fit()).await.status, 200);
}

#[tokio::test]
async fn many_first_events_at_once_stay_within_the_limit() {
    let service = Service::start_with(|s| s.settings.limits.topics_auto_create_max = 5).await;
    service.assert_alive().await;
    let posts = (0..20).map(|i| {
        let path = format!("/api/v1/events/t{i}");
        let service = &service;
        async move { service.post(&path, event("e").to_string()).await.status }
    });
    let mut statuses = futures_util::future::join_all(posts).await;
    statuses.sort_unstable();
    assert_eq!(made(&service).await.0.len(), 5);
    assert_eq!(
        statuses.iter().filter(|status| **status == 404).count(),
        20 - (5 - 1),
        "the DLQ topic is one of the five"
    );
}

#[tokio::test]
async fn a_dry_run_takes_no_metric_label() {
    let service = Service::start().await;
    for i in 0..1_001 {
        let answer = service.post(&format!("/api/v1/events/nope{i}/validate"), event("e").to_string()).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(service.post("/api/v1/events/real", event("e").to_string()).await.status, 200);
    let text = service.get("/metrics").await.text;
    assert!(text.contains(r#"forebay_events_total{outcome="accepted",topic="real"} 1"#), "{text}");
    assert!(!text.contains("nope"));
}

#[tokio::test]
async fn a_topic_that_vanishes_is_noticed() {
    let service = Service::start_with(|s| s.settings.topics_auto_create = false).await;
    service.post("/api/v1/topics", json!({"name": "short"}).to_string()).await;
    assert_eq!(service.post("/api/v1/events/short", event("e").to_string()).await.status, 200);
    service.log.delete_topic("short").await.unwrap();
    for _ in 0..2 {
        service.post("/api/v1/events/short", event("e").to_string()).await.problem(404, "unknown_topic");
    }
}

#[tokio::test]
async fn bodies_that_are_no_events() {
    let service = Service::start().await;
    let body = service.post("/api/v1/events/t", "{\"event_id\": \"a\",\n  oops}").await.problem(400, "malformed_json");
    assert!(body["detail"].as_str().unwrap().contains("line 2"), "{body}");
    service.post("/api/v1/events/t/batch", "[]").await.problem(400, "empty_batch");
    service.post("/api/v1/events/t/batch", "{\"events\":[]}").await.problem(400, "empty_batch");
    for body in ["1", "\"x\"", "{\"items\":[]}"] {
        let answer = service.post("/api/v1/events/t/batch", body).await;
        assert_eq!(answer.status, 422, "{body}: {}", answer.text);
    }
    service.post("/api/v1/events/t/batch", "[1]").await.problem(422, "schema_validation_failed");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = service.post("/api/v1/events/t", format!("{{\"payload\":{deep}}}")).await;
    answer.problem(422, "schema_validation_failed");
    assert!(answer.text.contains("json_depth"), "{}", answer.text);
    let deep = service.post("/api/v1/events/t/batch", deep).await;
    assert!(matches!(deep.status, 400 | 422), "{}", deep.text);
    service.assert_alive().await;
}
