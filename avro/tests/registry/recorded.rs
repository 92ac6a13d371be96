//! What Apicurio Registry 3.3.3 once answered, word by word (`apicurio-3.3.3.jsonl`), for runs that have none at hand.

use forebay_avro::{
    registry::{Compatibility, Registry, RegistryError, Remote},
    schema::Reference,
};
use serde::Deserialize;
use serde_json::Value;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{method, path},
};

use crate::support::{USER, USER_WITH_AGE, client, get, ok, version};

#[derive(Deserialize)]
struct Exchange {
    name: String,
    method: String,
    path: String,
    status: u16,
    content_type: String,
    body: Value,
}

/// A registry that answers as recorded under these names.
async fn replay(names: &[&str]) -> (MockServer, Remote) {
    let server = MockServer::start().await;
    let mut mounted = 0;
    for line in include_str!("apicurio-3.3.3.jsonl").lines() {
        let exchange: Exchange = serde_json::from_str(line).unwrap();
        if !names.contains(&exchange.name.as_str()) {
            continue;
        }
        let body = exchange.body.as_str().map_or_else(|| exchange.body.to_string(), str::to_owned);
        let answer = ResponseTemplate::new(exchange.status).set_body_raw(body, &exchange.content_type);
        let at = exchange.path.split('?').next().unwrap();
        Mock::given(method(exchange.method.as_str())).and(path(at)).respond_with(answer).mount(&server).await;
        mounted += 1;
    }
    assert_eq!(mounted, names.len(), "all of {names:?} are recorded");
    let remote = client(&server);
    (server, remote)
}

#[tokio::test]
async fn what_is_there() {
    let names =
        ["get_by_id", "get_version", "get_latest", "versions", "subjects_after_delete", "global_config_default"];
    let (_server, remote) = replay(&names).await;
    assert_eq!(remote.by_id(2).await.unwrap().schema.text(), USER);
    assert_eq!(remote.version("u-value", 1).await.unwrap().registered.id, 2);
    let latest = remote.latest("u-value").await.unwrap();
    assert_eq!((latest.version, latest.registered.id), (1, 2));
    assert_eq!(remote.versions("u-value").await.unwrap(), [1, 2]);
    assert!(remote.subjects().await.unwrap().contains(&"cust-value".to_owned()));
    assert_eq!(remote.compatibility(None).await.unwrap(), Compatibility::Backward);
}

#[tokio::test]
async fn what_is_not() {
    let names = [
        "list_empty",
        "versions_unknown_subject",
        "version_unknown_subject",
        "latest_unknown_subject",
        "schema_id_unknown",
        "version_unknown",
        "get_deleted_subject_latest",
    ];
    let (_server, remote) = replay(&names).await;
    assert!(remote.subjects().await.unwrap().is_empty());
    assert!(matches!(remote.versions("nope-value").await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(remote.version("nope-value", 1).await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(remote.latest("nope-value").await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(remote.latest("u2-value").await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(remote.version("u-value", 99).await, Err(RegistryError::UnknownVersion { version: 99, .. })));
    assert!(matches!(remote.by_id(999_999).await, Err(RegistryError::UnknownId(999_999))));
}

#[tokio::test]
async fn registering() {
    let (_server, remote) = replay(&["register_ok", "lookup_ok", "get_by_id"]).await;
    let registered = remote.register("u-value", USER, &[]).await.unwrap();
    assert_eq!((registered.version, registered.registered.id), (1, 2));
}

#[tokio::test]
async fn refusals() {
    let names =
        ["register_incompatible_new_field", "subject_config_none_default_to_global", "versions", "put_config_invalid"];
    let (server, remote) = replay(&names).await;
    get(&server, "/subjects/u-value/versions/2", ok(&version("u-value", 2, 2, USER))).await;
    match remote.register("u-value", USER_WITH_AGE, &[]).await {
        Err(RegistryError::Incompatible { version: 2, level: Compatibility::Backward, differences, .. }) => {
            assert!(differences.iter().all(|d| d.contains("age") && !d.contains("apicurio")), "{differences:?}");
        }
        other => panic!("{other:?}"),
    }
    let error = remote.set_compatibility(None, Compatibility::Full).await.unwrap_err().to_string();
    assert!(error.contains("answered 422 (Invalid compatibility level: SIDEWAYS)"), "{error}");
    let (_server, remote) = replay(&["register_no_schema_field", "unknown_route"]).await;
    let error = remote.register("register-no-schema-field", USER, &[]).await.unwrap_err();
    assert!(matches!(&error, RegistryError::Unavailable(why) if why.contains("answered 500")), "{error}");
}

#[tokio::test]
async fn a_verdict_without_reasons_gets_ours() {
    let (server, remote) = replay(&["versions", "subject_config_none_default_to_global"]).await;
    get(&server, "/subjects/u-value/versions/2", ok(&version("u-value", 2, 2, USER))).await;
    // Recorded for the check against one version; the answer to the other path is the same.
    let verdict = ok(&serde_json::json!({"is_compatible": false}));
    let all = Mock::given(method("POST")).and(path("/compatibility/subjects/u-value/versions")).respond_with(verdict);
    all.mount(&server).await;
    let differences = remote.check("u-value", USER_WITH_AGE, &[]).await.unwrap();
    assert!(matches!(differences.as_slice(), [one] if one.contains("age")), "{differences:?}");
    assert_eq!(remote.check("u-value", USER, &[]).await.unwrap(), ["the registry refuses it without saying why"]);
}

#[tokio::test]
async fn references() {
    let (server, remote) = replay(&["get_with_ref", "get_id_with_ref"]).await;
    let address = r#"{"type":"record","name":"Address","namespace":"t","fields":[{"name":"city","type":"string"}]}"#;
    get(&server, "/subjects/addr-value/versions/1", ok(&version("addr-value", 1, 7, address))).await;
    let expected = Reference {
        name: "t.Address".to_owned(),
        subject: "addr-value".to_owned(),
        version: 1,
        schema: address.to_owned(),
    };
    let (by_version, by_id) = (remote.version("cust-value", 1).await.unwrap(), client(&server).by_id(8).await.unwrap());
    for schema in [&by_version.registered.schema, &by_id.schema] {
        assert_eq!(schema.references(), std::slice::from_ref(&expected));
    }
}
