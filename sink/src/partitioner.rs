//! Into which folder a row goes, and how names become safe path parts. Pure: a path is a function of the record.

use std::fmt::Write as _;

use jiff::{Timestamp, tz::TimeZone};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// Folders of `partitioner: daily`.
pub const DAILY: &str = "'year='yyyy/'month='MM/'day='dd";
/// Folders of `partitioner: hourly`.
pub const HOURLY: &str = "'year='yyyy/'month='MM/'day='dd/'hour='HH";

/// Longest path part made of a topic's name, in bytes: with partition, offset, schema id and two extensions the file
/// name stays within the 255 bytes of common file systems.
pub const MAX_SEGMENT: usize = 190;

/// How rows are laid out in folders.
#[derive(Clone, Debug)]
pub enum Partitioner {
    /// `partition=<p>`.
    Default,
    /// By the record's timestamp.
    Time(TimeFolders),
}

/// Folders by time.
#[derive(Clone, Debug)]
pub struct TimeFolders {
    pattern: String,
    zone_name: String,
    parts: Vec<Part>,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Year,
    Month,
    Day,
    Hour,
    Minute,
}

impl Partitioner {
    /// Folders by a pattern of `yyyy MM dd HH mm`, quoted text and `/ - _ . =`. The error says what is wrong.
    pub fn time(pattern: &str, zone_name: &str, zone: TimeZone) -> Result<Self, String> {
        let parts = parse(pattern)?;
        Ok(Self::Time(TimeFolders { pattern: pattern.to_owned(), zone_name: zone_name.to_owned(), parts, zone }))
    }

    /// Folder of a record, without leading or trailing slash; `None` if its timestamp is outside the calendar.
    pub fn folder(&self, partition: i32, timestamp_ms: i64) -> Option<String> {
        match self {
            Self::Default => Some(format!("partition={partition}")),
            Self::Time(folders) => folders.folder(timestamp_ms),
        }
    }

    /// What decides the folders, for the settings' fingerprint.
    pub fn describe(&self) -> (&str, &str) {
        match self {
            Self::Default => ("", ""),
            Self::Time(folders) => (&folders.pattern, &folders.zone_name),
        }
    }
}

impl TimeFolders {
    fn folder(&self, timestamp_ms: i64) -> Option<String> {
        let time = Timestamp::from_millisecond(timestamp_ms).ok()?.to_zoned(self.zone.clone());
        let mut out = String::new();
        for part in &self.parts {
            // Writing to a String can't fail.
            let _ = match part {
                Part::Text(text) => write!(out, "{text}"),
                Part::Year => write!(out, "{:04}", time.year()),
                Part::Month => write!(out, "{:02}", time.month()),
                Part::Day => write!(out, "{:02}", time.day()),
                Part::Hour => write!(out, "{:02}", time.hour()),
                Part::Minute => write!(out, "{:02}", time.minute()),
            };
        }
        Some(out)
    }
}

fn parse(pattern: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let (part, used) = match first {
            '\'' => quoted(rest)?,
            'a'..='z' | 'A'..='Z' => letters(rest)?,
            _ => (Part::Text(first.to_string()), first.len_utf8()),
        };
        parts.push(part);
        rest = rest.get(used..).unwrap_or_default();
    }
    check_text(&parts)?;
    Ok(parts)
}

fn quoted(rest: &str) -> Result<(Part, usize), String> {
    let inner = rest.get(1..).unwrap_or_default();
    let end = inner.find('\'').ok_or_else(|| format!("the quote before {inner:?} is not closed"))?;
    Ok((Part::Text(inner.get(..end).unwrap_or_default().to_owned()), end + 2))
}

fn letters(rest: &str) -> Result<(Part, usize), String> {
    let first = rest.chars().next();
    let end = rest.find(|c: char| Some(c) != first).unwrap_or(rest.len());
    let word = rest.get(..end).unwrap_or_default();
    let part = match word {
        "yyyy" | "YYYY" => Part::Year,
        "MM" => Part::Month,
        "dd" => Part::Day,
        "HH" => Part::Hour,
        "mm" => Part::Minute,
        _ => return Err(format!("{word:?} is none of yyyy MM dd HH mm; put plain text into quotes: '{word}'")),
    };
    Ok((part, end))
}

/// The fixed text must make plain folder names, so that no path leaves the lake.
fn check_text(parts: &[Part]) -> Result<(), String> {
    let mut shape = String::new();
    for part in parts {
        match part {
            Part::Text(text) => shape.push_str(text),
            _ => shape.push('0'),
        }
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=');
    for folder in shape.split('/') {
        if folder.is_empty() || folder.starts_with('.') || folder.len() > 128 || !folder.chars().all(plain) {
            return Err(format!("{folder:?} is no folder name: use A-Z a-z 0-9 . _ - = between single slashes"));
        }
    }
    Ok(())
}

const HOSTILE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'-');

/// A name as one path part: bytes outside `[A-Za-z0-9._-]` percent-encoded; `.`, `..`, names that begin with a dot or
/// with the reserved `_forebay` escaped; longer than [`MAX_SEGMENT`]: cut, `~` and 16 hex of its SHA-256 appended.
/// Different names never give the same part.
pub fn segment(name: &str) -> String {
    let mut encoded = utf8_percent_encode(name, HOSTILE).to_string();
    if encoded.starts_with('.') {
        encoded.replace_range(..1, "%2E");
    } else if encoded.starts_with("_forebay") {
        encoded.replace_range(..1, "%5F");
    }
    if encoded.len() > MAX_SEGMENT {
        let hash: String = Sha256::digest(name).iter().take(8).map(|b| format!("{b:02x}")).collect();
        encoded.truncate(MAX_SEGMENT - 17);
        encoded.push('~');
        encoded.push_str(&hash);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn folder(pattern: &str, zone: &str, ms: i64) -> String {
        Partitioner::time(pattern, zone, TimeZone::get(zone).unwrap()).unwrap().folder(0, ms).unwrap()
    }

    #[test]
    fn folders_by_record_time() {
        let ms = 1_795_235_045_678; // 2026-11-21T04:24:05.678Z
        assert_eq!(folder(HOURLY, "UTC", ms), "year=2026/month=11/day=21/hour=04");
        assert_eq!(folder(DAILY, "America/New_York", ms), "year=2026/month=11/day=20");
        assert_eq!(folder("'d='yyyy-MM-dd/HHmm", "UTC", -1).len(), "d=1969-12-31/2359".len());
        assert_eq!(Partitioner::Default.folder(7, ms).unwrap(), "partition=7");
    }

    #[test]
    fn time_outside_the_calendar_has_no_folder() {
        let p = Partitioner::time(DAILY, "UTC", TimeZone::UTC).unwrap();
        assert_eq!(p.folder(0, i64::MAX), None);
    }

    #[test]
    fn patterns_that_could_leave_the_lake_are_refused() {
        for bad in ["'../'yyyy", "yyyy//MM", "/yyyy", "yyyy/", "'a b'", "yyyy'", "yy", "'.'yyyy", "", "'é'"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_names_stay_one_part() {
        let cases = [
            ("flights", "flights"),
            ("a.b_c-1", "a.b_c-1"),
            ("..", "%2E."),
            (".", "%2E"),
            (".hidden", "%2Ehidden"),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            ("%2e%2e", "%252e%252e"),
            ("a\0b", "a%00b"),
            ("_forebay", "%5Fforebay"),
            ("a+b", "a%2Bb"),
            ("\u{202e}x", "%E2%80%AEx"),
        ];
        for (name, want) in cases {
            assert_eq!(segment(name), want, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn segments_are_plain_bounded_and_distinct(names in prop::collection::hash_set(".{1,260}", 1..40)) {
            let mut seen: HashMap<String, String> = HashMap::new();
            for name in names {
                let part = segment(&name);
                prop_assert!(part.len() <= MAX_SEGMENT && !part.is_empty());
                prop_assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-%~".contains(&b)));
                prop_assert!(part != "." && part != ".." && !part.starts_with("_forebay"));
                prop_assert_eq!(seen.insert(part, name), None);
            }
        }
    }
}
