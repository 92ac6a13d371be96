//! Rows by which a file is recognised. An offset alone does not name a record for ever: a log that was cut, or put back
//! from an older copy, gives it again. Pure.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
};

use forebay_broker::Offset;
use sha2::{Digest, Sha256};

use super::super::Row;

/// Marked rows at a file's end, besides the first row. More than one, because the record that has a row's offset now may
/// be none that becomes a row. All in all they take less than 300 bytes of an object's metadata, of which S3 takes 2 KB.
const LAST: usize = 4;

/// The first row of a file and its last ones: `<offset>:<timestamp, ms>:<8 hex digits over key and datum>`, with
/// semicolons between them. Rows come in the order of their offsets.
#[derive(Clone, Debug, Default)]
pub struct Marks {
    first: Option<Mark>,
    last: VecDeque<Mark>,
}

#[derive(Clone, Debug)]
struct Mark {
    offset: Offset,
    timestamp_ms: i64,
    digest: String,
}

impl Marks {
    /// Takes the rows that were appended.
    pub fn take(&mut self, rows: &[&Row]) {
        if self.first.is_none() {
            self.first = rows.first().map(|row| mark(row));
        }
        let last = rows.get(rows.len().saturating_sub(LAST)..).unwrap_or_default();
        self.last.extend(last.iter().map(|row| mark(row)));
        self.last.drain(..self.last.len().saturating_sub(LAST));
    }
}

fn mark(row: &Row) -> Mark {
    let mut digest = Sha256::new();
    digest.update(row.key.as_deref().unwrap_or_default());
    digest.update(&row.datum);
    let digest = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    Mark { offset: row.offset, timestamp_ms: row.timestamp_ms, digest }
}

impl fmt::Display for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_apart = |first: &&Mark| self.last.front().is_some_and(|last| first.offset < last.offset);
        let first = self.first.iter().filter(is_apart);
        for (n, Mark { offset, timestamp_ms, digest }) in first.chain(&self.last).enumerate() {
            let between = if n == 0 { "" } else { ";" };
            write!(f, "{between}{offset}:{timestamp_ms}:{digest}")?;
        }
        Ok(())
    }
}

/// What two readings of the same offsets have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compared {
    /// Nothing speaks against one log.
    Alike,
    /// This offset was given to two records.
    Rewound(Offset),
    /// Ours has a row behind all of theirs.
    Longer,
}

/// Compares marks. Where one is unknown or unreadable (an older release's, a newer one's) there is nothing to compare,
/// and rows that only one of them has may have been compacted away.
pub fn compare(ours: &str, theirs: &str) -> Compared {
    let (Some(ours), Some(theirs)) = (parse(ours), parse(theirs)) else { return Compared::Alike };
    let other = ours.iter().find(|(offset, mark)| theirs.get(offset).is_some_and(|theirs| theirs != *mark));
    match other {
        Some((offset, _)) => Compared::Rewound(*offset),
        None if ours.last_key_value().map(|(offset, _)| offset) > theirs.last_key_value().map(|(offset, _)| offset) => {
            Compared::Longer
        }
        None => Compared::Alike,
    }
}

/// By offset; `None`: these are no marks.
fn parse(text: &str) -> Option<BTreeMap<Offset, &str>> {
    let mark = |text| -> Option<(Offset, &str)> {
        let (offset, mark) = str::split_once(text, ':')?;
        Some((offset.parse().ok()?, mark))
    };
    text.split(';').map(mark).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use forebay_avro::schema::Schema;

    use super::*;

    fn row(offset: Offset, timestamp_ms: i64, key: Option<&'static str>, datum: &'static str) -> Row {
        let schema = Arc::new(Schema::parse(r#""string""#, &[]).unwrap());
        let (key, datum) = (key.map(Into::into), datum.into());
        Row { offset, key, headers: Default::default(), timestamp_ms, schema_id: 1, schema, datum }
    }

    fn marks(calls: &[&[Row]]) -> String {
        let mut marks = Marks::default();
        for rows in calls {
            marks.take(&rows.iter().collect::<Vec<_>>());
        }
        marks.to_string()
    }

    fn offsets(text: &str) -> Vec<Offset> {
        parse(text).unwrap().into_keys().collect()
    }

    #[test]
    fn the_first_row_and_the_last_ones_however_they_came() {
        let rows: Vec<Row> = (50..80).map(|offset| row(offset, 7, None, "x")).collect();
        for count in [1, 2, 4, 5, 6, 30] {
            let rows = &rows[..count];
            let want: Vec<Offset> = match count {
                5.. => [50].into_iter().chain(46 + count as Offset..50 + count as Offset).collect(),
                _ => (50..50 + count as Offset).collect(),
            };
            assert_eq!(offsets(&marks(&[rows])), want);
            for cut in 1..count {
                assert_eq!(marks(&[&rows[..cut], &[], &rows[cut..]]), marks(&[rows]), "{count} cut at {cut}");
            }
        }
        assert_eq!(marks(&[]), "");
        let text = marks(&[&[row(5, -3, Some("k"), "v")]]);
        assert_eq!(text.split(':').map(str::len).collect::<Vec<_>>(), [1, 2, 8]);
    }

    #[test]
    fn they_fit_into_an_objects_metadata() {
        let rows: Vec<Row> = (0..9).map(|n| row(i64::MAX - 9 + n, i64::MIN, None, "x")).collect();
        assert!(marks(&[&rows]).len() < 300);
    }

    #[test]
    fn an_offset_that_has_two_records_tells_a_rewound_log() {
        let theirs = marks(&[&[row(1, 7, None, "a"), row(2, 7, None, "b")]]);
        let cases: [(&[Row], Compared); 9] = [
            (&[row(1, 7, None, "a"), row(2, 7, None, "b")], Compared::Alike),
            (&[row(1, 7, None, "a"), row(2, 8, None, "b")], Compared::Rewound(2)),
            (&[row(1, 7, None, "a"), row(2, 7, None, "c")], Compared::Rewound(2)),
            (&[row(1, 7, Some("k"), "a"), row(2, 7, None, "b")], Compared::Rewound(1)),
            (&[row(1, 9, None, "a")], Compared::Rewound(1)),
            // Compacted since.
            (&[row(2, 7, None, "b")], Compared::Alike),
            (&[row(1, 7, None, "a")], Compared::Alike),
            (&[row(0, 7, None, "z")], Compared::Alike),
            (&[row(1, 7, None, "a"), row(3, 7, None, "d")], Compared::Longer),
        ];
        for (ours, want) in cases {
            assert_eq!(compare(&marks(&[ours]), &theirs), want, "{ours:?}");
        }
        for unknown in ["", "x", "1;2", "x:1:2", "1:2:3;"] {
            assert_eq!(compare(&theirs, unknown), Compared::Alike, "{unknown}");
            assert_eq!(compare(unknown, &theirs), Compared::Alike, "{unknown}");
        }
    }
}
