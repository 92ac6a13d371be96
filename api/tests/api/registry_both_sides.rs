//! Our own client at our own registry, over HTTP.

use std::time::Duration;

use forebay_avro::{
    registry::{
        Compatibility, ReferenceKey, Registry, RegistryError, Remote,
        config::{RegistryAuth, RemoteSettings},
    },
    schema::Reference,
};

use crate::support::Service;

const ADDRESS: &str =
    r#"{"type":"record","name":"Address","namespace":"t","fields":[{"name":"city","type":"string"}]}"#;
const STREET: &str = r#"{"type":"record","name":"Address","namespace":"t","fields":[{"name":"city","type":"string"},{"name":"street","type":"string"}]}"#;
const USER: &str = r#"{"type":"record","name":"User","namespace":"t","fields":[{"name":"at","type":"t.Address"}]}"#;

#[tokio::test]
async fn what_one_side_says_the_other_understands() {
    let service = Service::start().await;
    let settings = RemoteSettings {
        urls: vec![format!("http://{}", service.registry_door).parse().unwrap()],
        auth: RegistryAuth::None,
        ca_file: None,
        timeout: Duration::from_secs(20),
        latest_ttl: Duration::from_secs(60),
        unknown_ttl: Duration::ZERO,
    };
    let remote = Remote::open(&settings).unwrap();
    assert!(matches!(remote.latest("a/b").await, Err(RegistryError::UnknownSubject(s)) if s == "a/b"));
    assert!(matches!(remote.by_id(1).await, Err(RegistryError::UnknownId(1))));
    assert!(matches!(remote.register("a/b", "{", &[]).await, Err(RegistryError::Invalid(_))));

    let address = remote.register("a/b", ADDRESS, &[]).await.unwrap();
    assert_eq!((address.version, address.registered.id), (1, 1));
    let reference =
        Reference { name: "t.Address".into(), subject: "a/b".into(), version: 1, schema: ADDRESS.to_owned() };
    let key = ReferenceKey { name: "t.Address".into(), subject: "a/b".into(), version: 1 };
    let user = remote.register("user", USER, &[key]).await.unwrap();
    assert_eq!(user.registered.schema.references(), [reference]);
    assert_eq!(remote.subjects().await.unwrap(), ["a/b", "user"]);

    let local = service.registry.check("a/b", STREET, &[]).await.unwrap();
    assert_eq!(remote.check("a/b", STREET, &[]).await.unwrap(), local, "the same sentences from both");
    match remote.register("a/b", STREET, &[]).await {
        Err(RegistryError::Incompatible { version: 1, level: Compatibility::Backward, differences, .. }) => {
            assert_eq!(differences, local);
        }
        other => panic!("{other:?}"),
    }
    remote.set_compatibility(Some("a/b"), Compatibility::Forward).await.unwrap();
    assert_eq!(service.registry.compatibility(Some("a/b")).await.unwrap(), Compatibility::Forward);
    assert_eq!(remote.compatibility(Some("user")).await.unwrap(), Compatibility::Backward);
    assert_eq!(remote.register("a/b", STREET, &[]).await.unwrap().version, 2);
    assert_eq!(remote.versions("a/b").await.unwrap(), [1, 2]);
    assert_eq!(remote.latest("a/b").await.unwrap().version, 2);
    assert!(matches!(remote.version("a/b", 3).await, Err(RegistryError::UnknownVersion { version: 3, .. })));
}
