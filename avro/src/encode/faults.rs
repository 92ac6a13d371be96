//! The places at which a value breaks its schema: where the pass is, what it has noted, and in which words.

use super::{Done, Stop};
use crate::{
    json::cursor::Text,
    schema::{Node, NodeId, Schema, TimeUnit},
    violation::{Segment, Violation},
};

/// Places listed per event.
const MAX_VIOLATIONS: usize = 100;

/// Longest value that a message repeats, in characters; longest `got`, in bytes.
const SHOWN_CHARS: usize = 64;

/// One step down from the event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step<'p, 'a> {
    /// A member by its key as sent.
    Key(Text<'a>),
    /// A member by its name in the schema or the envelope.
    Field(&'p str),
    /// An element.
    Index(usize),
}

/// Path and findings of a pass.
#[derive(Debug)]
pub(crate) struct Faults<'p, 'a> {
    /// From the event to the value being read.
    pub path: Vec<Step<'p, 'a>>,
    /// Trying a branch: the first fault ends the trial, and nothing is noted.
    pub probing: bool,
    /// Inside of a field whose values may not be shown.
    pub sensitive: bool,
    /// How many places are listed; behind them stands one `too_many_errors`.
    pub most: usize,
    found: Vec<Violation>,
}

/// The words for one place: message, `expected`, `got`.
pub(crate) type Words = (String, Option<String>, Option<String>);

impl Default for Faults<'_, '_> {
    fn default() -> Self {
        Self { path: Vec::new(), probing: false, sensitive: false, most: MAX_VIOLATIONS, found: Vec::new() }
    }
}

impl Faults<'_, '_> {
    /// How many were noted so far.
    pub(crate) fn mark(&self) -> usize {
        self.found.len()
    }

    /// Notes a fault at the current place; in a trial, ends the trial.
    pub(crate) fn note(&mut self, kind: &'static str, msg: impl FnOnce() -> String) -> Done {
        if self.probing {
            return Err(Stop::Mismatch);
        }
        self.insert(self.found.len(), kind, |_| (msg(), None, None));
        Ok(())
    }

    /// Notes a fault at the current place before those noted since `mark`.
    pub(crate) fn insert(&mut self, mark: usize, kind: &'static str, words: impl FnOnce(bool) -> Words) {
        let most = self.most;
        if mark < most {
            let (msg, expected, got) = words(self.sensitive);
            self.found.insert(mark, Violation { path: self.segments(), msg, kind, expected, got });
        }
        if self.found.len() > most || mark >= most {
            self.found.truncate(most);
            self.found.push(Violation {
                path: Vec::new(),
                msg: format!("more than {most} places are wrong; the rest is not listed"),
                kind: "too_many_errors",
                expected: None,
                got: None,
            });
        }
    }

    fn segments(&self) -> Vec<Segment> {
        let segment = |step: &Step<'_, '_>| match step {
            Step::Key(key) => Segment::Name(key.decode().into_owned()),
            Step::Field(name) => Segment::Name((*name).to_owned()),
            Step::Index(index) => Segment::Index(*index),
        };
        self.path.iter().map(segment).collect()
    }

    /// Hands over what was noted and starts anew.
    pub(crate) fn take(&mut self) -> Vec<Violation> {
        self.path.clear();
        self.sensitive = false;
        std::mem::take(&mut self.found)
    }
}

/// "expected double, got string", and the value where it may be shown.
pub(super) fn mismatch(schema: &Schema, id: NodeId, raw: &str, hint: &str, sensitive: bool) -> Words {
    say_mismatch(describe(schema, id), raw, hint, sensitive)
}

fn say_mismatch(expected: String, raw: &str, hint: &str, sensitive: bool) -> Words {
    let kind = json_type(raw);
    let scalar = matches!(kind, "string" | "number" | "boolean");
    let shown =
        if scalar && !sensitive && raw.chars().count() <= SHOWN_CHARS { format!(" {raw}") } else { String::new() };
    let hint = if hint.is_empty() { String::new() } else { format!("; {hint}") };
    (format!("expected {expected}, got {kind}{shown}{hint}"), Some(expected), Some(got(raw, sensitive)))
}

/// What came, cut to 64 bytes. Of an object or array only the type, as there may be sensitive fields in it.
pub(crate) fn got(raw: &str, sensitive: bool) -> String {
    match json_type(raw) {
        word if sensitive || word == "object" || word == "array" => word.to_owned(),
        _ => raw[..raw.floor_char_boundary(SHOWN_CHARS)].to_owned(),
    }
}

/// JSON's word for the type of a literal.
pub(crate) fn json_type(raw: &str) -> &'static str {
    match raw.bytes().next() {
        Some(b'"') => "string",
        Some(b'{') => "object",
        Some(b'[') => "array",
        Some(b't' | b'f') => "boolean",
        Some(b'n') => "null",
        _ => "number",
    }
}

/// A type in words, as short as a message allows.
pub(super) fn describe(schema: &Schema, id: NodeId) -> String {
    let unit = |name: &str, unit: &TimeUnit| {
        let unit = match unit {
            TimeUnit::Millis => "millis",
            TimeUnit::Micros => "micros",
            TimeUnit::Nanos => "nanos",
        };
        format!("{name}-{unit}")
    };
    match schema.node(id) {
        Node::Null => "null".into(),
        Node::Boolean => "boolean".into(),
        Node::Int => "int".into(),
        Node::Long => "long".into(),
        Node::Float => "float".into(),
        Node::Double => "double".into(),
        Node::Bytes => "bytes (base64 text)".into(),
        Node::String => "string".into(),
        Node::Date => "date".into(),
        Node::Time(u) => unit("time", u),
        Node::Timestamp(u) => unit("timestamp", u),
        Node::LocalTimestamp(u) => unit("local-timestamp", u),
        Node::UuidString | Node::UuidFixed(_) => "uuid".into(),
        Node::Decimal { precision, scale, .. } => format!("decimal({precision}, {scale})"),
        Node::Duration(_) => "duration".into(),
        Node::Fixed(name, size) => format!("fixed {name} ({size} bytes as base64 text)"),
        Node::Enum { name, .. } => format!("enum {name}"),
        Node::Array(_) => "array".into(),
        Node::Map(_) => "map (a JSON object)".into(),
        Node::Record { name, .. } => format!("record {name} (a JSON object)"),
        // Unions do not nest, so this recurses once.
        Node::Union(branches) => describe_branches(schema, branches),
    }
}

/// At most eight branches, joined by "or".
fn describe_branches(schema: &Schema, branches: &[NodeId]) -> String {
    let names: Vec<String> = branches.iter().take(8).map(|&branch| describe(schema, branch)).collect();
    format!("{}{}", names.join(" or "), if branches.len() > 8 { " or another branch" } else { "" })
}

/// "expected null or double, got string".
pub(super) fn union_mismatch(schema: &Schema, branches: &[NodeId], raw: &str, hint: &str, sensitive: bool) -> Words {
    say_mismatch(describe_branches(schema, branches), raw, hint, sensitive)
}
