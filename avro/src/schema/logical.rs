//! Logical types: an annotation refines its base type if the two fit, and is ignored otherwise, as the specification
//! tells readers to do.

use serde_json::{Map, Value};

use super::{Node, TimeUnit};

/// The attributes that logical types read.
pub(super) struct Attributes<'v> {
    name: &'v str,
    precision: Option<&'v Value>,
    scale: Option<&'v Value>,
}

impl<'v> Attributes<'v> {
    /// Those of a type's object.
    pub(super) fn of(object: &'v Map<String, Value>) -> Self {
        Self {
            name: object.get("logicalType").and_then(Value::as_str).unwrap_or(""),
            precision: object.get("precision"),
            scale: object.get("scale"),
        }
    }
}

/// The refined node, or `None` if the annotation is absent, unknown or does not fit.
pub(super) fn refine(base: &Node, attributes: &Attributes<'_>) -> Option<Node> {
    Some(match (base, attributes.name) {
        (Node::Int, "date") => Node::Date,
        (Node::Int, "time-millis") => Node::Time(TimeUnit::Millis),
        (Node::Long, "time-micros") => Node::Time(TimeUnit::Micros),
        (Node::Long, "timestamp-millis") => Node::Timestamp(TimeUnit::Millis),
        (Node::Long, "timestamp-micros") => Node::Timestamp(TimeUnit::Micros),
        (Node::Long, "timestamp-nanos") => Node::Timestamp(TimeUnit::Nanos),
        (Node::Long, "local-timestamp-millis") => Node::LocalTimestamp(TimeUnit::Millis),
        (Node::Long, "local-timestamp-micros") => Node::LocalTimestamp(TimeUnit::Micros),
        (Node::Long, "local-timestamp-nanos") => Node::LocalTimestamp(TimeUnit::Nanos),
        (Node::String, "uuid") => Node::UuidString,
        (Node::Fixed(name, 16), "uuid") => Node::UuidFixed(name.clone()),
        (Node::Fixed(name, 12), "duration") => Node::Duration(name.clone()),
        (Node::Bytes, "decimal") => {
            let (precision, scale) = digits(attributes)?;
            Node::Decimal { precision, scale, fixed: None }
        }
        (Node::Fixed(name, size), "decimal") => {
            let (precision, scale) = digits(attributes)?;
            if u64::from(precision) > max_precision(*size) {
                return None;
            }
            Node::Decimal { precision, scale, fixed: Some((name.clone(), *size)) }
        }
        _ => return None,
    })
}

/// Precision (at least 1) and scale (0 unless given, at most the precision).
fn digits(attributes: &Attributes<'_>) -> Option<(u32, u32)> {
    let number = |value: &Value| value.as_u64().and_then(|n| u32::try_from(n).ok());
    let precision = number(attributes.precision?)?;
    let scale = attributes.scale.map_or(Some(0), number)?;
    (precision >= 1 && scale <= precision).then_some((precision, scale))
}

/// Most digits that `size` bytes of two's complement always hold: floor(log10(2^(8 size - 1) - 1)).
fn max_precision(size: u32) -> u64 {
    // No power of two is a power of ten, so taking one away does not matter above size 0.
    let bits = f64::from(size) * 8.0 - 1.0;
    (bits * std::f64::consts::LOG10_2).floor().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_that_fit_into_bytes() {
        for (size, digits) in [(0, 0), (1, 2), (2, 4), (4, 9), (8, 18), (16, 38), (32, 76)] {
            assert_eq!(max_precision(size), digits, "{size} bytes");
        }
    }
}
