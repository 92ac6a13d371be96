//! The settings that decide keys and rows. Their fingerprint stands in every intent, so that a group begun with other
//! settings is finished with those.

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{config::ConnectorSettings, intent::cfg_hash, partitioner::Partitioner};

/// Raised when a release writes other rows or keys from the same settings.
const ENCODER_VERSION: u32 = 1;

/// See the module.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Folders.
    pub partitioner: Partitioner,
    /// Whether there are columns about the record.
    pub metadata_columns: bool,
    topics_dir: String,
}

/// As written into the control file: fields in alphabetical order, no spaces.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    codec: String,
    encoder_version: u32,
    format: String,
    metadata_columns: bool,
    path_format: String,
    timezone: String,
    topics_dir: String,
}

impl Shape {
    /// Of a connector.
    pub fn of(settings: &ConnectorSettings) -> Self {
        Self {
            partitioner: settings.partitioner.clone(),
            metadata_columns: settings.metadata_columns,
            topics_dir: settings.topics_dir.clone(),
        }
    }

    /// Canonical JSON.
    pub fn canonical(&self) -> String {
        let (pattern, zone) = self.partitioner.describe();
        let written = Written {
            codec: "zstd-1".to_owned(),
            encoder_version: ENCODER_VERSION,
            format: "parquet".to_owned(),
            metadata_columns: self.metadata_columns,
            path_format: pattern.to_owned(),
            timezone: zone.to_owned(),
            topics_dir: self.topics_dir.clone(),
        };
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Fingerprint.
    pub fn hash(&self) -> String {
        cfg_hash(&self.canonical())
    }

    /// From canonical JSON; `None` if this release can't do what it says.
    pub fn parse(text: &str) -> Option<Self> {
        let written: Written = serde_json::from_str(text).ok()?;
        let partitioner = if written.path_format.is_empty() {
            Partitioner::Default
        } else {
            let zone = TimeZone::get(&written.timezone).ok()?;
            Partitioner::time(&written.path_format, &written.timezone, zone).ok()?
        };
        let Written { metadata_columns, topics_dir, .. } = written;
        Some(Self { partitioner, metadata_columns, topics_dir })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let hourly = Partitioner::time(crate::partitioner::HOURLY, "Europe/Berlin", TimeZone::UTC).unwrap();
        for partitioner in [Partitioner::Default, hourly] {
            let shape = Shape { partitioner, metadata_columns: true, topics_dir: "a/b".to_owned() };
            let again = Shape::parse(&shape.canonical()).unwrap();
            assert_eq!(again.canonical(), shape.canonical());
        }
    }

    #[test]
    fn what_another_encoder_wrote_is_not_ours() {
        let shape = Shape { partitioner: Partitioner::Default, metadata_columns: false, topics_dir: String::new() };
        let newer = shape.canonical().replace(r#""encoder_version":1"#, r#""encoder_version":2"#);
        assert_ne!(Shape::parse(&newer).unwrap().hash(), cfg_hash(&newer));
    }
}
