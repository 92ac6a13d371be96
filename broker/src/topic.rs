//! What a topic may be called and set to. Pure; every backend of ours asks here.

use std::collections::BTreeMap;

use crate::{Committed, LogError, NewRecord, TimestampType, TopicPartition, TopicSpec, dead_letter};

/// Partitions a topic may have.
pub const MAX_PARTITIONS: i32 = 10_000;
/// Default of `retention.ms`: seven days, as Kafka's.
pub const DEFAULT_RETENTION_MS: i64 = 7 * 24 * 3_600_000;
/// Bytes of a commit's metadata.
pub const MAX_METADATA_BYTES: usize = 4_000;
/// Bytes of a group's name.
pub const MAX_GROUP_BYTES: usize = 249;

/// A topic's settings, resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicSettings {
    /// `retention.ms`: records appended longer ago than this go, ms; `None` (-1): never. Not by their timestamps, as
    /// Kafka does: old data published today would be gone at once.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`: what each partition keeps at least before the oldest records go; `None` (-1): all.
    pub retention_bytes: Option<u64>,
    /// `max.message.bytes`: most bytes of key, value and headers of one record; `None`: the producer's `record_bytes`.
    pub max_record_bytes: Option<usize>,
    /// `message.timestamp.type` is `LogAppendTime`: records bear the time at which they were stored.
    pub append_time: bool,
}

impl TopicSettings {
    /// Most bytes of this record in the embedded log. A dead letter fits wherever its record did, also into a topic made
    /// under smaller limits: what can't be put aside holds up its partition for ever.
    pub fn max_bytes_of(&self, record: &NewRecord, record_bytes: usize) -> usize {
        let max = self.max_record_bytes.unwrap_or(record_bytes);
        let larger = dead_letter::topic::max_bytes(record_bytes);
        if max < larger && dead_letter::topic::is_letter(record) { larger } else { max }
    }

    /// The timestamp of a record that is stored now.
    pub fn stamp(&self, given_ms: Option<i64>, now_ms: i64) -> (i64, TimestampType) {
        if self.append_time {
            (now_ms, TimestampType::Append)
        } else {
            (given_ms.unwrap_or(now_ms), TimestampType::Create)
        }
    }
}

/// Checks name and partition count, and resolves the settings.
pub fn check(spec: &TopicSpec) -> Result<TopicSettings, LogError> {
    check_name(&spec.name)?;
    check_partitions(spec.partitions)?;
    settings(&spec.config)
}

/// Kafka's rule for topic names.
pub fn check_name(name: &str) -> Result<(), LogError> {
    let fits = (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if fits {
        return Ok(());
    }
    Err(LogError::Invalid(format!(
        "topic name {name:?} is not allowed: use 1 to 249 of A-Z a-z 0-9 . _ - (and neither \".\" nor \"..\")"
    )))
}

/// 1 to [`MAX_PARTITIONS`].
pub fn check_partitions(partitions: i32) -> Result<(), LogError> {
    if (1..=MAX_PARTITIONS).contains(&partitions) {
        return Ok(());
    }
    Err(LogError::Invalid(format!("{partitions} partitions are not possible: use 1 to {MAX_PARTITIONS}")))
}

/// Whether a group may bear this name.
pub fn check_group(group: &str) -> Result<(), LogError> {
    if (1..=MAX_GROUP_BYTES).contains(&group.len()) && !group.chars().any(char::is_control) {
        return Ok(());
    }
    Err(LogError::Invalid(format!(
        "group name {group:?} is not allowed: use 1 to {MAX_GROUP_BYTES} bytes without control characters"
    )))
}

/// What a group has of these partitions.
pub fn committed_of(
    group: Option<&BTreeMap<TopicPartition, Committed>>,
    parts: &[TopicPartition],
) -> BTreeMap<TopicPartition, Committed> {
    let Some(all) = group else { return BTreeMap::new() };
    parts.iter().filter_map(|part| Some((part.clone(), all.get(part)?.clone()))).collect()
}

/// Whether this position can be committed.
pub fn check_committed(committed: Option<&Committed>) -> Result<(), LogError> {
    let Some(committed) = committed else { return Ok(()) };
    if committed.offset < 0 {
        return Err(LogError::Invalid(format!("offset {} can't be committed: it is negative", committed.offset)));
    }
    if committed.metadata.len() > MAX_METADATA_BYTES {
        return Err(LogError::Invalid(format!(
            "commit metadata of {} bytes is over the limit of {MAX_METADATA_BYTES}",
            committed.metadata.len()
        )));
    }
    Ok(())
}

/// Resolves Kafka's settings by name.
pub fn settings(config: &BTreeMap<String, String>) -> Result<TopicSettings, LogError> {
    let retention_ms = Some(DEFAULT_RETENTION_MS);
    let mut resolved =
        TopicSettings { retention_ms, retention_bytes: None, max_record_bytes: None, append_time: false };
    for (name, value) in config {
        match name.as_str() {
            "retention.ms" => resolved.retention_ms = limit(name, value)?,
            "retention.bytes" => resolved.retention_bytes = limit(name, value)?.map(i64::unsigned_abs),
            "max.message.bytes" => {
                resolved.max_record_bytes = limit(name, value)?.and_then(|n| usize::try_from(n).ok());
            }
            "message.timestamp.type" => resolved.append_time = is_append_time(value)?,
            "cleanup.policy" if value == "delete" => {}
            "cleanup.policy" => {
                return Err(LogError::Invalid(format!(
                    "cleanup.policy {value:?} is not possible on this log: only \"delete\" is"
                )));
            }
            _ => {
                return Err(LogError::Invalid(format!(
                    "topic setting {name:?} is not known to this log: it knows cleanup.policy, max.message.bytes, \
                     message.timestamp.type, retention.bytes and retention.ms"
                )));
            }
        }
    }
    Ok(resolved)
}

fn is_append_time(value: &str) -> Result<bool, LogError> {
    match value {
        "CreateTime" => Ok(false),
        "LogAppendTime" => Ok(true),
        _ => Err(LogError::Invalid(format!(
            "topic setting message.timestamp.type is {value:?}: use \"CreateTime\" or \"LogAppendTime\""
        ))),
    }
}

/// -1 is Kafka's "no limit".
fn limit(name: &str, value: &str) -> Result<Option<i64>, LogError> {
    match value.parse::<i64>() {
        Ok(-1) => Ok(None),
        Ok(n) if n >= 0 => Ok(Some(n)),
        _ => Err(LogError::Invalid(format!("topic setting {name} is {value:?}: use a whole number, or -1 for none"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "events.dlq", "A_b-9", &"x".repeat(249)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "a/b", &"x".repeat(250)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn partitions() {
        for (n, ok) in [(-1, false), (0, false), (1, true), (10_000, true), (10_001, false)] {
            assert_eq!(check_partitions(n).is_ok(), ok, "{n}");
        }
    }

    #[test]
    fn settings_by_kafkas_names() {
        let of = |pairs: &[(&str, &str)]| {
            settings(&pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()).map_err(|e| e.to_string())
        };
        assert_eq!(of(&[]).unwrap().retention_ms, Some(DEFAULT_RETENTION_MS));
        assert_eq!(of(&[("retention.ms", "-1")]).unwrap().retention_ms, None);
        assert_eq!(of(&[("retention.bytes", "10"), ("cleanup.policy", "delete")]).unwrap().retention_bytes, Some(10));
        assert_eq!(of(&[("max.message.bytes", "2097152")]).unwrap().max_record_bytes, Some(2_097_152));
        let stamped = |kind| of(&[("message.timestamp.type", kind)]).map(|settings| settings.stamp(Some(1), 2));
        assert_eq!(stamped("CreateTime"), Ok((1, TimestampType::Create)));
        assert_eq!(stamped("LogAppendTime"), Ok((2, TimestampType::Append)));
        assert!(stamped("logappendtime").unwrap_err().contains("LogAppendTime"));
        assert!(of(&[("retention.ms", "soon")]).unwrap_err().contains("retention.ms"));
        assert!(of(&[("cleanup.policy", "compact")]).unwrap_err().contains("only \"delete\""));
        assert!(of(&[("segment.bytes", "1")]).unwrap_err().contains("retention.bytes"));
    }
}
