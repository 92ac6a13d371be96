//! The table of codes: status, words and advice of each.

use tracing::Level;

use super::code::{Code, Info};

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
pub(super) const TABLE: [(Code, Info); 36] = [
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
        Code::CrossOrigin,
        "cross_origin",
        403,
        "Pages of other sites may not send this",
        "Send it from a program, or from a page that this service serves.",
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
        "The batch was refused for some of its events",
        "Under atomic=validate nothing was stored: mend or leave out the events that are invalid, and send the others again.",
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
