//! What the service shows of connectors. The trait is declared here over plain types; the command joins it to the
//! crate that runs them, so that neither crate knows the other.

use serde::Serialize;

/// A view of the connectors that run in this process.
#[async_trait::async_trait]
pub trait ConnectorControl: Send + Sync + 'static {
    /// All connectors, sorted by name.
    async fn connectors(&self) -> Vec<ConnectorStatus>;
    /// One connector, if there is one of that name.
    async fn connector(&self, name: &str) -> Option<ConnectorStatus>;
}

/// A connector as it is now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ConnectorStatus {
    /// Name in the configuration.
    pub name: String,
    /// Kind of its sink.
    pub sink: String,
    /// Where its rows go, without credentials.
    pub destination: String,
    /// Worst state of its tasks.
    pub state: ConnectorState,
    /// Its workers.
    pub tasks: Vec<TaskStatus>,
    /// Every partition it reads.
    pub partitions: Vec<PartitionStatus>,
}

/// State of a connector or task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConnectorState {
    /// At work.
    Running,
    /// The destination can't take rows now; it will be tried again.
    Paused,
    /// Stopped: a person must act.
    Failed,
    /// Ended on request.
    Stopped,
}

/// A worker of a connector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskStatus {
    /// From 0.
    pub task: u32,
    /// Its state.
    pub state: ConnectorState,
    /// Why it is not running: a stable code.
    pub code: Option<String>,
    /// The same as a sentence.
    pub message: Option<String>,
}

/// How far a connector is with one partition.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// Rows delivered since the connector started.
    pub rows: u64,
    /// When its last flush was committed, RFC 3339.
    pub last_flush: Option<String>,
}
