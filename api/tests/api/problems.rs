//! Answers that are not about events: paths, methods, parameters, the pages of the codes.

use serde_json::json;

use crate::support::{Service, event};

#[tokio::test]
async fn unknown_paths_and_methods() {
    let service = Service::start().await;
    service.get("/nope").await.problem(404, "not_found");
    service.get("/api/v1/events/a/b/c").await.problem(404, "not_found");
    for (method, path, allow) in [
        ("GET", "/api/v1/events/t", "POST"),
        ("DELETE", "/api/v1/events/t/batch", "POST"),
        ("PUT", "/api/v1/topics", "GET,HEAD,POST"),
        ("POST", "/livez", "GET,HEAD"),
        ("POST", "/api/v1/connectors", "GET,HEAD"),
    ] {
        let answer = service.send(method, path, &[], "").await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allow, "{method} {path}");
    }
    let head = service.send("HEAD", "/livez", &[], "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}

#[tokio::test]
async fn unknown_parameters_are_refused_with_the_nearest() {
    let service = Service::start().await;
    for (path, name, kind) in [
        ("/api/v1/events/t?on_invlid=dlq", "on_invlid", "extra_forbidden"),
        ("/api/v1/events/t?on_invalid=drop", "on_invalid", "enum"),
        ("/api/v1/events/t?schema_id=0", "schema_id", "greater_than_equal"),
        ("/api/v1/events/t?schema_id=x", "schema_id", "int_parsing"),
        ("/api/v1/events/t?atomic=validate", "atomic", "extra_forbidden"),
        ("/api/v1/events/t/batch?atomic=yes", "atomic", "enum"),
        ("/api/v1/events/t/validate?on_invalid=dlq", "on_invalid", "extra_forbidden"),
        ("/api/v1/topics?x=1", "x", "extra_forbidden"),
    ] {
        let body = service.post(path, event("e").to_string()).await.problem(422, "request_validation_failed");
        assert_eq!(
            (&body["errors"][0]["loc"], &body["errors"][0]["type"], &body["errors"][0]["pointer"]),
            (&json!(["query", name]), &json!(kind), &json!(null)),
            "{path}"
        );
    }
    let body =
        service.post("/api/v1/events/%ff", event("e").to_string()).await.problem(422, "request_validation_failed");
    assert_eq!(body["errors"][0]["loc"], json!(["path", "topic"]));
    let near = service.post("/api/v1/events/t?on_invlid=dlq", event("e").to_string()).await;
    assert!(near.text.contains("did you mean on_invalid?"), "{}", near.text);
}

#[tokio::test]
async fn correlation_ids_are_echoed_if_harmless() {
    let service = Service::start().await;
    let echoed = service.send("GET", "/nope", &[("x-correlation-id", "a:1")], "").await;
    assert_eq!(echoed.header("x-correlation-id"), "a:1");
    assert_eq!(echoed.problem(404, "not_found")["correlation_id"], "a:1");
    let made = service.send("GET", "/nope", &[("x-correlation-id", "a b")], "").await;
    assert_eq!(uuid::Uuid::parse_str(made.header("x-correlation-id")).unwrap().get_version_num(), 7);
}

#[tokio::test]
async fn each_code_has_its_page() {
    let service = Service::start().await;
    for code in forebay_api::problem::Code::ALL {
        let page = service.get(&format!("/problems/{code}")).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
        assert!(page.text.contains(code.info().title) && page.text.contains(code.info().advice), "{code}");
    }
    service.get("/problems/nope").await.problem(404, "not_found");
}
