//! The registry that `forebay up` serves: confluent-kafka's client in full, and what is left after kill -9.

use std::process::Command;

use anyhow::Result;
use forebay_components::{python, require};
use forebay_tests::harness::System;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn confluent_kafka_works_with_the_registry_in_full() -> Result<()> {
    let python = require!(python(), Ok(()));
    let dir = tempfile::tempdir()?;
    let mut system = System::new(dir.path(), "")?;
    system.start(None).await?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/registry/client.py");
    let ran = Command::new(python).arg(script).arg(&system.registry).output()?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    system.terminate().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_registry_comes_back_whole() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut system = System::new(dir.path(), "")?;
    system.start(None).await?;
    for (subject, schema) in [("kept", "\"int\""), ("hidden", "\"long\""), ("gone", "\"string\"")] {
        let path = format!("subjects/{subject}/versions");
        send(&system, "POST", &path, Some(json!({"schema": schema}))).await?;
    }
    for path in ["subjects/hidden", "subjects/gone", "subjects/gone?permanent=true"] {
        send(&system, "DELETE", path, None).await?;
    }
    send(&system, "PUT", "mode/kept", Some(json!({"mode": "READONLY"}))).await?;
    send(&system, "PUT", "config", Some(json!({"compatibility": "FULL"}))).await?;
    system.kill()?;
    system.start(None).await?;
    for (path, expected) in [
        ("subjects", json!(["kept"])),
        ("subjects?deleted=true", json!(["hidden", "kept"])),
        ("mode/kept", json!({"mode": "READONLY"})),
        ("config", json!({"compatibilityLevel": "FULL"})),
    ] {
        assert_eq!(send(&system, "GET", path, None).await?, expected, "{path}");
    }
    let next = send(&system, "POST", "subjects/gone/versions", Some(json!({"schema": "\"string\""}))).await?;
    assert_eq!((&next["id"], &next["version"]), (&json!(4), &json!(1)), "ids are never given twice");
    system.terminate().await?;
    Ok(())
}

async fn send(system: &System, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
    let request = reqwest::Client::new().request(method.parse()?, format!("{}/{path}", system.registry));
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(body.to_string()),
        None => request,
    };
    let answer = request.send().await?.error_for_status()?;
    Ok(answer.json().await?)
}
