//! Query parameters: parsed once, each taken by name, anything left over refused with the nearest known name.

use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use crate::problem::{Code, ErrorItem, Problem};

/// Most parameters of a query (fixed).
const MAX_PARAMETERS: usize = 64;

/// The parameters of one request, and what is wrong with them.
#[derive(Debug)]
pub(crate) struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<ErrorItem>,
}

impl Query {
    pub(crate) fn parse(query: Option<&str>) -> Self {
        let mut this = Self { pairs: Vec::new(), known: Vec::new(), errors: Vec::new() };
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            if this.pairs.len() == MAX_PARAMETERS {
                this.error("", "too_long", format!("a query takes at most {MAX_PARAMETERS} parameters"));
                break;
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(name), decode(value)) {
                (Some(name), Some(value)) => this.pairs.push((name, value)),
                _ => this.error(name, "string_unicode", "is not UTF-8 once its percent signs are decoded"),
            }
        }
        this
    }

    fn error(&mut self, name: &str, kind: &'static str, msg: impl Into<String>) {
        let name: String = name.chars().take(64).collect();
        self.errors.push(ErrorItem::about("query", name, kind, msg));
    }

    /// A parameter that may stand once.
    pub(crate) fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let index = self.pairs.iter().position(|pair| pair.0 == name)?;
        let (_, value) = self.pairs.swap_remove(index);
        if self.pairs.iter().any(|pair| pair.0 == name) {
            self.pairs.retain(|pair| pair.0 != name);
            self.error(name, "duplicate_key", "may stand once only");
        }
        Some(value)
    }

    /// A whole number within a range.
    pub(crate) fn number(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let text = self.text(name)?;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        match text.parse::<u64>() {
            Ok(n) if digits && range.contains(&n) => return Some(n),
            Ok(n) if digits && n < *range.start() => {
                self.error(name, "greater_than_equal", format!("must be at least {}", range.start()));
            }
            // Digits alone that do not parse are too large for any limit.
            _ if digits => self.error(name, "less_than_equal", format!("must be at most {}", range.end())),
            _ => self.error(name, "int_parsing", "must be a whole number in decimal digits"),
        }
        None
    }

    /// One of a few words.
    pub(crate) fn word<T: Copy>(&mut self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.error(name, "enum", format!("must be one of: {}", words.join(", ")));
        }
        found
    }

    /// All parameters, whoever knows them; refuses what was wrong.
    pub(crate) fn into_pairs(mut self) -> Result<Vec<(String, String)>, Problem> {
        let pairs = std::mem::take(&mut self.pairs);
        self.finish()?;
        Ok(pairs)
    }

    /// Refuses what was wrong, and every parameter that nobody asked for.
    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        for (name, _) in std::mem::take(&mut self.pairs) {
            let msg = match (nearest(&name, &self.known), self.known.is_empty()) {
                (_, true) => "is unknown; this route takes no parameters".to_owned(),
                (Some(near), _) => format!("is unknown; did you mean {near}?"),
                (None, _) => format!("is unknown; this route takes {}", self.known.join(", ")),
            };
            self.error(&name, "extra_forbidden", msg);
        }
        if self.errors.is_empty() {
            return Ok(());
        }
        Err(Problem::new(Code::RequestValidationFailed, "The query has parameters that can't be used.")
            .with(self.errors))
    }
}

fn decode(text: &str) -> Option<String> {
    let spaces = text.replace('+', " ");
    percent_decode_str(&spaces).decode_utf8().ok().map(|text| text.into_owned())
}

/// The known name at an edit distance of at most a third of its length, if there is one.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    if given.len() > 64 {
        return None;
    }
    let scored =
        known.iter().map(|name| (distance(given, name), *name)).filter(|(d, name)| *d <= name.len().div_ceil(3));
    scored.min().map(|(_, name)| name)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let changed = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(problem: Problem) -> Vec<(String, &'static str)> {
        assert_eq!(problem.code, Code::RequestValidationFailed);
        problem
            .errors
            .into_iter()
            .map(|item| (serde_json::to_value(&item.loc[1]).unwrap().as_str().unwrap().to_owned(), item.kind))
            .collect()
    }

    #[test]
    fn takes_what_is_asked_for() {
        let mut query = Query::parse(Some("limit=5&event_type=a%2Cb+c&mode=x"));
        assert_eq!(query.number("limit", 1..=10), Some(5));
        assert_eq!(query.text("event_type").as_deref(), Some("a,b c"));
        assert_eq!(query.word("mode", &[("x", 1), ("y", 2)]), Some(1));
        assert_eq!(query.text("absent"), None);
        query.finish().unwrap();
        Query::parse(None).finish().unwrap();
    }

    #[test]
    fn numbers_at_and_beyond_their_range() {
        for (text, expected) in [
            ("1", Ok(1)),
            ("10", Ok(10)),
            ("0", Err("greater_than_equal")),
            ("11", Err("less_than_equal")),
            ("99999999999999999999999", Err("less_than_equal")),
            ("", Err("int_parsing")),
            ("+1", Err("int_parsing")),
            ("1.0", Err("int_parsing")),
        ] {
            let encoded = text.replace('+', "%2B");
            let mut query = Query::parse(Some(&format!("n={encoded}")));
            let number = query.number("n", 1..=10);
            match expected {
                Ok(n) => assert_eq!((number, query.finish().is_ok()), (Some(n), true), "{text}"),
                Err(kind) => assert_eq!(kinds(query.finish().unwrap_err()), [("n".to_owned(), kind)], "{text}"),
            }
        }
    }

    #[test]
    fn the_unknown_is_refused_with_the_nearest_known() {
        let mut query = Query::parse(Some("limt=5&zzzzzzzzz=1&limit=1&limit=2&bad=%ff"));
        query.number("limit", 1..=10);
        let problem = query.finish().unwrap_err();
        let msgs: Vec<_> = problem.errors.iter().map(|item| item.msg.clone()).collect();
        assert!(msgs.contains(&"is unknown; did you mean limit?".to_owned()), "{msgs:?}");
        let mut kinds = kinds(problem);
        kinds.sort_unstable();
        let expected = [
            ("bad", "string_unicode"),
            ("limit", "duplicate_key"),
            ("limt", "extra_forbidden"),
            ("zzzzzzzzz", "extra_forbidden"),
        ];
        assert_eq!(kinds, expected.map(|(name, kind)| (name.to_owned(), kind)));
    }
}
