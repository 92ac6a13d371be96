//! Options become settings: defaults filled in, paths absolute, every crate's own rules asked.

use std::{
    collections::BTreeMap,
    io::IsTerminal,
    path::{Path, PathBuf},
};

use forebay_avro::registry::config::RegistrySettings;
use forebay_broker::config::{BrokerSettings, BrokerUrl, ConfigError, DlqSettings, ProducerSettings};
use forebay_sink::config::{
    BatchOptions, ConnectorOptions, ConnectorSettings, Location, MetadataOptions, SinkSettings,
};

use super::options::{FileOptions, LogFormatOption};
use crate::logs;

/// A first event is in the lake after so long: soon enough for a person who tries it.
const LAKE_MAX_AGE_MS: u64 = 10_000;

/// Everything the command needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it came from.
    pub file: Option<PathBuf>,
    /// Where everything lives that has no place of its own; absolute.
    pub data_dir: PathBuf,
    /// The log.
    pub broker: BrokerSettings,
    /// The queue before it.
    pub producer: ProducerSettings,
    /// Where schemas are.
    pub registry: RegistrySettings,
    /// The HTTP service and the topics.
    pub api: forebay_api::Settings,
    /// Dead letters.
    pub dlq: DlqSettings,
    /// What all connectors share.
    pub sink: SinkSettings,
    /// The connectors, sorted by name.
    pub connectors: Vec<ConnectorSettings>,
    /// Level of log lines, checked.
    pub log_level: String,
    /// Form of log lines.
    pub log_format: LogFormat,
}

impl Config {
    /// The directory of the embedded log, if the log is that one.
    pub fn local_log(&self) -> Option<&Path> {
        match &self.broker.url {
            BrokerUrl::Local(dir) => Some(dir),
            BrokerUrl::Kafka(_) => None,
        }
    }

    /// Whether this process holds the schema registry itself.
    pub fn registry_is_embedded(&self) -> bool {
        matches!(self.registry, RegistrySettings::Embedded { .. })
    }

    /// The directory of an embedded registry: that of the embedded log, or one of its own.
    pub fn registry_dir(&self) -> PathBuf {
        self.local_log().map_or_else(|| self.data_dir.join("registry"), Path::to_owned)
    }

    /// Whether a process that opens log and registry keeps state in `data_dir`, and needs it for itself.
    pub fn keeps_state(&self) -> bool {
        self.local_log().is_some() || self.registry_is_embedded()
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text {
        /// With colours.
        color: bool,
    },
    /// For machines.
    Json,
}

/// Resolves; an error names its dotted key and says what is wrong.
pub fn resolve(options: FileOptions, file: Option<&Path>) -> Result<Config, (String, String)> {
    let base = base(file).map_err(|error| ("data_dir".to_owned(), error.to_string()))?;
    let data_dir = clean(&base.join(options.data_dir.as_deref().unwrap_or(Path::new("forebay-data"))));
    let told = |e: ConfigError| (e.key, e.problem);
    let broker = broker(&options, &base, &data_dir).map_err(told)?;
    let registry = options.registry.settings(&base).map_err(|e| (e.key.to_owned(), e.problem))?;
    let producer = options.producer.settings(&broker.url).map_err(told)?;
    let dlq = options.dlq.settings().map_err(told)?;
    let around = forebay_api::config::Surroundings {
        base: &base,
        local_log: matches!(broker.url, BrokerUrl::Local(_)),
        record_bytes: producer.record_bytes,
        dlq_topic: &dlq.topic,
        registry_listen: match &registry {
            RegistrySettings::Embedded { listen } => Some(*listen),
            RegistrySettings::Remote(_) => None,
        },
    };
    let api = forebay_api::Settings::resolve(&options.api, &options.topics, around).map_err(|e| (e.key, e.msg))?;
    let sink = options.sink.resolve().map_err(|e| (format!("sink.{}", e.key), e.why))?;
    let connectors = connectors(options.connectors, &base, &data_dir)?;
    no_circle(&connectors, &dlq)?;
    let log_level = options.log.level.unwrap_or_else(|| "info".to_owned());
    logs::filter(&log_level).map_err(|text| ("log.level".to_owned(), text))?;
    Ok(Config {
        file: file.map(Path::to_owned),
        data_dir,
        broker,
        producer,
        registry,
        api,
        dlq,
        sink,
        connectors,
        log_level,
        log_format: log_format(options.log.format.unwrap_or_default()),
    })
}

fn broker(options: &FileOptions, base: &Path, data_dir: &Path) -> Result<BrokerSettings, ConfigError> {
    let mut broker = options.broker.settings()?;
    if let BrokerUrl::Local(dir) = &broker.url {
        let dir = if options.broker.url.is_some() { clean(&base.join(dir)) } else { data_dir.join("log") };
        broker.url = BrokerUrl::Local(dir);
    }
    Ok(broker)
}

/// The connectors of the file; without that section there is one, `lake`.
fn connectors(
    given: Option<BTreeMap<String, ConnectorOptions>>,
    base: &Path,
    data_dir: &Path,
) -> Result<Vec<ConnectorSettings>, (String, String)> {
    let given = given.unwrap_or_else(|| BTreeMap::from([("lake".to_owned(), lake())]));
    let lake_dir = data_dir.join("lake");
    let resolved = given.iter().map(|(name, options)| {
        let mut settings = options.resolve(name, base, &lake_dir).map_err(|e| {
            let key = format!("connectors.{name}.{}", e.key);
            (key.trim_end_matches('.').to_owned(), e.why)
        })?;
        if let Location::Directory(dir) = &mut settings.location {
            *dir = clean(dir);
        }
        Ok(settings)
    });
    let connectors = resolved.collect::<Result<Vec<_>, (String, String)>>()?;
    apart(&connectors)?;
    Ok(connectors)
}

/// Names of files do not tell the connector: two that deliver a topic to one place stop each other, or double its rows.
fn apart(connectors: &[ConnectorSettings]) -> Result<(), (String, String)> {
    for (at, one) in connectors.iter().enumerate() {
        if let Some(other) = connectors.iter().skip(at + 1).find(|other| one.shares_files_with(other)) {
            let (first, second) = (&one.name, &other.name);
            let why = format!(
                "{first} delivers the same topics to the same place, {}: give one of them a topics.dir of its own, or keep \
                 their topics apart (topics, topics_except)",
                one.destination()
            );
            return Err((format!("connectors.{second}"), why));
        }
    }
    Ok(())
}

/// A record that fails would become a dead letter that fails again, without end.
fn no_circle(connectors: &[ConnectorSettings], dlq: &DlqSettings) -> Result<(), (String, String)> {
    for ConnectorSettings { name, topics, .. } in connectors {
        if let Some(own) = topics.iter().find(|topic| dlq.topic_for(topic, name) == **topic) {
            let why = format!(
                "{own} takes the connector's own dead letters: what fails there would come back without end; `forebay \
                 tail {own}` shows them"
            );
            return Err((format!("connectors.{name}.topics"), why));
        }
    }
    Ok(())
}

/// The connector that nobody has to write down.
fn lake() -> ConnectorOptions {
    ConnectorOptions {
        batch: Some(BatchOptions { max_age_ms: Some(LAKE_MAX_AGE_MS), ..BatchOptions::default() }),
        metadata: Some(MetadataOptions { columns: Some(true) }),
        ..ConnectorOptions::default()
    }
}

/// Where relative paths start: the folder of the file, or the working directory without one.
fn base(file: Option<&Path>) -> std::io::Result<PathBuf> {
    let folder = file.and_then(Path::parent).filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder)
}

/// The path without `.` in it, so that it reads well in messages.
fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

fn log_format(option: LogFormatOption) -> LogFormat {
    let terminal = std::io::stderr().is_terminal();
    match option {
        LogFormatOption::Text => LogFormat::Text { color: terminal },
        LogFormatOption::Auto if terminal => LogFormat::Text { color: true },
        LogFormatOption::Auto | LogFormatOption::Json => LogFormat::Json,
    }
}
