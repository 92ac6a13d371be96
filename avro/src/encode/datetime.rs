//! Dates and times of RFC 3339, parsed by hand: strict, exact, and with a reason when refused.

use std::ops::RangeInclusive;

use crate::schema::TimeUnit;

/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;
/// Nanoseconds of a day.
pub(crate) const DAY_NANOS: i128 = 86_400 * NANOS;
/// Days since 1970-01-01 of 0000-01-01 to 9999-12-31: what RFC 3339 can write, and what readers of dates can hold.
pub(crate) const DAYS: RangeInclusive<i32> = -719_528..=2_932_896;

/// A date and time as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Nanoseconds since 1970-01-01T00:00:00 of the clock that was read; digits beyond are cut.
    pub nanos: i128,
    /// Whether digits other than 0 stand beyond the nanoseconds.
    pub finer: bool,
    /// Seconds that the clock was ahead of UTC; `None` without an offset.
    pub offset: Option<i32>,
}

impl Written {
    /// Nanoseconds since the epoch; no offset means UTC.
    pub(crate) fn utc_nanos(&self) -> i128 {
        self.nanos - i128::from(self.offset.unwrap_or(0)) * NANOS
    }
}

/// A time of day: nanoseconds since midnight, and whether digits other than 0 stand beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeOfDay {
    pub nanos: i128,
    pub finer: bool,
}

/// How many nanoseconds a unit has.
pub(crate) fn unit_nanos(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Millis => 1_000_000,
        TimeUnit::Micros => 1_000,
        TimeUnit::Nanos => 1,
    }
}

/// A unit in words.
pub(crate) fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Millis => "milliseconds",
        TimeUnit::Micros => "microseconds",
        TimeUnit::Nanos => "nanoseconds",
    }
}

/// The integers that are times of day.
pub(crate) fn times(unit: TimeUnit) -> RangeInclusive<i64> {
    0..=as_long(DAY_NANOS / unit_nanos(unit) - 1)
}

/// The integers that are instants of [`DAYS`], as far as 64 bits go.
pub(crate) fn instants(unit: TimeUnit) -> RangeInclusive<i64> {
    let per_day = DAY_NANOS / unit_nanos(unit);
    as_long(i128::from(*DAYS.start()) * per_day)..=as_long((i128::from(*DAYS.end()) + 1) * per_day - 1)
}

fn as_long(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// Days since 1970-01-01 of a date of the proleptic Gregorian calendar (H. Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Reads from the front of ASCII text.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    /// Exactly `n` digits.
    fn digits(&mut self, n: usize) -> Option<i64> {
        let (head, tail) = self.0.split_at_checked(n)?;
        let value = head.iter().try_fold(0, |value, d| d.is_ascii_digit().then(|| value * 10 + i64::from(d - b'0')))?;
        self.0 = tail;
        Some(value)
    }

    /// One of `allowed`.
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (&head, tail) = self.0.split_first()?;
        self.0 = tail;
        allowed.contains(&head).then_some(head)
    }

    fn date(&mut self) -> Result<i64, &'static str> {
        const FORM: &str = "a date looks like 2026-01-31";
        let year = self.digits(4).ok_or(FORM)?;
        self.one_of(b"-").ok_or(FORM)?;
        let month = self.digits(2).ok_or(FORM)?;
        self.one_of(b"-").ok_or(FORM)?;
        let day = self.digits(2).ok_or(FORM)?;
        if !(1..=12).contains(&month) {
            return Err("the month is not between 01 and 12");
        }
        if !(1..=days_in_month(year, month)).contains(&day) {
            return Err("the month has no such day");
        }
        Ok(days(year, month, day))
    }

    fn time(&mut self) -> Result<TimeOfDay, &'static str> {
        const FORM: &str = "a time looks like 23:59:59 or 23:59:59.123";
        let hour = self.digits(2).ok_or(FORM)?;
        self.one_of(b":").ok_or(FORM)?;
        let minute = self.digits(2).ok_or(FORM)?;
        self.one_of(b":").ok_or(FORM)?;
        let second = self.digits(2).ok_or(FORM)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err("hours go to 23, minutes and seconds to 59");
        }
        let (fraction, finer) = self.fraction()?;
        Ok(TimeOfDay { nanos: i128::from(hour * 3600 + minute * 60 + second) * NANOS + fraction, finer })
    }

    /// Nanoseconds behind an optional point, and whether anything other than 0 stands beyond them.
    fn fraction(&mut self) -> Result<(i128, bool), &'static str> {
        let Some((b'.', tail)) = self.0.split_first() else { return Ok((0, false)) };
        let len = tail.iter().take_while(|d| d.is_ascii_digit()).count();
        if len == 0 {
            return Err("digits must follow the point of the seconds");
        }
        let (digits, rest) = tail.split_at(len);
        self.0 = rest;
        let digit = |at| i128::from(digits.get(at).map_or(0, |d| d - b'0'));
        let nanos = (0..9).fold(0, |value, at| value * 10 + digit(at));
        Ok((nanos, digits.iter().skip(9).any(|&d| d != b'0')))
    }

    /// `Z` or an offset in seconds; `None` at the end of the text.
    fn offset(&mut self) -> Result<Option<i32>, &'static str> {
        const FORM: &str = "the offset must be Z or look like +01:00";
        if self.0.is_empty() {
            return Ok(None);
        }
        let sign = match self.one_of(b"Zz+-").ok_or(FORM)? {
            b'+' => 1,
            b'-' => -1,
            _ => return Ok(Some(0)),
        };
        let hours = self.digits(2).ok_or(FORM)?;
        self.one_of(b":").ok_or(FORM)?;
        let minutes = self.digits(2).ok_or(FORM)?;
        if hours > 23 || minutes > 59 {
            return Err("offsets go to 23:59");
        }
        Ok(Some(sign * (hours * 3600 + minutes * 60) as i32))
    }

    fn end<T>(&self, value: T) -> Result<T, &'static str> {
        if self.0.is_empty() { Ok(value) } else { Err("something stands behind it") }
    }
}

/// An RFC 3339 date and time; `T` or a space between, the offset optional.
pub(crate) fn parse_datetime(text: &str) -> Result<Written, &'static str> {
    let mut reader = Reader(text.as_bytes());
    let days = reader.date()?;
    reader.one_of(b"Tt ").ok_or("T must stand between date and time")?;
    let time = reader.time()?;
    let offset = reader.offset()?;
    let written = Written { nanos: i128::from(days) * DAY_NANOS + time.nanos, finer: time.finer, offset };
    let day = written.utc_nanos().div_euclid(DAY_NANOS);
    if !i32::try_from(day).is_ok_and(|day| DAYS.contains(&day)) {
        return Err("in UTC it lies outside of the years 0000 to 9999");
    }
    reader.end(written)
}

/// RFC 3339 in UTC with milliseconds, or with nanoseconds where they are needed.
pub(crate) fn format_utc(nanos: i128) -> String {
    let (days, nanos) = (nanos.div_euclid(DAY_NANOS), nanos.rem_euclid(DAY_NANOS));
    let (seconds, nanos) = (nanos / NANOS, nanos % NANOS);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let (year, month, day) = civil(days);
    let fraction = if nanos % 1_000_000 == 0 { format!("{:03}", nanos / 1_000_000) } else { format!("{nanos:09}") };
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction}Z")
}

/// The date of a day since 1970-01-01 (H. Hinnant's `civil_from_days`).
pub(crate) fn civil(days: i128) -> (i128, i128, i128) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub(crate) fn parse_date(text: &str) -> Result<i64, &'static str> {
    let mut reader = Reader(text.as_bytes());
    let days = reader.date()?;
    reader.end(days)
}

/// `HH:MM:SS[.f]`.
pub(crate) fn parse_time(text: &str) -> Result<TimeOfDay, &'static str> {
    let mut reader = Reader(text.as_bytes());
    let time = reader.time()?;
    reader.end(time)
}

/// Nanoseconds in a unit, only if nothing is lost.
pub(crate) fn exact(nanos: i128, finer: bool, unit: TimeUnit) -> Option<i128> {
    let per = unit_nanos(unit);
    (!finer && nanos.rem_euclid(per) == 0).then(|| nanos.div_euclid(per))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes() {
        let at = |seconds: i128, nanos: i128| seconds * NANOS + nanos;
        for (text, nanos) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-01 00:00:00z", 0),
            ("1969-12-31T23:59:59.999Z", at(-1, 999_000_000)),
            ("2000-02-29T12:00:00.5+01:00", at(951_822_000, 500_000_000)),
            ("2026-11-21T04:24:10-05:30", at(1_795_254_850, 0)),
            ("0000-01-01T00:00:00Z", at(-62_167_219_200, 0)),
            ("9999-12-31T23:59:59.999999999Z", at(253_402_300_799, 999_999_999)),
            ("2024-01-01T00:00:00", at(1_704_067_200, 0)),
        ] {
            assert_eq!(parse_datetime(text).map(|w| w.utc_nanos()), Ok(nanos), "{text}");
        }
        for text in [
            "",
            "2024-01-01",
            "2024-01-01T00:00",
            "2024-13-01T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "1900-02-29T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00ZZ",
            "2024-01-01T00:00:00+24:00",
            "24-01-01T00:00:00Z",
            "+2024-01-01T00:00:00Z",
            "2024-1-01T00:00:00Z",
            "2024-01-01T00:00:00,5Z",
            "２024-01-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
        ] {
            assert!(parse_datetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn dates_agree_with_a_walk_through_the_calendar() {
        let mut expected = days(1, 1, 1);
        for year in 1..=2500 {
            for month in 1..=12 {
                for day in 1..=days_in_month(year, month) {
                    assert_eq!(parse_date(&format!("{year:04}-{month:02}-{day:02}")), Ok(expected));
                    let text = format!("{year:04}-{month:02}-{day:02}T00:00:00.000Z");
                    assert_eq!(format_utc(i128::from(expected) * DAY_NANOS), text);
                    expected += 1;
                }
            }
        }
        assert_eq!(days(1970, 1, 1), 0);
    }

    #[test]
    fn integers_have_the_range_of_the_text() {
        let ms = |text| i64::try_from(parse_datetime(text).unwrap().utc_nanos() / 1_000_000).unwrap();
        assert_eq!(instants(TimeUnit::Millis), ms("0000-01-01T00:00:00Z")..=ms("9999-12-31T23:59:59.999Z"));
        assert_eq!(instants(TimeUnit::Nanos), i64::MIN..=i64::MAX);
        assert_eq!(times(TimeUnit::Micros), 0..=86_399_999_999);
    }

    #[test]
    fn nothing_is_lost_unseen() {
        let parse = |text: &str| parse_time(text).expect("a time");
        let exact = |text: &str, unit| exact(parse(text).nanos, parse(text).finer, unit);
        assert_eq!(exact("00:00:01.123", TimeUnit::Millis), Some(1123));
        assert_eq!(exact("00:00:01.123000000000", TimeUnit::Millis), Some(1123));
        assert_eq!(exact("00:00:01.1234", TimeUnit::Millis), None);
        assert_eq!(exact("00:00:01.1234", TimeUnit::Micros), Some(1_123_400));
        assert_eq!(exact("00:00:01.1234567891", TimeUnit::Nanos), None);
    }
}
