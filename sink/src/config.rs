//! What `forebay.yaml` says about sinks: options as written, settings as resolved.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use forebay_broker::is_one_of_all;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{batch::Limits, partitioner::Partitioner, sinks::s3::S3Settings};

mod options;

pub use self::options::*;

/// The section `sink`: limits shared by all connectors of the process.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SinkOptions {
    /// Memory of all sinks in bytes: records not yet written, open files. At 80 % the largest batch is flushed, at
    /// 100 % reading pauses, below 60 % it goes on. Default 536870912, at least 8388608.
    pub memory_bytes: Option<usize>,
}

/// Limits shared by all connectors of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkSettings {
    /// Memory of all sinks.
    pub memory_bytes: usize,
}

impl Default for SinkSettings {
    fn default() -> Self {
        Self { memory_bytes: 512 << 20 }
    }
}

impl SinkOptions {
    /// Defaults and limits applied.
    pub fn resolve(&self) -> Result<SinkSettings, ConfigError> {
        let default = SinkSettings::default().memory_bytes;
        Ok(SinkSettings { memory_bytes: within("memory_bytes", self.memory_bytes, default, 8 << 20, 1 << 40)? })
    }
}

/// An option that can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct ConfigError {
    /// The option, relative to its section.
    pub key: String,
    /// What is wrong, and what would be right.
    pub why: String,
}

impl ConfigError {
    pub(crate) fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), why: why.into() }
    }
}

/// A connector, resolved.
#[derive(Clone, Debug)]
pub struct ConnectorSettings {
    /// Its name, `[A-Za-z0-9._-]{1,64}`; the consumer group is `connect-<name>`.
    pub name: String,
    /// Where the lake is.
    pub location: Location,
    /// Folder below it that all keys start with; empty for none.
    pub topics_dir: String,
    /// Topics by name.
    pub topics: Vec<String>,
    /// All topics but internal ones and dead letters.
    pub all_topics: bool,
    /// Those that `all_topics` leaves out, by name.
    pub topics_except: Vec<String>,
    /// Folders.
    pub partitioner: Partitioner,
    /// When a batch is closed.
    pub limits: Limits,
    /// Whether files have columns about the record.
    pub metadata_columns: bool,
    /// Tasks.
    pub tasks_max: usize,
    /// Where to begin.
    pub start: Start,
    /// When the committed offset does not fit.
    pub on_offset_mismatch: OnOffsetMismatch,
    /// Bad records.
    pub on_bad_record: OnBadRecord,
    /// Records without value.
    pub null_values: NullValues,
    /// Share of bad records that pauses; 1 = never.
    pub max_error_rate: f64,
    /// Records looked back on.
    pub error_window: usize,
    /// Bytes of an open file kept in memory.
    pub spill_bytes: usize,
    /// Batches written at once.
    pub flushes_in_flight: usize,
    /// For a batch past its intent, at a revoke.
    pub revoke_timeout: Duration,
    /// For the watchdog.
    pub stuck_after: Duration,
}

/// Where a lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A directory.
    Directory(PathBuf),
    /// A bucket.
    S3(Box<S3Settings>),
}

impl ConnectorSettings {
    /// Where its keys begin, as a URL.
    pub fn destination(&self) -> String {
        let url = match &self.location {
            Location::Directory(dir) => format!("file://{}", dir.display()),
            Location::S3(bucket) => bucket.url(),
        };
        format!("{}/{}", url.trim_end_matches('/'), self.topics_dir).trim_end_matches('/').to_owned()
    }

    /// Whether it may read a topic of this name. Which are the dead letters', that `["*"]` leaves out too, is not known
    /// here.
    fn takes(&self, topic: &str) -> bool {
        let of_all = || is_one_of_all(topic) && !self.topics_except.iter().any(|except| except == topic);
        self.topics.iter().any(|named| named == topic) || (self.all_topics && of_all())
    }

    /// Whether both would write files of one name.
    pub fn shares_files_with(&self, other: &Self) -> bool {
        let server = |settings: &Self| match &settings.location {
            Location::Directory(_) => None,
            Location::S3(bucket) => bucket.endpoint_url.clone(),
        };
        let topics = (self.all_topics && other.all_topics)
            || self.topics.iter().any(|topic| other.takes(topic))
            || other.topics.iter().any(|topic| self.takes(topic));
        topics && self.destination() == other.destination() && server(self) == server(other)
    }

    /// The consumer group, by Kafka Connect's rule.
    pub fn group(&self) -> String {
        format!("connect-{}", self.name)
    }
}

impl ConnectorOptions {
    /// Applies defaults and limits. Relative directories count from `base`; without `url`, the lake is
    /// `default_directory`.
    pub fn resolve(&self, name: &str, base: &Path, default_directory: &Path) -> Result<ConnectorSettings, ConfigError> {
        check_name(name)?;
        let SinkKind::S3 = self.sink.unwrap_or_default();
        let Format::Parquet = self.format.unwrap_or_default();
        let (topics, all_topics) = self.topics()?;
        let limits = self.limits()?;
        let errors = self.errors.clone().unwrap_or_default();
        let rate = errors.max_rate.unwrap_or(0.5);
        if !(0.0..=1.0).contains(&rate) {
            return Err(ConfigError::new("errors.max_rate", "must be between 0 and 1"));
        }
        Ok(ConnectorSettings {
            name: name.to_owned(),
            location: self.location(base, default_directory)?,
            topics_dir: topics_dir(self.topics_dir.as_deref().unwrap_or_default())?,
            topics,
            all_topics,
            topics_except: self.topics_except(all_topics)?,
            partitioner: self.partitioner()?,
            limits,
            metadata_columns: self.metadata.as_ref().and_then(|m| m.columns).unwrap_or(false),
            tasks_max: within("tasks_max", self.tasks_max, 1, 1, 64)?,
            start: self.start(),
            on_offset_mismatch: self.on_offset_mismatch.unwrap_or_default(),
            on_bad_record: self.on_bad_record.unwrap_or_default(),
            null_values: self.null_values.unwrap_or_default(),
            max_error_rate: rate,
            error_window: within("errors.window", errors.window, 1000, 100, 1_000_000)?,
            spill_bytes: within("spill_bytes", self.spill_bytes, 8 << 20, 4096, 1 << 40)?,
            flushes_in_flight: within("flushes_in_flight", self.flushes_in_flight, 4, 1, 64)?,
            revoke_timeout: millis("revoke_timeout_ms", self.revoke_timeout_ms, 5000, 300_000)?,
            stuck_after: self.stuck_after(limits.max_age)?,
        })
    }

    fn location(&self, base: &Path, default_directory: &Path) -> Result<Location, ConfigError> {
        let conditional = self.exactly_once.as_ref().and_then(|options| options.conditional);
        let url = self.url.as_deref();
        if let Some(place) = url.and_then(|url| url.strip_prefix("s3://")) {
            let options = self.s3.clone().unwrap_or_default();
            return options
                .resolve(place, conditional.unwrap_or_default(), base)
                .map(|bucket| Location::S3(Box::new(bucket)));
        }
        let needless = [("s3", self.s3.is_some()), ("exactly_once.conditional", conditional.is_some())];
        if let Some((key, _)) = needless.iter().find(|(_, given)| *given) {
            return Err(ConfigError::new(key, "needs a `url` of the form s3://BUCKET/PREFIX"));
        }
        match url.map(|url| (url, url.strip_prefix("file://"))) {
            None => Ok(Location::Directory(default_directory.to_owned())),
            Some((_, Some(dir))) if !dir.is_empty() => Ok(Location::Directory(base.join(dir))),
            Some((url, _)) => {
                let why = format!("{url:?} is not of the form file://DIRECTORY or s3://BUCKET/PREFIX");
                Err(ConfigError::new("url", why))
            }
        }
    }

    fn topics(&self) -> Result<(Vec<String>, bool), ConfigError> {
        let listed = self.topics.clone().unwrap_or_else(|| vec!["*".to_owned()]);
        if listed.is_empty() {
            return Err(ConfigError::new("topics", r#"name at least one topic, or use ["*"] for all"#));
        }
        let all = listed.iter().any(|t| t == "*");
        let names: Vec<String> = listed.into_iter().filter(|t| t != "*").collect();
        match names.iter().find(|t| t.contains('*')) {
            Some(pattern) => {
                Err(ConfigError::new("topics", format!(r#"{pattern:?}: patterns are not supported, only "*" for all"#)))
            }
            None => Ok((names, all)),
        }
    }

    fn topics_except(&self, all: bool) -> Result<Vec<String>, ConfigError> {
        let except = self.topics_except.clone().unwrap_or_default();
        if !all && !except.is_empty() {
            return Err(ConfigError::new(
                "topics_except",
                r#"leaves topics out of topics: ["*"]; here they are named"#,
            ));
        }
        match except.iter().find(|t| t.contains('*')) {
            Some(pattern) => {
                let why = format!("{pattern:?}: patterns are not supported, name each topic");
                Err(ConfigError::new("topics_except", why))
            }
            None => Ok(except),
        }
    }

    fn limits(&self) -> Result<Limits, ConfigError> {
        let batch = self.batch.clone().unwrap_or_default();
        let default = Limits::default();
        Ok(Limits {
            max_rows: within("batch.max_rows", batch.max_rows, default.max_rows, 1, 100_000_000)?,
            max_bytes: within("batch.max_bytes", batch.max_bytes, default.max_bytes, 1024, 1 << 34)?,
            max_age: millis("batch.max_age_ms", batch.max_age_ms, 300_000, 86_400_000)?,
            max_open_files: within("max_open_files", self.max_open_files, default.max_open_files, 4, 10_000)?,
        })
    }

    fn stuck_after(&self, max_age: Duration) -> Result<Duration, ConfigError> {
        let age = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let default = age.saturating_mul(2).max(120_000);
        let after = millis("stuck_after_ms", self.stuck_after_ms, default, u64::MAX)?;
        if after <= max_age {
            let why = format!(
                "must be above batch.max_age_ms ({age}), not {}: a batch may stay open so long, and a task that waits \
                 for it is not stuck",
                after.as_millis()
            );
            return Err(ConfigError::new("stuck_after_ms", why));
        }
        Ok(after)
    }

    fn partitioner(&self) -> Result<Partitioner, ConfigError> {
        let zone_name = self.timezone.as_deref().unwrap_or("UTC");
        let zone = TimeZone::get(zone_name)
            .map_err(|_| ConfigError::new("timezone", format!("{zone_name:?} is not in the time zone database")))?;
        let format = self.path.as_ref().and_then(|p| p.format.as_deref());
        let kind = self.partitioner.unwrap_or_default();
        if format.is_some() && kind != PartitionerKind::Time {
            return Err(ConfigError::new("path.format", "needs `partitioner: time`"));
        }
        if self.timezone.is_some() && kind == PartitionerKind::Default {
            return Err(ConfigError::new("timezone", "needs `partitioner: daily`, `hourly` or `time`"));
        }
        let pattern = match kind {
            PartitionerKind::Default => return Ok(Partitioner::Default),
            PartitionerKind::Daily => crate::partitioner::DAILY,
            PartitionerKind::Hourly => crate::partitioner::HOURLY,
            PartitionerKind::Time => {
                format.ok_or_else(|| ConfigError::new("path.format", "is needed by `partitioner: time`"))?
            }
        };
        Partitioner::time(pattern, zone_name, zone).map_err(|why| ConfigError::new("path.format", why))
    }

    fn start(&self) -> Start {
        match self.start {
            None | Some(StartOptions::Named(StartName::Earliest)) => Start::Earliest,
            Some(StartOptions::Named(StartName::Latest)) => Start::Latest,
            Some(StartOptions::At { timestamp_ms }) => Start::Timestamp(timestamp_ms),
        }
    }
}

/// All connectors of a file, each name checked.
pub type Connectors = BTreeMap<String, ConnectorOptions>;

fn check_name(name: &str) -> Result<(), ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) || name.starts_with('.') {
        let why = format!(
            "a connector's name is 1 to 64 of A-Z a-z 0-9 . _ - and does not begin with a dot; {name:?} does not fit"
        );
        return Err(ConfigError::new("", why));
    }
    Ok(())
}

/// A folder below the lake: its parts are plain names, so nothing leaves the lake.
fn topics_dir(text: &str) -> Result<String, ConfigError> {
    let trimmed = text.trim_matches('/');
    let fits = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=');
        !part.is_empty() && part != "." && part != ".." && part != "_forebay" && part.chars().all(plain)
    };
    if trimmed.is_empty() || (trimmed.len() <= 512 && trimmed.split('/').all(fits)) {
        return Ok(trimmed.to_owned());
    }
    Err(ConfigError::new("topics.dir", format!("{text:?}: each folder is made of A-Z a-z 0-9 . _ - = and is not `..`")))
}

pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    key: &str,
    given: Option<T>,
    default: T,
    min: T,
    max: T,
) -> Result<T, ConfigError> {
    let value = given.unwrap_or(default);
    if value < min || value > max {
        return Err(ConfigError::new(key, format!("must be between {min} and {max}, not {value}")));
    }
    Ok(value)
}

pub(crate) fn millis(key: &str, given: Option<u64>, default: u64, max: u64) -> Result<Duration, ConfigError> {
    Ok(Duration::from_millis(within(key, given, default, 1, max)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str) -> Result<ConnectorSettings, ConfigError> {
        let options: ConnectorOptions = serde_json::from_str(json).unwrap();
        options.resolve("lake", Path::new("/etc"), Path::new("/data/lake"))
    }

    #[test]
    fn defaults() {
        let s = resolve("{}").unwrap();
        assert_eq!(s.group(), "connect-lake");
        assert_eq!(s.destination(), "file:///data/lake");
        assert!(s.all_topics && s.topics.is_empty());
        assert_eq!((s.limits.max_rows, s.limits.max_bytes), (1_000_000, 134_217_728));
        assert_eq!(s.limits.max_age, Duration::from_secs(300));
        assert_eq!(s.stuck_after, Duration::from_secs(600));
    }

    #[test]
    fn topics_are_left_out_of_all_alone() {
        let s = resolve(r#"{"topics":["*","_mine"],"topics_except":["connect-offsets"]}"#).unwrap();
        assert_eq!(
            (s.all_topics, s.topics, s.topics_except),
            (true, vec!["_mine".into()], vec!["connect-offsets".into()])
        );
        for bad in [r#"{"topics":["a"],"topics_except":["b"]}"#, r#"{"topics_except":["connect-*"]}"#] {
            assert!(resolve(bad).unwrap_err().to_string().contains("topics_except"), "{bad}");
        }
    }

    #[test]
    fn relative_urls_count_from_the_base() {
        let cases = [("file://./lake", "/etc/./lake"), ("file:///srv/lake", "/srv/lake")];
        for (url, dir) in cases {
            let settings = resolve(&format!(r#"{{"url":"{url}"}}"#)).unwrap();
            assert_eq!(settings.location, Location::Directory(dir.into()));
        }
    }

    #[test]
    fn a_bucket_has_its_own_section() {
        let options = r#"{"url":"s3://lake/raw","topics.dir":"a","s3":{"region":"eu-central-1"},
                          "exactly_once":{"conditional":"require"}}"#;
        let settings = resolve(options).unwrap();
        assert_eq!(settings.destination(), "s3://lake/raw/a");
        let Location::S3(bucket) = settings.location else { panic!() };
        assert_eq!((bucket.region.as_deref(), bucket.conditional), (Some("eu-central-1"), Conditional::Require));
    }

    #[test]
    fn files_are_shared_by_place_and_topics() {
        let one = r#"{"url":"file:///l","topics":["a","b"]}"#;
        let cases = [
            (r#"{"url":"file:///l","topics":["b"]}"#, true),
            (r#"{"url":"file:///l/","topics":["*"]}"#, true),
            (r#"{"url":"file:///l","topics":["*"],"topics_except":["a"]}"#, true),
            (r#"{"url":"file:///l","topics":["*"],"topics_except":["a","b","_c"]}"#, false),
            (r#"{"url":"file:///l","topics":["c"]}"#, false),
            (r#"{"url":"file:///l","topics":["b"],"topics.dir":"x"}"#, false),
            (r#"{"url":"s3://l","topics":["b"]}"#, false),
        ];
        for (other, shared) in cases {
            assert_eq!(resolve(one).unwrap().shares_files_with(&resolve(other).unwrap()), shared, "{other}");
        }
    }

    #[test]
    fn refusals_name_the_key() {
        let cases = [
            (r#"{"url":"s3:/x"}"#, "url"),
            (r#"{"url":"s3://"}"#, "url"),
            (r#"{"s3":{}}"#, "s3"),
            (r#"{"url":"file:///x","exactly_once":{"conditional":"off"}}"#, "exactly_once.conditional"),
            (r#"{"url":"s3://lake","s3":{"part_bytes":1}}"#, "s3.part_bytes"),
            (r#"{"topics":[]}"#, "topics"),
            (r#"{"topics":["a*"]}"#, "topics"),
            (r#"{"topics.dir":"a/../b"}"#, "topics.dir"),
            (r#"{"topics.dir":"_forebay"}"#, "topics.dir"),
            (r#"{"batch":{"max_rows":0}}"#, "batch.max_rows"),
            (r#"{"batch":{"max_age_ms":0}}"#, "batch.max_age_ms"),
            (r#"{"tasks_max":65}"#, "tasks_max"),
            (r#"{"stuck_after_ms":300000}"#, "stuck_after_ms"),
            (r#"{"stuck_after_ms":5000,"batch":{"max_age_ms":5000}}"#, "stuck_after_ms"),
            (r#"{"errors":{"max_rate":1.5}}"#, "errors.max_rate"),
            (r#"{"timezone":"UTC"}"#, "timezone"),
            (r#"{"partitioner":"hourly","timezone":"Mars/Base"}"#, "timezone"),
            (r#"{"partitioner":"time"}"#, "path.format"),
            (r#"{"path":{"format":"yyyy"}}"#, "path.format"),
        ];
        for (json, key) in cases {
            assert_eq!(resolve(json).unwrap_err().key, key, "{json}");
        }
    }

    #[test]
    fn names_are_safe_for_paths() {
        for bad in ["", "a/b", "..", ".x", "a b", &"x".repeat(65)] {
            let options = ConnectorOptions::default();
            assert!(options.resolve(bad, Path::new("/"), Path::new("/l")).is_err(), "{bad}");
        }
    }
}
