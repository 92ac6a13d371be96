//! The main path as a user walks it: an event by HTTP, a row in a Parquet file; and what comes back for broken events.

use anyhow::{Context, Result};
use arrow::array::AsArray;
use forebay_tests::{harness::System, lake};
use serde_json::{Value, json};

const REPAIR: &str = r#"{"type":"record","name":"Repair","fields":[
  {"name":"tailnum","type":"string"},
  {"name":"severity","type":{"type":"enum","name":"Severity","symbols":["MINOR","MAJOR","CRITICAL"]}},
  {"name":"place","type":{"type":"record","name":"Place","fields":[{"name":"hangar","type":
    {"type":"record","name":"Hangar","fields":[{"name":"bay","type":"int"}]}}]}}]}"#;

const CONFIG: &str = "topics:\n  repairs:\n    partitions: 1\n    schema_file: repair.avsc\n\
connectors:\n  lake:\n    sink: s3\n    url: \"file://./data/lake\"\n    topics: [\"*\"]\n    format: parquet\n\
\x20   partitioner: hourly\n    batch: {max_age_ms: 200}\n    metadata.columns: true\n";

fn event(id: &str, payload: &Value) -> Value {
    json!({"event_id": id, "timestamp": "2026-11-20T08:00:00Z", "event_type": "repair.started", "payload": payload})
}

fn repair(bay: Value) -> Value {
    json!({"tailnum": "N14228", "severity": "MAJOR", "place": {"hangar": {"bay": bay}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_row_and_broken_ones_say_why() -> Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("repair.avsc"), REPAIR)?;
    let mut system = System::new(dir.path(), CONFIG)?;
    system.start(None).await?;

    let (status, answer) = system.post("/api/v1/events/repairs", event("a", &repair(json!(3))).to_string()).await?;
    assert_eq!((status, answer), (200, json!({"status": "accepted", "event_id": "a", "partition": 0, "offset": 0})));
    three_mistakes_in_one_answer(&system).await?;
    dead_letter(&system).await?;
    mixed_batch(&system).await?;

    system.lake_holds_all("repairs").await?;
    system.terminate().await?;
    let files = lake::files(&dir.path().join("data/lake/repairs"))?;
    assert!(files.iter().all(|file| file.to_string_lossy().contains("/hour=")), "{files:?}");
    let mut bays = Vec::new();
    for file in &files {
        for batch in lake::read(file)? {
            let place = batch.column_by_name("place").context("no place")?.as_struct().clone();
            let hangar = place.column_by_name("hangar").context("no hangar")?.as_struct().clone();
            bays.extend(hangar.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().iter().copied());
        }
    }
    bays.sort_unstable();
    assert_eq!(bays, [3, 4]);
    Ok(())
}

async fn three_mistakes_in_one_answer(system: &System) -> Result<()> {
    let broken = json!({"severity": "CRITCAL", "place": {"hangar": {"bay": "three"}}});
    let (status, answer) = system.post("/api/v1/events/repairs", event("b", &broken).to_string()).await?;
    assert_eq!((status, &answer["code"]), (422, &json!("schema_validation_failed")), "{answer}");
    let mut errors: Vec<(&str, &str)> = answer["errors"]
        .as_array()
        .context("no errors")?
        .iter()
        .map(|error| (error["pointer"].as_str().unwrap_or_default(), error["type"].as_str().unwrap_or_default()))
        .collect();
    errors.sort_unstable();
    let expected =
        [("/payload/place/hangar/bay", "int_type"), ("/payload/severity", "enum"), ("/payload/tailnum", "missing")];
    assert_eq!(errors, expected);
    assert!(answer.to_string().contains("CRITICAL"), "the nearest symbol is named: {answer}");
    Ok(())
}

async fn dead_letter(system: &System) -> Result<()> {
    let broken = event("c", &repair(json!("three"))).to_string();
    let (status, answer) = system.post("/api/v1/events/repairs?on_invalid=dlq", broken).await?;
    assert_eq!((status, &answer["status"]), (202, &json!("dead_lettered")), "{answer}");
    let letters = system.get("/api/v1/events/events.dlq/latest").await?;
    let headers = &letters["events"][0]["headers"];
    assert_eq!(headers["forebay.reason"], "VALIDATION_FAILED", "{letters}");
    assert!(headers["forebay.errors"].as_str().is_some_and(|errors| errors.contains("/payload/place/hangar/bay")));
    Ok(())
}

async fn mixed_batch(system: &System) -> Result<()> {
    let batch = json!({"events": [event("d", &repair(json!(4))), event("e", &repair(json!(null)))]});
    let (status, answer) = system.post("/api/v1/events/repairs/batch", batch.to_string()).await?;
    assert_eq!(status, 207, "{answer}");
    let outcomes: Vec<&Value> =
        answer["results"].as_array().context("no results")?.iter().map(|r| &r["status"]).collect();
    assert_eq!(outcomes, [&json!("accepted"), &json!("invalid")]);
    Ok(())
}
