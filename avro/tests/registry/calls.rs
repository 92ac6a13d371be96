//! What is asked, and what is made of the answers.

use forebay_avro::registry::{Compatibility, ReferenceKey, Registry, RegistryError, Remote, config::RegistryAuth};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer,
    matchers::{body_json, header, method, path, query_param},
};

use crate::support::*;

#[tokio::test]
async fn credentials_are_sent_with_every_call() {
    for (auth, expected) in [
        (RegistryAuth::Basic("key".into(), "s3:cret".into()), "Basic a2V5OnMzOmNyZXQ="),
        (RegistryAuth::Bearer("t0ken".into()), "Bearer t0ken"),
    ] {
        let server = MockServer::start().await;
        let allowed = |at: &str, body: Value| {
            Mock::given(path(at)).and(header("authorization", expected)).respond_with(ok(&body)).mount(&server)
        };
        allowed("/schemas/ids/1", json!({"schema": USER})).await;
        allowed("/subjects/s/versions/latest", version("s", 1, 1, USER)).await;
        allowed("/config", json!({"compatibilityLevel": "FULL"})).await;
        let remote = Remote::open(&forebay_avro::registry::config::RemoteSettings { auth, ..settings(&server.uri()) });
        let remote = remote.unwrap();
        remote.by_id(1).await.unwrap();
        remote.latest("s").await.unwrap();
        remote.compatibility(None).await.unwrap();
    }
}

#[tokio::test]
async fn schemas_by_id_and_by_subject_are_one() {
    let server = MockServer::start().await;
    get(&server, "/schemas/ids/7", ok(&json!({"schema": USER}))).await;
    get(&server, "/subjects/s/versions/latest", ok(&version("s", 3, 7, USER))).await;
    get(&server, "/subjects/s/versions/3", ok(&version("s", 3, 7, USER))).await;
    let remote = client(&server);
    let by_id = remote.by_id(7).await.unwrap();
    assert_eq!((by_id.id, by_id.schema.text()), (7, USER));
    let latest = remote.latest("s").await.unwrap();
    assert_eq!((latest.subject.as_str(), latest.version, latest.registered.id), ("s", 3, 7));
    assert!(std::sync::Arc::ptr_eq(&by_id, &latest.registered), "parsed once");
    assert_eq!(remote.version("s", 3).await.unwrap().version, 3);
}

#[tokio::test]
async fn subjects_stand_escaped_in_paths() {
    let server = MockServer::start().await;
    let names = ["a/b", "a b", "a?b=c", "a#b", "ä%2F", "..a", ":.ctx:s"];
    let paths = ["a%2Fb", "a%20b", "a%3Fb%3Dc", "a%23b", "%C3%A4%252F", "..a", "%3A.ctx%3As"];
    for (name, escaped) in names.into_iter().zip(paths) {
        get(&server, &format!("/subjects/{escaped}/versions/latest"), ok(&version(name, 1, 1, USER))).await;
        get(&server, &format!("/subjects/{escaped}/versions"), ok(&json!([2, 1]))).await;
        get(&server, &format!("/config/{escaped}"), ok(&json!({"compatibilityLevel": "NONE"}))).await;
        let remote = client(&server);
        assert_eq!(remote.latest(name).await.unwrap().subject, name);
        assert_eq!(remote.versions(name).await.unwrap(), [1, 2]);
        assert_eq!(remote.compatibility(Some(name)).await.unwrap(), Compatibility::None);
    }
    let asked = server.received_requests().await.unwrap().len();
    for name in [".", "..", "", "a\nb"] {
        client(&server).latest(name).await.expect_err(name);
    }
    assert_eq!(server.received_requests().await.unwrap().len(), asked, "names that no path can hold are not sent");
}

#[tokio::test]
async fn references_come_with_those_that_they_need() {
    let server = MockServer::start().await;
    let reference = |name: &str, subject: &str| json!([{"name": name, "subject": subject, "version": 1}]);
    let with = |mut version: Value, references: Value| {
        version["references"] = references;
        version
    };
    let order = r#"{"type":"record","name":"Order","namespace":"t","fields":[{"name":"to","type":"t.Address"}]}"#;
    let address = r#"{"type":"record","name":"Address","namespace":"t","fields":[{"name":"in","type":"t.Country"}]}"#;
    let country = r#"{"type":"enum","name":"Country","namespace":"t","symbols":["DE"]}"#;
    let body = json!({"schema": order, "references": reference("t.Address", "address")});
    get(&server, "/schemas/ids/1", ok(&body)).await;
    let body = with(version("address", 1, 2, address), reference("t.Country", "country"));
    get(&server, "/subjects/address/versions/1", ok(&body)).await;
    get(&server, "/subjects/country/versions/1", ok(&version("country", 1, 3, country))).await;
    let remote = client(&server);
    let schema = &remote.by_id(1).await.unwrap().schema;
    let names: Vec<_> = schema.references().iter().map(|r| (r.name.as_str(), r.subject.as_str(), r.version)).collect();
    assert_eq!(names, [("t.Address", "address", 1), ("t.Country", "country", 1)]);
    assert!(schema.canonical().contains("DE"));

    // A circle ends, and is told as what it is: names defined twice or not at all.
    get(&server, "/schemas/ids/4", ok(&json!({"schema": USER, "references": reference("t.B", "b")}))).await;
    let body = with(version("b", 1, 5, "\"int\""), reference("t.C", "c"));
    get(&server, "/subjects/b/versions/1", ok(&body)).await;
    let body = with(version("c", 1, 6, "\"int\""), reference("t.B", "b"));
    get(&server, "/subjects/c/versions/1", ok(&body)).await;
    let circle = remote.by_id(4).await;
    assert!(circle.is_ok() || matches!(circle, Err(RegistryError::Invalid(_))), "{circle:?}");

    // So does a chain without an end.
    get(&server, "/schemas/ids/8", ok(&json!({"schema": USER, "references": reference("t.N0", "n0")}))).await;
    for n in 0..60 {
        let next = format!("n{}", n + 1);
        let body = with(version(&format!("n{n}"), 1, 100 + n, "\"int\""), reference(&format!("t.N{}", n + 1), &next));
        get(&server, &format!("/subjects/n{n}/versions/1"), ok(&body)).await;
    }
    let error = remote.by_id(8).await.unwrap_err();
    assert!(error.to_string().contains("more than 50 references"), "{error}");
}

#[tokio::test]
async fn a_lost_reference_is_no_unknown_id() {
    let server = MockServer::start().await;
    let reference = json!([{"name": "t.A", "subject": "a", "version": 1}]);
    get(&server, "/schemas/ids/1", ok(&json!({"schema": USER, "references": reference}))).await;
    get(&server, "/subjects/a/versions/1", error(404, 40401)).await;
    let remote = client(&server);
    let lost = remote.by_id(1).await.unwrap_err();
    assert!(matches!(&lost, RegistryError::Unavailable(why) if why.contains("reference \"t.A\"")), "{lost}");
    let reference = ReferenceKey { name: "t.A".into(), subject: "a".into(), version: 1 };
    let refused = remote.register("s", USER, &[reference]).await.unwrap_err();
    assert!(matches!(&refused, RegistryError::Invalid(why) if why.contains("register it first")), "{refused}");
}

#[tokio::test]
async fn registering_sends_the_schema_and_tells_its_version() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/subjects/s/versions"))
        .and(header("content-type", "application/vnd.schemaregistry.v1+json"))
        .and(body_json(json!({"schema": USER})))
        .respond_with(ok(&json!({"id": 7})))
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/subjects/s"))
        .and(body_json(json!({"schema": USER})))
        .respond_with(ok(&version("s", 2, 7, USER)))
        .mount(&server)
        .await;
    get(&server, "/schemas/ids/7", ok(&json!({"schema": USER}))).await;
    let remote = client(&server);
    let version = remote.register("s", USER, &[]).await.unwrap();
    assert_eq!((version.version, version.registered.id, version.registered.schema.text()), (2, 7, USER));
    // What is no schema is not sent.
    let sent = server.received_requests().await.unwrap().len();
    let error = remote.register("s", r#"{"type":"record","name":"R"}"#, &[]).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Invalid(why) if why.contains("fields")), "{error}");
    assert_eq!(server.received_requests().await.unwrap().len(), sent);
}

#[tokio::test]
async fn a_refusal_names_field_and_rule() {
    let server = MockServer::start().await;
    Mock::given(method("POST")).and(path("/subjects/s/versions")).respond_with(error(409, 409)).mount(&server).await;
    let verdict = json!({"is_compatible": false, "messages": ["{errorType:'X'}"]});
    Mock::given(method("POST"))
        .and(path("/compatibility/subjects/s/versions"))
        .and(query_param("verbose", "true"))
        .respond_with(ok(&verdict))
        .mount(&server)
        .await;
    get(&server, "/config/s", ok(&json!({"compatibilityLevel": "BACKWARD"}))).await;
    get(&server, "/subjects/s/versions", ok(&json!([1, 2]))).await;
    get(&server, "/subjects/s/versions/2", ok(&version("s", 2, 7, USER))).await;
    let remote = client(&server);
    match remote.register("s", USER_WITH_AGE, &[]).await.unwrap_err() {
        RegistryError::Incompatible { subject, version, level, differences } => {
            assert_eq!((subject.as_str(), version, level), ("s", 2, Compatibility::Backward));
            assert!(matches!(differences.as_slice(), [one] if one.contains("age")), "{differences:?}");
        }
        other => panic!("{other}"),
    }
    let dry = remote.check("s", USER_WITH_AGE, &[]).await.unwrap();
    assert!(matches!(dry.as_slice(), [one] if one.contains("age") && one.contains("version 2")), "{dry:?}");
    // Where our own rules find nothing wrong, the registry has the word.
    assert_eq!(remote.check("s", USER, &[]).await.unwrap(), ["{errorType:'X'}"]);
}

#[tokio::test]
async fn a_dry_run_knows_registries_that_check_one_version_only() {
    let server = MockServer::start().await;
    let at = |at: &str, answer| Mock::given(method("POST")).and(path(at)).respond_with(answer).mount(&server);
    at("/compatibility/subjects/old/versions", error(404, 404)).await;
    at("/compatibility/subjects/old/versions/latest", ok(&json!({"is_compatible": true}))).await;
    at("/compatibility/subjects/new/versions", error(404, 40401)).await;
    at("/compatibility/subjects/bad/versions", error(422, 42201)).await;
    let remote = client(&server);
    assert!(remote.check("old", USER, &[]).await.unwrap().is_empty());
    assert!(remote.check("new", USER, &[]).await.unwrap().is_empty(), "a new subject takes everything");
    let error = remote.check("bad", USER, &[]).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Invalid(why) if why.contains("message 42201")), "{error}");
}

#[tokio::test]
async fn levels_are_read_and_set() {
    let server = MockServer::start().await;
    get(&server, "/config", ok(&json!({"compatibilityLevel": "FORWARD"}))).await;
    get(&server, "/config/own", ok(&json!({"compatibilityLevel": "FULL_TRANSITIVE"}))).await;
    get(&server, "/config/none", error(404, 40408)).await;
    get(&server, "/config/odd", ok(&json!({"compatibilityLevel": "SIDEWAYS"}))).await;
    for (at, level) in [("/config", "NONE"), ("/config/own", "FULL")] {
        Mock::given(method("PUT"))
            .and(path(at))
            .and(body_json(json!({"compatibility": level})))
            .respond_with(ok(&json!({"compatibility": level})))
            .expect(1)
            .mount(&server)
            .await;
    }
    let remote = client(&server);
    assert_eq!(remote.compatibility(None).await.unwrap(), Compatibility::Forward);
    assert_eq!(remote.compatibility(Some("own")).await.unwrap(), Compatibility::FullTransitive);
    assert_eq!(remote.compatibility(Some("none")).await.unwrap(), Compatibility::Forward);
    assert!(remote.compatibility(Some("odd")).await.unwrap_err().to_string().contains("SIDEWAYS"));
    remote.set_compatibility(None, Compatibility::None).await.unwrap();
    remote.set_compatibility(Some("own"), Compatibility::Full).await.unwrap();
}
