//! The registry's promises: ids, versions, levels, references, and that nothing is seen before it is durable.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use super::*;

const USER: &str = r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"}]}"#;
const USER_NICK: &str = r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"},
    {"name":"nick","type":["null","string"],"default":null}]}"#;
const USER_AGE: &str = r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"},
    {"name":"age","type":"int"}]}"#;

fn open() -> Embedded {
    Embedded::open(Arc::new(MemoryStore::default())).unwrap()
}

fn reference(name: &str, subject: &str, version: u32) -> ReferenceKey {
    ReferenceKey { name: name.into(), subject: subject.into(), version }
}

#[tokio::test]
async fn ids_are_global_and_versions_per_subject() {
    let registry = open();
    let first = registry.register("u-value", USER, &[]).await.unwrap();
    assert_eq!((first.version, first.registered.id), (1, 1));
    let spaced = USER.replace(',', " ,\n ");
    let again = registry.register("u-value", &spaced, &[]).await.unwrap();
    assert_eq!((again.version, again.registered.id), (1, 1), "white space makes no new schema");
    let reordered = r#"{"name":"t.User","fields":[{"type":"long","name":"id"}],"type":"record"}"#;
    assert_eq!(registry.register("u-value", reordered, &[]).await.unwrap().version, 1);
    let other = registry.register("other", USER, &[]).await.unwrap();
    assert_eq!((other.version, other.registered.id), (1, 1));
    let second = registry.register("u-value", USER_NICK, &[]).await.unwrap();
    assert_eq!((second.version, second.registered.id), (2, 2));
    assert_eq!(registry.subjects().await.unwrap(), ["other", "u-value"]);
    assert_eq!(registry.versions("u-value").await.unwrap(), [1, 2]);
    assert_eq!(registry.latest("u-value").await.unwrap().version, 2);
    assert_eq!(registry.version("u-value", 1).await.unwrap().registered.schema.text(), USER, "text as it was sent");
    assert_eq!(registry.by_id(2).await.unwrap().schema.full_name(), Some("t.User"));
}

#[tokio::test]
async fn a_schema_that_other_readers_refuse_is_not_taken() {
    let registry = open();
    // The specification lets readers ignore it; Apache Avro's library does not.
    let refused = registry.register("s", r#"{"type":"int","logicalType":7}"#, &[]).await;
    let Err(RegistryError::Invalid(why)) = refused else { panic!("{refused:?}") };
    assert!(why.contains("logicalType must be a string"), "{why}");
    assert!(registry.subjects().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_not_there() {
    let registry = open();
    assert!(matches!(registry.latest("nope").await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(registry.versions("nope").await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(registry.by_id(1).await, Err(RegistryError::UnknownId(1))));
    registry.register("s", USER, &[]).await.unwrap();
    let missing = registry.version("s", 9).await;
    assert!(matches!(missing, Err(RegistryError::UnknownVersion { version: 9, .. })), "{missing:?}");
}

#[tokio::test]
async fn bad_schemas_and_subjects_are_refused() {
    let registry = open();
    for text in ["", "{not json", r#"{"type":"nosuch"}"#] {
        let refused = registry.register("s", text, &[]).await;
        assert!(matches!(refused, Err(RegistryError::Invalid(_))), "{refused:?}");
    }
    for subject in ["", "a\0b", ":.other:s", &"s".repeat(MAX_SUBJECT_BYTES + 1)] {
        let refused = registry.register(subject, USER, &[]).await;
        assert!(matches!(refused, Err(RegistryError::InvalidSubject(_))), "{refused:?}");
    }
    assert!(registry.register(&"s".repeat(MAX_SUBJECT_BYTES), USER, &[]).await.is_ok());
}

#[tokio::test]
async fn levels_decide() {
    let registry = open();
    registry.register("s", USER, &[]).await.unwrap();
    let refused = registry.register("s", USER_AGE, &[]).await.unwrap_err();
    let RegistryError::Incompatible { version: 1, level: Compatibility::Backward, differences, .. } = &refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        differences.as_slice(),
        ["the new schema can't read data of version 1: field `age`: the writer lacks this field, and the reader has \
          no default for it; give it a default, or an alias that names the writer's field \
          (READER_FIELD_MISSING_DEFAULT_VALUE)"]
    );
    assert!(refused.to_string().contains("not BACKWARD compatible with version 1 of \"s\""), "{refused}");
    assert_eq!(registry.check("s", USER_AGE, &[]).await.unwrap(), *differences);
    assert_eq!(registry.check("s", USER, &[]).await.unwrap(), [""; 0]);
    assert_eq!(registry.check("new", USER_AGE, &[]).await.unwrap(), [""; 0]);
    registry.set_compatibility(Some("s"), Compatibility::Forward).await.unwrap();
    assert_eq!(registry.register("s", USER_AGE, &[]).await.unwrap().version, 2);
    assert_eq!(registry.compatibility(None).await.unwrap(), Compatibility::Backward);
    assert_eq!(registry.compatibility(Some("s")).await.unwrap(), Compatibility::Forward);
    registry.set_compatibility(None, Compatibility::None).await.unwrap();
    assert_eq!(registry.compatibility(Some("other")).await.unwrap(), Compatibility::None);
}

#[tokio::test]
async fn transitive_levels_look_at_every_version() {
    let registry = open();
    registry.set_compatibility(Some("s"), Compatibility::None).await.unwrap();
    registry.register("s", USER, &[]).await.unwrap();
    registry.register("s", USER_AGE, &[]).await.unwrap();
    let with_both = r#"{"type":"record","name":"t.User","fields":[{"name":"age","type":"int"}]}"#;
    registry.set_compatibility(Some("s"), Compatibility::Backward).await.unwrap();
    assert!(registry.check("s", with_both, &[]).await.unwrap().is_empty());
    registry.set_compatibility(Some("s"), Compatibility::BackwardTransitive).await.unwrap();
    let differences = registry.check("s", with_both, &[]).await.unwrap();
    assert!(differences.len() == 1 && differences[0].contains("version 1"), "{differences:?}");
}

#[tokio::test]
async fn references_are_resolved_with_those_they_need() {
    let registry = open();
    let city = r#"{"type":"record","name":"t.City","fields":[{"name":"n","type":"string"}]}"#;
    let address = r#"{"type":"record","name":"t.Address","fields":[{"name":"city","type":"t.City"}]}"#;
    let customer = r#"{"type":"record","name":"t.Customer","fields":[{"name":"addr","type":"t.Address"}]}"#;
    let refused = registry.register("c", customer, &[reference("t.Address", "address", 1)]).await.unwrap_err();
    assert!(refused.to_string().contains(r#"subject "address" is not registered; register it first"#), "{refused}");
    registry.register("city", city, &[]).await.unwrap();
    registry.register("address", address, &[reference("t.City", "city", 1)]).await.unwrap();
    let customer = registry.register("c", customer, &[reference("t.Address", "address", 1)]).await.unwrap();
    assert_eq!(customer.registered.schema.references().len(), 2);
    assert!(customer.registered.schema.canonical().contains(r#""name":"t.City""#));
}

/// Fails on demand, and counts the puts that went through.
#[derive(Default)]
struct Flaky {
    inner: MemoryStore,
    down: AtomicBool,
    puts: Mutex<Vec<usize>>,
}

impl RegistryStore for Flaky {
    fn load(&self) -> Result<Vec<Row>, RegistryError> {
        self.inner.load()
    }
    fn write(&self, changes: &[Change]) -> Result<(), RegistryError> {
        if self.down.load(Ordering::Acquire) {
            return Err(RegistryError::Unavailable("disk".into()));
        }
        self.puts.lock().unwrap().push(changes.len());
        self.inner.write(changes)
    }
}

#[tokio::test]
async fn nothing_is_seen_that_is_not_durable() {
    let store = Arc::new(Flaky::default());
    let registry = Embedded::open(store.clone()).unwrap();
    store.down.store(true, Ordering::Release);
    assert!(matches!(registry.register("s", USER, &[]).await, Err(RegistryError::Unavailable(_))));
    let level = registry.set_compatibility(None, Compatibility::Full).await;
    assert!(matches!(level, Err(RegistryError::Unavailable(_))));
    assert!(registry.subjects().await.unwrap().is_empty());
    assert_eq!(registry.compatibility(None).await.unwrap(), Compatibility::Backward);
    store.down.store(false, Ordering::Release);
    assert_eq!(registry.register("s", USER, &[]).await.unwrap().registered.id, 1);
    registry.register("s", USER, &[]).await.unwrap();
    assert_eq!(store.puts.lock().unwrap().len(), 1, "a repeated registration writes nothing");
}

#[tokio::test]
async fn a_restart_finds_everything() {
    let store = Arc::new(MemoryStore::default());
    let registry = Embedded::open(store.clone()).unwrap();
    registry.register("b/ü", USER, &[]).await.unwrap();
    registry.register("b/ü", USER_NICK, &[]).await.unwrap();
    registry
        .register("holder", r#"{"type":"array","items":"t.User"}"#, &[reference("t.User", "b/ü", 2)])
        .await
        .unwrap();
    registry.set_compatibility(None, Compatibility::Full).await.unwrap();
    registry.set_compatibility(Some("b/ü"), Compatibility::None).await.unwrap();
    drop(registry);
    let registry = Embedded::open(store).unwrap();
    assert_eq!(registry.subjects().await.unwrap(), ["b/ü", "holder"]);
    assert_eq!(registry.latest("b/ü").await.unwrap().registered.schema.text(), USER_NICK);
    assert_eq!(registry.by_id(3).await.unwrap().schema.references()[0].schema, USER_NICK);
    assert_eq!(registry.compatibility(Some("holder")).await.unwrap(), Compatibility::Full);
    assert_eq!(registry.compatibility(Some("b/ü")).await.unwrap(), Compatibility::None);
    let next = registry.register("b/ü", USER_AGE, &[]).await.unwrap();
    assert_eq!((next.version, next.registered.id), (3, 4));
}

#[test]
fn a_broken_or_newer_store_is_refused_with_its_key() {
    for (key, value, says) in [
        (&b"format"[..], &b"3"[..], "format 3"),
        (b"id/\0\0\0\x01", b"{", "id/"),
        (b"id/1", br#"{"schema":"\"int\""}"#, "no number"),
        (b"what", b"1", "unknown key"),
        (b"config", br#""SOME""#, "config"),
    ] {
        let store = MemoryStore::default();
        store.write(&[(key.to_vec(), Some(value.to_vec()))]).unwrap();
        let error = Embedded::open(Arc::new(store)).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_registrations_get_distinct_versions_without_gaps() {
    let registry = open();
    registry.set_compatibility(None, Compatibility::None).await.unwrap();
    let schema = |i: usize| format!(r#"{{"type":"record","name":"r{i}","fields":[]}}"#);
    // Each schema twice: 20 versions from 40 calls.
    let calls: Vec<_> = (0..40)
        .map(|i| {
            let (registry, text) = (registry.clone(), schema(i / 2));
            tokio::spawn(async move { registry.register("s", &text, &[]).await.unwrap().version })
        })
        .collect();
    let mut versions = Vec::new();
    for call in calls {
        versions.push(call.await.unwrap());
    }
    versions.sort_unstable();
    assert_eq!(versions, (0..40).map(|i| i / 2 + 1).collect::<Vec<u32>>());
    assert_eq!(registry.versions("s").await.unwrap().len(), 20);
}

#[test]
fn levels_by_name() {
    for level in Compatibility::ALL {
        assert_eq!(level.as_str().to_lowercase().parse::<Compatibility>().unwrap(), level);
        assert_eq!(serde_json::to_value(level).unwrap(), level.as_str());
    }
    assert!("SIDEWARD".parse::<Compatibility>().unwrap_err().to_string().contains("FULL_TRANSITIVE"));
}
