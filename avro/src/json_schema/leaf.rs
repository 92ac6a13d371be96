//! Types without parts, and the defaults that mean the same in a schema and in an event.

use serde_json::{Value, json};

use crate::{
    encode::datetime::{DAYS, instants, times, unit_name},
    schema::{Node, NodeId, Schema, TimeUnit},
};

/// Digits before the point up to which a bound on a decimal is an exact JSON number everywhere.
const EXACT_DIGITS: u32 = 15;

/// The description of a type without parts.
pub(super) fn describe(node: &Node) -> Value {
    match node {
        Node::Null => json!({"type": "null"}),
        Node::Boolean => json!({"type": "boolean"}),
        Node::Int => json!({"type": "integer", "format": "int32", "minimum": i32::MIN, "maximum": i32::MAX}),
        Node::Long => json!({"type": "integer", "format": "int64", "minimum": i64::MIN, "maximum": i64::MAX}),
        Node::Float => json!({"type": "number", "format": "float", "minimum": f32::MIN, "maximum": f32::MAX}),
        Node::Double => json!({"type": "number", "format": "double"}),
        Node::String => json!({"type": "string"}),
        Node::UuidString | Node::UuidFixed(_) => json!({"type": "string", "format": "uuid"}),
        Node::Bytes => json!({"type": "string", "contentEncoding": "base64", "pattern": base64(None)}),
        Node::Fixed(_, size) => fixed(*size),
        Node::Duration(_) => fixed(12),
        Node::Decimal { precision, scale, .. } => decimal(*precision, *scale),
        Node::Date => json!({
            "type": ["string", "integer"], "format": "date", "minimum": DAYS.start(), "maximum": DAYS.end(),
            "description": "YYYY-MM-DD, or days since 1970-01-01",
        }),
        Node::Time(unit) => time(*unit),
        Node::Timestamp(unit) => json!({
            "type": ["string", "integer"], "format": "date-time",
            "minimum": instants(*unit).start(), "maximum": instants(*unit).end(),
            "description": format!(
                "RFC 3339 with an offset, no finer than {unit}, or {unit} since 1970-01-01T00:00:00Z", unit = unit_name(*unit)
            ),
        }),
        Node::LocalTimestamp(unit) => json!({
            "type": ["string", "integer"], "minimum": instants(*unit).start(), "maximum": instants(*unit).end(),
            "pattern": format!("^{DATE}[Tt ]{TIME}{}$", fraction(*unit)),
            "description": format!("date and time without offset, no finer than {unit}, or that as {unit} since 1970-01-01T00:00:00",
                unit = unit_name(*unit)),
        }),
        // Types with parts are described by their parts.
        Node::Enum { .. } | Node::Array(_) | Node::Map(_) | Node::Record { .. } | Node::Union(_) => json!({}),
    }
}

const DATE: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";
const TIME: &str = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]";

/// Digits behind the seconds that a unit holds; zeros may follow.
fn fraction(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Millis => "([.][0-9]{1,3}0*)?",
        TimeUnit::Micros => "([.][0-9]{1,6}0*)?",
        TimeUnit::Nanos => "([.][0-9]{1,9}0*)?",
    }
}

fn time(unit: TimeUnit) -> Value {
    json!({
        "type": ["string", "integer"], "minimum": times(unit).start(), "maximum": times(unit).end(),
        "pattern": format!("^{TIME}{}$", fraction(unit)),
        "description": format!("HH:MM:SS[.f], no finer than {unit}, or {unit} since midnight", unit = unit_name(unit)),
    })
}

/// Standard base64 with padding, of any or of exactly `size` bytes; bits that say nothing are zero.
fn base64(size: Option<u32>) -> String {
    const GROUP: &str = "[A-Za-z0-9+/]{4}";
    const TWO: &str = "[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=";
    const ONE: &str = "[A-Za-z0-9+/][AQgw]==";
    match size.map(|size| size % 3) {
        None => format!("^({GROUP})*({TWO}|{ONE})?$"),
        Some(0) => format!("^({GROUP})*$"),
        Some(1) => format!("^({GROUP})*{ONE}$"),
        Some(_) => format!("^({GROUP})*{TWO}$"),
    }
}

fn fixed(size: u32) -> Value {
    let chars = u64::from(size).div_ceil(3) * 4;
    json!({
        "type": "string", "contentEncoding": "base64", "pattern": base64(Some(size)), "minLength": chars, "maxLength": chars,
        "description": format!("{size} bytes as base64 with padding"),
    })
}

fn decimal(precision: u32, scale: u32) -> Value {
    let whole = precision.saturating_sub(scale);
    let mut described = json!({
        "type": ["string", if scale == 0 { "integer" } else { "number" }],
        "pattern": "^-?[0-9]+([.][0-9]+)?([eE][+-]?[0-9]+)?$",
        "description": format!("a decimal of at most {whole} digits before the point and {scale} behind it"),
    });
    if whole <= EXACT_DIGITS {
        let bound = 10_i64.pow(whole);
        described["exclusiveMinimum"] = (-bound).into();
        described["exclusiveMaximum"] = bound.into();
    }
    described
}

/// Whether a default, in the encoding that schemas give defaults, is written the same in an event.
pub(super) fn is_plain(schema: &Schema, id: NodeId, default: &Value) -> bool {
    match (schema.node(id), default) {
        (Node::Union(branches), default) => branches.iter().any(|&branch| is_plain(schema, branch, default)),
        (Node::Null, Value::Null) | (Node::Boolean, Value::Bool(_)) => true,
        (Node::Int | Node::Long, Value::Number(number)) => number.is_i64(),
        (Node::Float | Node::Double, Value::Number(_)) => true,
        (Node::String | Node::Enum { .. }, Value::String(_)) => true,
        (Node::Array(_), Value::Array(items)) => items.is_empty(),
        (Node::Map(_), Value::Object(members)) => members.is_empty(),
        _ => false,
    }
}
