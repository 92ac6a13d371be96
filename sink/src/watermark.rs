//! How far a partition is done: what was read, what is cut into a group, what may be committed. Pure.

use forebay_broker::Offset;

/// Positions of one assigned partition. `committed <= start <= position` always holds: a group is committed whole, and
/// groups are cut one behind another, so nothing can move the commit past a record that is not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermark {
    committed: Offset,
    start: Offset,
    position: Offset,
}

/// A closed range of offsets that is flushed and committed as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// First offset: the committed one when the group is written.
    pub start: Offset,
    /// Last offset.
    pub end: Offset,
}

impl Watermark {
    /// Everything below `committed` is done.
    pub fn at(committed: Offset) -> Self {
        Self { committed, start: committed, position: committed }
    }

    /// A record was read. False: it was read before, skip it. Gaps are normal.
    #[must_use]
    pub fn read(&mut self, offset: Offset) -> bool {
        let new = offset >= self.position;
        if new {
            self.position = offset + 1;
        }
        new
    }

    /// The log says that nothing stands below `offset` that was not handed out.
    pub fn reached(&mut self, offset: Offset) {
        self.position = self.position.max(offset);
    }

    /// Closes everything read so far; `None` if that is nothing.
    pub fn cut(&mut self) -> Option<Group> {
        self.cut_at(self.position - 1)
    }

    /// Closes what was read up to `end`, which a redo must hit exactly.
    pub fn cut_at(&mut self, end: Offset) -> Option<Group> {
        if end < self.start {
            return None;
        }
        let group = Group { start: self.start, end };
        self.start = end + 1;
        self.position = self.position.max(self.start);
        Some(group)
    }

    /// A group was committed. False: it is not the next one, and nothing changes.
    #[must_use]
    pub fn done(&mut self, group: Group) -> bool {
        let next = group.start == self.committed && group.end < self.start;
        if next {
            self.committed = group.end + 1;
        }
        next
    }

    /// What the log has as committed.
    pub fn committed(&self) -> Offset {
        self.committed
    }

    /// Start of the open group.
    pub fn start(&self) -> Offset {
        self.start
    }

    /// The next offset to read.
    pub fn position(&self) -> Offset {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn groups_follow_each_other_over_gaps() {
        let mut w = Watermark::at(5);
        assert_eq!(w.cut(), None);
        assert!(w.read(5) && w.read(9));
        assert!(!w.read(9) && !w.read(2));
        let first = w.cut().unwrap();
        assert_eq!(first, Group { start: 5, end: 9 });
        w.reached(20);
        let second = w.cut().unwrap();
        assert_eq!(second, Group { start: 10, end: 19 });
        assert!(!w.done(second), "the second can't be done before the first");
        assert!(w.done(first) && w.done(second));
        assert!(!w.done(first));
        assert_eq!(w.committed(), 20);
    }

    #[test]
    fn a_redo_ends_where_its_intent_says() {
        let mut w = Watermark::at(0);
        assert!(w.read(0) && w.read(7));
        assert_eq!(w.cut_at(4), Some(Group { start: 0, end: 4 }));
        assert_eq!(w.start(), 5);
    }

    proptest! {
        #[test]
        fn the_commit_never_passes_what_is_not_done(steps in prop::collection::vec((0u8..4, 0i64..50), 0..200)) {
            let mut w = Watermark::at(0);
            let mut cut: Vec<Group> = Vec::new();
            let mut done = 0;
            for (step, offset) in steps {
                match step {
                    0 => { let _ = w.read(offset); }
                    1 => cut.extend(w.cut()),
                    2 => w.reached(offset),
                    _ => if let Some(group) = cut.get(offset as usize % cut.len().max(1)) {
                        let was_next = cut.get(done) == Some(group);
                        prop_assert_eq!(w.done(*group), was_next);
                        done += usize::from(was_next);
                    }
                }
                prop_assert!(w.committed() <= w.start() && w.start() <= w.position());
                prop_assert_eq!(w.committed(), done.checked_sub(1).map_or(0, |i| cut[i].end + 1));
                for pair in cut.windows(2) {
                    prop_assert_eq!(pair[0].end + 1, pair[1].start);
                }
            }
        }
    }
}
