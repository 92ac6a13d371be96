//! Connectors as `forebay.yaml` writes them: every key optional, unknown keys refused.

use schemars::JsonSchema;
use serde::Deserialize;

pub use crate::sinks::s3::config::{Checksum, Conditional, ExactlyOnceOptions, S3Options};

/// Which store a connector writes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// Files below `url`.
    #[default]
    S3,
}

/// The files' format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Apache Parquet, zstd.
    #[default]
    Parquet,
}

/// How rows are laid out in folders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PartitionerKind {
    /// `partition=<p>`.
    #[default]
    Default,
    /// `year=2026/month=11/day=21`, by the record's time.
    Daily,
    /// `year=2026/month=11/day=21/hour=04`, by the record's time.
    Hourly,
    /// `path.format`, by the record's time.
    Time,
}

/// One connector under `connectors:`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConnectorOptions {
    /// Kind of store. Default `s3`: files in a directory or bucket, as `url` says.
    pub sink: Option<SinkKind>,
    /// Where: `file://DIR` or `s3://BUCKET/PREFIX`. Default `file://<data_dir>/lake`.
    pub url: Option<String>,
    /// How to reach the bucket of a `url` that begins with `s3://`.
    pub s3: Option<S3Options>,
    /// How objects are created.
    pub exactly_once: Option<ExactlyOnceOptions>,
    /// Topics by name, or `["*"]` for all but dead letters, `replay.*`, and those whose name begins with an underscore
    /// (`_schemas`, `__consumer_offsets`), which belong to other programs. Default `["*"]`.
    pub topics: Option<Vec<String>>,
    /// Topics that `["*"]` leaves out too, by name: `[connect-configs, connect-offsets]`. Default: none.
    pub topics_except: Option<Vec<String>>,
    /// Folder below `url` that all keys start with. Default: none.
    #[serde(rename = "topics.dir", alias = "topics_dir")]
    pub topics_dir: Option<String>,
    /// Default `parquet`.
    pub format: Option<Format>,
    /// Default `default`.
    pub partitioner: Option<PartitionerKind>,
    /// For `partitioner: time`.
    pub path: Option<PathOptions>,
    /// IANA name for `daily`, `hourly`, `time`. Default `UTC`.
    pub timezone: Option<String>,
    /// When a batch is closed.
    pub batch: Option<BatchOptions>,
    /// Columns about the record.
    pub metadata: Option<MetadataOptions>,
    /// Tasks, 1 to 64: they share the partitions. Default 1.
    pub tasks_max: Option<usize>,
    /// Where to begin a topic that the connector has never read: `earliest`, the first record kept; `latest`, what comes
    /// from now on; `{timestamp_ms: N}`, the first record at or after this time, ms since the epoch. Partitions that are
    /// added to a topic later begin at their first record. Default `earliest`.
    pub start: Option<StartOptions>,
    /// When the committed offset does not fit the topic. Default `fail`.
    pub on_offset_mismatch: Option<OnOffsetMismatch>,
    /// What to do with a record that can't be written. Default `dlq`.
    pub on_bad_record: Option<OnBadRecord>,
    /// What to do with a record without value. Default `dlq`.
    pub null_values: Option<NullValues>,
    /// When bad records stop the connector.
    pub errors: Option<ErrorOptions>,
    /// An open file larger than this goes on in a temporary file, in bytes. Default 8388608.
    pub spill_bytes: Option<usize>,
    /// Open files of a task, 4 to 10000. Default 512.
    pub max_open_files: Option<usize>,
    /// Batches of a task that are being written at once, 1 to 64. Default 4.
    pub flushes_in_flight: Option<usize>,
    /// How long a rebalance waits for a batch that is being written, in ms. Default 5000.
    pub revoke_timeout_ms: Option<u64>,
    /// Lag without a commit for so long is a fault, in ms; above `batch.max_age_ms`. Default: twice that, at least
    /// 120000.
    pub stuck_after_ms: Option<u64>,
}

/// `path`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathOptions {
    /// Folders by time: `yyyy MM dd HH mm` and quoted text, e.g. `'date'=yyyy-MM-dd/'hour'=HH`.
    pub format: Option<String>,
}

/// `batch`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchOptions {
    /// Rows of a partition in one batch. Default 1000000.
    pub max_rows: Option<u64>,
    /// Encoded bytes of a partition in one batch. Default 134217728.
    pub max_bytes: Option<usize>,
    /// Age of a batch since its first record, in ms. Default 300000.
    pub max_age_ms: Option<u64>,
}

/// `metadata`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetadataOptions {
    /// Adds `_topic _partition _offset _timestamp _key _headers`. Default false.
    pub columns: Option<bool>,
}

/// `errors`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorOptions {
    /// Share of bad records in the window above which the connector pauses; 1 turns it off. Default 0.5.
    pub max_rate: Option<f64>,
    /// Records looked back on, 100 to 1000000. Default 1000.
    pub window: Option<usize>,
}

/// `start`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum StartOptions {
    /// By name.
    Named(StartName),
    /// By time.
    At {
        /// The first record at or after this time, ms since the epoch.
        timestamp_ms: i64,
    },
}

/// `start` by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StartName {
    /// The first record kept.
    Earliest,
    /// Only what comes from now on.
    Latest,
}

/// Where to begin a partition that the connector has never read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The first record kept.
    Earliest,
    /// The next record written.
    Latest,
    /// The first record at or after, ms since the epoch.
    Timestamp(i64),
}

/// `on_offset_mismatch`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnOffsetMismatch {
    /// The task fails and says which values differ.
    #[default]
    Fail,
    /// Go on at the earliest record that the topic keeps and the lake does not have; counted.
    Rebase,
    /// The same as `rebase`.
    Earliest,
}

/// `on_bad_record`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRecord {
    /// A dead letter, and on.
    #[default]
    Dlq,
    /// A dead letter, and the task fails.
    Fail,
}

/// `null_values`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullValues {
    /// A dead letter with reason `NULL_VALUE`.
    #[default]
    Dlq,
    /// Skipped and counted.
    Ignore,
}
