//! Apicurio Registry: a schema registry with Confluent's HTTP API that is none of ours.

use std::{ffi::OsString, time::Duration};

use anyhow::Result;
use tempfile::TempDir;

use crate::{
    Unavailable, http, install, ports,
    process::{self, Process},
};

/// For its start, which takes 3 s when nothing else runs.
const READY: Duration = Duration::from_secs(120);
/// Where it has Confluent's API.
const API: &str = "/apis/ccompat/v7";

/// A registry in memory, whose default compatibility is BACKWARD.
pub struct Apicurio {
    /// Base URL of its Confluent-compatible API: a client's `schema.registry.url`.
    pub url: String,
    _own: Option<(Process, TempDir)>,
}

impl Apicurio {
    /// Starts it, or takes the registry of `FOREBAY_TEST_REGISTRY=http://host:port/path`.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn start() -> Result<Self, Unavailable> {
        if let Ok(url) = std::env::var("FOREBAY_TEST_REGISTRY") {
            return Ok(Self { url: url.trim_end_matches('/').to_owned(), _own: None });
        }
        let java = install::part("bin/java")?;
        let jar = install::part("apicurio/quarkus-run.jar")?;
        Ok(Self::start_at(ports::free()?, java.into(), jar.into())?)
    }

    fn start_at(port: u16, java: OsString, jar: OsString) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let home = process::home("apicurio")?;
        let mut command = vec![java];
        command.extend(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"].map(OsString::from));
        let options = [
            "quarkus.http.host=127.0.0.1",
            &format!("quarkus.http.port={port}"),
            // Else it listens on every address, for its own health page.
            "quarkus.management.host=127.0.0.1",
            &format!("quarkus.management.port={}", ports::free()?),
            "apicurio.rules.global.compatibility=BACKWARD",
            "apicurio.ccompat.use-canonical-hash=true",
            // It unpacks libraries there, and leaves them behind when it is killed.
            &format!("java.io.tmpdir={}", home.path().display()),
        ];
        command.extend(options.map(|option| OsString::from(format!("-D{option}"))));
        command.extend([OsString::from("-jar"), jar]);
        let mut process = Process::start("apicurio", home.path(), &command)?;
        let subjects = format!("{API}/subjects");
        process.wait_until(READY, |_| {
            http::request("GET", &address, &subjects, "").is_ok_and(|answer| answer.status == 200)
        })?;
        Ok(Self { url: format!("http://{address}{API}"), _own: Some((process, home)) })
    }
}
