//! Names of the lake's objects, and whether one that exists is ours. Pure.

use forebay_broker::{Offset, TopicPartition};

use super::{
    super::store::Metadata,
    marks::{Compared, compare},
};
use crate::{formats::parquet::EXTENSION, partitioner::segment};

/// `<topic>/<folder>/<topic>+<partition>+<start>+<schema id>.parquet`. The start is the group's, not the file's first
/// record: compaction may remove that record between a crash and the redo.
pub fn key(part: &TopicPartition, folder: &str, start: Offset, schema_id: u32) -> String {
    let topic = segment(&part.topic);
    format!("{topic}/{folder}/{topic}+{}+{start:020}+{schema_id}.{EXTENSION}", part.partition)
}

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
    /// Rows by which the object is recognised: [`super::super::marks`]. Older releases wrote none.
    pub const MARKS: &str = "forebay-marks";
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
    /// Our connector's, with another record at this offset: the log was cut or put back, and has given it again.
    Rewound(Offset),
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
    // An identity that is not known is empty, and not every store keeps empty values.
    let value = |of: &Metadata, name: &str| of.get(name).cloned().unwrap_or_default();
    let equal = |name: &&str| value(ours, name) == value(theirs, name);
    // The log can't always tell a topic's identity.
    let unknown = [ours, theirs].iter().any(|of| value(of, names::TOPIC_ID).is_empty());
    if ![names::CONNECTOR, names::CLUSTER_ID].iter().all(equal) || !(unknown || equal(&names::TOPIC_ID)) {
        return Verdict::Others;
    }
    let compared = compare(&value(ours, names::MARKS), &value(theirs, names::MARKS));
    if let Compared::Rewound(offset) = compared {
        return Verdict::Rewound(offset);
    }
    if ![names::START, names::CFG, names::SCHEMA_ID].iter().all(equal) {
        return Verdict::Ours;
    }
    match theirs.get(names::END).and_then(|end| end.parse().ok()) {
        // A row of ours that would be lost.
        Some(_) if equal(&names::END) && compared == Compared::Longer => Verdict::Ours,
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

/// How the names of a partition's objects begin; with `start`, those of one group.
pub fn name_prefix(part: &TopicPartition, start: Option<Offset>) -> String {
    let start = start.map(|start| format!("{start:020}+")).unwrap_or_default();
    format!("{}+{}+{start}", segment(&part.topic), part.partition)
}

/// Of a partition's keys those of the group with the highest start, by whatever settings they were made. Groups before
/// it are complete: a group is announced only after the one before was committed.
pub fn last_group(part: &TopicPartition, keys: &[String]) -> Vec<String> {
    let prefix = name_prefix(part, None);
    let start = |key: &str| -> Option<Offset> {
        let (start, _) = key.rsplit('/').next()?.strip_prefix(&prefix)?.split_once('+')?;
        start.parse().ok()
    };
    let last = keys.iter().filter_map(|key| start(key)).max();
    keys.iter().filter(|key| last.is_some() && start(key) == last).cloned().collect()
}

/// Who a group must be of to be ours.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// Connector.
    pub connector: &'a str,
    /// The log's identity.
    pub cluster_id: &'a str,
    /// The topic's, if the log can tell.
    pub topic_id: Option<&'a str>,
}

/// Whose objects stand where ours would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// Another connector's.
    Connector(String),
    /// Of another log.
    Cluster(String),
    /// Of another topic of this name.
    Topic(String),
    /// Nobody's who can be known.
    Unknown,
}

/// A group, from the metadata of its objects.
///
/// # Errors
/// One of them is not the owner's.
pub fn group_of(owner: Owner<'_>, objects: &[Metadata]) -> Result<Option<Found>, Stranger> {
    let mut group: Option<Found> = None;
    for metadata in objects {
        owned(owner, metadata)?;
        let object = found(metadata).ok_or(Stranger::Unknown)?;
        match &mut group {
            None => group = Some(object),
            Some(group) => {
                group.files += 1;
                group.rows += object.rows;
            }
        }
    }
    Ok(group)
}

fn owned(owner: Owner<'_>, metadata: &Metadata) -> Result<(), Stranger> {
    let value = |name: &str| metadata.get(name).map(String::as_str).unwrap_or_default();
    let connector = metadata.get(names::CONNECTOR).ok_or(Stranger::Unknown)?;
    if connector != owner.connector {
        return Err(Stranger::Connector(connector.clone()));
    }
    if value(names::CLUSTER_ID) != owner.cluster_id {
        return Err(Stranger::Cluster(value(names::CLUSTER_ID).to_owned()));
    }
    match (value(names::TOPIC_ID), owner.topic_id) {
        // The log can't always tell it.
        ("", _) | (_, None | Some("")) => Ok(()),
        (theirs, Some(ours)) if theirs == ours => Ok(()),
        (theirs, _) => Err(Stranger::Topic(theirs.to_owned())),
    }
}

fn found(metadata: &Metadata) -> Option<Found> {
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
            (Some(metadata(&[(names::SCHEMA_ID, "2")])), Verdict::Ours),
            (Some(metadata(&[(names::CLUSTER_ID, "d")])), Verdict::Others),
            (Some(metadata(&[(names::END, "7")])), Verdict::OtherEnd(7)),
            (Some(metadata(&[(names::CFG, "f")])), Verdict::Ours),
            (Some(metadata(&[(names::END, "x")])), Verdict::Ours),
            (Some(metadata(&[(names::TOPIC_ID, "u")])), Verdict::Others),
            (Some(metadata(&[(names::TOPIC_ID, "")])), Verdict::Same),
            (Some(metadata(&[(names::TOPIC_ID, ""), (names::CLUSTER_ID, "d")])), Verdict::Others),
            (Some(metadata(&[(names::CONNECTOR, "b")])), Verdict::Others),
            (Some(Metadata::new()), Verdict::Foreign),
            (None, Verdict::Foreign),
        ];
        for (theirs, want) in cases {
            assert_eq!(judge(&ours, theirs.as_ref()), want, "{theirs:?}");
        }
        let unknown = metadata(&[(names::TOPIC_ID, "")]);
        assert_eq!(judge(&unknown, Some(&ours)), Verdict::Same);
    }

    #[test]
    fn a_taken_key_is_judged_by_its_marks() {
        const MARKS: (&str, &str) = (names::MARKS, "5:7:aa;8:7:bb;9:7:cc");
        let ours = metadata(&[MARKS]);
        let cases = [
            (metadata(&[MARKS]), Verdict::Same),
            (metadata(&[MARKS, (names::COUNT, "4")]), Verdict::Same),
            // Of a release that knew no marks, or knows others.
            (metadata(&[]), Verdict::Same),
            (metadata(&[(names::MARKS, "v2")]), Verdict::Same),
            (metadata(&[(names::END, "7")]), Verdict::OtherEnd(7)),
            // Another record at an offset of ours, whatever else they say.
            (metadata(&[(names::MARKS, "5:7:aa;9:8:cc")]), Verdict::Rewound(9)),
            (metadata(&[(names::MARKS, "5:7:aa;9:7:dd"), (names::END, "12")]), Verdict::Rewound(9)),
            (metadata(&[(names::MARKS, "5:6:aa;7:7:xx"), (names::CFG, "f")]), Verdict::Rewound(5)),
            // Not by those who are none of ours.
            (metadata(&[(names::MARKS, "5:6:aa"), (names::CONNECTOR, "b")]), Verdict::Others),
            // Compacted since, and so not told from a cut one.
            (metadata(&[(names::MARKS, "4:7:zz;5:7:aa;10:7:xx")]), Verdict::Same),
            // Not all of our rows are in it.
            (metadata(&[(names::MARKS, "5:7:aa;8:7:bb")]), Verdict::Ours),
            (metadata(&[(names::MARKS, "5:7:aa;8:7:bb"), (names::END, "8")]), Verdict::OtherEnd(8)),
        ];
        for (theirs, want) in cases {
            assert_eq!(judge(&ours, Some(&theirs)), want, "{theirs:?}");
        }
    }

    #[test]
    fn the_last_group_is_found_by_its_keys_and_counts_its_files() {
        let part = TopicPartition::new("t", 0);
        let at = |start: Offset, id: u32| key(&part, "partition=0", start, id);
        let other = key(&TopicPartition::new("t", 1), "partition=1", 90, 1);
        let keys = [at(10, 1), other, at(5, 1), at(10, 2), "t/partition=0/t+0+x+1.parquet".to_owned()];
        assert_eq!(last_group(&part, &keys), [at(10, 1), at(10, 2)]);
        assert!(last_group(&TopicPartition::new("x", 0), &keys).is_empty());
        assert!(keys.iter().filter(|key| key.contains(&name_prefix(&part, Some(5)))).eq([&at(5, 1)]));
        let object = metadata(&[(names::START, "10"), (names::END, "19"), (names::GROUP_FILES, "2")]);
        let owner = Owner { connector: "lake", cluster_id: "c", topic_id: Some("t") };
        let group = group_of(owner, &[object.clone(), object]).unwrap().unwrap();
        assert_eq!((group.start, group.end, group.files, group.group_files, group.rows), (10, 19, 2, 2, 10));
        assert_eq!(group_of(owner, &[]), Ok(None));
    }

    #[test]
    fn a_group_is_known_by_whose_it_is() {
        let owner = Owner { connector: "lake", cluster_id: "c", topic_id: Some("t") };
        let strange = |pair| group_of(owner, &[metadata(&[]), metadata(&[pair])]).unwrap_err();
        assert_eq!(strange((names::CONNECTOR, "b")), Stranger::Connector("b".to_owned()));
        assert_eq!(strange((names::CLUSTER_ID, "d")), Stranger::Cluster("d".to_owned()));
        assert_eq!(strange((names::TOPIC_ID, "u")), Stranger::Topic("u".to_owned()));
        assert_eq!(strange((names::END, "x")), Stranger::Unknown);
        assert_eq!(group_of(owner, &[Metadata::new()]), Err(Stranger::Unknown));
        let unknown = Owner { topic_id: None, ..owner };
        assert!(group_of(unknown, &[metadata(&[]), metadata(&[(names::TOPIC_ID, "")])]).is_ok());
    }
}
