//! A connector: settings become a sink and tasks; tasks that end are started again.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use forebay_avro::registry::Registry;
use forebay_broker::Log;
use tokio::{sync::watch, task::JoinHandle, time::Instant};
use tracing::{error, info, warn};

use crate::{
    breaker::BadRate,
    config::{ConnectorSettings, Location},
    converter::Converter,
    dlq::writer::DlqWriter,
    memory::MemoryBudget,
    metrics::SinkMetrics,
    retry::Backoff,
    sinks::{
        Sink, SinkError,
        dir::{DirStore, Reserve},
        lake::LakeSink,
        s3::S3Store,
        store::ObjectStore,
    },
    status::{Board, ConnectorStatus, State, Trouble},
    task::{End, Ended, TaskContext},
};

/// What a connector needs of the process around it.
#[derive(Clone)]
pub struct Deps {
    /// Where records come from and dead letters go to.
    pub log: Arc<dyn Log>,
    /// Schemas by id.
    pub registry: Arc<dyn Registry>,
    /// Shared by all connectors of the process.
    pub metrics: Arc<SinkMetrics>,
    /// Shared by all connectors of the process.
    pub memory: Arc<MemoryBudget>,
    /// Topic of dead letters; may contain `{topic}` and `{connector}`. Made on first use if it does not exist.
    pub dlq_topic: String,
    /// Folder for temporary files (`data_dir/tmp`); [`clear_tmp`] empties it at start.
    pub tmp_dir: PathBuf,
    /// What directories leave free for the log on their disk; `None` if the log lies elsewhere.
    pub reserve: Option<Reserve>,
}

/// A running connector. Dropping it ends its tasks at once, which is safe: what was not committed is read again.
pub struct Connector {
    settings: Arc<ConnectorSettings>,
    destination: String,
    board: Arc<Board>,
    wanted: Arc<watch::Sender<Wanted>>,
    tasks: Vec<JoinHandle<()>>,
}

/// What people want of a connector's tasks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) mode: Mode,
    /// Why it is not running, if not a person wanted it.
    pub(crate) trouble: Option<Trouble>,
    /// Raised by every restart: failed tasks begin again.
    pub(crate) restarts: u64,
}

/// See [`Wanted`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Run,
    Pause,
    Stop,
}

impl Connector {
    /// Starts a connector. It begins even if its destination is away: then it waits for it, and its status says so.
    pub fn start(settings: ConnectorSettings, deps: Deps) -> Self {
        let sink = lake(&settings, &deps.tmp_dir, deps.reserve.clone());
        Self::start_with(settings, deps, Arc::new(sink))
    }

    /// Starts a connector over a given sink.
    pub fn start_with(settings: ConnectorSettings, deps: Deps, sink: Arc<dyn Sink>) -> Self {
        let settings = Arc::new(settings);
        let board = Board::new(&settings, Arc::clone(&deps.metrics));
        let wanted = Arc::new(watch::Sender::new(Wanted::default()));
        let destination = sink.destination();
        let converter = Arc::new(Converter::new(Arc::clone(&deps.registry)));
        let dlq = Arc::new(DlqWriter::new(&settings, &deps, destination.clone()));
        let bad_rate = Arc::new(Mutex::new(BadRate::new(settings.max_error_rate, settings.error_window)));
        let tasks = (0..settings.tasks_max)
            .map(|number| {
                let context = TaskContext {
                    number,
                    settings: Arc::clone(&settings),
                    deps: deps.clone(),
                    sink: Arc::clone(&sink),
                    converter: Arc::clone(&converter),
                    dlq: Arc::clone(&dlq),
                    board: Arc::clone(&board),
                    bad_rate: Arc::clone(&bad_rate),
                    wanted: Arc::clone(&wanted),
                };
                tokio::spawn(supervise(context))
            })
            .collect();
        info!(connector = settings.name, destination, tasks = settings.tasks_max, "Connector started.");
        Self { settings, destination, board, wanted, tasks }
    }

    /// Can the destination be written to? For `forebay check`; changes nothing that a user sees.
    pub async fn check(settings: &ConnectorSettings, tmp_dir: &std::path::Path) -> Result<(), SinkError> {
        lake(settings, tmp_dir, None).check().await
    }

    /// Its settings.
    pub fn settings(&self) -> &ConnectorSettings {
        &self.settings
    }

    /// Where its rows go, in words.
    pub fn destination(&self) -> &str {
        &self.destination
    }

    /// How it is now.
    pub fn status(&self) -> ConnectorStatus {
        self.board.snapshot()
    }

    /// Writes out what is open, then reads nothing until [`Connector::resume`]. Nothing of this is kept: a connector
    /// that is started runs.
    pub fn pause(&self) {
        self.wanted.send_modify(|wanted| {
            if wanted.mode == Mode::Run {
                wanted.mode = Mode::Pause;
            }
        });
    }

    /// Goes on after a pause, also after one that the bad-rate breaker made.
    pub fn resume(&self) {
        self.wanted.send_modify(|wanted| {
            if wanted.mode == Mode::Pause {
                wanted.mode = Mode::Run;
                wanted.trouble = None;
            }
        });
    }

    /// Starts failed tasks again; the others go on undisturbed.
    pub fn restart(&self) {
        self.wanted.send_modify(|wanted| wanted.restarts += 1);
    }

    /// Stops reading, writes out and commits what is open, leaves the group. After `within`, tasks are ended as they
    /// are, which loses nothing: their records are read again. True if all ended by themselves.
    pub async fn drain(mut self, within: Duration) -> bool {
        self.wanted.send_modify(|wanted| wanted.mode = Mode::Stop);
        let deadline = Instant::now() + within;
        let mut clean = true;
        for task in &mut self.tasks {
            clean &= tokio::time::timeout_at(deadline, &mut *task).await.is_ok_and(|ended| ended.is_ok());
        }
        if !clean {
            warn!(
                connector = self.settings.name,
                "Not all batches were written in time; their records will be read again."
            );
        }
        clean
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn lake(settings: &ConnectorSettings, tmp_dir: &std::path::Path, reserve: Option<Reserve>) -> LakeSink {
    LakeSink::new(settings, store(settings, reserve), tmp_dir.to_owned())
}

/// The store that the connector's url names.
fn store(settings: &ConnectorSettings, reserve: Option<Reserve>) -> Arc<dyn ObjectStore> {
    let ConnectorSettings { topics_dir, name, .. } = settings;
    match &settings.location {
        Location::Directory(dir) => Arc::new(DirStore::new(dir.clone(), topics_dir, name, reserve)),
        Location::S3(bucket) => Arc::new(S3Store::new((**bucket).clone(), topics_dir, name)),
    }
}

/// Removes what an earlier process left in the folder for temporary files, and makes the folder.
pub fn clear_tmp(dir: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("spill-") {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// So often in a row, without a batch committed in between, the watchdog may restart a task before it counts as failed.
const MAX_STUCK: u32 = 2;

/// Runs one task until the connector stops: restarts it after faults that pass, waits for a person after others.
async fn supervise(context: TaskContext) {
    let mut backoff = Backoff::default();
    let mut stuck = 0;
    let mut wanted = context.wanted.subscribe();
    loop {
        let started = Instant::now();
        let Ended { why, got_on } = crate::task::run(&context).await;
        if got_on {
            stuck = 0;
        }
        if started.elapsed() > Duration::from_secs(60) {
            backoff.reset();
        }
        let trouble = match why {
            End::Stopped => break,
            End::Failed(trouble) => trouble,
            End::Stuck(trouble) if stuck >= MAX_STUCK => trouble,
            End::Stuck(_) => {
                stuck += 1;
                continue;
            }
            End::Restart(why) => {
                if pause_before_restart(&context, &mut wanted, backoff.next(None), &why).await {
                    break;
                }
                continue;
            }
        };
        if wait_for_person(&context, &mut wanted, trouble).await {
            break;
        }
        (stuck, backoff) = (0, Backoff::default());
    }
    set_state(&context, State::Stopped, None);
}

/// True: the connector stops.
async fn pause_before_restart(
    context: &TaskContext,
    wanted: &mut watch::Receiver<Wanted>,
    delay: Duration,
    why: &str,
) -> bool {
    warn!(connector = context.settings.name, task = context.number, why, "The task starts again.");
    let trouble = Trouble { code: "RESTARTING", advice: why.to_owned() };
    set_state(context, State::Restarting, Some(trouble));
    let stop = wanted.wait_for(|w| w.mode == Mode::Stop);
    tokio::time::timeout(delay, stop).await.is_ok()
}

/// True: the connector stops. False: somebody asked for a restart.
async fn wait_for_person(context: &TaskContext, wanted: &mut watch::Receiver<Wanted>, trouble: Trouble) -> bool {
    let trouble = trouble.with_command(&context.settings.name);
    let Trouble { code, advice } = &trouble;
    error!(
        connector = context.settings.name,
        task = context.number,
        code,
        advice,
        "The task failed and waits for a person."
    );
    set_state(context, State::Failed, Some(trouble));
    let seen = wanted.borrow_and_update().restarts;
    let change = wanted.wait_for(|w| w.mode == Mode::Stop || w.restarts != seen).await;
    change.map_or(true, |w| w.mode == Mode::Stop)
}

fn set_state(context: &TaskContext, state: State, trouble: Option<Trouble>) {
    context.board.task(context.number, state, trouble);
}
