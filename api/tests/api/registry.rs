//! The embedded registry over a real socket, as clients of Confluent's Schema Registry meet it.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

use crate::support::{Answer, Service, read_to_end};

const TYPE: &str = "application/vnd.schemaregistry.v1+json";
const USER: &str = r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"}]}"#;
const USER_AGE: &str =
    r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"},{"name":"age","type":"int"}]}"#;

async fn ask(service: &Service, method: &str, path: &str, body: Option<Value>) -> Answer {
    match body {
        Some(body) => service.registry(method, path, &[("content-type", TYPE)], body.to_string()).await,
        None => service.registry(method, path, &[], "").await,
    }
}

async fn get(service: &Service, path: &str) -> Answer {
    ask(service, "GET", path, None).await
}

async fn register(service: &Service, subject: &str, schema: &str) -> Answer {
    ask(service, "POST", &format!("/subjects/{subject}/versions"), Some(json!({"schema": schema}))).await
}

impl Answer {
    /// Checks an answer whole; of objects, the members that are named.
    #[track_caller]
    fn says(&self, expected: &Value) {
        assert_eq!((self.status, self.header("content-type")), (200, TYPE), "{}", self.text);
        let got = self.json();
        match (expected.as_object(), got.as_object()) {
            (Some(members), Some(got)) => {
                for (name, value) in members {
                    assert_eq!(got.get(name), Some(value), "{name} of {}", self.text);
                }
                assert!(!got.contains_key("schemaType"), "Avro goes without saying: {}", self.text);
            }
            _ => assert_eq!(got, *expected),
        }
    }

    /// Checks that this is a refusal of a code, whole.
    #[track_caller]
    fn refuses(&self, status: u16, code: u32) {
        let body = self.json();
        assert_eq!((self.status, &body["error_code"]), (status, &json!(code)), "{}", self.text);
        assert_eq!(self.header("content-type"), TYPE);
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        assert_eq!(body.as_object().unwrap().len(), 2, "{body}");
        assert!(!self.header("x-correlation-id").is_empty());
    }
}

/// Requests in the order in which they were once sent to an independent registry; `status`, `code` and `answer` are
/// what Confluent's is known to say. `schema_types` is ours: Avro only.
#[tokio::test]
async fn recorded_requests_are_answered_as_by_confluents() {
    let service = Service::start().await;
    let mut count = 0;
    for line in include_str!("registry_cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| case[name].as_str();
        println!("{}", case["name"]);
        let headers: Vec<_> = text("type").map(|kind| ("content-type", kind)).into_iter().collect();
        let body = text("body").unwrap_or_default();
        let answer = service.registry(text("method").unwrap(), text("path").unwrap(), &headers, body).await;
        match case.get("code") {
            Some(code) => answer.refuses(case["status"].as_u64().unwrap() as u16, code.as_u64().unwrap() as u32),
            None => answer.says(&case["answer"]),
        }
        count += 1;
    }
    assert_eq!(count, 91);
}

#[tokio::test]
async fn what_is_deleted_is_hidden_first_and_gone_then() {
    let service = Service::start().await;
    register(&service, "s", USER).await.says(&json!({"id": 1, "version": 1}));
    register(&service, "kept", "\"int\"").await.says(&json!({"id": 2}));
    ask(&service, "DELETE", "/subjects/s/versions/latest?permanent=true", None).await.refuses(404, 40407);
    ask(&service, "DELETE", "/subjects/s/versions/latest", None).await.says(&json!(1));
    ask(&service, "DELETE", "/subjects/s/versions/1", None).await.refuses(404, 40406);
    get(&service, "/subjects/s/versions/1").await.refuses(404, 40401);
    get(&service, "/subjects/s/versions/1?deleted=true").await.says(&json!({"id": 1, "deleted": true}));
    get(&service, "/subjects?deletedOnly=true").await.says(&json!(["s"]));
    get(&service, "/subjects/s/versions?deletedOnly=True").await.says(&json!([1]));
    let looked = json!({"schema": USER});
    ask(&service, "POST", "/subjects/s", Some(looked.clone())).await.refuses(404, 40401);
    ask(&service, "POST", "/subjects/s?deleted=true", Some(looked)).await.says(&json!({"version": 1}));
    get(&service, "/schemas/ids/1").await.says(&json!({"schema": USER}));
    get(&service, "/schemas/ids/1/subjects").await.says(&json!([]));
    get(&service, "/schemas/ids/1/subjects?deleted=true").await.says(&json!(["s"]));
    ask(&service, "DELETE", "/subjects/s", None).await.refuses(404, 40404);
    ask(&service, "DELETE", "/subjects/s?permanent=true", None).await.says(&json!([1]));
    get(&service, "/schemas/ids/1").await.refuses(404, 40403);
    get(&service, "/subjects?deleted=true").await.says(&json!(["kept"]));
    register(&service, "s", USER).await.says(&json!({"id": 3, "version": 1}));
    get(&service, "/schemas/ids/3?fetchMaxId=true").await.says(&json!({"maxId": 3}));
}

#[tokio::test]
async fn levels_and_modes_have_their_scope() {
    let service = Service::start().await;
    let put = |path: &'static str, body: Value| ask(&service, "PUT", path, Some(body));
    put("/config/s", json!({"compatibility": "full"})).await.says(&json!({"compatibility": "FULL"}));
    put("/config", json!({"compatibility": "NONE"})).await.says(&json!({"compatibility": "NONE"}));
    get(&service, "/config/s").await.says(&json!({"compatibilityLevel": "FULL"}));
    get(&service, "/config/other?defaultToGlobal=true").await.says(&json!({"compatibilityLevel": "NONE"}));
    ask(&service, "DELETE", "/config/s", None).await.says(&json!({"compatibilityLevel": "FULL"}));
    ask(&service, "DELETE", "/config", None).await.says(&json!({"compatibilityLevel": "NONE"}));
    get(&service, "/config").await.says(&json!({"compatibilityLevel": "BACKWARD"}));
    for body in [json!({"compatibility": "FULL", "normalize": true}), json!({"compatibilityGroup": "g"}), json!([])] {
        put("/config", body).await.refuses(422, 422);
    }
    put("/config", json!({})).await.refuses(422, 42203);

    register(&service, "s", USER).await.says(&json!({"id": 1}));
    get(&service, "/mode/s").await.refuses(404, 40409);
    get(&service, "/mode/s?defaultToGlobal=true").await.says(&json!({"mode": "READWRITE"}));
    put("/mode/s", json!({"mode": "READONLY"})).await.says(&json!({"mode": "READONLY"}));
    register(&service, "s", USER_AGE).await.refuses(422, 42205);
    register(&service, "s", USER).await.says(&json!({"id": 1}));
    put("/config/s", json!({"compatibility": "FULL"})).await.refuses(422, 42205);
    ask(&service, "DELETE", "/subjects/s", None).await.refuses(422, 42205);
    ask(&service, "DELETE", "/mode/s", None).await.says(&json!({"mode": "READONLY"}));
    ask(&service, "DELETE", "/mode/s", None).await.refuses(404, 40409);
    put("/mode/s", json!({"mode": "READONLY_OVERRIDE"})).await.refuses(422, 42204);
    put("/mode", json!({"mode": "IMPORT"})).await.refuses(422, 42205);
    put("/mode?force=True", json!({"mode": "IMPORT"})).await.says(&json!({"mode": "IMPORT"}));
    register(&service, "new", USER_AGE).await.refuses(422, 42205);
    let imported = json!({"schema": USER_AGE, "id": 40, "version": 7});
    let imported = ask(&service, "POST", "/subjects/new/versions", Some(imported)).await;
    imported.says(&json!({"id": 40, "version": 7}));
    put("/mode", json!({"mode": "READWRITE"})).await.says(&json!({"mode": "READWRITE"}));
    let late = json!({"schema": USER, "id": 41});
    ask(&service, "POST", "/subjects/new/versions", Some(late)).await.refuses(422, 42205);
}

#[tokio::test]
async fn schemas_by_guid_normal_form_and_latest_reference() {
    let service = Service::start().await;
    let guid = register(&service, "s", USER).await.json()["guid"].as_str().unwrap().to_owned();
    get(&service, &format!("/schemas/guids/{guid}?deleted=true")).await.says(&json!({"schema": USER, "guid": guid}));
    for unknown in ["00000000-0000-0000-0000-000000000000", "x"] {
        get(&service, &format!("/schemas/guids/{unknown}")).await.refuses(404, 40403);
    }
    let other_words =
        r#"{"type":"record","namespace":"t","name":"User","fields":[{"name":"id","type":{"type":"long"}}]}"#;
    let asked = json!({"schema": other_words, "schemaType": "AVRO", "metadata": null});
    ask(&service, "POST", "/subjects/n/versions?normalize=true", Some(asked.clone())).await.says(&json!({"id": 1}));
    ask(&service, "POST", "/subjects/n?normalize=true", Some(asked.clone())).await.says(&json!({"id": 1}));
    ask(&service, "POST", "/subjects/n", Some(asked)).await.refuses(404, 40403);
    let reference = json!([{"name": "t.User", "subject": "s", "version": -1}]);
    let users = json!({"schema": r#"{"type":"array","items":"t.User"}"#, "references": reference});
    ask(&service, "POST", "/subjects/users/versions", Some(users)).await.says(&json!({"id": 2}));
    let resolved = json!([{"name": "t.User", "subject": "s", "version": 1}]);
    get(&service, "/schemas/ids/2").await.says(&json!({"references": resolved}));
    get(&service, "/subjects/s/versions/-1/referencedby").await.says(&json!([2]));
    get(&service, "/subjects?subjectPrefix=:*:u&offset=0&limit=-1").await.says(&json!(["users"]));
    get(&service, "/subjects?offset=1&limit=1").await.says(&json!(["s"]));
    get(&service, "/subjects?limit=x").await.refuses(422, 422);
}

#[tokio::test]
async fn incompatibilities_are_told_in_words() {
    let service = Service::start().await;
    register(&service, "s", USER).await.says(&json!({"id": 1}));
    register(&service, "s", USER_AGE).await.refuses(409, 409);
    let path = "/compatibility/subjects/s/versions?verbose=true";
    let answer = ask(&service, "POST", path, Some(json!({"schema": USER_AGE}))).await;
    answer.says(&json!({"is_compatible": false}));
    let messages = answer.json()["messages"].to_string();
    assert!(messages.contains("age") && messages.contains("READER_FIELD_MISSING_DEFAULT_VALUE"), "{messages}");
    let other = ask(&service, "POST", "/compatibility/subjects/new/versions", Some(json!({"schema": USER_AGE}))).await;
    other.says(&json!({"is_compatible": true}));
}

#[tokio::test]
async fn hostile_names_and_bodies_are_refused_in_its_own_words() {
    let service = Service::start().await;
    let quoted = "a%2Fb%20%C3%BC%25";
    register(&service, quoted, USER).await.says(&json!({"id": 1}));
    get(&service, "/subjects").await.says(&json!(["a/b ü%"]));
    get(&service, &format!("/subjects/{quoted}/versions/1")).await.says(&json!({"subject": "a/b ü%"}));
    for (subject, status, code) in [
        ("%00", 422, 42208),
        ("%0A", 422, 42208),
        ("%3A.ctx%3As", 422, 42208),
        (&"s".repeat(513), 422, 42208),
        ("%FF", 404, 404),
        ("a/b", 404, 404),
    ] {
        register(&service, subject, USER).await.refuses(status, code);
    }
    let post = |body: String| service.registry("POST", "/subjects/s/versions", &[("content-type", TYPE)], body);
    let schema = |schema: String| json!({"schema": schema}).to_string();
    let reference = |name: &str| json!({"name": name, "subject": "a/b ü%", "version": 1});
    for (body, status, code) in [
        (String::new(), 400, 400),
        ("null".to_owned(), 422, 422),
        ("[".repeat(100_000), 422, 422),
        (format!(r#"{{"schema":{}"#, "[".repeat(100_000)), 422, 422),
        (format!(r#"{{"metadata":{}"#, "[".repeat(100_000)), 400, 400),
        (json!({"schema": 5}).to_string(), 422, 422),
        (schema("[".repeat(200)), 422, 42201),
        (schema(format!("\"int\"{}", " ".repeat(1 << 20))), 422, 42201),
        (json!({"schema": "\"int\"", "schemaType": "PROTOBUF"}).to_string(), 422, 42201),
        (json!({"schema": "\"int\"", "ruleSet": {"domainRules": []}}).to_string(), 422, 42201),
        (json!({"schema": "\"int\"", "references": vec![reference("x"); 51]}).to_string(), 422, 42201),
        (json!({"schema": "\"int\"", "references": [reference(&"x".repeat(513))]}).to_string(), 422, 42201),
        (
            json!({"schema": "\"int\"", "references": [{"name": "x", "subject": "a", "version": 0}]}).to_string(),
            422,
            42201,
        ),
        (" ".repeat((10 << 20) + 1), 413, 413),
    ] {
        let start: String = body.chars().take(80).collect();
        println!("{start}");
        post(body).await.refuses(status, code);
    }
    let broken = service.registry("POST", "/subjects/s/versions", &[("content-type", TYPE)], b"\xff".to_vec()).await;
    broken.refuses(400, 400);
    for accept in ["text/html", "application/xml"] {
        service.registry("GET", "/subjects", &[("accept", accept)], "").await.refuses(406, 406);
    }
    let plain = service.registry("GET", "/subjects", &[("accept", "application/json")], "").await;
    assert_eq!((plain.status, plain.header("content-type")), (200, "application/json"));
    for kind in ["application/octet-stream", "Application/JSON; charset=utf-8", "application/vnd.schemaregistry+json"] {
        let taken = service
            .registry("POST", "/subjects/s/versions", &[("content-type", kind)], schema("\"int\"".to_owned()))
            .await;
        taken.says(&json!({"id": 2}));
    }
    get(&service, &format!("/{}", "x".repeat(9_000))).await.refuses(414, 414);
    get(&service, "/schemas/ids/99999999999").await.refuses(404, 40403);
    get(&service, "/").await.says(&json!({}));
    service.registry("PUT", "/subjects/s/versions/1", &[], "").await.refuses(405, 405);
    service.assert_alive().await;
}

#[tokio::test]
async fn a_body_that_never_ends_is_cut_in_time() {
    let service = Service::start_with(|setup| {
        setup.settings.limits.body_timeout = std::time::Duration::from_millis(200);
    })
    .await;
    let mut socket = tokio::net::TcpStream::connect(service.registry_door).await.unwrap();
    let head = "POST /subjects/s/versions HTTP/1.1\r\nhost: r\r\ncontent-length: 100\r\n\r\n{\"schema\":";
    socket.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains(r#""error_code":408"#), "{answer}");
    get(&service, "/subjects").await.says(&json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_register_one_schema() {
    let service = std::sync::Arc::new(Service::start().await);
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move { register(&service, "s", USER).await })
        })
        .collect();
    for call in calls {
        call.await.unwrap().says(&json!({"id": 1, "version": 1}));
    }
    get(&service, "/subjects/s/versions").await.says(&json!([1]));
}

#[tokio::test]
async fn both_doors_show_one_registry_and_one_set_of_metrics() {
    let service = Service::start().await;
    let body = json!({"schema": USER}).to_string();
    assert_eq!(service.post("/api/v1/schemas/s/versions", body).await.status, 201);
    get(&service, "/subjects/s/versions/latest").await.says(&json!({"id": 1}));
    get(&service, "/subjects/none/versions").await.refuses(404, 40401);
    let metrics = service.get_management("/metrics").await.text;
    assert!(metrics.contains(r#"route="/subjects/{subject}/versions/{version}",status="200""#), "{metrics}");
    assert!(metrics.contains(r#"forebay_rejected_total{code="unknown_schema"} 1"#), "{metrics}");
    service.shutdown.cancel();
    service.task.await.unwrap();
    assert!(tokio::net::TcpStream::connect(service.registry_door).await.is_err(), "the drain closes it too");
}
