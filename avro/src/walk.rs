//! The bounded walk over Avro bytes that stands before every decoder.
//!
//! A decoder believes lengths and counts; this walk believes nothing. What it has passed is well formed to the last byte:
//! UTF-8, indexes, block sizes, UUID text, exact end. It allocates nothing, and stops at named limits, so that a few
//! bytes that claim gigabytes cost microseconds.

mod decimal;

pub(crate) use decimal::significant;

use crate::{
    encode::datetime::times,
    schema::{Node, NodeId, Schema, TimeUnit},
    violation::{Segment, Violation},
};

/// What one value may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Array elements and map entries, in all.
    pub items: u64,
    /// Those of them that take no byte (an array of nulls), which make work out of nothing.
    pub zero_size_items: u64,
    /// Nesting.
    pub depth: usize,
    /// Values of any type, in all. Records that hold no byte need no items to multiply.
    pub values: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { items: 1_000_000, zero_size_items: 10_000, depth: 64, values: 3_000_000 }
    }
}

/// Digits of a decimal, whatever its precision: as many as an event's JSON may have. Turning digits into text takes time
/// that grows with their square.
pub const MAX_DECIMAL_DIGITS: u32 = 1_024;

/// Where and why bytes are no datum of the schema.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at byte {at}{}", place(.path))]
pub struct WalkError {
    /// What is wrong.
    pub fault: Fault,
    /// Byte of the datum, from 0.
    pub at: usize,
    /// Fields, elements and map keys down to the value.
    pub path: Vec<Segment>,
}

/// What is wrong with a datum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It ends inside a value.
    #[error("the datum ends too early")]
    Truncated,
    /// A number of more than ten bytes, or over 64 (32) bits.
    #[error("a number is too long")]
    Varint,
    /// A length, count or size below zero.
    #[error("a length is negative")]
    Negative,
    /// A string that is no UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// A boolean that is neither 0 nor 1.
    #[error("a boolean is neither 0 nor 1")]
    Boolean,
    /// No such symbol.
    #[error("an enum has no symbol of this index")]
    EnumIndex,
    /// No such branch.
    #[error("a union has no branch of this index")]
    UnionIndex,
    /// Text that is no UUID.
    #[error("a uuid is not in canonical form")]
    Uuid,
    /// A decimal of more digits than its precision, or than [`MAX_DECIMAL_DIGITS`].
    #[error("a decimal has more digits than its precision allows")]
    Decimal,
    /// A time below midnight or beyond the day: Parquet's readers refuse the column that holds one.
    #[error("a time of day is not within the day")]
    TimeOfDay,
    /// A block whose byte size is not what its items took.
    #[error("a block's size differs from its content")]
    BlockSize,
    /// Over [`Limits::items`].
    #[error("there are too many items")]
    Items,
    /// Over [`Limits::zero_size_items`].
    #[error("there are too many items of no size")]
    ZeroSizeItems,
    /// Over [`Limits::values`].
    #[error("there are too many values")]
    Values,
    /// Over [`Limits::depth`].
    #[error("values are nested too deeply")]
    Depth,
    /// Its JSON text is over [`crate::decode::MAX_JSON_BYTES`].
    #[error("the datum is too long as JSON text")]
    JsonBytes,
    /// Bytes follow the datum.
    #[error("bytes follow the end of the datum")]
    Trailing,
}

impl WalkError {
    /// Paths grow from the fault outwards; users read them from the root.
    pub(crate) fn outward(mut self) -> Self {
        self.path.reverse();
        self
    }
}

fn place(path: &[Segment]) -> String {
    if path.is_empty() {
        return String::new();
    }
    let violation = Violation { path: path.to_vec(), msg: String::new(), kind: "", expected: None, got: None };
    format!(", in {}", violation.pointer())
}

/// Checks that `datum` is exactly one value of the schema.
///
/// # Errors
/// The first fault, with its byte and its path.
pub fn walk(schema: &Schema, datum: &[u8], limits: &Limits) -> Result<(), WalkError> {
    let mut walk = Walk::new(schema, datum, limits);
    let done = walk.value(schema.root(), limits.depth).and_then(|()| walk.end());
    done.map_err(WalkError::outward)
}

/// Paths are built while an error travels outwards, hence backwards; the good path keeps none.
pub(crate) struct Walk<'a> {
    schema: &'a Schema,
    limits: &'a Limits,
    data: &'a [u8],
    pub(crate) at: usize,
    items: u64,
    zero_size_items: u64,
    values: u64,
}

pub(crate) type Walked<T> = Result<T, WalkError>;

pub(crate) fn under(mut error: WalkError, segment: Segment) -> WalkError {
    error.path.push(segment);
    error
}

impl<'a> Walk<'a> {
    pub(crate) fn new(schema: &'a Schema, data: &'a [u8], limits: &'a Limits) -> Self {
        Self { schema, limits, data, at: 0, items: 0, zero_size_items: 0, values: 0 }
    }

    /// Nothing may follow.
    pub(crate) fn end(&self) -> Walked<()> {
        if self.at == self.data.len() { Ok(()) } else { Err(self.fault(Fault::Trailing)) }
    }

    /// The bytes of one value.
    pub(crate) fn span(&mut self, node: NodeId, depth: usize) -> Walked<&'a [u8]> {
        let start = self.at;
        self.value(node, depth)?;
        Ok(&self.data[start..self.at])
    }

    /// Items of an array or a map, each handed to `each` with its key, if it has one.
    pub(crate) fn each_item(
        &mut self,
        keyed: bool,
        mut each: impl FnMut(&mut Self, Option<&'a str>) -> Walked<()>,
    ) -> Walked<()> {
        loop {
            let count = self.long()?;
            if count < 0 {
                self.long()?;
            }
            for _ in 0..count.unsigned_abs() {
                let key = if keyed { Some(self.string()?) } else { None };
                each(self, key)?;
            }
            if count == 0 {
                return Ok(());
            }
        }
    }

    pub(crate) fn fault(&self, fault: Fault) -> WalkError {
        WalkError { fault, at: self.at, path: Vec::new() }
    }

    pub(crate) fn value(&mut self, node: NodeId, depth: usize) -> Walked<()> {
        self.values += 1;
        if self.values > self.limits.values {
            return Err(self.fault(Fault::Values));
        }
        match self.schema.node(node) {
            Node::Null => Ok(()),
            Node::Boolean => self.boolean().map(drop),
            Node::Int | Node::Date => self.int(),
            Node::Time(unit) => self.time_of_day(*unit),
            Node::Long | Node::Timestamp(_) | Node::LocalTimestamp(_) => self.long().map(drop),
            Node::Float => self.take(4).map(drop),
            Node::Double => self.take(8).map(drop),
            Node::Bytes => self.bytes().map(drop),
            Node::String => self.string().map(drop),
            Node::UuidString => self.uuid(),
            Node::UuidFixed(_) => self.take(16).map(drop),
            Node::Duration(_) => self.take(12).map(drop),
            Node::Fixed(_, size) => self.take(*size as usize).map(drop),
            Node::Decimal { precision, fixed, .. } => self.decimal(*precision, fixed.as_ref().map(|(_, size)| *size)),
            Node::Enum { symbols, .. } => self.index(symbols.len(), Fault::EnumIndex).map(drop),
            Node::Union(branches) => {
                let branch = self.index(branches.len(), Fault::UnionIndex)?;
                let inner = self.deeper(depth)?;
                self.value(branches[branch], inner)
            }
            Node::Record { fields, .. } => {
                let inner = self.deeper(depth)?;
                fields.iter().try_for_each(|field| {
                    let done = self.value(field.node, inner);
                    done.map_err(|error| under(error, Segment::Name(field.name.to_string())))
                })
            }
            Node::Array(items) => self.blocks(*items, false, depth),
            Node::Map(values) => self.blocks(*values, true, depth),
        }
    }

    pub(crate) fn deeper(&self, depth: usize) -> Walked<usize> {
        depth.checked_sub(1).ok_or_else(|| self.fault(Fault::Depth))
    }

    pub(crate) fn take(&mut self, bytes: usize) -> Walked<&'a [u8]> {
        let rest = &self.data[self.at..];
        let taken = rest.get(..bytes).ok_or_else(|| self.fault(Fault::Truncated))?;
        self.at += bytes;
        Ok(taken)
    }

    /// Zigzag varint of at most ten bytes (specification, "Binary encoding").
    pub(crate) fn long(&mut self) -> Walked<i64> {
        let start = self.at;
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        self.at = start;
        Err(self.fault(Fault::Varint))
    }

    fn int(&mut self) -> Walked<()> {
        let start = self.at;
        let value = self.long()?;
        if i32::try_from(value).is_err() {
            self.at = start;
            return Err(self.fault(Fault::Varint));
        }
        Ok(())
    }

    fn time_of_day(&mut self, unit: TimeUnit) -> Walked<()> {
        let start = self.at;
        if times(unit).contains(&self.long()?) {
            return Ok(());
        }
        self.at = start;
        Err(self.fault(Fault::TimeOfDay))
    }

    pub(crate) fn boolean(&mut self) -> Walked<bool> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.fault(Fault::Boolean)),
        }
    }

    fn length(&mut self) -> Walked<usize> {
        let start = self.at;
        let length = self.long()?;
        usize::try_from(length).map_err(|_| {
            self.at = start;
            self.fault(Fault::Negative)
        })
    }

    pub(crate) fn bytes(&mut self) -> Walked<&'a [u8]> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Walked<&'a str> {
        let start = self.at;
        std::str::from_utf8(self.bytes()?).map_err(|_| {
            self.at = start;
            self.fault(Fault::Utf8)
        })
    }

    fn uuid(&mut self) -> Walked<()> {
        let start = self.at;
        if is_uuid(self.string()?.as_bytes()) {
            return Ok(());
        }
        self.at = start;
        Err(self.fault(Fault::Uuid))
    }

    fn decimal(&mut self, precision: u32, fixed: Option<u32>) -> Walked<()> {
        let start = self.at;
        let unscaled = match fixed {
            Some(size) => self.take(size as usize)?,
            None => self.bytes()?,
        };
        if decimal::fits(unscaled, precision.min(MAX_DECIMAL_DIGITS)) {
            return Ok(());
        }
        self.at = start;
        Err(self.fault(Fault::Decimal))
    }

    pub(crate) fn index(&mut self, count: usize, fault: Fault) -> Walked<usize> {
        let start = self.at;
        let index = usize::try_from(self.long()?).ok().filter(|index| *index < count);
        index.ok_or_else(|| {
            self.at = start;
            self.fault(fault)
        })
    }

    /// Blocks of an array or map, each a count and so many items; a negative count is followed by the block's size.
    fn blocks(&mut self, item: NodeId, keyed: bool, depth: usize) -> Walked<()> {
        let inner = self.deeper(depth)?;
        let mut index = 0;
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(());
            }
            let size = if count < 0 { Some(self.length()?) } else { None };
            self.items = self.items.saturating_add(count.unsigned_abs());
            if self.items > self.limits.items {
                return Err(self.fault(Fault::Items));
            }
            let start = self.at;
            for _ in 0..count.unsigned_abs() {
                self.item(item, keyed, index, inner)?;
                index += 1;
            }
            if size.is_some_and(|size| size != self.at - start) {
                return Err(self.fault(Fault::BlockSize));
            }
        }
    }

    fn item(&mut self, node: NodeId, keyed: bool, index: usize, depth: usize) -> Walked<()> {
        let start = self.at;
        let key = if keyed { Some(self.string()?) } else { None };
        self.value(node, depth)
            .map_err(|error| under(error, key.map_or(Segment::Index(index), |key| Segment::Name(key.to_owned()))))?;
        if self.at == start {
            self.zero_size_items += 1;
            if self.zero_size_items > self.limits.zero_size_items {
                return Err(self.fault(Fault::ZeroSizeItems));
            }
        }
        Ok(())
    }
}

/// Lower- or upper-case 8-4-4-4-12 hexadecimal digits (RFC 9562).
pub(crate) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests;
