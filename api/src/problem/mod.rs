//! Problem documents (RFC 9457), made from the one taxonomy in [`code`].

mod code;

use std::borrow::Cow;

use forebay_avro::violation::{Segment, Violation};
use serde::{Serialize, Serializer, ser::SerializeMap};

pub use code::{Code, Info, page};

/// One step of an item's `loc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Loc {
    /// `body`, `query`, `path`, `header`, or a member's name.
    Name(Cow<'static, str>),
    /// An array's index.
    Index(usize),
}

/// One offending place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorItem {
    /// From the top of the request, in FastAPI's way.
    pub loc: Vec<Loc>,
    /// RFC 6901, from the event; null outside events.
    pub pointer: Option<String>,
    /// One sentence.
    pub msg: String,
    /// Stable type, in pydantic's names where one exists.
    #[serde(rename = "type")]
    pub kind: &'static str,
}

impl ErrorItem {
    /// An item about a query parameter, path segment or header.
    pub fn about(place: &'static str, name: impl Into<String>, kind: &'static str, msg: impl Into<String>) -> Self {
        let loc = vec![Loc::Name(place.into()), Loc::Name(Cow::Owned(name.into()))];
        Self { loc, pointer: None, msg: msg.into(), kind }
    }

    /// An item about a body as a whole.
    pub fn body(kind: &'static str, msg: impl Into<String>) -> Self {
        Self { loc: vec![Loc::Name("body".into())], pointer: None, msg: msg.into(), kind }
    }

    /// A violation; `prefix` leads from the body to the event.
    pub fn violation(violation: Violation, prefix: &[Loc]) -> Self {
        let pointer = Some(violation.pointer());
        let mut loc = Vec::with_capacity(1 + prefix.len() + violation.path.len());
        loc.push(Loc::Name("body".into()));
        loc.extend_from_slice(prefix);
        loc.extend(violation.path.into_iter().map(|segment| match segment {
            Segment::Name(name) => Loc::Name(name.into()),
            Segment::Index(index) => Loc::Index(index),
        }));
        Self { loc, pointer, msg: violation.msg, kind: violation.kind }
    }
}

/// A refusal on its way to the caller.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What kind.
    pub code: Code,
    /// One sentence on this case; names no host.
    pub detail: Cow<'static, str>,
    /// The offending places.
    pub errors: Vec<ErrorItem>,
}

impl Problem {
    /// A refusal without places.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new() }
    }

    /// With places.
    #[must_use]
    pub fn with(mut self, errors: Vec<ErrorItem>) -> Self {
        self.errors = errors;
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.code.info().status
    }

    /// The document of one refused request. `event_id` and `rest` (members of a batch's answer) are added if given.
    pub fn document(&self, instance: &str, correlation_id: &str, event_id: Option<&str>, rest: Option<&str>) -> String {
        let document = Document { problem: self, instance, correlation_id, event_id };
        // Serialising strings and numbers into memory can't fail.
        let mut text = serde_json::to_string(&document).unwrap_or_default();
        if let Some(rest) = rest {
            text.pop();
            text.push(',');
            text.push_str(rest);
            text.push('}');
        }
        text
    }
}

/// The short form inside a batch's results.
impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let info = self.code.info();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("code", info.code)?;
        map.serialize_entry("status", &info.status)?;
        map.serialize_entry("retryable", &info.retryable)?;
        if self.errors.is_empty() {
            map.serialize_entry("detail", &self.detail)?;
        } else {
            map.serialize_entry("errors", &self.errors)?;
        }
        map.end()
    }
}

struct Document<'a> {
    problem: &'a Problem,
    instance: &'a str,
    correlation_id: &'a str,
    event_id: Option<&'a str>,
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let info = self.problem.code.info();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("/problems/{}", info.code))?;
        map.serialize_entry("title", info.title)?;
        map.serialize_entry("status", &info.status)?;
        map.serialize_entry("code", info.code)?;
        map.serialize_entry("retryable", &info.retryable)?;
        map.serialize_entry("detail", &self.problem.detail)?;
        map.serialize_entry("instance", self.instance)?;
        map.serialize_entry("correlation_id", self.correlation_id)?;
        if let Some(event_id) = self.event_id {
            map.serialize_entry("event_id", event_id)?;
        }
        if !self.problem.errors.is_empty() {
            map.serialize_entry("errors", &self.problem.errors)?;
        }
        map.end()
    }
}

/// 400 for a body that is no JSON.
pub(crate) fn malformed(line: usize, column: usize, msg: &str) -> Problem {
    let item = ErrorItem::body("json_invalid", format!("line {line}, column {column}: {msg}"));
    Problem::new(Code::MalformedJson, format!("The body is not JSON at line {line}, column {column}.")).with(vec![item])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_has_the_members_of_the_contract() {
        let problem = Problem::new(Code::QueueFull, "The queue is full.");
        let text = problem.document("/api/v1/events/orders", "c-1", Some("e-1"), None);
        assert_eq!(
            text,
            r#"{"type":"/problems/queue_full","title":"The service is at its limit","status":503,"code":"queue_full","retryable":true,"detail":"The queue is full.","instance":"/api/v1/events/orders","correlation_id":"c-1","event_id":"e-1"}"#
        );
    }

    #[test]
    fn places_count_from_the_body_and_pointers_from_the_event() {
        let violation = Violation {
            path: vec![Segment::Name("payload".into()), Segment::Name("items".into()), Segment::Index(3)],
            msg: "expected double, got string".into(),
            kind: "float_type",
            expected: None,
            got: None,
        };
        let item = ErrorItem::violation(violation, &[Loc::Name("events".into()), Loc::Index(1)]);
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            r#"{"loc":["body","events",1,"payload","items",3],"pointer":"/payload/items/3","msg":"expected double, got string","type":"float_type"}"#
        );
    }
}
