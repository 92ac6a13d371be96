//! How a record stands on disk. Pure.
//!
//! ```text
//! version u8 = 1 | flags u8 | timestamp i64 | [key length u32, key] | [value length u32, value]
//! | headers u16, each: name length u16, name, value length u32 (u32::MAX: null), value | low half of XXH3 of all before u32
//! ```
//! Numbers are big-endian. Flags: 1 has a key, 2 has a value, 4 the timestamp was set at append. Topic, partition and
//! offset are the key it is stored under.

use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};

use crate::{Headers, NewRecord, TimestampType};

const VERSION: u8 = 1;
const HAS_KEY: u8 = 1;
const HAS_VALUE: u8 = 2;
const APPEND_TIME: u8 = 4;
const NULL: u32 = u32::MAX;
/// Version, flags, timestamp, header count, checksum: what even an empty record takes.
const FIXED_BYTES: usize = 1 + 1 + 8 + 2 + 4;

/// A stored record without its place.
#[derive(Debug)]
pub(super) struct Stored {
    pub key: Option<Bytes>,
    pub value: Option<Bytes>,
    pub headers: Headers,
    pub timestamp_ms: i64,
    pub timestamp_type: TimestampType,
}

/// Why stored bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FormatError {
    #[error("the checksum does not match")]
    Checksum,
    #[error("the record is cut short or too long")]
    Length,
    #[error("record version {0} is not known: it was written by a newer release")]
    Version(u8),
    #[error("a header name is not UTF-8")]
    HeaderName,
}

/// Why a record can't be stored: a header count or name length that the format can't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record can have at most 65535 headers with names of at most 65535 bytes")]
pub(super) struct HeadersTooLarge;

/// The bytes that a record with a payload of so many takes.
pub(super) fn room(record: &NewRecord, payload_bytes: usize) -> usize {
    FIXED_BYTES + 4 + 4 + payload_bytes + record.headers.0.len() * (2 + 4)
}

/// Appends the record to `out`. Key, value and header values are shorter than 4 GiB: the record limit is far below.
pub(super) fn encode(
    record: &NewRecord,
    (timestamp_ms, kind): (i64, TimestampType),
    out: &mut Vec<u8>,
) -> Result<(), HeadersTooLarge> {
    let start = out.len();
    let headers = u16::try_from(record.headers.0.len()).map_err(|_| HeadersTooLarge)?;
    let set = |flag: u8, holds: bool| if holds { flag } else { 0 };
    let flags = set(HAS_KEY, record.key.is_some())
        | set(HAS_VALUE, record.value.is_some())
        | set(APPEND_TIME, kind == TimestampType::Append);
    out.put_u8(VERSION);
    out.put_u8(flags);
    out.put_i64(timestamp_ms);
    for part in [&record.key, &record.value].into_iter().flatten() {
        out.put_u32(part.len() as u32);
        out.put_slice(part);
    }
    out.put_u16(headers);
    for (name, value) in &record.headers.0 {
        out.put_u16(u16::try_from(name.len()).map_err(|_| HeadersTooLarge)?);
        out.put_slice(name.as_bytes());
        match value {
            None => out.put_u32(NULL),
            Some(value) => {
                out.put_u32(value.len() as u32);
                out.put_slice(value);
            }
        }
    }
    let sum = checksum(out.get(start..).unwrap_or_default());
    out.put_u32(sum);
    Ok(())
}

fn checksum(bytes: &[u8]) -> u32 {
    xxhash_rust::xxh3::xxh3_64(bytes) as u32
}

/// Header names seen during one read: the same few come again and again, so each is allocated once.
#[derive(Default)]
pub(super) struct Names(Vec<Arc<str>>);

impl Names {
    const MAX: usize = 32;

    fn get(&mut self, name: &[u8]) -> Result<Arc<str>, FormatError> {
        if let Some(known) = self.0.iter().find(|known| known.as_bytes() == name) {
            return Ok(known.clone());
        }
        let name: Arc<str> = std::str::from_utf8(name).map_err(|_| FormatError::HeaderName)?.into();
        if self.0.len() < Self::MAX {
            self.0.push(name.clone());
        }
        Ok(name)
    }
}

/// Reads a record; key, value and header values share the memory of `bytes`.
pub(super) fn decode(mut bytes: Bytes, names: &mut Names) -> Result<Stored, FormatError> {
    let body = bytes.len().checked_sub(4).ok_or(FormatError::Length)?;
    let mut sum = bytes.split_off(body);
    if checksum(&bytes) != sum.get_u32() {
        return Err(FormatError::Checksum);
    }
    if bytes.len() + 4 < FIXED_BYTES {
        return Err(FormatError::Length);
    }
    let version = bytes.get_u8();
    if version != VERSION {
        return Err(FormatError::Version(version));
    }
    let flags = bytes.get_u8();
    let timestamp_ms = bytes.get_i64();
    let key = if flags & HAS_KEY != 0 { Some(sized(&mut bytes)?) } else { None };
    let value = if flags & HAS_VALUE != 0 { Some(sized(&mut bytes)?) } else { None };
    let headers = decode_headers(&mut bytes, names)?;
    if !bytes.is_empty() {
        return Err(FormatError::Length);
    }
    let timestamp_type = if flags & APPEND_TIME != 0 { TimestampType::Append } else { TimestampType::Create };
    Ok(Stored { key, value, headers, timestamp_ms, timestamp_type })
}

/// Only the timestamp, without the checksum: for seeks by time, which then read the record in full.
pub(super) fn timestamp(bytes: &[u8]) -> Result<i64, FormatError> {
    let stamp = bytes.get(2..10).and_then(|b| b.try_into().ok()).ok_or(FormatError::Length)?;
    Ok(i64::from_be_bytes(stamp))
}

fn decode_headers(bytes: &mut Bytes, names: &mut Names) -> Result<Headers, FormatError> {
    let count = bytes.try_get_u16().map_err(|_| FormatError::Length)?;
    // The checksum holds, so the count is what was written.
    let mut headers = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let length = usize::from(bytes.try_get_u16().map_err(|_| FormatError::Length)?);
        let name = names.get(&cut(bytes, length)?)?;
        let length = bytes.try_get_u32().map_err(|_| FormatError::Length)?;
        let value = if length == NULL { None } else { Some(cut(bytes, length as usize)?) };
        headers.push((name, value));
    }
    Ok(Headers(headers))
}

fn sized(bytes: &mut Bytes) -> Result<Bytes, FormatError> {
    let length = bytes.try_get_u32().map_err(|_| FormatError::Length)? as usize;
    cut(bytes, length)
}

fn cut(bytes: &mut Bytes, length: usize) -> Result<Bytes, FormatError> {
    if length > bytes.len() {
        return Err(FormatError::Length);
    }
    Ok(bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(key: Option<Bytes>, value: Option<Bytes>, headers: Headers) -> NewRecord {
        NewRecord { topic: "t".into(), partition: None, key, value, headers, timestamp_ms: None }
    }

    #[test]
    fn bytes_on_disk_do_not_change() {
        let mut headers = Headers::default();
        headers.push("h", &b"v"[..]);
        headers.0.push(("n".into(), None));
        let mut out = Vec::new();
        encode(&record(Some("k".into()), Some("val".into()), headers), (258, TimestampType::Create), &mut out).unwrap();
        let (body, sum) = out.split_at(out.len() - 4);
        assert_eq!(
            body,
            b"\x01\x03\0\0\0\0\0\0\x01\x02\0\0\0\x01k\0\0\0\x03val\0\x02\0\x01h\0\0\0\x01v\0\x01n\xff\xff\xff\xff"
        );
        assert_eq!(sum, checksum(body).to_be_bytes());
        assert_eq!(timestamp(&out).unwrap(), 258);
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_seen() {
        let mut headers = Headers::default();
        headers.push("name", &b"value"[..]);
        let mut out = Vec::new();
        encode(&record(Some("k".into()), None, headers), (-1, TimestampType::Append), &mut out).unwrap();
        for at in 0..out.len() {
            for bit in 0..8 {
                let mut bad = out.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(bad.into(), &mut Names::default()).is_err());
            }
            assert!(decode(out[..at].to_vec().into(), &mut Names::default()).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut out = Vec::new();
        encode(&record(None, None, Headers::default()), (0, TimestampType::Create), &mut out).unwrap();
        out.truncate(out.len() - 4);
        out[0] = 2;
        let sum = checksum(&out);
        out.put_u32(sum);
        assert_eq!(decode(out.into(), &mut Names::default()).unwrap_err(), FormatError::Version(2));
    }

    proptest! {
        #[test]
        fn decode_of_encode_is_the_record(
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
            value in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)),
            headers in proptest::collection::vec((".{0,8}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9))), 0..5),
            stamp in any::<i64>(),
            kind in proptest::sample::select(vec![TimestampType::Create, TimestampType::Append]),
        ) {
            let headers = Headers(headers.into_iter().map(|(n, v)| (n.into(), v.map(Bytes::from))).collect());
            let record = record(key.map(Bytes::from), value.map(Bytes::from), headers);
            let mut out = Vec::new();
            encode(&record, (stamp, kind), &mut out).unwrap();
            let back = decode(out.into(), &mut Names::default()).unwrap();
            prop_assert_eq!(back.key, record.key);
            prop_assert_eq!(back.value, record.value);
            prop_assert_eq!(back.headers, record.headers);
            prop_assert_eq!((back.timestamp_ms, back.timestamp_type), (stamp, kind));
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut framed = bytes.clone();
            framed.put_u32(checksum(&bytes));
            let _ = decode(framed.into(), &mut Names::default());
        }
    }
}
