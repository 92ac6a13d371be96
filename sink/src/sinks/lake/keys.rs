//! Names of the lake's objects, and whether one that exists is ours. Pure.

use forebay_broker::{Offset, TopicPartition};

use super::super::store::Metadata;
use crate::{formats::parquet::EXTENSION, partitioner::segment};

/// `<topic>/<folder>/<topic>+<partition>+<start>+<schema id>.parquet`. The start is the group's, not the file's first
/// record: compaction may remove that record between a crash and the redo.
pub fn key(part: &TopicPartition, folder: &str, start: Offset, schema_id: u32) -> String {
    let topic = segment(&part.topic);
    format!("{topic}/{folder}/{topic}+{}+{start:020}+{schema_id}.{EXTENSION}", part.partition)
}

/// Longest key, in bytes, that every store takes.
pub const MAX_KEY_BYTES: usize = 1024;

/// Names of the metadata.
pub mod names {
    /// Version of this metadata.
    pub const VERSION: &str = "forebay-v";
    /// Connector.
    pub const CONNECTOR: &str = "forebay-connector";
    /// The log's identity.
    pub const CLUSTER_ID: &str = "forebay-cluster-id";
    /// The topic's identity.
    pub const TOPIC_ID: &str = "forebay-topic-id";
    /// First offset of the group.
    pub const START: &str = "forebay-start";
    /// Last offset of the group; by it a taken key is judged.
    pub const END: &str = "forebay-end";
    /// Rows in the object.
    pub const COUNT: &str = "forebay-count";
    /// Writer schema's id.
    pub const SCHEMA_ID: &str = "forebay-schema-id";
    /// Fingerprint of the settings.
    pub const CFG: &str = "forebay-cfg";
    /// Objects of the group.
    pub const GROUP_FILES: &str = "forebay-group-files";
}

/// What a key that is taken means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Our own object, from before a crash or from a rival with the same intent.
    Same,
    /// Another end under our start: see [`super::super::SinkError::OtherEnd`].
    OtherEnd(Offset),
    /// Our connector's, of another reading.
    Ours,
    /// Of another connector, cluster or topic.
    Others,
    /// Not of this program.
    Foreign,
}

/// Compares what stands there with what we would write.
pub fn judge(ours: &Metadata, theirs: Option<&Metadata>) -> Verdict {
    let Some(theirs) = theirs.filter(|theirs| theirs.contains_key(names::CONNECTOR)) else {
        return Verdict::Foreign;
    };
    let equal = |name: &&str| ours.get(*name) == theirs.get(*name);
    if ![names::CONNECTOR, names::CLUSTER_ID, names::TOPIC_ID].iter().all(equal) {
        return Verdict::Others;
    }
    if ![names::START, names::CFG, names::SCHEMA_ID].iter().all(equal) {
        return Verdict::Ours;
    }
    match theirs.get(names::END).and_then(|end| end.parse().ok()) {
        Some(_) if equal(&names::END) => Verdict::Same,
        Some(end) => Verdict::OtherEnd(end),
        None => Verdict::Ours,
    }
}

/// A group as its objects' metadata tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first offset.
    pub start: Offset,
    /// Its last offset.
    pub end: Offset,
    /// Its settings.
    pub cfg: String,
    /// Objects found.
    pub files: usize,
    /// Objects it should have.
    pub group_files: usize,
    /// Rows in the objects found.
    pub rows: u64,
}

/// The group with the highest start among a partition's objects. Groups before it are complete: a group is announced
/// only after the one before was committed.
pub fn last_group(part: &TopicPartition, objects: &[(String, Metadata)]) -> Option<Found> {
    let groups = objects.iter().filter_map(|(key, metadata)| group_of(part, key, metadata));
    groups.fold(None, |last: Option<Found>, group| match last {
        Some(mut last) if last.start == group.start => {
            last.files += 1;
            last.rows += group.rows;
            Some(last)
        }
        Some(last) if last.start > group.start => Some(last),
        _ => Some(group),
    })
}

/// The group that begins at `start`.
pub fn group_at(part: &TopicPartition, start: Offset, objects: &[(String, Metadata)]) -> Option<Found> {
    let at_start =
        |(key, metadata): &&(String, Metadata)| group_of(part, key, metadata).is_some_and(|group| group.start == start);
    let objects: Vec<_> = objects.iter().filter(at_start).cloned().collect();
    last_group(part, &objects)
}

fn group_of(part: &TopicPartition, key: &str, metadata: &Metadata) -> Option<Found> {
    let file = key.rsplit('/').next()?;
    if !file.starts_with(&format!("{}+{}+", segment(&part.topic), part.partition)) {
        return None;
    }
    let number = |name: &str| metadata.get(name).and_then(|text| text.parse::<i64>().ok());
    Some(Found {
        start: number(names::START)?,
        end: number(names::END)?,
        cfg: metadata.get(names::CFG)?.clone(),
        files: 1,
        group_files: usize::try_from(number(names::GROUP_FILES)?).ok()?,
        rows: u64::try_from(number(names::COUNT)?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(pairs: &[(&str, &str)]) -> Metadata {
        let base = [
            (names::CONNECTOR, "lake"),
            (names::CLUSTER_ID, "c"),
            (names::TOPIC_ID, "t"),
            (names::START, "5"),
            (names::END, "9"),
            (names::CFG, "0123456789abcdef"),
            (names::SCHEMA_ID, "1"),
            (names::GROUP_FILES, "1"),
            (names::COUNT, "5"),
        ];
        base.iter().chain(pairs).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn keys_sort_by_start() {
        let part = TopicPartition::new("flights", 0);
        assert_eq!(key(&part, "partition=0", 0, 1), "flights/partition=0/flights+0+00000000000000000000+1.parquet");
        assert!(key(&part, "p", 9, 1) < key(&part, "p", 10, 1));
        let long = TopicPartition::new("t".repeat(249), i32::MAX);
        let name = key(&long, "p", i64::MAX, u32::MAX);
        assert!(name.rsplit('/').next().unwrap().len() + ".json".len() <= 255);
    }

    #[test]
    fn a_taken_key_is_judged_by_its_metadata() {
        let ours = metadata(&[]);
        let cases = [
            (Some(metadata(&[])), Verdict::Same),
            (Some(metadata(&[(names::COUNT, "4")])), Verdict::Same),
            (Some(metadata(&[(names::END, "7")])), Verdict::OtherEnd(7)),
            (Some(metadata(&[(names::CFG, "f")])), Verdict::Ours),
            (Some(metadata(&[(names::END, "x")])), Verdict::Ours),
            (Some(metadata(&[(names::TOPIC_ID, "u")])), Verdict::Others),
            (Some(metadata(&[(names::CONNECTOR, "b")])), Verdict::Others),
            (Some(Metadata::new()), Verdict::Foreign),
            (None, Verdict::Foreign),
        ];
        for (theirs, want) in cases {
            assert_eq!(judge(&ours, theirs.as_ref()), want, "{theirs:?}");
        }
    }

    #[test]
    fn the_last_group_counts_its_files() {
        let part = TopicPartition::new("t", 0);
        let at = |start: &str, end: &str, id: u32| {
            let pairs = [(names::START, start), (names::END, end), (names::GROUP_FILES, "2")];
            (key(&part, "partition=0", start.parse().unwrap(), id), metadata(&pairs))
        };
        let other = (key(&TopicPartition::new("t", 1), "partition=1", 90, 1), metadata(&[(names::START, "90")]));
        let objects = [at("10", "19", 1), other, at("5", "9", 1), at("10", "19", 2)];
        let last = last_group(&part, &objects).unwrap();
        assert_eq!((last.start, last.end, last.files, last.group_files, last.rows), (10, 19, 2, 2, 10));
        assert_eq!(group_at(&part, 5, &objects).unwrap().files, 1);
        assert_eq!(group_at(&part, 6, &objects), None);
        assert_eq!(last_group(&TopicPartition::new("x", 0), &objects), None);
    }
}
