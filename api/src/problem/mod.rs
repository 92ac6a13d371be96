//! Problem documents (RFC 9457), made from the one taxonomy in [`code`].

pub(crate) mod answers;
mod code;
pub(crate) mod of_log;
mod table;

use std::borrow::Cow;

use forebay_avro::violation::{Segment, Violation};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

pub use code::{Code, Info, page};

/// One step of an item's `loc`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Loc {
    /// `body`, `query`, `path`, `header`, or a member's name.
    Name(Cow<'static, str>),
    /// An array's index.
    Index(usize),
}

/// One offending place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
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

    /// The places of one event as places of a body; `way` leads from the body to the event.
    #[must_use]
    pub(crate) fn within(mut self, way: Vec<Loc>) -> Self {
        for item in &mut self.errors {
            let body = item.loc.len().min(1);
            item.loc.splice(body..body, way.iter().cloned());
        }
        self
    }

    /// HTTP status.
    pub fn status(&self) -> u16 {
        self.code.info().status
    }

    /// The document of one refused request. `event_id` and `rest` (members of a batch's answer) are added if given.
    pub fn document(&self, instance: &str, correlation_id: &str, event_id: Option<&str>, rest: Option<&str>) -> String {
        let info = self.code.info();
        let document = Document {
            kind: format!("/problems/{}", info.code),
            title: info.title,
            status: info.status,
            code: self.code,
            retryable: info.retryable,
            detail: &self.detail,
            instance,
            correlation_id,
            event_id,
            errors: &self.errors,
        };
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
        let places = !self.errors.is_empty();
        let short = Short {
            code: self.code,
            status: self.status(),
            retryable: self.code.event_retryable(),
            detail: (!places).then_some(&self.detail),
            errors: places.then_some(&self.errors),
        };
        short.serialize(serializer)
    }
}

/// Why one event of a batch was not stored.
#[derive(Serialize, ToSchema)]
#[schema(as = ResultError)]
pub(crate) struct Short<'a> {
    code: Code,
    /// The HTTP status that the event would have had alone; of one refused with its batch, the batch's.
    status: u16,
    /// Whether sending this event again can help.
    retryable: bool,
    /// One sentence on this case; absent where `errors` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    /// Every place that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [ErrorItem]>,
}

/// Why a request was refused (RFC 9457).
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Document<'a> {
    /// The page of this kind of problem.
    #[serde(rename = "type")]
    kind: String,
    /// The kind of problem in a few words.
    title: &'a str,
    /// The HTTP status.
    status: u16,
    code: Code,
    /// Whether sending the same again can help.
    retryable: bool,
    /// One sentence on this case.
    detail: &'a str,
    /// The path of the request.
    instance: &'a str,
    /// Stands in the service's log, too.
    correlation_id: &'a str,
    /// The event's own, where one could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    /// Every place that is wrong, up to 100 an event.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [ErrorItem],
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
