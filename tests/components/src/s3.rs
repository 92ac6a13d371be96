//! versitygw: an S3 server on a folder, with conditional writes that hold under races.

use std::{ffi::OsString, fs, net::TcpStream, ops::Deref, path::PathBuf, time::Duration};

use anyhow::{Context, anyhow};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    Unavailable, certificates, http, install, ports,
    process::{self, Process},
};

/// For its start, which takes 0.1 s when nothing else runs.
const READY: Duration = Duration::from_secs(30);
const REGION: &str = "us-east-1";
const BUCKET: &str = "forebay";

/// A bucket that is there, and who may use it. Address objects by path: `endpoint/bucket/key`.
pub struct Bucket {
    /// `http://host:port`, or `https://host:port`.
    pub endpoint: String,
    /// Access key id.
    pub access_key: String,
    /// Secret access key.
    pub secret_key: String,
    /// Region to sign for.
    pub region: String,
    /// Its name.
    pub bucket: String,
}

/// An S3 server with a bucket.
pub struct S3 {
    bucket: Bucket,
    server: Option<Server>,
}

/// The server of our own, as opposed to the one of `FOREBAY_TEST_S3`.
struct Server {
    process: Option<Process>,
    port: u16,
    home: TempDir,
    tls: bool,
}

impl Deref for S3 {
    type Target = Bucket;

    fn deref(&self) -> &Bucket {
        &self.bucket
    }
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
        Self::ours(false)
    }

    /// Starts a server with an empty bucket that speaks TLS alone. Its certificate is signed by the authority of
    /// [`S3::ca_file`].
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn over_tls() -> Result<Self, Unavailable> {
        Self::ours(true)
    }

    fn ours(tls: bool) -> Result<Self, Unavailable> {
        install::part("bin/versitygw")?;
        let port = ports::free()?;
        let home = process::home("s3")?;
        if tls {
            certificates::make(home.path())?;
        }
        let bucket = Bucket {
            endpoint: format!("{}://127.0.0.1:{port}", if tls { "https" } else { "http" }),
            access_key: "forebay".into(),
            secret_key: "forebay-secret".into(),
            region: REGION.into(),
            bucket: BUCKET.into(),
        };
        let mut s3 = Self { bucket, server: Some(Server { process: None, port, home, tls }) };
        s3.create_bucket(BUCKET)?;
        s3.restart()?;
        Ok(s3)
    }

    /// Certificate, as PEM, of the authority that signed the server's: of [`S3::over_tls`].
    ///
    /// # Errors
    /// The server is one of `FOREBAY_TEST_S3`.
    pub fn ca_file(&self) -> anyhow::Result<PathBuf> {
        Ok(self.server()?.home.path().join(certificates::AUTHORITY))
    }

    fn server(&self) -> anyhow::Result<&Server> {
        self.server.as_ref().context("FOREBAY_TEST_S3 has no folder here")
    }

    /// Folder whose folders are the buckets and whose files are the objects.
    ///
    /// # Errors
    /// The server is one of `FOREBAY_TEST_S3`.
    pub fn root(&self) -> anyhow::Result<PathBuf> {
        Ok(self.server()?.home.path().join("buckets"))
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
        let command = self.command()?;
        let server = self.server.as_mut().context("no S3 server of ours")?;
        if server.process.is_some() {
            return Err(anyhow!("the S3 server runs"));
        }
        let address = format!("127.0.0.1:{}", server.port);
        let mut process = Process::start("versitygw", server.home.path(), &command)?;
        // By TLS it answers as soon as it listens.
        let ready = |_: &Process| match server.tls {
            true => TcpStream::connect(&address).is_ok(),
            false => http::request("GET", &address, "/", "").is_ok(),
        };
        process.wait_until(READY, ready)?;
        server.process = Some(process);
        Ok(())
    }

    fn command(&self) -> anyhow::Result<Vec<OsString>> {
        let Server { port, home, tls, .. } = self.server()?;
        let mut command = vec![install::part("bin/versitygw")?.into_os_string()];
        let address = format!("127.0.0.1:{port}");
        let who = ["--access", &self.access_key, "--secret", &self.secret_key, "--port", &address];
        command.extend(who.map(OsString::from));
        if *tls {
            let file = |name| home.path().join(name).into_os_string();
            command.extend(["--cert".into(), file(certificates::OWN), "--key".into(), file(certificates::KEY)]);
        }
        command.extend(["--keep-alive", "--quiet", "posix"].map(OsString::from));
        command.push(self.root()?.into_os_string());
        Ok(command)
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

fn external(url: &str) -> Option<S3> {
    let (scheme, rest) = url.split_once("://")?;
    let (credentials, rest) = rest.rsplit_once('@')?;
    let (access_key, secret_key) = credentials.split_once(':')?;
    let (address, bucket) = rest.split_once('/')?;
    let bucket = Bucket {
        endpoint: format!("{scheme}://{address}"),
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        region: REGION.to_owned(),
        bucket: bucket.trim_end_matches('/').to_owned(),
    };
    Some(S3 { bucket, server: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_names_keys_server_and_bucket() {
        let s3 = external("http://key:secret@127.0.0.1:9000/lake/").unwrap();
        let found = [&s3.endpoint, &s3.access_key, &s3.secret_key, &s3.bucket.bucket];
        assert_eq!(found, ["http://127.0.0.1:9000", "key", "secret", "lake"]);
        for wrong in ["127.0.0.1:9000", "http://127.0.0.1:9000/lake", "http://key@host/lake", "http://key:secret@host"]
        {
            assert!(external(wrong).is_none(), "{wrong}");
        }
    }
}
