//! One node of a Kafka cluster: its folder, its storage, its process.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    install, ports,
    process::{self, Process},
};

/// For its start, which takes 2-4 s when nothing else runs.
const READY: Duration = Duration::from_secs(90);
/// For an end in order; with other nodes gone, Kafka waits long.
const END: Duration = Duration::from_secs(60);
/// Flags for a quick start and little memory on a machine that runs much else.
const JVM: [&str; 4] = ["-Xms64m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];

/// A node, running or not.
pub struct Node {
    process: Option<Process>,
    home: TempDir,
}

impl Node {
    /// A node with empty storage, as `kafka.tools.StorageTool format` leaves it; the files are written here because a
    /// start of the tool takes as long as that of the node.
    pub fn new(cluster_id: &str, node: u32, properties: impl FnOnce(&Path) -> String) -> Result<Self> {
        let this = Self::unformatted(properties)?;
        let data = this.home().join("data");
        fs::create_dir(&data)?;
        let directory_id = random_id();
        let meta = format!("version=1\nnode.id={node}\ncluster.id={cluster_id}\ndirectory.id={directory_id}\n");
        fs::write(data.join("meta.properties"), meta)?;
        fs::copy(install::part("kafka/bootstrap.checkpoint")?, data.join("bootstrap.checkpoint"))?;
        Ok(this)
    }

    /// A node whose storage Kafka's own tool formats, with SCRAM users such as `SCRAM-SHA-256=[name=a,password=b]`.
    pub fn formatted(cluster_id: &str, users: &[String], properties: impl FnOnce(&Path) -> String) -> Result<Self> {
        let this = Self::unformatted(properties)?;
        let mut command = java("kafka.tools.StorageTool")?;
        command.extend(["format", "--cluster-id", cluster_id, "--config"].map(OsString::from));
        command.push(this.settings().into());
        for user in users {
            command.extend([OsString::from("--add-scram"), user.into()]);
        }
        process::run("format", this.home(), &command)?;
        Ok(this)
    }

    fn unformatted(properties: impl FnOnce(&Path) -> String) -> Result<Self> {
        let this = Self { process: None, home: process::home("kafka")? };
        fs::write(this.settings(), properties(this.home()))?;
        fs::write(this.home().join("log4j2.properties"), include_str!("log4j2.properties"))?;
        Ok(this)
    }

    /// Its folder: settings, log, data.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    fn settings(&self) -> PathBuf {
        self.home().join("server.properties")
    }

    /// Starts it, or starts it again, without waiting.
    pub fn launch(&mut self) -> Result<()> {
        if self.process.is_some() {
            bail!("the Kafka node runs");
        }
        let mut command = java("kafka.Kafka")?;
        command.push(self.settings().into());
        self.process = Some(Process::start("kafka", self.home.path(), &command)?);
        Ok(())
    }

    /// Waits until it serves. Its port opens before.
    pub fn ready(&mut self) -> Result<()> {
        self.running()?.wait_until(READY, |process| process.log().contains("Kafka Server started"))
    }

    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        self.running()?.signal(signal)
    }

    pub fn kill(&mut self) -> Result<()> {
        self.process.take().context("the Kafka node doesn't run")?.kill()
    }

    pub fn terminate(&mut self) -> Result<()> {
        self.process.take().context("the Kafka node doesn't run")?.terminate(END).map(drop)
    }

    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the Kafka node doesn't run")?.pid())
    }

    fn running(&mut self) -> Result<&mut Process> {
        self.process.as_mut().context("the Kafka node doesn't run")
    }
}

/// The command for a class of Kafka's, without its arguments.
fn java(class: &str) -> Result<Vec<OsString>> {
    let mut command = vec![install::part("bin/java")?.into_os_string()];
    command.extend(JVM.map(OsString::from));
    // Classes as the JVM keeps them in memory, saved by the installation: halves the start.
    if let Ok(classes) = install::part("kafka/classes.jsa") {
        command.push(option("-XX:SharedArchiveFile=", &classes));
    }
    command.push("-Dlog4j2.configurationFile=log4j2.properties".into());
    command.push("-cp".into());
    command.push(install::part("kafka/lib")?.join("*").into());
    command.push(class.into());
    Ok(command)
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// A Kafka UUID: 16 bytes as URL-safe base64. It never begins with `-`, which command lines take for an option.
pub fn random_id() -> String {
    let mut bits = u128::from(ports::random()) << 64 | u128::from(ports::random());
    let mut text = String::new();
    for _ in 0..21 {
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz012345678901";
        text.push(char::from(alphabet[(bits & 63) as usize]));
        bits >>= 6;
    }
    // 16 bytes are 128 bits; the last character holds two of them, in its upper bits.
    text.push('A');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_22_letters_and_digits_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| random_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.len() == 22 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())));
    }
}
