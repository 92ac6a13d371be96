//! `forebay api`, `forebay sink` or `forebay up` as child processes of one configuration, each with a log of its own.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::binary;

/// For a process to be ready, or to end, in a debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A port that nobody listened on a moment ago.
///
/// # Errors
/// There is none.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A role of the command, running on `forebay.yaml` of a folder. Killed when dropped.
pub struct Role {
    dir: PathBuf,
    role: &'static str,
    name: String,
    child: Option<Child>,
}

impl Role {
    /// Starts `forebay <role>`; its log goes to `<name>.log` beside the configuration.
    ///
    /// # Errors
    /// The binary is not built, or does not start.
    pub fn start(dir: &Path, role: &'static str, name: &str) -> Result<Self> {
        let mut started = Self { dir: dir.to_owned(), role, name: name.to_owned(), child: None };
        started.again()?;
        Ok(started)
    }

    /// Starts it again after its end.
    ///
    /// # Errors
    /// It does not start.
    pub fn again(&mut self) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.log_file())?;
        let mut command = Command::new(binary()?);
        command.args([self.role, "-c", "forebay.yaml"]).current_dir(&self.dir);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn()?);
        Ok(())
    }

    /// Waits until a URL answers with success.
    ///
    /// # Errors
    /// The process ended, or it did not answer in time.
    pub async fn ready(&mut self, url: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.child()?.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.log_end());
            }
            if reqwest::get(url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("{} was not ready in time:\n{}", self.name, self.log_end())
    }

    fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("not started")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// It does not run.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        let id = self.child()?.id();
        Ok(kill_process(Pid::from_raw(id.cast_signed()).context("no process id")?, signal)?)
    }

    /// kill -9.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("not started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for its end.
    ///
    /// # Errors
    /// It does not end in time, or not with 0.
    pub async fn terminate(&mut self) -> Result<()> {
        self.signal(Signal::TERM)?;
        match self.ended(PATIENCE).await? {
            status if status.success() => Ok(()),
            status => bail!("{} ended with {status}:\n{}", self.name, self.log_end()),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It does not run, or does not end `within` this time.
    pub async fn ended(&mut self, within: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + within;
        while Instant::now() < deadline {
            if let Some(status) = self.child()?.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("{} still runs after {within:?}:\n{}", self.name, self.log_end())
    }

    fn log_file(&self) -> PathBuf {
        self.dir.join(format!("{}.log", self.name))
    }

    /// The end of its log, for messages.
    pub fn log_end(&self) -> String {
        let text = fs::read_to_string(self.log_file()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.child.take().map(|mut child| child.kill().and_then(|()| child.wait()));
    }
}
