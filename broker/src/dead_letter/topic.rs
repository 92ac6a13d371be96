//! The topics that hold dead letters: how they are made, and which names are theirs.

use super::names;
use crate::{Log, LogError, NewRecord, TopicInfo, TopicSpec};

/// Partitions.
pub const PARTITIONS: i32 = 6;
/// How long a dead letter is kept from when it failed: 30 days.
pub const RETENTION_MS: &str = "2592000000";
/// Least of what a dead letter may have.
const MIN_MAX_BYTES: usize = 2 << 20;
/// Room for the headers of a dead letter beside its record.
const HEADERS_ROOM_BYTES: usize = 1 << 20;
/// A cluster keeps records by their timestamps. Those of old events would leave early; theirs stands in a header.
pub const TIMESTAMP_TYPE: (&str, &str) = ("message.timestamp.type", "LogAppendTime");

/// Most bytes of a dead letter, where records have at most `record_bytes`: the largest with all its headers.
pub const fn max_bytes(record_bytes: usize) -> usize {
    let bytes = record_bytes.saturating_add(HEADERS_ROOM_BYTES);
    if bytes > MIN_MAX_BYTES { bytes } else { MIN_MAX_BYTES }
}

/// Whether a record is a dead letter, by its headers; no event may bear them.
pub fn is_letter(record: &NewRecord) -> bool {
    record.headers.get(names::VERSION).is_some() && record.headers.get(names::TOPIC).is_some()
}

/// A topic for dead letters of records of at most `record_bytes`.
pub fn spec(name: &str, record_bytes: usize) -> TopicSpec {
    let max_bytes = max_bytes(record_bytes).to_string();
    let config = [("retention.ms", RETENTION_MS), ("max.message.bytes", &max_bytes), TIMESTAMP_TYPE];
    let config = config.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    TopicSpec { name: name.to_owned(), partitions: PARTITIONS, config }
}

/// Makes sure that a topic for dead letters exists. One that does is left as it is.
pub async fn ensure(log: &dyn Log, name: &str) -> Result<(), LogError> {
    match log.topic(name).await {
        Err(LogError::UnknownTopic(_)) => {}
        found => return found.map(drop),
    }
    match log.create_topic(&spec(name, log.record_bytes())).await {
        Ok(_) | Err(LogError::TopicExists(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether the topic's records bear the time at which they were stored, by its own settings.
pub fn counts_from_failure(info: &TopicInfo) -> bool {
    info.config.get(TIMESTAMP_TYPE.0).is_some_and(|kind| kind == TIMESTAMP_TYPE.1)
}

/// How to mend a dead letter topic whose records bear the time of their events.
pub fn timestamp_advice(topic: &str) -> String {
    let (setting, value) = TIMESTAMP_TYPE;
    format!(
        "Set it right: kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}={value}"
    )
}

/// What is wrong with a dead letter topic that is compacted, and how to mend it.
pub fn compaction_advice(topic: &str) -> String {
    format!(
        "{topic} is compacted: it takes no dead letter without a key, and keeps only the last of each key. Set it right: \
         kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=delete"
    )
}

/// Whether `template` can name `topic`: `{topic}` and `{connector}` stand for any non-empty text.
pub fn can_be(topic: &str, template: &str) -> bool {
    let Some((prefix, rest)) = split_placeholder(template) else { return topic == template };
    let Some(tail) = topic.strip_prefix(prefix) else { return false };
    // The placeholder takes at least one character; whatever follows may start at any later place.
    let mut ends = tail.char_indices().map(|(at, _)| at).skip(1).chain([tail.len()]).filter(|&at| at > 0);
    ends.any(|at| tail.get(at..).is_some_and(|tail| can_be(tail, rest)))
}

fn split_placeholder(template: &str) -> Option<(&str, &str)> {
    let places = ["{topic}", "{connector}"].map(|name| template.find(name).map(|at| (at, at + name.len())));
    let (start, end) = places.into_iter().flatten().min()?;
    Some((template.get(..start)?, template.get(end..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_record_has_room_for_its_headers() {
        for (record_bytes, max) in [(1, 2 << 20), (1_000_000, 2 << 20), (1 << 20, 2 << 20), (64 << 20, 65 << 20)] {
            assert_eq!(max_bytes(record_bytes), max, "{record_bytes}");
        }
    }

    #[test]
    fn names_are_known_by_their_template() {
        let cases = [
            ("events.dlq", "events.dlq", true),
            ("events.dlq", "events", false),
            ("{topic}-dlq", "flights-dlq", true),
            ("{topic}-dlq", "-dlq", false),
            ("{topic}-dlq", "flights", false),
            ("dlq.{connector}.{topic}", "dlq.lake.flights", true),
            ("dlq.{connector}.{topic}", "dlq.flights", false),
            ("{topic}-{connector}", "a-b-c", true),
        ];
        for (template, topic, want) in cases {
            assert_eq!(can_be(topic, template), want, "{template} {topic}");
        }
    }
}
