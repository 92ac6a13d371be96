//! Hostile bodies against the running system: refused within limits, the service up, its memory flat.
#![allow(clippy::unwrap_used)]

use anyhow::Result;
use flate2::{Compress, Compression, FlushCompress};
use forebay_tests::harness::System;
use serde_json::json;

/// How much the peak of resident memory may rise over one attack: the inflate limit of 10 MiB and buffers.
const MEMORY: u64 = 48 << 20;

/// A gzip stream of 2 GiB of spaces, made of equal independent blocks so that it costs nothing to make.
fn bomb() -> Vec<u8> {
    const CHUNK: usize = 1 << 20;
    let mut deflate = Compress::new(Compression::best(), false);
    let (chunk, mut block) = (vec![b' '; CHUNK], Vec::with_capacity(64 << 10));
    deflate.compress_vec(&chunk, &mut block, FlushCompress::Full).unwrap();
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    for _ in 0..(2_usize << 30) / CHUNK {
        stream.extend_from_slice(&block);
    }
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_are_refused_and_memory_stays_flat() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let mut system = System::new(dir.path(), "")?;
    system.start(None).await?;
    let good =
        json!({"event_id": "a", "timestamp": "2026-11-20T08:00:00Z", "event_type": "t", "payload": {}}).to_string();
    let (status, answer) = system.post("/api/v1/events/orders", good.clone()).await?;
    assert_eq!(status, 200, "{answer}");
    let (_, before) = system.memory()?;

    let url = format!("{}/api/v1/events/orders/batch", system.url);
    let request = reqwest::Client::new().post(&url).header("content-type", "application/json");
    let answer = request.header("content-encoding", "gzip").body(bomb()).send().await?;
    assert_eq!(answer.status(), 413);
    assert_eq!(answer.json::<serde_json::Value>().await?["code"], "inflated_too_large");

    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let deep = format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
        let event = good.replace("\"payload\":{}", &format!("\"payload\":{{\"a\":{deep}}}"));
        let (status, answer) = system.post("/api/v1/events/orders", event).await?;
        assert_eq!((status, &answer["errors"][0]["type"]), (422, &json!("json_depth")), "{answer}");
    }

    let (status, _) = system.post("/api/v1/events/orders", good).await?;
    assert_eq!(status, 200, "the service is up");
    let (_, after) = system.memory()?;
    assert!(after - before < MEMORY, "the peak rose from {before} to {after} bytes");
    system.terminate().await?;
    Ok(())
}
