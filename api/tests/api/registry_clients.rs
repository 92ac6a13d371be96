//! schema_registry_converter against the embedded registry.

use forebay_avro::registry::{Compatibility, Registry};
use schema_registry_converter::{
    async_impl::schema_registry::{
        SrSettings, get_all_subjects, get_all_versions, get_schema_by_guid, get_schema_by_id,
        get_schema_by_subject_and_version, is_compatible_schema, post_schema,
    },
    schema_registry_common::{SchemaType, SuppliedReference, SuppliedSchema},
};

use crate::support::Service;

const USER: &str = r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"}]}"#;
const USER_AGE: &str =
    r#"{"type":"record","name":"t.User","fields":[{"name":"id","type":"long"},{"name":"age","type":"int"}]}"#;
const TEAM: &str = r#"{"type":"record","name":"t.Team","fields":[{"name":"lead","type":"t.User"}]}"#;

#[tokio::test]
async fn schema_registry_converter_registers_finds_and_compares() {
    let service = Service::start().await;
    let settings = SrSettings::new(format!("http://{}", service.registry_door));
    let supplied = |text: &str| SuppliedSchema::new(None, SchemaType::Avro, text.to_owned());
    let mut team = supplied(TEAM);
    team.references.push(SuppliedReference::new("t.User".to_owned(), "a/user".to_owned(), USER.to_owned()));
    let registered = post_schema(&settings, "team".to_owned(), team.clone()).await.unwrap();
    assert_eq!(registered.id, 2, "its reference came first");
    assert_eq!(post_schema(&settings, "team".to_owned(), team).await.unwrap().id, 2);

    let by_id = get_schema_by_id(2, &settings).await.unwrap();
    assert_eq!((by_id.schema.as_str(), &by_id.schema_type), (TEAM, &SchemaType::Avro));
    assert_eq!((by_id.references[0].subject.as_str(), by_id.references[0].version), ("a/user", 1));
    let guid = by_id.guid.unwrap();
    assert_eq!(get_schema_by_guid(&guid, &settings).await.unwrap().schema, TEAM);
    for version in [None, Some(1)] {
        let found = get_schema_by_subject_and_version(&settings, "a/user", version).await.unwrap();
        assert_eq!((found.id, found.version, found.schema.as_str()), (1, Some(1), USER));
    }
    assert!(get_schema_by_subject_and_version(&settings, "none", None).await.is_err());
    assert!(get_schema_by_id(99, &settings).await.is_err());
    assert_eq!(get_all_subjects(&settings).await.unwrap(), ["a/user", "team"]);
    assert_eq!(get_all_versions(&settings, "team".to_owned()).await.unwrap(), [1]);
    assert!(is_compatible_schema(&settings, "team".to_owned(), supplied(TEAM)).await.is_err(), "its reference lacks");
    service.registry.set_compatibility(Some("u"), Compatibility::Full).await.unwrap();
    post_schema(&settings, "u".to_owned(), supplied(USER)).await.unwrap();
    assert!(is_compatible_schema(&settings, "u".to_owned(), supplied(USER)).await.unwrap());
    assert!(!is_compatible_schema(&settings, "u".to_owned(), supplied(USER_AGE)).await.unwrap());
    assert!(post_schema(&settings, "u".to_owned(), supplied(USER_AGE)).await.is_err());
}
