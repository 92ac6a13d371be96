//! Connectors: where `sink`, which runs them, and `api`, which shows them, are joined.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use forebay_api::control::{ConnectorControl, ConnectorState, ConnectorStatus, PartitionStatus, TaskStatus};
use forebay_broker::{Log, LogError, TopicPartition};
use forebay_sink::{
    config::{Conditional, ConnectorSettings, Location},
    connector::{Connector, Deps},
    memory::MemoryBudget,
    metrics::SinkMetrics,
    status,
};

use crate::{
    check,
    config::Config,
    exit::{Failure, Outcome},
    parts::Parts,
};

/// Kind of the only sink so far: files below a directory.
const SINK: &str = "s3";

/// The connectors that run in this process. Clones show the same ones.
#[derive(Clone)]
pub struct Running {
    connectors: Arc<Mutex<Vec<Connector>>>,
    log: Arc<dyn Log>,
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
        };
        let started = config.connectors.iter().map(|settings| Connector::start(settings.clone(), deps.clone()));
        Ok(Self { connectors: Arc::new(Mutex::new(started.collect())), log: parts.log.clone() })
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

    /// How they are now. The lag is counted to the log's end as it is at this moment: a task knows of records only
    /// when it has polled them.
    async fn statuses(&self) -> Vec<ConnectorStatus> {
        let mut statuses: Vec<_> =
            self.connectors.lock().unwrap_or_else(PoisonError::into_inner).iter().map(shown).collect();
        for status in &mut statuses {
            for partition in &mut status.partitions {
                let part = TopicPartition::new(partition.topic.as_str(), partition.partition);
                if let Ok(marks) = self.log.watermarks(&part).await {
                    partition.high_watermark = marks.high;
                    partition.lag = marks.high - partition.committed.unwrap_or(marks.low);
                }
            }
            status.lag = status.partitions.iter().map(|p| p.lag).sum();
        }
        statuses
    }
}

#[async_trait::async_trait]
impl ConnectorControl for Running {
    async fn connectors(&self) -> Vec<ConnectorStatus> {
        self.statuses().await
    }

    async fn connector(&self, name: &str) -> Option<ConnectorStatus> {
        self.statuses().await.into_iter().find(|status| status.name == name)
    }
}

/// The connectors of the configuration where none runs in this process: how far each one is stands in the log.
pub struct Resting {
    connectors: Vec<ConnectorSettings>,
    dlq_topic: String,
    log: Arc<dyn Log>,
    state: ConnectorState,
}

impl Resting {
    /// Over an open log.
    pub fn new(config: &Config, log: Arc<dyn Log>) -> Self {
        // A local log is open here, so nobody else can be at work on it.
        let state = if config.local_log().is_some() { ConnectorState::Stopped } else { ConnectorState::Unknown };
        Self { connectors: config.connectors.clone(), dlq_topic: config.dlq.topic.clone(), log, state }
    }

    async fn status(&self, settings: &ConnectorSettings) -> Result<ConnectorStatus, LogError> {
        let committed = self.log.committed(&settings.group()).await?;
        let mut partitions = Vec::new();
        for topic in self.log.topics().await? {
            let wild = settings.all_topics && forebay_api::names::is_writable(&topic.name, &self.dlq_topic);
            if !wild && !settings.topics.iter().any(|name| **name == *topic.name) {
                continue;
            }
            for partition in 0..topic.partitions {
                let part = TopicPartition::new(topic.name.clone(), partition);
                let marks = self.log.watermarks(&part).await?;
                let committed = committed.get(&part).map(|c| c.offset);
                partitions.push(PartitionStatus {
                    topic: topic.name.to_string(),
                    partition,
                    committed,
                    high_watermark: marks.high,
                    lag: marks.high - committed.unwrap_or(marks.low),
                });
            }
        }
        Ok(ConnectorStatus {
            name: settings.name.clone(),
            sink: SINK.to_owned(),
            destination: settings.destination(),
            state: self.state,
            lag: partitions.iter().map(|p| p.lag).sum(),
            rows: 0,
            bytes: 0,
            dead_letters: 0,
            last_flush: None,
            tasks: Vec::new(),
            partitions,
        })
    }
}

#[async_trait::async_trait]
impl ConnectorControl for Resting {
    async fn connectors(&self) -> Vec<ConnectorStatus> {
        let mut statuses = BTreeMap::new();
        for settings in &self.connectors {
            match self.status(settings).await {
                Ok(status) => {
                    statuses.insert(status.name.clone(), status);
                }
                Err(error) => tracing::warn!(connector = settings.name, %error, "The log did not tell its offsets."),
            }
        }
        statuses.into_values().collect()
    }

    async fn connector(&self, name: &str) -> Option<ConnectorStatus> {
        self.connectors().await.into_iter().find(|status| status.name == name)
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
    let topics = match (settings.all_topics, settings.topics.as_slice()) {
        (true, _) => "all topics".to_owned(),
        (false, topics) => topics.join(", "),
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
        lag: status.lag,
        rows: status.rows,
        bytes: status.bytes,
        dead_letters: status.dead_letters,
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
