//! The known word that a mistyped one most likely meant.

/// The nearest of `known` to `word`, if it is near enough to be meant: at most a third of its letters differ, or one
/// of the two begins with the other.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase().replace('-', "_");
    known
        .into_iter()
        .map(|k| (rank(&lower, k), k))
        .filter(|(rank, k)| *rank <= (k.len().max(lower.len()) / 3).max(1))
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, k)| k)
}

fn rank(word: &str, known: &str) -> usize {
    let cut = word.len() >= 3 && known.starts_with(word) || known.len() >= 3 && word.starts_with(known);
    if cut { 1 } else { distance(word, known) }
}

/// Edits between two words: insert, delete, replace, and swap of two neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut cells: Vec<usize> = (0..width).collect();
    let cell = |cells: &[usize], row: usize, col: usize| cells.get(row * width + col).copied().unwrap_or(usize::MAX);
    for (i, ca) in a.iter().enumerate() {
        cells.push(i + 1);
        for (j, cb) in b.iter().enumerate() {
            let replaced = cell(&cells, i, j) + usize::from(ca != cb);
            let mut best = replaced.min(cell(&cells, i, j + 1) + 1).min(cell(&cells, i + 1, j) + 1);
            if i > 0 && j > 0 && a.get(i - 1) == Some(cb) && b.get(j - 1) == Some(ca) {
                best = best.min(cell(&cells, i - 1, j - 1) + 1);
            }
            cells.push(best);
        }
    }
    cells.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_was_meant() {
        let known = ["linger_ms", "queue_bytes", "queue_records", "record_bytes", "listen", "topics"];
        for (word, meant) in [
            ("linger", Some("linger_ms")),
            ("liner_ms", Some("linger_ms")),
            ("linger-ms", Some("linger_ms")),
            ("queue_byte", Some("queue_bytes")),
            ("Listen", Some("listen")),
            ("lsiten", Some("listen")),
            ("topic", Some("topics")),
            ("flush_interval", None),
            ("x", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn counts_edits() {
        for (a, b, n) in [("", "", 0), ("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("kitten", "sitting", 3)] {
            assert_eq!(distance(a, b), n, "{a} {b}");
        }
    }
}
