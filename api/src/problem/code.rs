//! The one taxonomy of errors: every code with its status, words and advice.

use std::fmt;

use serde::{Serialize, Serializer};
use tracing::Level;

use super::table::TABLE;

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
    /// A page of another site sends it.
    CrossOrigin,
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
    /// A timestamp that the log does not take.
    TimestampOutOfRange,
    /// The schema id belongs to another subject.
    SchemaMismatch,
    /// Events of an atomic batch were refused, and so the batch; in a result: the event itself is fine.
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

    /// Whether an event that was refused with this code can be stored when it is sent again. As for a request; but what
    /// was refused for the events beside it is fine itself.
    pub fn event_retryable(self) -> bool {
        self == Self::BatchRefused || self.info().retryable
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
