//! The options of `forebay.yaml` as written: each crate's own, composed.

use std::{collections::BTreeMap, path::PathBuf};

use forebay_api::config::{ApiOptions, TopicOptions};
use forebay_broker::config::{BrokerOptions, DlqOptions, ProducerOptions};
use schemars::JsonSchema;
use serde::Deserialize;

/// `forebay.yaml`. Every key has a default; relative paths start from the file; a dotted key (`batch.max_rows: 5`) is a
/// nested one; `${NAME}` and `${NAME:-default}` in unquoted values come from the environment.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "forebay.yaml")]
pub struct FileOptions {
    /// Where everything lives that has no place of its own: `log/`, `lake/`, `lock`. Default `./forebay-data`.
    pub data_dir: Option<PathBuf>,
    /// The log.
    pub broker: BrokerOptions,
    /// The HTTP service.
    pub api: ApiOptions,
    /// What may wait for its receipt.
    pub producer: ProducerOptions,
    /// Dead letters.
    pub dlq: DlqOptions,
    /// Log lines, on stderr.
    pub log: LogOptions,
    /// Topics by name: created at start, with their schemas.
    pub topics: BTreeMap<String, TopicOptions>,
}

/// `log:` log lines.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogOptions {
    /// `error`, `warn`, `info` (default), `debug` or `trace`; or per module, as in `info,forebay_sink=debug`.
    pub level: Option<String>,
    /// How lines are written. Default `auto`.
    pub format: Option<LogFormatOption>,
}

/// `log.format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormatOption {
    /// Text if stderr is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The JSON Schema of `forebay.yaml`, for editors and for the check of keys.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(FileOptions).to_value()
}
