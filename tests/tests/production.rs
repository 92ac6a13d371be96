//! docs/production.md as a user follows it: every command of the page, in its order, in one shell, on real parts.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use forebay_components::{Apicurio, Kafka, S3, require};
use forebay_tests::{harness, lake};

/// For the whole page; it takes about 15 s on an idle machine.
const SECONDS: &str = "240";

/// The text of all blocks that a shell runs.
fn commands(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks.filter_map(|rest| rest.split("```").next()).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_command_of_the_page_works() -> Result<()> {
    let kafka = require!(Kafka::shared(), Ok(()));
    let s3 = require!(S3::start(), Ok(()));
    let registry = require!(Apicurio::start(), Ok(()));
    let dir = tempfile::tempdir()?;
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/production.md"))?;
    let script = format!("set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{}", commands(&page));
    let binaries = harness::binary()?.parent().context("no folder")?.display().to_string();
    // `timeout` ends the shell together with everything that it has started.
    let ran = Command::new("timeout")
        .args(["--kill-after=20", SECONDS, "bash", "-c", &script])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .env_remove("FOREBAY_CONFIG")
        .env("PATH", format!("{binaries}:{}", std::env::var("PATH")?))
        .env("KAFKA", kafka.brokers())
        .env("REGISTRY_URL", &registry.url)
        .env("BUCKET", &s3.bucket)
        .env("S3_ENDPOINT", &s3.endpoint)
        .env("AWS_ACCESS_KEY_ID", &s3.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &s3.secret_key)
        .env("API_LISTEN", "127.0.0.1:0")
        .env("MANAGEMENT_LISTEN", "127.0.0.1:0")
        .output()?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (said(&ran.stdout), said(&ran.stderr));
    let logs = ["api.log", "sink-1.log", "sink-2.log"].map(|name| fs::read_to_string(dir.path().join(name)));
    ensure!(ran.status.success(), "{}\n{out}\n{err}\n{logs:#?}", ran.status);
    for says in [
        "1 broker: 127.0.0.1:",
        "BACKWARD compatible",
        "obeys conditional writes",
        "payments: 1 accepted",
        " since it started",
        "A-17",
    ] {
        ensure!(out.contains(says), "no {says:?} in {out}");
    }
    ensure!(err.contains("counted by each process that delivers"), "{err}");
    let mut rows = 0;
    for file in lake::files(&s3.root()?.join(&s3.bucket).join("lake/payments"))? {
        rows += lake::read(&file)?.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>();
    }
    ensure!(rows == 2, "{rows} rows in the lake\n{out}");
    Ok(())
}
