//! Runs the binary in a folder of its own.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long anything may take before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a configuration whose ports are free ones.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a finished command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    /// Fails the test unless the exit code is this one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Place {
    /// A small batch age, so that rows reach the lake soon.
    pub fn new() -> Self {
        Self::with("connectors: {lake: {batch: {max_age_ms: 200}, metadata.columns: true}}\n")
    }

    /// With more lines of configuration.
    pub fn with(more: &str) -> Self {
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let api = "api: {listen: 127.0.0.1:0, management_listen: 127.0.0.1:0}\n";
        let registry = if more.contains("registry:") { "" } else { "registry: {listen: 127.0.0.1:0}\n" };
        place.write("forebay.yaml", &format!("{api}{registry}{more}"));
        place
    }

    /// Without any configuration.
    pub fn bare() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(args).current_dir(self.dir.path()).env_remove("FOREBAY_CONFIG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs to the end.
    pub fn run(&self, args: &[&str]) -> Ran {
        self.command(args).output().unwrap().into()
    }

    /// Runs to the end with this on stdin.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// Starts `forebay up` and waits until it says that it is ready.
    pub fn up(&self) -> Running {
        self.serve("up")
    }

    /// Starts `up`, `api` or `sink`, and waits until it says that it is ready.
    pub fn serve(&self, verb: &str) -> Running {
        let mut running = Running::start(self.command(&[verb, "--format", "ndjson"]));
        let ready: Value = serde_json::from_str(&running.line()).unwrap();
        running.url = ready["api"].as_str().or(ready["management"].as_str()).unwrap().to_owned();
        running
    }

    /// Files of the lake that end so, as paths below it.
    pub fn lake(&self, ending: &str) -> Vec<String> {
        let root = self.path("forebay-data/lake");
        let mut found = Vec::new();
        walk(&root, &mut |path| {
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if name.ends_with(ending) {
                found.push(name);
            }
        });
        found.sort();
        found
    }
}

fn walk(dir: &Path, found: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.is_dir() => walk(&path, found),
            path => found(&path),
        }
    }
}

/// A command that runs on. Its output is read by threads, so that it never blocks on a full pipe.
pub struct Running {
    pub child: Child,
    pub url: String,
    lines: mpsc::Receiver<String>,
    stderr: Option<std::thread::JoinHandle<String>>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::sync_channel(10_000);
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut pipe = child.stderr.take().unwrap();
        let stderr = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = pipe.read_to_string(&mut text);
            text
        });
        Self { child, url: String::new(), lines, stderr: Some(stderr) }
    }

    /// The next line of stdout.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(PATIENCE).expect("a line on stdout; see the log lines of the command")
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end: its exit code and what it said on stderr.
    #[track_caller]
    pub fn ended(mut self) -> Ran {
        let deadline = Instant::now() + PATIENCE;
        let code = loop {
            match self.child.try_wait().unwrap() {
                Some(status) => break status.code().unwrap_or(-1),
                None if Instant::now() > deadline => panic!("it does not end"),
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        let stderr = self.stderr.take().unwrap().join().unwrap();
        let stdout = self.lines.try_iter().collect::<Vec<_>>().join("\n");
        Ran { code, stdout, stderr }
    }

    /// Asks for the end as a supervisor does, and waits for it.
    #[track_caller]
    pub fn stop(self) -> Ran {
        self.signal(Signal::TERM);
        self.ended()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `done` gives something.
#[track_caller]
pub fn until<T>(what: &str, mut done: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The HTTP status of a GET.
pub fn status(url: &str, path: &str) -> u16 {
    get(url, path).split(' ').nth(1).unwrap().parse().unwrap()
}

/// The answer to a GET: head and body.
pub fn get(url: &str, path: &str) -> String {
    let host = url.strip_prefix("http://").unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A sound event as one line.
pub fn event(n: u32) -> String {
    format!(
        r#"{{"event_id":"e{n}","timestamp":"2024-05-01T12:00:00Z","event_type":"hello","payload":{{"n":{n},"user_id":"u{}"}}}}"#,
        n % 7
    )
}
