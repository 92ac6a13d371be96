//! `forebay up` as a child process: started in a folder of its own on free ports, killed or ended, never left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// For a start until it is ready, in a debug build on a busy machine.
const READY: Duration = Duration::from_secs(120);
/// For an end in order; the product promises 10 s on a machine that is not overloaded.
const END: Duration = Duration::from_secs(60);

/// The binary under test, built with failpoints.
///
/// # Errors
/// It was not built.
pub fn binary() -> Result<PathBuf> {
    let exe = std::env::current_exe()?;
    let profile = exe.ancestors().nth(2).context("the test binary lies in no target folder")?;
    let binary = profile.join("forebay");
    if !binary.exists() {
        bail!("{} is missing: cargo build -p forebay-cli --features failpoints", binary.display());
    }
    Ok(binary)
}

/// A folder with a configuration, and the process that runs on it, if one does.
pub struct System {
    /// Holds `forebay.yaml`, `data/` and the logs.
    pub dir: PathBuf,
    child: Option<Child>,
    /// Base URL of the API of the last start.
    pub url: String,
    /// Base URL of its registry.
    pub registry: String,
    /// Words before its command line: what it is started through, and becomes.
    pub through: Vec<String>,
}

impl System {
    /// Writes the configuration; `rest` is appended to the parts every test needs.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn new(dir: &Path, rest: &str) -> Result<Self> {
        Self::on(dir, "{url: \"local://./data/log\"}", rest)
    }

    /// The same with another `broker:`.
    ///
    /// # Errors
    /// The folder can't be written.
    pub fn on(dir: &Path, broker: &str, rest: &str) -> Result<Self> {
        let head = "api: {listen: \"127.0.0.1:0\", management_listen: \"127.0.0.1:0\"}\n\
                    registry: {listen: \"127.0.0.1:0\"}\n";
        fs::write(dir.join("forebay.yaml"), format!("data_dir: ./data\nbroker: {broker}\n{head}{rest}"))?;
        let (url, registry) = (String::new(), String::new());
        Ok(Self { dir: dir.to_owned(), child: None, url, registry, through: Vec::new() })
    }

    /// Starts, and waits until it says that it runs. `crash` is `point:nth` of a failpoint, at which it aborts.
    ///
    /// # Errors
    /// It ended, or was not ready in time; the text holds the end of its log.
    pub async fn start(&mut self, crash: Option<&str>) -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(self.dir.join("forebay.log"))?;
        let binary = binary()?;
        let mut command = match self.through.split_first() {
            Some((program, words)) => {
                let mut command = Command::new(program);
                command.args(words).arg(binary);
                command
            }
            None => Command::new(binary),
        };
        command.args(["--json", "up", "-c", "forebay.yaml"]).current_dir(&self.dir);
        let told = fs::File::create(self.dir.join("forebay.out"))?;
        command.stdin(Stdio::null()).stdout(told).stderr(log);
        if let Some(crash) = crash {
            command.env("FOREBAY_CRASH", crash);
        }
        self.child = Some(command.spawn()?);
        let deadline = Instant::now() + READY;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                bail!("forebay ended with {status}:\n{}", self.log_end());
            }
            if self.runs() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("forebay was not ready within {READY:?}:\n{}", self.log_end())
    }

    /// The lock file names the process and its API.
    fn runs(&mut self) -> bool {
        let Ok(text) = fs::read_to_string(self.dir.join("data/lock")) else { return false };
        let Ok(holder) = serde_json::from_str::<Value>(&text) else { return false };
        let ours = self.child.as_ref().is_some_and(|child| holder["pid"] == child.id());
        let Some(url) = holder["api"].as_str().filter(|_| ours) else { return false };
        url.clone_into(&mut self.url);
        self.is_told()
    }

    /// What it says of itself stands on its stdout.
    fn is_told(&mut self) -> bool {
        let text = fs::read_to_string(self.dir.join("forebay.out")).unwrap_or_default();
        let Ok(told) = serde_json::from_str::<Value>(&text) else { return false };
        told["registry_url"].as_str().unwrap_or_default().clone_into(&mut self.registry);
        true
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// The process can't be asked.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.as_mut().context("not started")?.try_wait()?)
    }

    /// Process id.
    ///
    /// # Errors
    /// It was not started.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("not started")?.id())
    }

    /// kill -9.
    ///
    /// # Errors
    /// It was not started.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("not started")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM, and how long it took to end well.
    ///
    /// # Errors
    /// It did not end in time, or not with 0.
    pub async fn terminate(&mut self) -> Result<Duration> {
        let pid = Pid::from_raw(self.pid()?.cast_signed()).context("no process id")?;
        let start = Instant::now();
        kill_process(pid, Signal::TERM)?;
        let status = self.wait(END).await?;
        if !status.success() {
            bail!("forebay ended with {status}:\n{}", self.log_end());
        }
        Ok(start.elapsed())
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// It still runs after `limit`.
    pub async fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.ended()? {
                self.child = None;
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        bail!("forebay still runs after {limit:?}:\n{}", self.log_end())
    }

    /// GET a path, as JSON.
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        Ok(reqwest::get(format!("{}{path}", self.url)).await?.json().await?)
    }

    /// POST JSON text; status and JSON of the answer.
    ///
    /// # Errors
    /// No answer, or no JSON.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Result<(u16, Value)> {
        let request = reqwest::Client::new().post(format!("{}{path}", self.url));
        let answer = request.header("content-type", "application/json").body(body).send().await?;
        Ok((answer.status().as_u16(), answer.json().await?))
    }

    /// Waits until the connector `lake` has no lag in any partition of a topic.
    ///
    /// # Errors
    /// It has not within 120 s.
    pub async fn lake_holds_all(&self, topic: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(120);
        let mut last = Value::Null;
        let topic_now = self.get(&format!("/api/v1/topics/{topic}")).await?;
        let count = topic_now["partitions"].as_u64().with_context(|| format!("no partitions: {topic_now}"))?;
        while Instant::now() < deadline {
            last = self.get("/api/v1/connectors/lake").await?;
            let partitions = last["partitions"].as_array().cloned().unwrap_or_default();
            let of_topic: Vec<_> = partitions.iter().filter(|p| p["topic"] == topic).collect();
            if of_topic.len() as u64 == count && of_topic.iter().all(|p| p["lag"] == 0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bail!("the lake lags behind: {last}\n{}", self.log_end())
    }

    /// Resident memory now and at its peak, in bytes.
    ///
    /// # Errors
    /// It does not run.
    pub fn memory(&self) -> Result<(u64, u64)> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let field = |name: &str| -> Result<u64> {
            let line = status.lines().find(|line| line.starts_with(name)).context("no such field")?;
            Ok(line.split_whitespace().nth(1).context("no value")?.parse::<u64>()? * 1024)
        };
        Ok((field("VmRSS:")?, field("VmHWM:")?))
    }

    /// The end of its log, for messages.
    pub fn log_end(&self) -> String {
        let text = fs::read_to_string(self.dir.join("forebay.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
