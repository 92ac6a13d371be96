//! W3C trace context, taken from the request and handed on in record headers.

use bytes::Bytes;
use http::HeaderMap;

use crate::context::TraceContext;

/// Longest `tracestate` that is handed on, as the specification asks of every implementation.
const TRACESTATE_BYTES: usize = 512;

/// The request's trace context. A bad one is ignored, never an error.
pub(crate) fn of(headers: &HeaderMap) -> Option<TraceContext> {
    let parent = headers.get("traceparent")?;
    if !is_valid(parent.as_bytes()) {
        return None;
    }
    let state = headers.get("tracestate").filter(|s| s.len() <= TRACESTATE_BYTES && s.to_str().is_ok());
    Some(TraceContext {
        parent: Bytes::copy_from_slice(parent.as_bytes()),
        state: state.map(|s| Bytes::copy_from_slice(s.as_bytes())),
    })
}

/// `<version>-<trace id>-<parent id>-<flags>` in lower-case hex, ids not all zero, version not `ff`; versions after `00`
/// may append more.
fn is_valid(text: &[u8]) -> bool {
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let some = |part: &[u8]| part.iter().any(|&b| b != b'0');
    let (Some(fixed), Some(rest)) = (text.get(..55), text.get(55..)) else { return false };
    let (version, trace, parent, flags) = (&fixed[..2], &fixed[3..35], &fixed[36..52], &fixed[53..55]);
    let dashes = [2, 35, 52].iter().all(|&i| fixed[i] == b'-');
    let ends = rest.is_empty() || (version != b"00" && rest[0] == b'-');
    dashes
        && ends
        && [version, trace, parent, flags].into_iter().all(hex)
        && version != b"ff"
        && some(trace)
        && some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_parents_are_continued() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_valid(good.as_bytes()));
        assert!(is_valid(good.replacen("00", "01", 1).as_bytes()));
        assert!(is_valid(format!("{}-more", good.replacen("00", "cc", 1)).as_bytes()));
        for bad in [
            "",
            "00",
            &format!("{good}-more"),
            &good.replacen("00", "ff", 1),
            &good.to_uppercase(),
            &good.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            &good.replace("b7ad6b7169203331", &"0".repeat(16)),
            &good.replace('-', "_"),
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
    }
}
