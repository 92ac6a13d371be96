//! What is known of a request beside its body, whatever brought it.

use std::sync::Arc;

use bytes::Bytes;

/// Longest correlation id.
const CORRELATION_CHARS: usize = 128;

/// Identity and trace of one request.
#[derive(Clone, Debug)]
pub(crate) struct RequestContext {
    /// Correlation id.
    pub correlation: Arc<str>,
    /// W3C trace context, if the request carried a valid one.
    pub trace: Option<TraceContext>,
}

/// A valid `traceparent`, with its `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// As it came.
    pub parent: Bytes,
    /// As it came.
    pub state: Option<Bytes>,
}

/// `[A-Za-z0-9._:-]{1,128}`: safe in logs, headers and URLs.
pub(crate) fn is_correlation_id(id: &str) -> bool {
    (1..=CORRELATION_CHARS).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}
