//! The correlation id of a request.

use std::sync::Arc;

use http::HeaderMap;

use crate::context::is_correlation_id;

/// `X-Correlation-ID`, else `X-Request-ID`, if valid; otherwise a new UUIDv7.
pub(crate) fn of(headers: &HeaderMap) -> Arc<str> {
    ["x-correlation-id", "x-request-id"]
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .find(|id| is_correlation_id(id))
        .map_or_else(|| uuid::Uuid::now_v7().to_string().into(), Arc::from)
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
            assert!(is_correlation_id(&id));
            match kept {
                Some(kept) => assert_eq!(&*id, kept),
                None => assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 7),
            }
        }
    }
}
