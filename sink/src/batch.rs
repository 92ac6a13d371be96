//! When a batch is full. Pure: the caller hands in what is open and what time it is.

use std::time::Duration;

/// Limits of a partition's open batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Rows.
    pub max_rows: u64,
    /// Encoded bytes.
    pub max_bytes: usize,
    /// Time since the first record.
    pub max_age: Duration,
    /// Open files of the whole task.
    pub max_open_files: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_rows: 1_000_000, max_bytes: 128 << 20, max_age: Duration::from_secs(300), max_open_files: 512 }
    }
}

/// Why a batch was closed; the label `reason` of the flush metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// An intent found at a claim is finished.
    Redo,
    /// The connector stops or pauses.
    Drain,
    /// The memory budget is nearly used up.
    Memory,
    /// The task has too many open files.
    OpenFiles,
    /// A fifth schema id came.
    Schema,
    /// `batch.max_rows`.
    Rows,
    /// `batch.max_bytes`.
    Bytes,
    /// `batch.max_age_ms`.
    Age,
}

impl Reason {
    /// All, in the order in which the first that holds wins.
    pub const ALL: [Self; 8] =
        [Self::Redo, Self::Drain, Self::Memory, Self::OpenFiles, Self::Schema, Self::Rows, Self::Bytes, Self::Age];

    /// As a metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Redo => "redo",
            Self::Drain => "drain",
            Self::Memory => "memory",
            Self::OpenFiles => "open_files",
            Self::Schema => "schema",
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::Age => "age",
        }
    }
}

/// What is open of one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Rows in open files.
    pub rows: u64,
    /// Their encoded bytes.
    pub bytes: usize,
    /// Time since the first record of the batch, whether it became a row or not.
    pub age: Duration,
}

/// What the outside demands of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// An intent is being finished: only its end closes the batch.
    pub redo: Option<RedoState>,
    /// The connector drains.
    pub drain: bool,
    /// Memory asks for this batch.
    pub memory: bool,
    /// The open-file limit asks for this batch.
    pub open_files: bool,
    /// The next record's schema is one more than the batch can hold.
    pub schema: bool,
}

/// How far the redo of an intent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedoState {
    /// Records of it may still come.
    Reading,
    /// A record behind its end came, or the partition ends behind it.
    Complete,
}

/// The first reason that holds, if any. During a redo every limit is ignored: the group must end where its intent
/// says, however large it is.
pub fn due(limits: &Limits, open: &Open, demand: &Demand) -> Option<Reason> {
    match demand.redo {
        Some(RedoState::Complete) => return Some(Reason::Redo),
        Some(RedoState::Reading) => return None,
        None => {}
    }
    let rules = [
        (demand.drain, Reason::Drain),
        (demand.memory, Reason::Memory),
        (demand.open_files, Reason::OpenFiles),
        (demand.schema, Reason::Schema),
        (open.rows >= limits.max_rows, Reason::Rows),
        (open.bytes >= limits.max_bytes, Reason::Bytes),
        (open.age >= limits.max_age, Reason::Age),
    ];
    rules.iter().find(|(holds, _)| *holds).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { max_rows: 10, max_bytes: 100, max_age: Duration::from_secs(5), max_open_files: 8 };

    #[test]
    fn limits_hold_at_their_value_and_not_below() {
        let cases = [
            (9, 99, 4999, None),
            (10, 99, 4999, Some(Reason::Rows)),
            (9, 100, 4999, Some(Reason::Bytes)),
            (9, 99, 5000, Some(Reason::Age)),
            (10, 100, 5000, Some(Reason::Rows)),
            (0, 0, 5000, Some(Reason::Age)),
        ];
        for (rows, bytes, age, want) in cases {
            let open = Open { rows, bytes, age: Duration::from_millis(age) };
            assert_eq!(due(&LIMITS, &open, &Demand::default()), want, "{open:?}");
        }
    }

    #[test]
    fn a_redo_knows_no_other_limit() {
        let full = Open { rows: 99, bytes: 999, age: Duration::from_secs(99) };
        let all = Demand { redo: Some(RedoState::Reading), drain: true, memory: true, open_files: true, schema: true };
        assert_eq!(due(&LIMITS, &full, &all), None);
        let complete = Demand { redo: Some(RedoState::Complete), ..all };
        assert_eq!(due(&LIMITS, &Open::default(), &complete), Some(Reason::Redo));
    }

    proptest! {
        #[test]
        fn the_first_reason_in_order_wins(
            rows in 0u64..20, bytes in 0usize..200, age in 0u64..10_000, drain: bool, memory: bool, open_files: bool,
            schema: bool,
        ) {
            let open = Open { rows, bytes, age: Duration::from_millis(age) };
            let demand = Demand { redo: None, drain, memory, open_files, schema };
            let holds = |reason| match reason {
                Reason::Drain => drain,
                Reason::Memory => memory,
                Reason::OpenFiles => open_files,
                Reason::Rows => rows >= 10,
                Reason::Bytes => bytes >= 100,
                Reason::Age => age >= 5000,
                Reason::Schema => schema,
                Reason::Redo => false,
            };
            let want = Reason::ALL.into_iter().find(|r| holds(*r));
            prop_assert_eq!(due(&LIMITS, &open, &demand), want);
        }
    }
}
