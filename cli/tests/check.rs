//! `forebay check` from outside.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use serde_json::Value;
use support::Place;

fn finding(findings: &Value, what: &str) -> (bool, String) {
    let found = findings.as_array().unwrap().iter().find(|f| f["what"] == what);
    let found = found.unwrap_or_else(|| panic!("no {what} in {findings:#}"));
    (found["ok"].as_bool().unwrap(), found["says"].as_str().unwrap().to_owned())
}

#[test]
fn a_fresh_place_is_fine_and_stays_as_it_is() {
    let place = Place::new();
    let findings = place.run(&["check", "--json"]).exits(0).json();
    let (ok, says) = finding(&findings, "configuration");
    assert!(ok && says.contains("forebay.yaml was read") && says.contains("1 connector"), "{says}");
    let (ok, says) = finding(&findings, "data_dir");
    assert!(ok && says.contains("will be made"), "{says}");
    assert!(finding(&findings, "listeners").0);
    let (ok, says) = finding(&findings, "connectors.lake");
    assert!(ok && says.contains("all topics as Parquet") && says.contains("will be made"), "{says}");
    assert!(!place.path("forebay-data").exists());
}

#[test]
fn says_what_stands_in_the_way() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let place = Place::bare();
    place.write("bad.avsc", r#"{"type":"record","name":"R","fields":[{"name":"a","type":"strin"}]}"#);
    place.write(
        "forebay.yaml",
        &format!(
            "api: {{listen: {address}, management_listen: 127.0.0.1:0}}\ntopics: {{t: {{schema_file: bad.avsc}}}}\n"
        ),
    );
    let findings = place.run(&["check", "--json"]).exits(1).json();
    let (ok, says) = finding(&findings, "listeners");
    assert!(!ok && says.contains(&address.to_string()) && says.contains("api.listen"), "{says}");
    let (ok, says) = finding(&findings, "topics.t.schema_file");
    assert!(!ok && says.contains("bad.avsc"), "{says}");
}

#[test]
fn everything_is_looked_at_whatever_is_away() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let place = Place::with(&format!(
        "broker: {{url: \"kafka://{free}\"}}\nregistry: {{url: \"http://{free}\"}}\n\
         connectors:\n  bucket:\n    url: s3://lake\n    s3: {{endpoint_url: \"http://{free}\", access_key_id: a, secret_access_key: b}}\n\
         \x20 folder: {{url: \"file://./lake\"}}\n"
    ));
    let findings = place.run(&["check", "--json"]).exits(1).json();
    for (what, sound, part) in [
        ("broker", false, "check broker.url"),
        ("registry", false, "registry"),
        ("connectors.bucket", false, "127.0.0.1"),
        ("connectors.folder", true, "will be made"),
        ("listeners", true, "free"),
    ] {
        let (ok, says) = finding(&findings, what);
        assert!(ok == sound && says.contains(part), "{what}: {ok}: {says}");
    }
    assert!(!place.path("forebay-data").exists());
}

#[test]
fn a_retention_configured_later_is_told_of_and_then_set() {
    let place = Place::new();
    place.run(&["topics", "create", "t", "--partitions", "2"]).exits(0);
    let config = std::fs::read_to_string(place.path("forebay.yaml")).unwrap();
    place.write("forebay.yaml", &format!("{config}topics: {{t: {{retention_ms: -1}}}}\n"));
    let findings = place.run(&["check", "--json"]).exits(0).json();
    let (_, says) = finding(&findings, "topics.t.retention_ms");
    assert_eq!(says, "retention.ms is the log's default, the configuration says -1: the next start of the API sets it");
    place.up().stop();
    assert!(place.run(&["topics", "show", "t"]).exits(0).stdout.contains("retention.ms=-1"));
    let findings = place.run(&["check", "--json"]).exits(0).json();
    assert!(findings.as_array().unwrap().iter().all(|f| f["what"] != "topics.t.retention_ms"), "{findings:#}");
}

#[test]
fn compares_with_what_the_log_holds() {
    let place = Place::new();
    let one = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    let two = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"},{"name":"b","type":"int"}]}"#;
    place.write("one.avsc", one);
    place.write("two.avsc", two);
    place.run(&["topics", "create", "t", "--partitions", "4"]).exits(0);
    place.run(&["schemas", "register", "t-value", "one.avsc"]).exits(0);
    let config = std::fs::read_to_string(place.path("forebay.yaml")).unwrap();
    place.write("forebay.yaml", &format!("{config}topics: {{t: {{partitions: 2, schema_file: two.avsc}}}}\n"));
    let findings = place.run(&["check", "--json"]).exits(1).json();
    let (ok, says) = finding(&findings, "topics.t.partitions");
    assert!(!ok && says.contains("set 4 or more"), "{says}");
    let (ok, says) = finding(&findings, "topics.t.schema_file");
    assert!(!ok && says.contains("does not fit t-value"), "{says}");
    let ran = place.run(&["schemas", "check", "t-value", "two.avsc"]).exits(5);
    assert!(ran.stderr.contains("could not be registered"), "{ran:#?}");
    let ran = place.run(&["schemas", "register", "t-value", "two.avsc"]).exits(5);
    assert!(ran.stderr.contains('b'), "{ran:#?}");
}
