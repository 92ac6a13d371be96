//! The checker: what callers were told, what the log holds and what the lake holds, held against each other.
//!
//! Events carry (producer, seq) and a hash of their content, so that every finding names its event.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

/// An event by its producer and its number there, from 0 without holes.
pub type Event = (u32, u64);

/// A record's place: partition and offset of the one topic under audit.
pub type Place = (i32, i64);

/// A row or record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Where it stands in the topic.
    pub place: Place,
    /// Which event it is.
    pub event: Event,
    /// Whether its hash fits its content.
    pub intact: bool,
}

/// Everything that an audit compares.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Events that were answered `accepted`, with the place in the answer.
    pub acknowledged: BTreeMap<Event, Place>,
    /// The topic, in order of place.
    pub in_topic: Vec<Seen>,
    /// The lake's rows, file by file in the order of their names.
    pub in_lake: Vec<Seen>,
    /// Places in the dead letter topic.
    pub in_dlq: Vec<Place>,
    /// Committed offset of each partition.
    pub committed: BTreeMap<i32, i64>,
    /// Files that could not be read.
    pub torn: Vec<String>,
}

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Acknowledged, and not where the answer said.
    LostIn(Event, Place),
    /// In the topic below the committed offset, and neither in the lake nor a dead letter.
    LostOut(Place),
    /// One place twice in the lake.
    DuplicatedRow(Place),
    /// One event twice in the topic.
    DuplicatedEvent(Event),
    /// In the lake and a dead letter as well.
    Split(Place),
    /// Content differs from its hash, or a row from the record of its place.
    Corrupted(Place),
    /// An earlier event of a producer behind a later one, in the topic or in the lake.
    Reordered(Event),
    /// A file that cannot be read.
    Torn(String),
    /// Committed beyond the end of the topic.
    Overcommitted(i32),
}

/// All findings; empty is what was promised.
pub fn audit(evidence: &Evidence) -> Vec<Finding> {
    let mut findings: Vec<Finding> = evidence.torn.iter().cloned().map(Finding::Torn).collect();
    let topic: BTreeMap<Place, &Seen> = evidence.in_topic.iter().map(|seen| (seen.place, seen)).collect();
    topic_itself(evidence, &topic, &mut findings);
    lake(evidence, &topic, &mut findings);
    let delivered: BTreeSet<Place> =
        evidence.in_lake.iter().map(|seen| seen.place).chain(evidence.in_dlq.iter().copied()).collect();
    for place in topic.keys().filter(|place| !delivered.contains(place)) {
        if evidence.committed.get(&place.0).is_some_and(|committed| place.1 < *committed) {
            findings.push(Finding::LostOut(*place));
        }
    }
    for (partition, committed) in &evidence.committed {
        let end = topic.range((*partition, 0)..=(*partition, i64::MAX)).next_back().map_or(0, |(place, _)| place.1 + 1);
        if *committed > end {
            findings.push(Finding::Overcommitted(*partition));
        }
    }
    findings
}

/// For the end of a run, when the lake has caught up: no findings, a row for each record, and something to look at. Says
/// how much it was.
///
/// # Errors
/// Something is not as promised.
pub fn settled(evidence: &Evidence) -> Result<String> {
    let findings = audit(evidence);
    ensure!(findings.is_empty(), "{} findings, first: {:?}", findings.len(), &findings[..findings.len().min(20)]);
    let (rows, records, acknowledged) = (evidence.in_lake.len(), evidence.in_topic.len(), evidence.acknowledged.len());
    ensure!(rows == records, "{rows} rows for {records} records");
    ensure!(acknowledged > 0, "nothing was acknowledged");
    Ok(format!("{acknowledged} acknowledged, {records} records, {rows} rows, 0 findings"))
}

fn topic_itself(evidence: &Evidence, topic: &BTreeMap<Place, &Seen>, findings: &mut Vec<Finding>) {
    for (event, place) in &evidence.acknowledged {
        if topic.get(place).is_none_or(|seen| seen.event != *event) {
            findings.push(Finding::LostIn(*event, *place));
        }
    }
    let mut events = BTreeSet::new();
    for seen in &evidence.in_topic {
        if !seen.intact {
            findings.push(Finding::Corrupted(seen.place));
        }
        if !events.insert(seen.event) {
            findings.push(Finding::DuplicatedEvent(seen.event));
        }
    }
    order(&evidence.in_topic, findings);
}

fn lake(evidence: &Evidence, topic: &BTreeMap<Place, &Seen>, findings: &mut Vec<Finding>) {
    let dead: BTreeSet<Place> = evidence.in_dlq.iter().copied().collect();
    let mut places = BTreeSet::new();
    for row in &evidence.in_lake {
        if !places.insert(row.place) {
            findings.push(Finding::DuplicatedRow(row.place));
        }
        if dead.contains(&row.place) {
            findings.push(Finding::Split(row.place));
        }
        if !row.intact || topic.get(&row.place).is_none_or(|seen| seen.event != row.event) {
            findings.push(Finding::Corrupted(row.place));
        }
    }
    order(&evidence.in_lake, findings);
}

/// Within (producer, partition), numbers rise with offsets.
fn order(seen: &[Seen], findings: &mut Vec<Finding>) {
    let mut last: BTreeMap<(u32, i32), u64> = BTreeMap::new();
    for Seen { place: (partition, _), event: (producer, seq), .. } in seen {
        let before = last.insert((*producer, *partition), *seq);
        if before.is_some_and(|before| before > *seq) {
            findings.push(Finding::Reordered((*producer, *seq)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(offset: i64, seq: u64) -> Seen {
        Seen { place: (0, offset), event: (1, seq), intact: true }
    }

    /// Two events, acknowledged, delivered and committed.
    fn sound() -> Evidence {
        Evidence {
            acknowledged: [((1, 0), (0, 0)), ((1, 1), (0, 1))].into(),
            in_topic: vec![seen(0, 0), seen(1, 1)],
            in_lake: vec![seen(0, 0), seen(1, 1)],
            committed: [(0, 2)].into(),
            ..Evidence::default()
        }
    }

    fn after(change: impl FnOnce(&mut Evidence)) -> Vec<Finding> {
        let mut evidence = sound();
        change(&mut evidence);
        audit(&evidence)
    }

    #[test]
    fn a_sound_run_has_no_findings() {
        assert_eq!(after(|_| ()), []);
        let undelivered = after(|e| {
            e.in_lake.pop();
            e.committed = [(0, 1)].into();
        });
        assert_eq!(undelivered, [], "not committed, so not promised yet");
    }

    #[test]
    fn every_finding_is_found() {
        let lost_in = after(|e| e.acknowledged.extend([((1, 9), (0, 9))]));
        assert_eq!(lost_in, [Finding::LostIn((1, 9), (0, 9))]);
        assert_eq!(after(|e| e.in_lake.truncate(1)), [Finding::LostOut((0, 1))]);
        assert_eq!(after(|e| e.in_lake.push(seen(1, 1))), [Finding::DuplicatedRow((0, 1))]);
        let twice = after(|e| e.in_topic.push(seen(2, 1)));
        assert_eq!(twice, [Finding::DuplicatedEvent((1, 1))]);
        assert_eq!(after(|e| e.in_dlq.push((0, 1))), [Finding::Split((0, 1))]);
        assert_eq!(after(|e| e.in_topic[0].intact = false), [Finding::Corrupted((0, 0))]);
        assert_eq!(after(|e| e.in_lake[0].intact = false), [Finding::Corrupted((0, 0))]);
        assert_eq!(after(|e| e.in_lake[0].event = (2, 0)), [Finding::Corrupted((0, 0))]);
        let reordered = after(|e| e.in_lake.reverse());
        assert_eq!(reordered, [Finding::Reordered((1, 0))]);
        assert_eq!(after(|e| e.torn.push("f".into())), [Finding::Torn("f".into())]);
        assert_eq!(after(|e| e.committed = [(0, 3)].into()), [Finding::Overcommitted(0)]);
    }

    #[test]
    fn a_settled_run_has_a_row_for_each_record_and_something_acknowledged() {
        assert_eq!(settled(&sound()).unwrap(), "2 acknowledged, 2 records, 2 rows, 0 findings");
        let changes: [fn(&mut Evidence); 3] = [
            |e| e.in_lake.truncate(1),
            |e| {
                e.in_lake.truncate(1);
                e.committed = [(0, 1)].into();
            },
            |e| e.acknowledged.clear(),
        ];
        for change in changes {
            let mut evidence = sound();
            change(&mut evidence);
            assert!(settled(&evidence).is_err(), "{evidence:?}");
        }
    }

    #[test]
    fn a_dead_letter_counts_as_delivered() {
        let moved = after(|e| {
            let row = e.in_lake.pop();
            e.in_dlq.extend(row.map(|row| row.place));
        });
        assert_eq!(moved, []);
    }
}
