//! Against Apicurio Registry, which is none of ours.

use forebay_avro::{
    registry::{Compatibility, ReferenceKey, Registry, RegistryError, Remote},
    schema::Reference,
};
use forebay_components::{Apicurio, require};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_independent_registry_is_understood() {
    let apicurio = tokio::task::spawn_blocking(Apicurio::start).await.unwrap();
    let apicurio = require!(apicurio);
    let remote = Remote::open(&settings(&apicurio.url)).unwrap();
    // It may be shared: subjects of this run only.
    let own = |name: &str| format!("{name}/{}", std::process::id());
    let (users, orders) = (own("users"), own("orders"));

    assert!(matches!(remote.latest(&users).await, Err(RegistryError::UnknownSubject(_))));
    assert!(matches!(remote.by_id(2_000_000_000).await, Err(RegistryError::UnknownId(_))));
    assert!(remote.check(&users, USER, &[]).await.unwrap().is_empty());
    let first = remote.register(&users, USER, &[]).await.unwrap();
    assert_eq!((first.version, first.registered.schema.text()), (1, USER));
    let again = remote.register(&users, USER, &[]).await.unwrap();
    assert_eq!((again.version, again.registered.id), (1, first.registered.id));

    let differences = remote.check(&users, USER_WITH_AGE, &[]).await.unwrap();
    assert!(differences.iter().any(|d| d.contains("age") && d.contains("default")), "{differences:?}");
    match remote.register(&users, USER_WITH_AGE, &[]).await {
        Err(RegistryError::Incompatible { version: 1, level: Compatibility::Backward, differences, .. }) => {
            assert!(differences.iter().any(|d| d.contains("age")), "{differences:?}");
        }
        other => panic!("{other:?}"),
    }
    remote.set_compatibility(Some(&users), Compatibility::None).await.unwrap();
    assert_eq!(remote.compatibility(Some(&users)).await.unwrap(), Compatibility::None);
    assert_eq!(remote.compatibility(Some(&own("new"))).await.unwrap(), remote.compatibility(None).await.unwrap());
    let second = remote.register(&users, USER_WITH_AGE, &[]).await.unwrap();
    assert_eq!(remote.latest(&users).await.unwrap().version, 2);
    assert_eq!(remote.versions(&users).await.unwrap(), [1, 2]);
    assert!(remote.subjects().await.unwrap().contains(&users));
    assert_eq!(remote.version(&users, 1).await.unwrap().registered.id, first.registered.id);
    assert!(matches!(remote.version(&users, 9).await, Err(RegistryError::UnknownVersion { version: 9, .. })));

    let order = r#"{"type":"record","name":"Order","namespace":"t","fields":[{"name":"by","type":"t.User"}]}"#;
    let reference =
        Reference { name: "t.User".into(), subject: users.clone(), version: 2, schema: USER_WITH_AGE.into() };
    let key = ReferenceKey { name: "t.User".into(), subject: users.clone(), version: 2 };
    remote.register(&orders, order, &[key]).await.unwrap();
    // Nothing remembered: as another process sees it.
    let other = Remote::open(&settings(&apicurio.url)).unwrap();
    let order = other.latest(&orders).await.unwrap();
    assert_eq!(order.registered.schema.references(), [reference]);
    assert!(order.registered.schema.canonical().contains("age"));
    let by_id = other.by_id(second.registered.id).await.unwrap();
    assert_eq!(by_id.schema.text(), USER_WITH_AGE);

    let Some(root) = apicurio.url.strip_suffix("/apis/ccompat/v7") else { return };
    let wrong = Remote::open(&settings(root)).unwrap();
    match wrong.by_id(first.registered.id).await {
        Err(RegistryError::Unavailable(why)) => assert!(why.contains("registry.url"), "{why}"),
        other => panic!("{other:?}"),
    }
}
