//! versitygw: an S3 server on a folder, with conditional writes that hold under races.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Unavailable, http, install, ports,
    process::{self, Process},
};

/// For its start, which takes 0.1 s when nothing else runs.
const READY: Duration = Duration::from_secs(30);
const REGION: &str = "us-east-1";
const BUCKET: &str = "forebay";

/// An S3 server. Address objects by path: `endpoint/bucket/key`.
pub struct S3 {
    /// `http://host:port`.
    pub endpoint: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// Region to sign for.
    pub region: String,
    /// A bucket that is there.
    pub bucket: String,
    server: Option<Server>,
}

/// The server of our own, as opposed to the one of `FOREBAY_TEST_S3`.
struct Server {
    process: Option<Process>,
    port: u16,
    home: TempDir,
}

impl S3 {
    /// Starts a server with an empty bucket, or takes the one of `FOREBAY_TEST_S3=http://KEY:SECRET@host:port/bucket`.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn start() -> Result<Self, Unavailable> {
        if let Ok(url) = std::env::var("FOREBAY_TEST_S3") {
            return external(&url)
                .ok_or_else(|| anyhow!("FOREBAY_TEST_S3 is not http://KEY:SECRET@host:port/bucket").into());
        }
        install::part("bin/versitygw")?;
        let port = ports::free()?;
        let home = process::home("s3")?;
        let server = Server { process: None, port, home };
        let mut s3 = Self {
            endpoint: format!("http://127.0.0.1:{port}"),
            access_key: "forebay".into(),
            secret_key: "forebay-secret".into(),
            region: REGION.into(),
            bucket: BUCKET.into(),
            server: Some(server),
        };
        s3.create_bucket(BUCKET)?;
        s3.restart()?;
        Ok(s3)
    }

    /// Folder whose folders are the buckets and whose files are the objects.
    ///
    /// # Errors
    /// The server is one of `FOREBAY_TEST_S3`.
    pub fn root(&self) -> anyhow::Result<PathBuf> {
        let server = self.server.as_ref().context("FOREBAY_TEST_S3 has no folder here")?;
        Ok(server.home.path().join("buckets"))
    }

    /// Creates a bucket.
    ///
    /// # Errors
    /// The server is one of `FOREBAY_TEST_S3`, or the folder can't be written.
    pub fn create_bucket(&self, name: &str) -> anyhow::Result<()> {
        Ok(fs::create_dir_all(self.root()?.join(name))?)
    }

    /// Process id.
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn pid(&self) -> anyhow::Result<u32> {
        let process = self.server.as_ref().and_then(|server| server.process.as_ref());
        Ok(process.context("no S3 server of ours runs")?.pid())
    }

    /// kill -9.
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        let process = self.server.as_mut().and_then(|server| server.process.take());
        process.context("no S3 server of ours runs")?.kill()
    }

    /// Starts again on the same port and folder after [`S3::kill`].
    ///
    /// # Errors
    /// It runs, does not start, or isn't ours.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        let root = self.root()?;
        let server = self.server.as_mut().context("no S3 server of ours")?;
        if server.process.is_some() {
            return Err(anyhow!("the S3 server runs"));
        }
        let address = format!("127.0.0.1:{}", server.port);
        let command = command(&self.access_key, &self.secret_key, &address, &root)?;
        let mut process = Process::start("versitygw", server.home.path(), &command)?;
        process.wait_until(READY, |_| http::request("GET", &address, "/", "").is_ok())?;
        server.process = Some(process);
        Ok(())
    }

    /// SIGSTOP: connections stay open and nothing is answered.
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT, after [`S3::stop`].
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn cont(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&mut self, signal: Signal) -> anyhow::Result<()> {
        let process = self.server.as_mut().and_then(|server| server.process.as_mut());
        process.context("no S3 server of ours runs")?.signal(signal)
    }
}

fn command(access: &str, secret: &str, address: &str, root: &Path) -> anyhow::Result<Vec<OsString>> {
    let mut command = vec![install::part("bin/versitygw")?.into_os_string()];
    let options = ["--access", access, "--secret", secret, "--port", address, "--keep-alive", "--quiet", "posix"];
    command.extend(options.map(OsString::from));
    command.push(root.as_os_str().to_owned());
    Ok(command)
}

fn external(url: &str) -> Option<S3> {
    let (scheme, rest) = url.split_once("://")?;
    let (credentials, rest) = rest.rsplit_once('@')?;
    let (access_key, secret_key) = credentials.split_once(':')?;
    let (address, bucket) = rest.split_once('/')?;
    Some(S3 {
        endpoint: format!("{scheme}://{address}"),
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        region: REGION.to_owned(),
        bucket: bucket.trim_end_matches('/').to_owned(),
        server: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_keys_server_and_bucket() {
        let s3 = external("http://key:secret@127.0.0.1:9000/lake/").unwrap();
        let found = [&s3.endpoint, &s3.access_key, &s3.secret_key, &s3.bucket];
        assert_eq!(found, ["http://127.0.0.1:9000", "key", "secret", "lake"]);
        for wrong in ["127.0.0.1:9000", "http://127.0.0.1:9000/lake", "http://key@host/lake", "http://key:secret@host"]
        {
            assert!(external(wrong).is_none(), "{wrong}");
        }
    }
}
