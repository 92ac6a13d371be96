//! What a person tells a connector, from outside: pause, resume, restart.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::fs;

use forebay_broker::{
    Headers, Log, NewRecord, TopicSpec,
    config::{BrokerOptions, ProducerOptions},
    local::{LocalLog, LocalSettings},
};
use serde_json::Value;
use support::{Place, event, until};

/// Records that no converter can read, written to the log past the API.
async fn poison(place: &Place, topic: &str, count: usize) {
    let broker = BrokerOptions::default().settings().unwrap();
    let producer = ProducerOptions::default().settings(&broker.url).unwrap();
    let log = LocalLog::open(LocalSettings::new(place.path("forebay-data/log"), &broker, producer)).unwrap();
    let spec = TopicSpec { name: topic.to_owned(), partitions: 1, config: Default::default() };
    log.create_topic(&spec).await.unwrap();
    let record = NewRecord {
        topic: topic.into(),
        partition: Some(0),
        key: None,
        value: Some("no Avro".into()),
        headers: Headers::default(),
        timestamp_ms: None,
    };
    for receipt in log.produce(vec![record; count]).unwrap().await {
        receipt.unwrap();
    }
    log.close().await.unwrap();
}

fn shown(place: &Place) -> Value {
    place.run(&["connectors", "show", "lake", "--json"]).exits(0).json()
}

fn produce(place: &Place, numbers: std::ops::Range<u32>) {
    let lines: Vec<String> = numbers.map(event).collect();
    place.run_with(&["produce", "hello"], &lines.join("\n")).exits(0);
}

/// Waits for a state, and gives what the first task says.
fn in_state(place: &Place, state: &str) -> Value {
    until(state, || {
        let status = shown(place);
        (status["state"] == state).then(|| status["tasks"][0].clone())
    })
}

fn delivered(place: &Place, rows: u64) {
    until("all to be delivered", || {
        let status = shown(place);
        (status["rows"] == rows && status["lag"] == 0 && status["state"] == "running").then_some(())
    });
}

fn dead_letters_are_told(place: &Place) {
    let tail = |format: &str| place.run(&["tail", "events.dlq", "-n", "150", "--format", format]).exits(0);
    let table = tail("table").stdout;
    let lines: Vec<&str> = table.lines().collect();
    let titles: Vec<&str> = lines[0].split("  ").map(str::trim).filter(|title| !title.is_empty()).collect();
    assert_eq!(titles, ["AT", "FAILED AT", "CONNECTOR", "STAGE", "REASON", "FROM", "MESSAGE"], "{table}");
    assert_eq!(lines.len(), 151, "{table}");
    for offset in 0..150 {
        let of_it = |line: &&&str| line.split("  ").any(|cell| cell.trim() == format!("hello 0:{offset}"));
        let line = lines.iter().find(of_it).unwrap_or_else(|| panic!("no {offset} in {table}"));
        let cells: Vec<&str> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        assert_eq!((cells.len(), &cells[2..5]), (7, &["lake", "VALUE_CONVERTER", "DECODE_FAILED"][..]), "{line}");
    }
    let newest = tail("ndjson").stdout;
    let newest: Value = serde_json::from_str(newest.lines().last().unwrap()).unwrap();
    let header = |name: &str| newest["headers"][name].as_str().unwrap().to_owned();
    assert_eq!(header("__connect.errors.topic"), "hello");
    assert!(lines[150].ends_with(&header("__connect.errors.exception.message")), "{newest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_pauses_until_a_person_resumes() {
    let place = Place::new();
    poison(&place, "hello", 150).await;
    let up = place.up();
    let task = in_state(&place, "paused");
    assert_eq!(task["code"], "BAD_RATE", "{task}");
    assert!(task["advice"].as_str().unwrap().contains("`forebay connectors resume lake`"), "{task}");
    produce(&place, 0..20);
    until("the events to wait", || (shown(&place)["lag"] == 20).then_some(()));
    let told = place.run(&["connectors", "resume", "lake"]).exits(0);
    assert!(told.stdout.contains("Told lake to resume"), "{told:#?}");
    delivered(&place, 20);
    assert_eq!(shown(&place)["dead_letters"], 150);
    dead_letters_are_told(&place);

    place.run(&["connectors", "pause", "lake"]).exits(0);
    assert_eq!(in_state(&place, "paused")["code"], Value::Null, "a person wanted it");
    produce(&place, 20..30);
    place.run(&["connectors", "restart", "lake"]).exits(0);
    assert_eq!(shown(&place)["state"], "paused", "nothing has failed");
    let told = place.run(&["connectors", "resume", "lake", "--json"]).exits(0).json();
    assert_eq!(told, serde_json::json!({"connector": "lake", "told": "resume"}));
    delivered(&place, 30);
    let ran = place.run(&["connectors", "pause", "nope"]).exits(3);
    assert!(ran.stderr.contains("no connector of that name"), "{ran:#?}");
    up.stop().exits(0);
    let ran = place.run(&["connectors", "resume", "lake"]).exits(5);
    assert!(
        ran.stderr.contains("Nothing runs the connector lake now") && ran.stderr.contains("`forebay up`"),
        "{ran:#?}"
    );
}

#[test]
fn a_failed_task_starts_again_once_its_advice_was_followed() {
    let place = Place::new();
    let up = place.up();
    let key = |partition: u32| {
        let name = format!("hello+{partition}+{:020}+1.parquet", 0);
        place.path("forebay-data/lake").join(format!("hello/partition={partition}/{name}"))
    };
    let foreign: Vec<_> = (0..16).map(key).collect();
    for file in &foreign {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "theirs").unwrap();
    }
    produce(&place, 0..20);
    let task = in_state(&place, "failed");
    assert_eq!(task["code"], "FOREIGN_OBJECT", "{task}");
    assert!(task["advice"].as_str().unwrap().contains("`forebay connectors restart lake`"), "{task}");
    for file in &foreign {
        assert_eq!(fs::read_to_string(file).unwrap(), "theirs");
        fs::remove_file(file).unwrap();
    }
    place.run(&["connectors", "restart", "lake"]).exits(0);
    delivered(&place, 20);
    up.stop().exits(0);
}
