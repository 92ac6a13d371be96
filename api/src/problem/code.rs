//! The one taxonomy of errors: every code with its status, words and advice.

use std::fmt;

use serde::{Serialize, Serializer};
use tracing::Level;

/// Every way in which this service says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The body is no JSON.
    MalformedJson,
    /// A batch without events.
    EmptyBatch,
    /// Not UTF-8, or a broken compression.
    BadEncoding,
    /// Broken framing, or no single Host.
    AmbiguousRequest,
    /// The topic is not writable over HTTP.
    Forbidden,
    /// No such topic.
    UnknownTopic,
    /// No such subject, version or id.
    UnknownSchema,
    /// No such path or resource.
    NotFound,
    /// The path exists, not with this method.
    MethodNotAllowed,
    /// `Accept` names nothing that is offered.
    NotAcceptable,
    /// The body took too long.
    BodyTimeout,
    /// The topic is there already.
    TopicExists,
    /// The new version breaks the subject's compatibility level.
    SchemaIncompatible,
    /// The schema can't take events.
    SchemaUnsupported,
    /// The connector does not run in this process.
    ConnectorElsewhere,
    /// One event, or its record, is too large.
    EventTooLarge,
    /// The body is too large on the wire.
    BodyTooLarge,
    /// The body is too large after decompression.
    InflatedTooLarge,
    /// Too many events in a batch.
    BatchTooLong,
    /// The request target is too long.
    UriTooLong,
    /// The body's type is not taken here.
    UnsupportedMediaType,
    /// The body's coding is not taken here.
    UnsupportedEncoding,
    /// Too many or too large request headers.
    HeadersTooLarge,
    /// An event breaks its schema.
    SchemaValidationFailed,
    /// Something else of the request is wrong.
    RequestValidationFailed,
    /// No key where one is required.
    KeyRequired,
    /// A key that can't be one.
    KeyInvalid,
    /// The schema id belongs to another subject.
    SchemaMismatch,
    /// Another event of an atomic batch was refused.
    BatchRefused,
    /// No room for the request now.
    QueueFull,
    /// The log can't take records now.
    LogUnavailable,
    /// The registry can't answer now.
    RegistryUnavailable,
    /// The service is going down.
    Draining,
    /// No answer in time: the event may be stored, the topic made.
    DeliveryUnknown,
    /// A fault of ours.
    Internal,
}

/// What belongs to a code.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The code as text.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// A few words.
    pub title: &'static str,
    /// Whether sending the same again can help.
    pub retryable: bool,
    /// Seconds after which.
    pub retry_after_s: Option<u32>,
    /// Level of its log line.
    pub level: Level,
    /// What to do about it.
    pub advice: &'static str,
}

const fn caller(of: Code, code: &'static str, status: u16, title: &'static str, advice: &'static str) -> (Code, Info) {
    (of, Info { code, status, title, retryable: false, retry_after_s: None, level: Level::INFO, advice })
}

const fn later(
    of: Code,
    code: &'static str,
    status: u16,
    after_s: u32,
    title: &'static str,
    advice: &'static str,
) -> (Code, Info) {
    (of, Info { code, status, title, retryable: true, retry_after_s: Some(after_s), level: Level::WARN, advice })
}

/// What belongs to each code, in the order of the codes.
const TABLE: [(Code, Info); 35] = [
    caller(
        Code::MalformedJson,
        "malformed_json",
        400,
        "The body is not JSON",
        "Mend the JSON at the line and column given; nothing of the body was used.",
    ),
    caller(Code::EmptyBatch, "empty_batch", 400, "The batch holds no event", "Send at least one event."),
    caller(
        Code::BadEncoding,
        "bad_encoding",
        400,
        "The body can't be decoded",
        "Send UTF-8 text, plain or as one whole gzip or zstd stream.",
    ),
    caller(
        Code::AmbiguousRequest,
        "ambiguous_request",
        400,
        "The request's framing is ambiguous or broken",
        "Send one Host, one Content-Length or chunked coding, and the body whole.",
    ),
    caller(
        Code::Forbidden,
        "forbidden",
        403,
        "The topic can't be written over HTTP",
        "Internal topics (__*, replay.*) and dead letter topics are written by the service itself: choose another.",
    ),
    caller(
        Code::UnknownTopic,
        "unknown_topic",
        404,
        "The topic does not exist",
        "Create it: POST /api/v1/topics {\"name\": …}, `forebay topics create`, or `topics:` in forebay.yaml.",
    ),
    caller(
        Code::UnknownSchema,
        "unknown_schema",
        404,
        "The schema is not registered",
        "Register it: POST /api/v1/schemas/{subject}/versions, or `forebay schemas register`.",
    ),
    caller(
        Code::NotFound,
        "not_found",
        404,
        "Nothing is here",
        "Check the path; the routes are listed in the documentation.",
    ),
    caller(
        Code::MethodNotAllowed,
        "method_not_allowed",
        405,
        "The method is not allowed here",
        "Use a method that Allow names.",
    ),
    caller(
        Code::NotAcceptable,
        "not_acceptable",
        406,
        "No offered type is accepted",
        "Leave Accept out, or name */* or the type offered.",
    ),
    (
        Code::BodyTimeout,
        Info {
            code: "body_timeout",
            status: 408,
            title: "The body took too long",
            retryable: true,
            retry_after_s: None,
            level: Level::INFO,
            advice: "Send the body faster, or in smaller batches.",
        },
    ),
    caller(Code::TopicExists, "topic_exists", 409, "The topic exists already", "Use it, or choose another name."),
    caller(
        Code::SchemaIncompatible,
        "schema_incompatible",
        409,
        "The schema breaks the subject's compatibility",
        "Mend each difference listed, or lower the subject's compatibility level first.",
    ),
    caller(
        Code::SchemaUnsupported,
        "schema_unsupported",
        409,
        "The schema can't take events",
        "Change the field named, or publish under another subject.",
    ),
    caller(
        Code::ConnectorElsewhere,
        "connector_elsewhere",
        409,
        "The connector does not run in this process",
        "Ask the process that runs it: `forebay up`, or each `forebay sink` at its management address.",
    ),
    caller(Code::EventTooLarge, "event_too_large", 413, "The event is too large", "Send smaller events."),
    caller(
        Code::BodyTooLarge,
        "body_too_large",
        413,
        "The body is too large",
        "Send fewer events a request, or compress the body.",
    ),
    caller(
        Code::InflatedTooLarge,
        "inflated_too_large",
        413,
        "The body is too large after decompression",
        "Send fewer events a request.",
    ),
    caller(
        Code::BatchTooLong,
        "batch_too_long",
        413,
        "The batch holds too many events",
        "Split it into several requests.",
    ),
    caller(Code::UriTooLong, "uri_too_long", 414, "The request target is too long", "Shorten the path and query."),
    caller(
        Code::UnsupportedMediaType,
        "unsupported_media_type",
        415,
        "The body's type is not taken here",
        "Send a type that Accept-Post names, in UTF-8.",
    ),
    caller(
        Code::UnsupportedEncoding,
        "unsupported_encoding",
        415,
        "The body's coding is not taken here",
        "Send the body plain, or in one coding: gzip or zstd.",
    ),
    caller(
        Code::HeadersTooLarge,
        "headers_too_large",
        431,
        "The request headers are too large",
        "Send fewer or shorter headers.",
    ),
    caller(
        Code::SchemaValidationFailed,
        "schema_validation_failed",
        422,
        "The event breaks its schema",
        "Mend every place listed under errors.",
    ),
    caller(
        Code::RequestValidationFailed,
        "request_validation_failed",
        422,
        "The request is not valid",
        "Mend every place listed under errors.",
    ),
    caller(
        Code::KeyRequired,
        "key_required",
        422,
        "The topic wants a key",
        "Send Event-Key, or fill the member that the topic takes its key from.",
    ),
    caller(
        Code::KeyInvalid,
        "key_invalid",
        422,
        "The key can't be used",
        "A key is a string or an integer within the limit of key_bytes.",
    ),
    caller(
        Code::SchemaMismatch,
        "schema_mismatch",
        422,
        "The schema belongs to another subject",
        "Use an id of the topic's own subject, or leave schema_id out.",
    ),
    caller(
        Code::BatchRefused,
        "batch_refused",
        422,
        "Another event of the batch was refused",
        "Under atomic=validate nothing was stored: mend the invalid events and send the batch again.",
    ),
    later(
        Code::QueueFull,
        "queue_full",
        503,
        1,
        "The service is at its limit",
        "Send the same again after Retry-After.",
    ),
    later(
        Code::LogUnavailable,
        "log_unavailable",
        503,
        5,
        "The log is unavailable",
        "Nothing was stored: send it again later.",
    ),
    later(
        Code::RegistryUnavailable,
        "registry_unavailable",
        503,
        5,
        "The schema registry is unavailable",
        "Nothing was stored: send it again later.",
    ),
    later(
        Code::Draining,
        "draining",
        503,
        1,
        "The service is shutting down",
        "Send it again on a new connection; nothing was stored.",
    ),
    later(
        Code::DeliveryUnknown,
        "delivery_unknown",
        504,
        1,
        "It is not known whether it was done",
        "An event: send it again with the same event_id; it may then stand twice in the log. A topic: look first \
                 whether it exists.",
    ),
    (
        Code::Internal,
        Info {
            code: "internal",
            status: 500,
            title: "Internal error",
            retryable: false,
            retry_after_s: None,
            level: Level::ERROR,
            advice: "Tell the operators the correlation id.",
        },
    ),
];

impl Code {
    /// All codes, in the order of their statuses.
    pub const ALL: [Self; TABLE.len()] = {
        let mut all = [Self::Internal; TABLE.len()];
        let mut at = 0;
        while at < all.len() {
            all[at] = TABLE[at].0;
            at += 1;
        }
        all
    };

    /// Everything about a code.
    pub const fn info(self) -> Info {
        TABLE[self as usize].1
    }

    /// The code of a name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.info().code == name)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.info().code)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.info().code)
    }
}

/// The page at `/problems/{code}`.
pub fn page(code: Code) -> String {
    let info = code.info();
    let retry = match (info.retryable, info.retry_after_s) {
        (false, _) => "Sending the same again will not help.".to_owned(),
        (true, None) => "Sending the same again can help.".to_owned(),
        (true, Some(s)) => format!("Sending the same again can help, after {s} s (Retry-After)."),
    };
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{code}</title>\n<h1>{title}</h1>\n<p><code>{code}</code>, \
         HTTP status {status}.</p>\n<p>{advice}</p>\n<p>{retry}</p>\n</html>\n",
        code = info.code,
        title = info.title,
        status = info.status,
        advice = info.advice,
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn all_lists_every_code_once() {
        let names: HashSet<_> = Code::ALL.iter().map(|c| c.info().code).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert_eq!(Code::ALL.len(), Code::Internal as usize + 1, "the last code stands last");
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, at, "{code} has its own row");
            let info = code.info();
            assert_eq!(Code::by_name(info.code), Some(code));
            assert!((400..600).contains(&info.status), "{code}");
            assert!(info.retry_after_s.is_none() || info.retryable, "{code}");
            assert!(page(code).contains(info.advice));
        }
    }

    #[test]
    fn the_documentation_names_every_code_beside_its_status() {
        let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/http-api.md")).unwrap();
        for code in Code::ALL {
            let (name, status) = (format!("`{code}`"), code.info().status.to_string());
            let found =
                docs.lines().any(|line| line.starts_with("| ") && line.contains(&name) && line.contains(&status));
            assert!(found, "docs/http-api.md has no table row with {name} and {status}");
        }
    }
}
