//! The correlation id of a request.

use std::sync::Arc;

use http::HeaderMap;

/// Longest id taken from a caller.
const MAX_CHARS: usize = 128;

/// `X-Correlation-ID`, else `X-Request-ID`, if valid; otherwise a new UUIDv7.
pub(crate) fn of(headers: &HeaderMap) -> Arc<str> {
    ["x-correlation-id", "x-request-id"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(|id| is_valid(id))
        .map_or_else(|| uuid::Uuid::now_v7().to_string().into(), Arc::from)
}

/// `[A-Za-z0-9._:-]{1,128}`: safe in logs, headers and URLs.
pub(crate) fn is_valid(id: &str) -> bool {
    (1..=MAX_CHARS).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn callers_ids_are_kept_if_harmless() {
        let longest = "x".repeat(128);
        let too_long = "x".repeat(129);
        for (correlation, request, kept) in [
            (Some("a.b_c:d-9"), None, Some("a.b_c:d-9")),
            (Some(longest.as_str()), None, Some(longest.as_str())),
            (Some(too_long.as_str()), Some("r-1"), Some("r-1")),
            (Some("a b"), None, None),
            (Some("{\"x\":1}"), None, None),
            (Some(""), Some("r"), Some("r")),
            (None, None, None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("x-correlation-id", correlation), ("x-request-id", request)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_str(value).unwrap());
                }
            }
            let id = of(&headers);
            assert!(is_valid(&id));
            match kept {
                Some(kept) => assert_eq!(&*id, kept),
                None => assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7),
            }
        }
    }
}
