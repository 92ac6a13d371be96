//! moto: AWS services in memory, S3 among them; a second opinion on conditional writes.

use std::{ffi::OsString, ops::Deref, time::Duration};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::{
    Bucket, Unavailable, http, install, ports,
    process::{self, Process},
};

/// For its start, which takes 3 s when nothing else runs.
const READY: Duration = Duration::from_secs(90);
const BUCKET: &str = "forebay";

/// A moto server. Any credentials do. Dropping it ends it.
pub struct Moto {
    bucket: Bucket,
    _process: Process,
    _home: TempDir,
}

impl Deref for Moto {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.bucket
    }
}

impl Moto {
    /// Starts it, with an empty bucket.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn start() -> Result<Self, Unavailable> {
        let python = install::python()?;
        Ok(Self::start_at(ports::free()?, python.into())?)
    }

    fn start_at(port: u16, python: OsString) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let home = process::home("moto")?;
        let mut command = vec![python];
        command.extend(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()].map(OsString::from));
        let mut process = Process::start("moto", home.path(), &command)?;
        process.wait_until(READY, |_| http::request("GET", &address, "/moto-api/", "").is_ok())?;
        let answer = http::request("PUT", &address, &format!("/{BUCKET}"), "")?;
        if answer.status != 200 {
            bail!("moto answered {} to the creation of a bucket: {}", answer.status, answer.body);
        }
        let bucket = Bucket {
            endpoint: format!("http://{address}"),
            access_key: "any".into(),
            secret_key: "any".into(),
            region: "us-east-1".into(),
            bucket: BUCKET.into(),
        };
        Ok(Self { bucket, _process: process, _home: home })
    }
}
