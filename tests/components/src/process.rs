//! A component as a child process that never outlives its owner.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Kills the component when our end of its stdin closes: by `Drop`, or by the kernel when we are killed. A shell does it
/// because a parent-death signal would need unsafe code between fork and exec.
const SUPERVISOR: &str = include_str!("supervisor.sh");
/// For all threads of a component to stop.
const STOP: Duration = Duration::from_secs(10);
/// Between two looks at something awaited.
const POLL: Duration = Duration::from_millis(20);
/// Lines of a log that an error shows.
const LOG_LINES: usize = 40;

/// A running component.
pub struct Process {
    name: String,
    /// Ends when the component has ended and was reaped.
    supervisor: Child,
    /// Open as long as the component may live. Not left to `supervisor`, whose `wait` would close it.
    _alive: ChildStdin,
    component: Pid,
    log: PathBuf,
    /// Where the log of this run begins; earlier runs wrote before it.
    log_start: u64,
}

impl Process {
    /// Starts `command` in the folder `home`, which holds its log `NAME.log` and is removed with all in it if we end
    /// without ending the component. Ctrl-C on a terminal does not reach it: it is in a process group of its own.
    pub fn start(name: &str, home: &Path, command: &[OsString]) -> Result<Self> {
        let log = home.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        let log_start = file.metadata()?.len();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(SUPERVISOR).arg(name).arg(home).args(command).current_dir(home).process_group(0);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut supervisor = shell.spawn().with_context(|| format!("{name}: no shell"))?;
        let mut line = String::new();
        let alive = supervisor.stdin.take().context("no stdin")?;
        let stdout = supervisor.stdout.take().context("no stdout")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let component = line.trim().parse().ok().and_then(Pid::from_raw);
        let component = component.with_context(|| format!("{name}: the shell gave no process id"))?;
        Ok(Self { name: name.to_owned(), supervisor, _alive: alive, component, log, log_start })
    }

    /// Process id of the component.
    pub fn pid(&self) -> u32 {
        self.component.as_raw_nonzero().get().cast_unsigned()
    }

    /// Waits until `ready` says so.
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.supervisor.try_wait()? {
                bail!("{} ended with {status}:\n{}", self.name, self.log_end());
            }
            if ready(self) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        bail!("{} was not ready within {limit:?}:\n{}", self.name, self.log_end())
    }

    /// Sends a signal, if the component still runs.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if let Some(status) = self.supervisor.try_wait()? {
            bail!("{} has ended with {status}:\n{}", self.name, self.log_end());
        }
        kill_process(self.component, signal)?;
        if signal == Signal::STOP {
            self.until_stopped()?;
        }
        Ok(())
    }

    /// The threads of a process stop one after the other, each when it is its turn to run.
    fn until_stopped(&self) -> Result<()> {
        let tasks = format!("/proc/{}/task", self.component.as_raw_nonzero());
        let deadline = Instant::now() + STOP;
        while Instant::now() < deadline {
            let mut running = 0;
            for task in fs::read_dir(&tasks)? {
                let stat = fs::read_to_string(task?.path().join("stat")).unwrap_or_default();
                // "id (name) state …"; a name may hold anything but the last parenthesis.
                running += usize::from(!stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('T'));
            }
            if running == 0 {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
        bail!("{} does not stop", self.name)
    }

    /// kill -9. Once this returns, its ports and files are free.
    pub fn kill(mut self) -> Result<()> {
        self.signal(Signal::KILL)?;
        self.supervisor.wait()?;
        Ok(())
    }

    /// SIGTERM, and how it ended.
    pub fn terminate(mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = self.supervisor.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(POLL);
        }
        bail!("{} still runs {limit:?} after SIGTERM:\n{}", self.name, self.log_end())
    }

    /// The log of this run so far.
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        let read = File::open(&self.log).and_then(|mut file| {
            file.seek(SeekFrom::Start(self.log_start))?;
            file.read_to_end(&mut bytes)
        });
        read.map_or_else(|error| error.to_string(), |_| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn log_end(&self) -> String {
        last_lines(&self.log())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.supervisor.try_wait(), Ok(None)) {
            let _ = kill_process(self.component, Signal::KILL);
            let _ = self.supervisor.wait();
        }
    }
}

/// A new folder for one component.
pub fn home(name: &str) -> Result<TempDir> {
    Ok(tempfile::Builder::new().prefix(&format!("forebay-{name}-")).tempdir()?)
}

/// Runs `command` to its end; an error holds what it printed.
pub fn run(name: &str, home: &Path, command: &[OsString]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("{name}: no command") };
    let log = home.join(format!("{name}.log"));
    let file = File::create(&log)?;
    let mut command = Command::new(program);
    command.args(arguments).current_dir(home).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    let status = command.status().with_context(|| format!("{name}: {}", Path::new(program).display()))?;
    if !status.success() {
        bail!("{name} ended with {status}:\n{}", last_lines(&fs::read_to_string(&log)?));
    }
    Ok(())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
