//! Limits on what stands before the body. hyper's own limits stand above these, so that the answer is ours.

use http::{HeaderMap, Request, Version, header, uri::Authority};

use crate::{
    config::Limits,
    problem::{Code, Problem},
};

/// What a header field costs on the wire beside its name and value: `: ` and the line end.
const FIELD_OVERHEAD: usize = 4;

/// Where a browser says whose page sends a request (W3C, "Fetch Metadata Request Headers"). It says so to HTTPS and to
/// this machine; elsewhere only `Origin` tells.
const FETCH_SITE: &str = "sec-fetch-site";

/// Refuses a target or headers over their limits, ambiguous framing as far as hyper lets it through, and what a page of
/// another site would change here.
pub(crate) fn check<B>(request: &Request<B>, limits: &Limits) -> Result<(), Problem> {
    let target = request.uri().path_and_query().map_or(0, |p| p.as_str().len());
    if target > limits.uri_bytes {
        return Err(Problem::new(Code::UriTooLong, format!("The request target is over {} bytes.", limits.uri_bytes)));
    }
    let headers = request.headers();
    if headers.len() > limits.header_count {
        return Err(Problem::new(
            Code::HeadersTooLarge,
            format!("{} header fields are over the limit of {}.", headers.len(), limits.header_count),
        ));
    }
    let bytes = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_OVERHEAD).sum::<usize>();
    if bytes > limits.header_bytes {
        return Err(Problem::new(
            Code::HeadersTooLarge,
            format!("The headers are over {} bytes.", limits.header_bytes),
        ));
    }
    framing(request.version(), headers)?;
    own_site(request)
}

/// Nobody shows a credential, so any page that somebody on this machine opens could pause a connector.
fn own_site<B>(request: &Request<B>) -> Result<(), Problem> {
    let (method, headers) = (request.method(), request.headers());
    let foreign = match (headers.get(FETCH_SITE), headers.get(header::ORIGIN)) {
        (Some(site), _) => site != "same-origin" && site != "none",
        (None, Some(origin)) => !origin.to_str().is_ok_and(|origin| is_own(origin, request)),
        (None, None) => false,
    };
    if foreign && !method.is_safe() {
        return Err(Problem::new(Code::CrossOrigin, format!("A page of another site sent this {method}.")));
    }
    Ok(())
}

/// Whether an origin is where the request went.
fn is_own<B>(origin: &str, request: &Request<B>) -> bool {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(Authority::as_str));
    let sender = origin.split_once("://").map(|(_, sender)| sender);
    sender.zip(host).is_some_and(|(sender, host)| sender.eq_ignore_ascii_case(host))
}

fn framing(version: Version, headers: &HeaderMap) -> Result<(), Problem> {
    let count = |name| headers.get_all(name).iter().count();
    let hosts = count(header::HOST);
    if hosts > 1 || (hosts == 0 && version == Version::HTTP_11) {
        return Err(Problem::new(Code::AmbiguousRequest, format!("The request has {hosts} Host headers, not one.")));
    }
    if count(header::CONTENT_LENGTH) > 1 {
        return Err(Problem::new(Code::AmbiguousRequest, "The request has more than one Content-Length."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    fn request(target: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri(target);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    fn code(request: &Request<()>) -> Option<Code> {
        check(request, &Limits::default()).err().map(|p| p.code)
    }

    #[test]
    fn target_at_the_limit_and_beyond() {
        for (bytes, expected) in [(8191, None), (8192, None), (8193, Some(Code::UriTooLong))] {
            let target = format!("/{}", "x".repeat(bytes - 1));
            assert_eq!(code(&request(&target, &[("host", "h")])), expected, "{bytes}");
        }
    }

    #[test]
    fn header_count_at_the_limit_and_beyond() {
        for (count, expected) in [(99, None), (100, None), (101, Some(Code::HeadersTooLarge))] {
            let names: Vec<_> = (1..count).map(|i| format!("x-{i}")).collect();
            let mut headers = vec![("host", "h")];
            headers.extend(names.iter().map(|name| (name.as_str(), "v")));
            assert_eq!(code(&request("/", &headers)), expected, "{count}");
        }
    }

    #[test]
    fn header_bytes_at_the_limit_and_beyond() {
        for (bytes, expected) in [(32_767, None), (32_768, None), (32_769, Some(Code::HeadersTooLarge))] {
            let host = "host".len() + 1 + FIELD_OVERHEAD;
            let value = "v".repeat(bytes - host - 1 - FIELD_OVERHEAD);
            assert_eq!(code(&request("/", &[("host", "h"), ("x", &value)])), expected, "{bytes}");
        }
    }

    #[test]
    fn one_host() {
        assert_eq!(code(&request("/", &[])), Some(Code::AmbiguousRequest));
        assert_eq!(code(&request("/", &[("host", "a"), ("host", "b")])), Some(Code::AmbiguousRequest));
        let mut old = request("/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(code(&old), None);
        assert_eq!(
            code(&request("/", &[("host", "a"), ("content-length", "1"), ("content-length", "1")])),
            Some(Code::AmbiguousRequest)
        );
    }

    #[test]
    fn other_origins_change_nothing() {
        let cases = [
            ("http://h:9090", None),
            ("http://H:9090", None),
            ("http://h:8080", Some(Code::CrossOrigin)),
            ("http://evil.example", Some(Code::CrossOrigin)),
            ("null", Some(Code::CrossOrigin)),
        ];
        for (origin, expected) in cases {
            let headers = [("host", "h:9090"), ("origin", origin)];
            let mut sent = request("/", &headers);
            assert_eq!(code(&sent), None, "{origin} reads");
            *sent.method_mut() = Method::POST;
            assert_eq!(code(&sent), expected, "{origin}");
            // What the browser says itself goes first: a proxy may have changed the host.
            let mut told = request("/", &[headers[0], headers[1], (FETCH_SITE, "same-origin")]);
            *told.method_mut() = Method::POST;
            assert_eq!(code(&told), None, "{origin}");
        }
    }

    #[test]
    fn other_sites_change_nothing() {
        let site = |site| [("host", "h"), (FETCH_SITE, site)];
        for (from, expected) in [
            ("cross-site", Some(Code::CrossOrigin)),
            ("same-site", Some(Code::CrossOrigin)),
            ("same-origin", None),
            ("none", None),
        ] {
            let mut request = request("/", &site(from));
            assert_eq!(code(&request), None, "reading from {from}");
            *request.method_mut() = Method::POST;
            assert_eq!(code(&request), expected, "{from}");
        }
    }
}
