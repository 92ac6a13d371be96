//! Connectors: where `sink`, which runs them, and `api`, which shows them and hands orders on, are joined.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use forebay_api::control::{
    ConnectorControl, ConnectorState, ConnectorStatus, NotTaken, Order, PartitionStatus, TaskStatus,
};
use forebay_broker::{Log, LogError, TopicInfo, TopicPartition, local::min_free_bytes};
use forebay_sink::{
    config::{Conditional, ConnectorSettings, Location},
    connector::{Connector, Deps},
    memory::MemoryBudget,
    metrics::SinkMetrics,
    sinks::dir::Reserve,
    status,
};
use futures_util::future::{join_all, try_join_all};
use tracing::{info, warn};

use crate::{
    check,
    config::Config,
    exit::{Failure, Outcome},
    parts::Parts,
};

/// Kind of the only sink so far: files below a directory.
const SINK: &str = "s3";
/// For the log to tell how far a connector is that runs here.
const LOG_PATIENCE: Duration = Duration::from_secs(3);

/// Half of what the log refuses records for: what it has taken is still delivered, and then it has room left.
fn reserve(log: &Path, min_free: Option<u64>) -> Reserve {
    Reserve { dir: log.to_owned(), bytes: min_free_bytes(log, min_free) / 2 }
}

/// The connectors that run in this process. Clones show the same ones.
#[derive(Clone)]
pub struct Running {
    connectors: Arc<Mutex<Vec<Connector>>>,
    reader: Reader,
}

impl Running {
    /// Starts all connectors of the configuration; their temporary files lie in `tmp_dir`.
    pub fn start(
        config: &Config,
        parts: &Parts,
        tmp_dir: &Path,
        metrics: &prometheus::Registry,
    ) -> Result<Self, Failure> {
        let deps = Deps {
            log: parts.log.clone(),
            registry: parts.registry.clone(),
            metrics: Arc::new(SinkMetrics::new(metrics).map_err(Failure::error)?),
            memory: MemoryBudget::new(config.sink.memory_bytes),
            dlq_topic: config.dlq.topic.clone(),
            tmp_dir: tmp_dir.to_owned(),
            reserve: config.local_log().map(|log| reserve(log, config.broker.min_free_bytes)),
        };
        let started = config.connectors.iter().map(|settings| Connector::start(settings.clone(), deps.clone()));
        let connectors = Arc::new(Mutex::new(started.collect()));
        Ok(Self { connectors, reader: Reader::new(config, parts.log.clone()) })
    }

    /// Writes out what is open and stops, all at once and within the time given.
    pub async fn drain(&self, within: Duration) -> Outcome {
        let connectors = std::mem::take(&mut *self.connectors.lock().unwrap_or_else(PoisonError::into_inner));
        let drains: Vec<_> = connectors.into_iter().map(|c| tokio::spawn(c.drain(within))).collect();
        let mut clean = true;
        for drain in drains {
            clean &= drain.await.unwrap_or(false);
        }
        if clean {
            return Ok(());
        }
        Err(Failure::error("not all batches were delivered in time; the next start delivers them, each row once"))
    }

    /// What its tasks know is told in any case: why they wait is asked for most while the log is away.
    async fn statuses(&self, of: impl Fn(&ConnectorSettings) -> bool) -> Vec<ConnectorStatus> {
        let asked: Vec<_> = {
            let connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = connectors.iter().filter(|connector| of(connector.settings()));
            asked.map(|connector| (connector.settings().clone(), shown(connector))).collect()
        };
        let told = asked.into_iter().map(async |(settings, mut status)| {
            let filled = tokio::time::timeout(LOG_PATIENCE, self.reader.fill_in(&settings, &mut status)).await;
            if let Err(why) = filled.unwrap_or_else(|_| Err(LogError::Unavailable("no answer in time".to_owned()))) {
                warn!(connector = status.name, %why, "The log does not tell now how far the connector is.");
                status.lag = None;
            }
            status
        });
        let mut statuses = join_all(told).await;
        statuses.sort_by(|a, b| a.name.cmp(&b.name));
        statuses
    }
}

#[async_trait::async_trait]
impl ConnectorControl for Running {
    async fn connectors(&self) -> Result<Vec<ConnectorStatus>, LogError> {
        Ok(self.statuses(|_| true).await)
    }

    async fn connector(&self, name: &str) -> Result<Option<ConnectorStatus>, LogError> {
        Ok(self.statuses(|settings| settings.name == name).await.pop())
    }

    fn order(&self, name: &str, order: Order) -> Result<(), NotTaken> {
        let connectors = self.connectors.lock().unwrap_or_else(PoisonError::into_inner);
        let connector = connectors.iter().find(|connector| connector.settings().name == name);
        let connector = connector.ok_or(NotTaken::Unknown)?;
        info!(connector = name, ?order, "The connector was told what to do.");
        match order {
            Order::Pause => connector.pause(),
            Order::Resume => connector.resume(),
            Order::Restart => connector.restart(),
        }
        Ok(())
    }
}

/// Reads in the log how far a connector is: the one place that says what it has still to deliver. A task knows only of
/// partitions that it has claimed, and of records that it has polled; what waits for it is in the log.
#[derive(Clone)]
struct Reader {
    log: Arc<dyn Log>,
    dlq_topic: String,
}

impl Reader {
    fn new(config: &Config, log: Arc<dyn Log>) -> Self {
        Self { log, dlq_topic: config.dlq.topic.clone() }
    }

    /// Replaces the partitions by all that the connector reads. Commits that are there already are of its tasks, who
    /// may know newer ones than the log tells.
    async fn fill_in(&self, settings: &ConnectorSettings, status: &mut ConnectorStatus) -> Result<(), LogError> {
        let known = status.partitions.iter().map(|p| (TopicPartition::new(p.topic.clone(), p.partition), p.committed));
        let known: HashMap<TopicPartition, Option<i64>> = known.collect();
        let mut partitions = Vec::new();
        let parts = self.partitions(settings).await?;
        let committed = self.log.committed(&settings.group(), &parts).await?;
        for part in parts {
            let marks = match self.log.watermarks(&part).await {
                Ok(marks) => marks,
                // Deleted just now.
                Err(LogError::UnknownTopic(_)) => continue,
                Err(error) => return Err(error),
            };
            let committed = committed.get(&part).map(|c| c.offset).max(known.get(&part).copied().flatten());
            partitions.push(PartitionStatus {
                topic: part.topic.to_string(),
                partition: part.partition,
                committed,
                high_watermark: marks.high,
                // A log that lost records ends before what is committed.
                lag: (marks.high - committed.unwrap_or(marks.low)).max(0),
            });
        }
        status.lag = Some(partitions.iter().map(|p| p.lag).sum());
        status.partitions = partitions;
        Ok(())
    }

    async fn partitions(&self, settings: &ConnectorSettings) -> Result<Vec<TopicPartition>, LogError> {
        let mut topics = self.log.topics().await?;
        let among = |names: &[String], topic: &TopicInfo| names.iter().any(|name| **name == *topic.name);
        let one_of_all = |topic: &TopicInfo| {
            let delivered = forebay_api::names::is_writable(&topic.name, &self.dlq_topic);
            delivered && forebay_broker::is_one_of_all(&topic.name) && !among(&settings.topics_except, topic)
        };
        topics.retain(|topic| among(&settings.topics, topic) || settings.all_topics && one_of_all(topic));
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        let parts = |topic: &TopicInfo| {
            let name = topic.name.clone();
            (0..topic.partitions).map(move |partition| TopicPartition::new(name.clone(), partition))
        };
        Ok(topics.iter().flat_map(parts).collect())
    }
}

/// The connectors of the configuration where none runs in this process: how far each one is stands in the log.
pub struct Resting {
    connectors: Vec<ConnectorSettings>,
    reader: Reader,
    state: ConnectorState,
}

impl Resting {
    /// Over an open log.
    pub fn new(config: &Config, log: Arc<dyn Log>) -> Self {
        // A local log is open here, so nobody else can be at work on it.
        let state = if config.local_log().is_some() { ConnectorState::Stopped } else { ConnectorState::Unknown };
        let mut connectors = config.connectors.clone();
        connectors.sort_by(|a, b| a.name.cmp(&b.name));
        Self { connectors, reader: Reader::new(config, log), state }
    }

    async fn status(&self, settings: &ConnectorSettings) -> Result<ConnectorStatus, LogError> {
        let mut status = ConnectorStatus {
            name: settings.name.clone(),
            sink: SINK.to_owned(),
            destination: settings.destination(),
            state: self.state,
            lag: None,
            rows: None,
            bytes: None,
            dead_letters: None,
            last_flush: None,
            tasks: Vec::new(),
            partitions: Vec::new(),
        };
        self.reader.fill_in(settings, &mut status).await?;
        Ok(status)
    }
}

#[async_trait::async_trait]
impl ConnectorControl for Resting {
    async fn connectors(&self) -> Result<Vec<ConnectorStatus>, LogError> {
        try_join_all(self.connectors.iter().map(|settings| self.status(settings))).await
    }

    async fn connector(&self, name: &str) -> Result<Option<ConnectorStatus>, LogError> {
        match self.connectors.iter().find(|settings| settings.name == name) {
            Some(settings) => self.status(settings).await.map(Some),
            None => Ok(None),
        }
    }

    fn order(&self, name: &str, _: Order) -> Result<(), NotTaken> {
        if self.connectors.iter().all(|settings| settings.name != name) {
            return Err(NotTaken::Unknown);
        }
        Err(NotTaken::Elsewhere(match self.state {
            ConnectorState::Stopped => format!("Nothing runs the connector {name} now; it starts with `forebay up`."),
            _ => format!(
                "The connector {name} does not run in this process: tell each `forebay sink` that runs it, with --api \
                 and the management URL that it prints."
            ),
        }))
    }
}

/// Whether the destination of a connector can be written; what was found, as a sentence. Makes no directory.
pub async fn probe(settings: &ConnectorSettings, config: &Config) -> Result<String, Failure> {
    if let Location::Directory(dir) = &settings.location
        && !dir.exists()
    {
        return check::writable(dir).map_err(Failure::error);
    }
    let (tmp, destination) = (config.data_dir.join("tmp"), settings.destination());
    let Location::S3(bucket) = &settings.location else {
        Connector::check(settings, &tmp).await.map_err(Failure::error)?;
        return Ok(format!("{destination} can be written"));
    };
    if bucket.conditional == Conditional::Auto {
        // What may be done without is asked for, so that it can be told.
        let mut bucket = bucket.clone();
        bucket.conditional = Conditional::Require;
        let strict = ConnectorSettings { location: Location::S3(bucket), ..settings.clone() };
        if Connector::check(&strict, &tmp).await.is_ok() {
            return Ok(format!("{destination} can be written, and obeys conditional writes"));
        }
    }
    Connector::check(settings, &tmp).await.map_err(Failure::error)?;
    Ok(match bucket.conditional {
        Conditional::Require => format!("{destination} can be written, and obeys conditional writes"),
        Conditional::Auto | Conditional::Off => format!(
            "{destination} can be written, but not conditionally: it is looked at before each write, and one writer at \
             a time is safe"
        ),
    })
}

/// What a connector does, in words.
pub fn describe(settings: &ConnectorSettings) -> String {
    let topics = match (settings.all_topics, settings.topics_except.as_slice()) {
        (true, []) => "all topics".to_owned(),
        (true, except) => format!("all topics but {}", except.join(", ")),
        (false, _) => settings.topics.join(", "),
    };
    let age = settings.limits.max_age.as_secs_f64();
    format!("{topics} as Parquet into {}, a batch at least every {age} s", settings.destination())
}

fn shown(connector: &Connector) -> ConnectorStatus {
    let status = connector.status();
    ConnectorStatus {
        name: status.name,
        sink: SINK.to_owned(),
        destination: connector.settings().destination(),
        state: state(status.state),
        lag: None,
        rows: Some(status.rows),
        bytes: Some(status.bytes),
        dead_letters: Some(status.dead_letters),
        last_flush: status.last_flush_ms.and_then(time),
        tasks: status.tasks.into_iter().enumerate().map(|(number, task)| shown_task(number, task)).collect(),
        partitions: status
            .partitions
            .into_iter()
            .map(|p| PartitionStatus {
                topic: p.part.topic.to_string(),
                partition: p.part.partition,
                committed: Some(p.committed),
                high_watermark: p.high,
                lag: p.lag,
            })
            .collect(),
    }
}

fn shown_task(number: usize, task: status::TaskStatus) -> TaskStatus {
    let (code, advice) = task.trouble.map(|t| (t.code.to_owned(), t.advice)).unzip();
    TaskStatus { task: number, state: state(task.state), code, advice }
}

fn state(state: status::State) -> ConnectorState {
    match state {
        status::State::Unassigned => ConnectorState::Unassigned,
        status::State::Running => ConnectorState::Running,
        status::State::Paused => ConnectorState::Paused,
        status::State::Restarting => ConnectorState::Restarting,
        status::State::Failed => ConnectorState::Failed,
        status::State::Stopped => ConnectorState::Stopped,
    }
}

fn time(ms: i64) -> Option<String> {
    Some(format!("{:.3}", jiff::Timestamp::from_millisecond(ms).ok()?))
}

#[cfg(test)]
mod tests {
    use forebay_avro::registry::{Embedded, MemoryStore};
    use forebay_broker::{Headers, NewRecord, TopicSpec, sim::SimLog};

    use super::*;

    async fn filled() -> Arc<SimLog> {
        let log = SimLog::new(Default::default());
        for (name, partitions) in [("hello", 2), ("other", 1), ("events.dlq", 1)] {
            let spec = TopicSpec { name: name.to_owned(), partitions, config: Default::default() };
            log.create_topic(&spec).await.unwrap();
            for partition in 0..partitions {
                let record = NewRecord {
                    topic: name.into(),
                    partition: Some(partition),
                    key: None,
                    value: Some("v".into()),
                    headers: Headers::default(),
                    timestamp_ms: None,
                };
                log.produce(vec![record.clone(), record]).unwrap().await;
            }
        }
        log
    }

    fn committed(topic: &str, offset: i64) -> PartitionStatus {
        PartitionStatus { topic: topic.to_owned(), partition: 0, committed: Some(offset), high_watermark: 0, lag: 0 }
    }

    #[tokio::test]
    async fn what_waits_in_the_log_counts_whether_or_not_a_task_knows_of_it() {
        let config = Config::of("connectors: {lake: {topics: [hello]}, all: {topics.dir: all}}");
        let log = filled().await;
        let resting = Resting::new(&config, log.clone());
        for (name, partitions, lag) in [("lake", 2, 4), ("all", 3, 6)] {
            let mut status = resting.connector(name).await.unwrap().unwrap();
            assert_eq!((status.partitions.len(), status.lag), (partitions, Some(lag)), "{name}: no task knows of any");
            assert_eq!((status.rows, status.dead_letters), (None, None), "not 0: others may have delivered");
            // What tasks know of: one commit that the log has not told, and a topic that is gone.
            status.partitions = vec![committed("hello", 2), committed("gone", 7)];
            let settings = config.connectors.iter().find(|settings| settings.name == name).unwrap();
            resting.reader.fill_in(settings, &mut status).await.unwrap();
            assert_eq!((status.partitions.len(), status.lag), (partitions, Some(lag - 2)), "{name}");
        }
        assert_eq!(resting.connector("nope").await.unwrap(), None);
        log.away(Duration::from_secs(3_600));
        assert!(matches!(resting.connectors().await, Err(LogError::Unavailable(_))));
        assert!(resting.connector("lake").await.is_err(), "not: no connector of that name");
    }

    #[tokio::test]
    async fn what_tasks_say_is_told_while_the_log_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}", dir.path().join("lake").display());
        let config = Config::of(&format!("connectors: {{lake: {{topics: [hello], url: '{url}'}}}}"));
        let log = filled().await;
        let embedded = Embedded::open(Arc::new(MemoryStore::default())).unwrap();
        let parts = Parts { log: log.clone(), registry: Arc::new(embedded), embedded: None };
        let running = Running::start(&config, &parts, &dir.path().join("tmp"), &prometheus::Registry::new()).unwrap();
        let lake = running.connector("lake").await.unwrap().unwrap();
        assert!(lake.lag.is_some() && lake.partitions.len() == 2, "{lake:?}");
        log.away(Duration::from_secs(3_600));
        let lake = running.connector("lake").await.unwrap().unwrap();
        assert_eq!((lake.lag, lake.tasks.len()), (None, 1));
    }
}
