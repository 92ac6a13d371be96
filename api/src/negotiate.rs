//! Which types a request sends and takes.

use http::{HeaderMap, HeaderValue, header};

use crate::problem::{Code, Problem};

/// JSON, the type of nearly everything here.
pub(crate) const JSON: &str = "application/json";

/// The body's type must be JSON in UTF-8.
pub(crate) fn json_body(headers: &HeaderMap) -> Result<(), Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let value = match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().unwrap_or_default(),
        _ => "",
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    if !essence.eq_ignore_ascii_case(JSON) {
        let got = if essence.is_empty() { "no type".to_owned() } else { format!("{:.64}", essence.escape_debug()) };
        return Err(unsupported(format!("This route takes Content-Type: {JSON}; the request names {got}.")));
    }
    for parameter in parts.filter(|p| !p.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let charset = name.trim().eq_ignore_ascii_case("charset");
        if charset && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8") {
            return Err(unsupported("JSON is taken in UTF-8 only: leave charset out, or name utf-8.".to_owned()));
        }
    }
    Ok(())
}

fn unsupported(detail: String) -> Problem {
    Problem::new(Code::UnsupportedMediaType, detail)
}

/// Whether `If-None-Match` names the version at hand, so that it need not be sent again.
pub(crate) fn is_known(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = values.flat_map(|value| value.split(',')).map(str::trim);
    // A proxy that compresses makes a tag weak; for this question that makes no difference.
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == etag.as_bytes())
}

/// The first of `offered` that `Accept` takes; all are taken if there is none.
pub(crate) fn accept(headers: &HeaderMap, offered: &[&'static str]) -> Result<&'static str, Problem> {
    let mut values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok()).peekable();
    let first = offered.first().copied().unwrap_or(JSON);
    if values.peek().is_none() {
        return Ok(first);
    }
    let ranges: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let taken = |offer: &str| closest(&ranges, offer).filter(|range| range.taken);
    // A type named in full wins over one that only a wildcard takes.
    let exact = offered.iter().find(|offer| taken(offer).is_some_and(|range| range.closeness == Closeness::Named));
    let any = offered.iter().find(|offer| taken(offer).is_some());
    exact.or(any).copied().ok_or_else(|| {
        Problem::new(Code::NotAcceptable, format!("This route offers {}; Accept takes none of it.", offered.join(", ")))
    })
}

/// How closely a media range describes a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Closeness {
    /// `*/*`.
    Any,
    /// `application/*`.
    Group,
    /// The type itself.
    Named,
}

/// A media range that covers a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Range {
    closeness: Closeness,
    /// Its weight is above zero.
    taken: bool,
}

/// The range that decides on a type: the closest, whatever others say (RFC 9110, 12.5.1).
fn closest(ranges: &[&str], offer: &str) -> Option<Range> {
    ranges.iter().filter_map(|range| covering(range, offer)).max()
}

fn covering(range: &str, offer: &str) -> Option<Range> {
    let mut parts = range.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let is_zero = |(name, q): (&str, &str)| {
        name.trim().eq_ignore_ascii_case("q") && q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0)
    };
    let taken = !parts.filter_map(|part| part.split_once('=')).any(is_zero);
    let offer = offer.split(';').next().unwrap_or_default();
    let group = offer.split('/').next().unwrap_or_default();
    let closeness = if essence.eq_ignore_ascii_case(offer) {
        Closeness::Named
    } else if essence.strip_suffix("/*").is_some_and(|named| named.eq_ignore_ascii_case(group)) {
        Closeness::Group
    } else if essence == "*/*" {
        Closeness::Any
    } else {
        return None;
    };
    Some(Range { closeness, taken })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn content_types() {
        for (values, taken) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=UTF-8"], true),
            (&["application/json;charset=\"utf-8\""], true),
            (&["application/json; profile=x"], true),
            (&["application/json; charset=latin-1"], false),
            (&["application/x-ndjson"], false),
            (&["text/plain"], false),
            (&[""], false),
            (&[], false),
            (&["application/json", "application/json"], false),
        ] {
            assert_eq!(json_body(&headers(header::CONTENT_TYPE, values)).is_ok(), taken, "{values:?}");
        }
    }

    #[test]
    fn versions_at_hand() {
        let etag = HeaderValue::from_static("\"a\"");
        for (values, known) in [
            (&[][..], false),
            (&["\"a\""], true),
            (&["\"b\", \"a\""], true),
            (&["\"b\"", "W/\"a\""], true),
            (&["*"], true),
            (&["a"], false),
            (&["\"b\""], false),
        ] {
            assert_eq!(is_known(&headers(header::IF_NONE_MATCH, values), &etag), known, "{values:?}");
        }
    }

    #[test]
    fn accept_ranges() {
        const TEXT: &str = "text/plain; version=0.0.4";
        for (values, offered, chosen) in [
            (&[][..], &[JSON][..], Some(JSON)),
            (&["*/*"], &[JSON], Some(JSON)),
            (&["application/*;q=0.1"], &[JSON], Some(JSON)),
            (&["text/html, application/json"], &[JSON], Some(JSON)),
            (&["text/html", "application/json"], &[JSON], Some(JSON)),
            (&["application/json;q=0"], &[JSON], None),
            (&["application/json;q=0, */*"], &[JSON], None),
            (&["*/*", "application/json; Q=0.000"], &[TEXT, JSON], Some(TEXT)),
            (&["application/*;q=0, application/json"], &[JSON], Some(JSON)),
            (&["text/*, */*;q=0"], &[JSON, TEXT], Some(TEXT)),
            (&["text/html"], &[JSON], None),
            (&["application/json"], &[TEXT, JSON], Some(JSON)),
            (&["application/json, */*;q=0.1"], &[TEXT, JSON], Some(JSON)),
            (&["text/plain"], &[TEXT, JSON], Some(TEXT)),
        ] {
            assert_eq!(accept(&headers(header::ACCEPT, values), offered).ok(), chosen, "{values:?}");
        }
    }
}
