//! Compatibility levels: which versions a new schema is compared with, in which direction, and the words for it.

use super::Compatibility;
use crate::{compat, schema::Schema};

impl Compatibility {
    /// New readers must read old data.
    fn reads_old(self) -> bool {
        use Compatibility::{Backward, BackwardTransitive, Full, FullTransitive};
        matches!(self, Backward | BackwardTransitive | Full | FullTransitive)
    }

    /// Old readers must read new data.
    fn read_by_old(self) -> bool {
        use Compatibility::{Forward, ForwardTransitive, Full, FullTransitive};
        matches!(self, Forward | ForwardTransitive | Full | FullTransitive)
    }

    /// Of `versions` (ascending), those that a new schema is compared with, the latest first.
    pub(super) fn compared(self, versions: &[u32]) -> Vec<u32> {
        use Compatibility::{BackwardTransitive, ForwardTransitive, FullTransitive};
        let count = match self {
            Compatibility::None => 0,
            BackwardTransitive | ForwardTransitive | FullTransitive => versions.len(),
            _ => 1,
        };
        versions.iter().rev().take(count).copied().collect()
    }
}

/// What breaks `level` between a new schema and a version; one sentence each.
pub(super) fn differences(level: Compatibility, new: &Schema, old: &Schema, version: u32) -> Vec<String> {
    let mut sentences = Vec::new();
    if level.reads_old() {
        let found = compat::check(new, old);
        sentences.extend(found.iter().map(|d| format!("the new schema can't read data of version {version}: {d}")));
    }
    if level.read_by_old() {
        let found = compat::check(old, new);
        sentences.extend(found.iter().map(|d| format!("version {version} can't read data of the new schema: {d}")));
    }
    sentences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_choose_versions_and_directions() {
        use Compatibility::*;
        for (level, compared, old, new) in [
            (None, &[][..], false, false),
            (Backward, &[7], true, false),
            (BackwardTransitive, &[7, 3, 1], true, false),
            (Forward, &[7], false, true),
            (ForwardTransitive, &[7, 3, 1], false, true),
            (Full, &[7], true, true),
            (FullTransitive, &[7, 3, 1], true, true),
        ] {
            assert_eq!(level.compared(&[1, 3, 7]), compared, "{level}");
            assert_eq!((level.reads_old(), level.read_by_old()), (old, new), "{level}");
        }
    }
}
