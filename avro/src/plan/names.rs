//! Names looked up by exact text, and the nearest one to a misspelt name.

use std::sync::Arc;

/// Names longer than this get no hint, and no more than so many names are compared: hints are for people's typing.
const HINT_CHARS: usize = 64;
const HINT_NAMES: usize = 1_000;

/// A fixed list of names: fields of a record or symbols of an enum.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    listed: Vec<Arc<str>>,
    /// Positions in `listed`, by length and then text: most lookups end at the length.
    sorted: Vec<u32>,
}

impl Names {
    pub(crate) fn new(listed: Vec<Arc<str>>) -> Self {
        let mut sorted: Vec<u32> = (0..).take(listed.len()).collect();
        sorted.sort_by_key(|&at| (listed[at as usize].len(), listed[at as usize].clone()));
        Self { listed, sorted }
    }

    /// Position of a name in the list.
    pub(crate) fn get(&self, name: &str) -> Option<usize> {
        let at = self
            .sorted
            .binary_search_by(|&at| {
                let other: &str = &self.listed[at as usize];
                other.len().cmp(&name.len()).then_with(|| other.cmp(name))
            })
            .ok()?;
        Some(self.sorted[at] as usize)
    }

    /// All names in their order.
    pub(crate) fn listed(&self) -> &[Arc<str>] {
        &self.listed
    }

    /// The name most likely meant by `wrong`: equal but for case, or within a third of its length in single edits.
    pub(crate) fn nearest(&self, wrong: &str) -> Option<&str> {
        if wrong.chars().count() > HINT_CHARS {
            return None;
        }
        let limit = (wrong.chars().count() / 3).max(1);
        self.listed
            .iter()
            .take(HINT_NAMES)
            .filter(|name| name.len().abs_diff(wrong.len()) <= limit)
            .map(|name| (distance(&name.to_lowercase(), &wrong.to_lowercase()), name))
            .filter(|(edits, _)| *edits <= limit)
            .min_by_key(|(edits, _)| *edits)
            .map(|(_, name)| &**name)
    }
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, &ca) in a.iter().enumerate() {
        let mut row = vec![i + 1; b.len() + 1];
        for (j, &cb) in b.iter().enumerate() {
            row[j + 1] = (last[j] + usize::from(ca != cb)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && ca == b[j - 1] && a[i - 1] == cb {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        Names::new(list.iter().map(|&n| n.into()).collect())
    }

    #[test]
    fn finds_every_name_and_no_other() {
        let names = names(&["b", "a", "long_name", "ab", ""]);
        for (at, name) in names.listed().iter().enumerate() {
            assert_eq!(names.get(name), Some(at));
        }
        assert_eq!(names.get("c"), None);
    }

    #[test]
    fn nearest_is_near() {
        let names = names(&["user_id", "amount", "currency", "RED", "GREEN"]);
        for (wrong, right) in [
            ("userid", Some("user_id")),
            ("USER_ID", Some("user_id")),
            ("amuont", Some("amount")),
            ("red", Some("RED")),
            ("gren", Some("GREEN")),
            ("price", None),
            ("", None),
        ] {
            assert_eq!(names.nearest(wrong), right, "{wrong}");
        }
    }
}
