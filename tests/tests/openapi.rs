//! The OpenAPI document of a running system, before judges that are none of ours: a validator of the standard, another
//! reader of its schemas, and requests made up from it.

use std::{
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use forebay_components::{python, require};
use forebay_tests::harness::System;
use serde_json::{Value, json};

/// For a change to be seen in the document, which is looked after once a second.
const SEEN: Duration = Duration::from_secs(60);
/// Made-up requests for an operation, beside those at the edges of its schemas: some 1,500 in all, about half a minute.
const REQUESTS: &str = "12";

const CONFIG: &str = "topics:\n  keyed: {partitions: 1, key: /payload/region/code, key_required: true}\n  \
made: {partitions: 1, generate: [event_id, timestamp]}\n  a.b: {partitions: 1}\n  A_b: {partitions: 1}\n";

const FLIGHT: &str = r#"{"type":"record","name":"n.Flight","doc":"A departure.","fields":[
    {"name":"tailnum","type":["null","string"],"default":null,"doc":"The aircraft."},
    {"name":"fare","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}},
    {"name":"cabin","type":{"type":"enum","name":"Cabin","symbols":["Y","C"]}},
    {"name":"seat","type":["int","string",{"type":"map","values":"long"}]},
    {"name":"legs","type":{"type":"array","items":{"type":"record","name":"Leg","fields":[
        {"name":"left","type":{"type":"long","logicalType":"timestamp-millis"}},
        {"name":"next","type":["null","Leg"],"default":null}]}}}]}"#;

/// A system with topics of every shape, one of them with a schema that it got while it ran.
async fn system(dir: &Path) -> Result<System> {
    let mut system = System::new(dir, CONFIG)?;
    system.start(None).await?;
    let before = system.get("/openapi.json").await?;
    ensure!(before["paths"]["/api/v1/events/A_b"].is_object(), "a configured topic has no path of its own");
    let typed = format!(
        r#"{{"type":"record","name":"E","fields":[{{"name":"event_id","type":"string"}},{{"name":"event_type","type":"string"}},
           {{"name":"timestamp","type":{{"type":"long","logicalType":"timestamp-micros"}}}},{{"name":"payload","type":{FLIGHT}}}]}}"#
    );
    for (subject, schema) in [("a.b-value", FLIGHT), ("A_b-value", &typed)] {
        let path = format!("/api/v1/schemas/{subject}/versions");
        let (status, answer) = system.post(&path, json!({ "schema": schema }).to_string()).await?;
        ensure!(status == 201, "{answer}");
    }
    let wait = async {
        while !system.get("/openapi.json").await?["components"]["schemas"]["topic.A_b"]["$defs"]["n.Flight"].is_object()
        {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(SEEN, wait).await.context("the document does not show a schema registered meanwhile")??;
    Ok(system)
}

async fn run(mut command: Command) -> Result<Output> {
    Ok(tokio::task::spawn_blocking(move || command.output()).await??)
}

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_valid_and_so_are_its_examples() -> Result<()> {
    let python = require!(python(), Ok(()));
    let dir = tempfile::tempdir()?;
    let system = system(dir.path()).await?;
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.py")).arg(&system.url).current_dir(dir.path());
    let output = run(command).await?;
    ensure!(output.status.success(), "{}", told(&output));
    ensure!(String::from_utf8_lossy(&output.stdout).trim() == "4", "each topic has an example: {}", told(&output));
    Ok(())
}

/// Requests made up from the document, right ones and wrong ones: no answer may be a fault of the service, or one that
/// the document does not know.
#[tokio::test(flavor = "multi_thread")]
async fn requests_made_up_from_the_document_have_documented_answers() -> Result<()> {
    let python = require!(python(), Ok(()));
    let dir = tempfile::tempdir()?;
    let system = system(dir.path()).await?;
    let mut command = Command::new(python);
    command.args(["-m", "schemathesis.cli", "run", &format!("{}/openapi.json", system.url), "--no-color"]);
    command.args(["--phases", "examples,coverage,fuzzing", "--max-examples", REQUESTS, "--seed", "7"]);
    command.args(["--continue-on-failure", "--warnings", "off", "--request-timeout", "30"]);
    command.args([
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
         response_schema_conformance",
    ]);
    // It keeps what it learnt in the folder it runs in.
    command.current_dir(dir.path());
    let output = run(command).await?;
    ensure!(output.status.success(), "{}", told(&output));
    let health: Value = system.get("/api/v1/health").await?;
    ensure!(health["status"] == "healthy", "{health}");
    Ok(())
}
