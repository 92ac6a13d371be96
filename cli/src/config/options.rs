//! The options of `forebay.yaml` as written: each crate's own, composed.

use std::{collections::BTreeMap, path::PathBuf};

use forebay_api::config::{ApiOptions, TopicOptions};
use forebay_avro::registry::config::RegistryOptions;
use forebay_broker::config::{BrokerOptions, DlqOptions, ProducerOptions};
use forebay_sink::config::{ConnectorOptions, SinkOptions};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

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
    /// The schemas.
    pub registry: RegistryOptions,
    /// What may wait for its receipt.
    pub producer: ProducerOptions,
    /// Dead letters.
    pub dlq: DlqOptions,
    /// Log lines, on stderr.
    pub log: LogOptions,
    /// What all connectors share.
    pub sink: SinkOptions,
    /// Topics by name: created at start, with their schemas.
    pub topics: BTreeMap<String, TopicOptions>,
    /// Connectors by name. Without this key there is one, `lake`: all topics as Parquet below `data_dir/lake`,
    /// with `batch.max_age_ms: 10000` and `metadata.columns: true`.
    pub connectors: Option<BTreeMap<String, ConnectorOptions>>,
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
pub fn json_schema() -> Value {
    let mut schema = schemars::schema_for!(FileOptions).to_value();
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    allow_dotted(&mut schema, &definitions);
    for definition in schema.get_mut("$defs").and_then(Value::as_object_mut).into_iter().flat_map(|d| d.values_mut()) {
        allow_dotted(definition, &definitions);
    }
    schema
}

/// Lets `batch.max_rows` stand beside `batch` where that is a mapping with known keys.
fn allow_dotted(object: &mut Value, definitions: &Value) {
    let Some(properties) = object.get("properties").and_then(Value::as_object) else { return };
    let nested: Vec<_> =
        properties.iter().filter(|(_, p)| is_mapping(p, definitions)).map(|(n, _)| n.as_str()).collect();
    if !nested.is_empty() {
        let pattern = format!("^({})\\..+", nested.join("|"));
        object["patternProperties"] = json!({ pattern: true });
    }
}

fn is_mapping(property: &Value, definitions: &Value) -> bool {
    let mut alternatives = property.get("anyOf").and_then(Value::as_array).into_iter().flatten().chain([property]);
    alternatives.any(|alternative| {
        let name = alternative.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix("#/$defs/"));
        name.and_then(|name| definitions.get(name)?.get("properties")).is_some()
    })
}
