//! Avro bytes to plain JSON text, such that the encoder reads it back to the same bytes.
//!
//! Bytes are base64, decimals and times are text. A union's value stands untagged where the encoder would find its branch
//! again, else as `{"<branch full name>": value}`. Floats that JSON lacks (NaN, infinities) are strings, which the encoder
//! refuses, and a `duration` is an object of its three numbers, likewise.

mod choice;

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    encode::datetime::{DAY_NANOS, civil, format_utc, unit_nanos},
    plan::compile::tag,
    schema::{Node, NodeId, Schema, TimeUnit},
    violation::Segment,
    walk::{Fault, Limits, MAX_DECIMAL_DIGITS, Walk, WalkError, Walked, significant, under},
};

/// Bytes of JSON text that a datum may become: long names around small values could otherwise grow it without measure.
pub const MAX_JSON_BYTES: usize = 32 << 20;

/// Years 0001 to 9999, in days since 1970-01-01: what every reader of RFC 3339 takes; some know no year 0, which it can write.
const DAYS: std::ops::Range<i128> = -719_162..2_932_897;

/// Appends a datum as JSON. Run [`crate::walk::walk`] first: this checks no more than it must to stay within the bytes.
///
/// # Errors
/// The datum is none of the schema; `out` then ends in the middle.
pub fn to_json(schema: &Schema, datum: &[u8], out: &mut String) -> Result<(), WalkError> {
    let limits = Limits::default();
    let mut walk = Walk::new(schema, datum, &limits);
    let done = value(schema, &mut walk, schema.root(), limits.depth, out).and_then(|()| walk.end());
    done.map_err(WalkError::outward)
}

/// Appends the value at the walk's position as JSON.
pub(crate) fn value(schema: &Schema, walk: &mut Walk<'_>, node: NodeId, depth: usize, out: &mut String) -> Walked<()> {
    let full = out.len().saturating_add(MAX_JSON_BYTES);
    Writer { schema, out, full }.value(walk, node, depth)
}

struct Writer<'s, 'o> {
    schema: &'s Schema,
    out: &'o mut String,
    /// Length of `out` at which to stop.
    full: usize,
}

impl Writer<'_, '_> {
    fn value(&mut self, walk: &mut Walk<'_>, node: NodeId, depth: usize) -> Walked<()> {
        if self.out.len() > self.full {
            return Err(walk.fault(Fault::JsonBytes));
        }
        match self.schema.node(node) {
            Node::Null => self.out.push_str("null"),
            Node::Boolean => self.out.push_str(if walk.boolean()? { "true" } else { "false" }),
            Node::Int | Node::Long => self.number(walk.long()?),
            Node::Float => {
                let bytes = walk.take(4)?;
                let float = f32::from_le_bytes(bytes.try_into().unwrap_or_default());
                self.float(float.is_finite(), float.is_nan(), float.is_sign_negative(), &float);
            }
            Node::Double => {
                let bytes = walk.take(8)?;
                let double = f64::from_le_bytes(bytes.try_into().unwrap_or_default());
                self.float(double.is_finite(), double.is_nan(), double.is_sign_negative(), &double);
            }
            Node::Bytes => self.base64(walk.bytes()?),
            Node::Fixed(_, size) => self.base64(walk.take(*size as usize)?),
            Node::String | Node::UuidString => escape(walk.string()?, self.out),
            Node::UuidFixed(_) => self.uuid(walk.take(16)?),
            Node::Date => self.date(walk.long()?),
            Node::Time(unit) => self.time(walk.long()?, *unit),
            Node::Timestamp(unit) => self.timestamp(walk.long()?, *unit, true),
            Node::LocalTimestamp(unit) => self.timestamp(walk.long()?, *unit, false),
            Node::Duration(_) => self.duration(walk.take(12)?),
            Node::Decimal { scale, fixed, .. } => {
                let unscaled = match fixed {
                    Some((_, size)) => walk.take(*size as usize)?,
                    None => walk.bytes()?,
                };
                self.quoted(&decimal(unscaled, *scale as usize));
            }
            Node::Enum { symbols, .. } => {
                let index = walk.index(symbols.len(), Fault::EnumIndex)?;
                escape(&symbols[index], self.out);
            }
            Node::Union(branches) => return self.union(walk, branches, depth),
            Node::Record { fields, .. } => {
                let inner = walk.deeper(depth)?;
                self.out.push('{');
                for (at, field) in fields.iter().enumerate() {
                    self.key(at == 0, &field.name);
                    let done = self.value(walk, field.node, inner);
                    done.map_err(|error| under(error, Segment::Name(field.name.to_string())))?;
                }
                self.out.push('}');
            }
            Node::Array(items) => {
                let inner = walk.deeper(depth)?;
                self.items(walk, *items, false, inner)?;
            }
            Node::Map(values) => {
                let inner = walk.deeper(depth)?;
                self.items(walk, *values, true, inner)?;
            }
        }
        Ok(())
    }

    fn items(&mut self, walk: &mut Walk<'_>, item: NodeId, keyed: bool, depth: usize) -> Walked<()> {
        self.out.push(if keyed { '{' } else { '[' });
        let mut first = true;
        walk.each_item(keyed, |walk, key| {
            match key {
                Some(key) => self.key(first, key),
                None if !first => self.out.push(','),
                None => (),
            }
            first = false;
            self.value(walk, item, depth)
        })?;
        self.out.push(if keyed { '}' } else { ']' });
        Ok(())
    }

    fn union(&mut self, walk: &mut Walk<'_>, branches: &[NodeId], depth: usize) -> Walked<()> {
        let index = walk.index(branches.len(), Fault::UnionIndex)?;
        let inner = walk.deeper(depth)?;
        let start = self.out.len();
        self.value(walk, branches[index], inner)?;
        if !choice::finds_again(self.schema, branches, index, &self.out[start..]) {
            let mut open = String::from("{");
            escape(&tag(self.schema.node(branches[index])), &mut open);
            open.push(':');
            self.out.insert_str(start, &open);
            self.out.push('}');
        }
        Ok(())
    }

    fn key(&mut self, first: bool, name: &str) {
        if !first {
            self.out.push(',');
        }
        escape(name, self.out);
        self.out.push(':');
    }

    // Writing to a String cannot fail: the results of `write!` are dropped below.

    fn number(&mut self, number: i64) {
        let _ = write!(self.out, "{number}");
    }

    fn float(&mut self, finite: bool, nan: bool, negative: bool, text: &dyn std::fmt::Debug) {
        let _ = match (finite, nan, negative) {
            (true, ..) => write!(self.out, "{text:?}"),
            (_, true, _) => write!(self.out, "\"NaN\""),
            (_, _, true) => write!(self.out, "\"-Infinity\""),
            _ => write!(self.out, "\"Infinity\""),
        };
    }

    fn quoted(&mut self, text: &str) {
        let _ = write!(self.out, "\"{text}\"");
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.out.push('"');
        BASE64.encode_string(bytes, self.out);
        self.out.push('"');
    }

    fn uuid(&mut self, bytes: &[u8]) {
        self.out.push('"');
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                self.out.push('-');
            }
            let _ = write!(self.out, "{byte:02x}");
        }
        self.out.push('"');
    }

    fn date(&mut self, days: i64) {
        if !DAYS.contains(&days.into()) {
            return self.number(days);
        }
        let (year, month, day) = civil(days.into());
        let _ = write!(self.out, "\"{year:04}-{month:02}-{day:02}\"");
    }

    fn time(&mut self, time: i64, unit: TimeUnit) {
        let nanos = i128::from(time) * unit_nanos(unit);
        if !(0..DAY_NANOS).contains(&nanos) {
            return self.number(time);
        }
        let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let _ = match unit {
            TimeUnit::Millis => {
                write!(self.out, "\"{hour:02}:{minute:02}:{second:02}.{:03}\"", fraction / 1_000_000)
            }
            _ => write!(self.out, "\"{hour:02}:{minute:02}:{second:02}.{:06}\"", fraction / 1_000),
        };
    }

    fn timestamp(&mut self, timestamp: i64, unit: TimeUnit, utc: bool) {
        let nanos = i128::from(timestamp) * unit_nanos(unit);
        if !DAYS.contains(&nanos.div_euclid(DAY_NANOS)) {
            return self.number(timestamp);
        }
        let text = format_utc(nanos);
        self.quoted(if utc { &text } else { text.trim_end_matches('Z') });
    }

    fn duration(&mut self, bytes: &[u8]) {
        let part = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let _ = write!(self.out, "{{\"months\":{},\"days\":{},\"millis\":{}}}", part(0), part(4), part(8));
    }
}

/// Appends a JSON string.
pub(crate) fn escape(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Decimal text of an unscaled big-endian two's complement number. A scale that no event can write becomes an exponent,
/// since a few bytes of schema must not ask for gigabytes of zeros.
fn decimal(unscaled: &[u8], scale: usize) -> String {
    let number = significant(unscaled);
    let (sign, mut digits) = (if is_negative(number) { "-" } else { "" }, digits(number));
    if scale > MAX_DECIMAL_DIGITS as usize {
        return format!("{sign}{digits}E-{scale}");
    }
    if digits.len() <= scale {
        digits.insert_str(0, &"0".repeat(scale + 1 - digits.len()));
    }
    match digits.split_at_checked(digits.len() - scale) {
        Some((whole, fraction)) if scale > 0 => format!("{sign}{whole}.{fraction}"),
        _ => format!("{sign}{digits}"),
    }
}

fn is_negative(number: &[u8]) -> bool {
    number.first().is_some_and(|byte| byte & 0x80 != 0)
}

/// Absolute value of a big-endian two's complement number.
fn magnitude(number: &[u8]) -> Vec<u8> {
    let mut magnitude = number.to_vec();
    if is_negative(number) {
        let mut carry = true;
        for byte in magnitude.iter_mut().rev() {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    magnitude
}

/// Decimal digits of a big-endian two's complement number's absolute value, by repeated division by 10^9.
pub(crate) fn digits(number: &[u8]) -> String {
    let mut number = magnitude(number);
    let mut groups = Vec::new();
    while number.iter().any(|byte| *byte != 0) {
        let mut rest = 0_u64;
        for byte in &mut number {
            let dividend = rest << 8 | u64::from(*byte);
            *byte = (dividend / 1_000_000_000) as u8;
            rest = dividend % 1_000_000_000;
        }
        groups.push(rest);
    }
    let mut out = groups.pop().unwrap_or(0).to_string();
    for group in groups.iter().rev() {
        let _ = write!(out, "{group:09}");
    }
    out
}

#[cfg(test)]
mod tests;
