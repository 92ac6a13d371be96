//! What the service shows of connectors, and tells them to do. The trait is declared here over plain types; the command joins it to the
//! crate that runs them, so that neither crate knows the other.

use forebay_broker::LogError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The connectors of the configuration: a view, and the way to those that run in this process.
#[async_trait::async_trait]
pub trait ConnectorControl: Send + Sync + 'static {
    /// All connectors, sorted by name.
    ///
    /// # Errors
    /// The log can't tell how far they are.
    async fn connectors(&self) -> Result<Vec<ConnectorStatus>, LogError>;
    /// One connector, if there is one of that name.
    ///
    /// # Errors
    /// The log can't tell how far it is.
    async fn connector(&self, name: &str) -> Result<Option<ConnectorStatus>, LogError>;
    /// Tells a connector what to do. It does it a moment later: its status says when.
    ///
    /// # Errors
    /// See [`NotTaken`].
    fn order(&self, name: &str, order: Order) -> Result<(), NotTaken>;
}

/// What a person can tell a connector. It is not kept: a connector runs when its process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Write out what is open, then read nothing.
    Pause,
    /// Go on after a pause, also after one that the connector made itself.
    Resume,
    /// Start failed tasks again; the others go on undisturbed.
    Restart,
}

/// Why an order was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// There is no connector of that name.
    Unknown,
    /// It does not run in this process; who is to be asked, as a sentence.
    Elsewhere(String),
}

/// A connector as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ConnectorStatus {
    /// Name in the configuration.
    pub name: String,
    /// Kind of its sink.
    pub sink: String,
    /// Where its rows go, without credentials.
    pub destination: String,
    /// Worst state of its tasks.
    pub state: ConnectorState,
    /// Records between what is committed and what is written, over all partitions; null while the log can't tell.
    pub lag: Option<i64>,
    /// Rows that this process has delivered since it started; null where it does not run here: the log tells positions,
    /// and only who delivers counts.
    pub rows: Option<u64>,
    /// Bytes of the files that this process has written since it started; null like `rows`.
    pub bytes: Option<u64>,
    /// Dead letters that this process has sent since it started; null like `rows`.
    pub dead_letters: Option<u64>,
    /// When this process last committed rows, RFC 3339.
    pub last_flush: Option<String>,
    /// Its workers.
    pub tasks: Vec<TaskStatus>,
    /// Every partition it reads; while the log can't tell, those that its tasks know.
    pub partitions: Vec<PartitionStatus>,
}

/// State of a connector or task, in Kafka Connect's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// Started, no partition yet.
    Unassigned,
    /// At work.
    Running,
    /// Reads nothing until it is resumed.
    Paused,
    /// Between two tries.
    Restarting,
    /// A person must act.
    Failed,
    /// Ended on request, or not started.
    Stopped,
    /// Not in this process: the log tells how far it is, but not whether it is at work.
    Unknown,
}

impl ConnectorState {
    /// The word that stands in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unassigned => "unassigned",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
            Self::Unknown => "unknown",
        }
    }
}

/// A worker of a connector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TaskStatus {
    /// From 0.
    pub task: usize,
    /// Its state.
    pub state: ConnectorState,
    /// What needs, or may need, a person: a stable code.
    pub code: Option<String>,
    /// The same as a sentence that says what to do.
    pub advice: Option<String>,
}

/// How far a connector is with one partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PartitionStatus {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Next offset to deliver, as committed.
    pub committed: Option<i64>,
    /// Next offset to be written.
    pub high_watermark: i64,
    /// Records between the two.
    pub lag: i64,
}
