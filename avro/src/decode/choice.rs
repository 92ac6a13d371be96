//! Whether the encoder would find a union's branch again from the value alone, or needs its name.
//!
//! Kept on the side of caution: a name too many reads back to the same bytes, one too few might not.

use crate::{
    json::cursor::Kind,
    plan::compile::takes,
    schema::{Node, NodeId, Schema},
    walk::is_uuid,
};

const KINDS: [Kind; 6] = [Kind::Null, Kind::Boolean, Kind::Number, Kind::String, Kind::Array, Kind::Object];

/// Whether no branch that the encoder tries before `index` may take `text`, which is the JSON of a value of that branch.
pub(super) fn finds_again(schema: &Schema, branches: &[NodeId], index: usize, text: &str) -> bool {
    let kind = match text.as_bytes().first() {
        Some(b'n') => Kind::Null,
        Some(b't' | b'f') => Kind::Boolean,
        Some(b'"') => Kind::String,
        Some(b'[') => Kind::Array,
        Some(b'{') => Kind::Object,
        _ => Kind::Number,
    };
    let is_float = |at: &usize| matches!(schema.node(branches[*at]), Node::Float | Node::Double);
    let mut tried: Vec<usize> = (0..branches.len()).filter(|at| takes(schema.node(branches[*at]), kind)).collect();
    // As the encoder: floats last.
    tried.sort_by_key(is_float);
    let Some(place) = tried.iter().position(|at| *at == index) else { return false };
    let own = schema.node(branches[index]);
    tried[..place].iter().all(|at| !may_take(schema, schema.node(branches[*at]), own, text))
}

/// Whether a branch may take the JSON text of a value of the type `own`; the kind of JSON already fits.
fn may_take(schema: &Schema, node: &Node, own: &Node, text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    match (node, inner) {
        (Node::String, _) => true,
        // No other text holds a character that JSON must escape.
        (_, Some(inner)) => !inner.contains('\\') && may_be(node, inner),
        (Node::Int | Node::Long | Node::Date | Node::Time(_) | Node::Timestamp(_) | Node::LocalTimestamp(_), None) => {
            integer_fits(node, text)
        }
        (Node::Record { .. } | Node::Map(_), None) => members_fit(schema, node, own),
        _ => true,
    }
}

fn integer_fits(node: &Node, text: &str) -> bool {
    if node.base_type() == "int" { text.parse::<i32>().is_ok() } else { text.parse::<i64>().is_ok() }
}

/// Whether a text without escapes may be a value of a type that is no string.
fn may_be(node: &Node, inner: &str) -> bool {
    let first = inner.as_bytes().first();
    match node {
        Node::UuidString | Node::UuidFixed(_) => is_uuid(inner.as_bytes()),
        Node::Enum { symbols, .. } => symbols.iter().any(|symbol| **symbol == *inner),
        Node::Bytes => is_base64(inner),
        Node::Fixed(_, size) => is_base64(inner) && inner.len() as u64 == u64::from(*size).div_ceil(3) * 4,
        Node::Decimal { .. } => first.is_some_and(|byte| byte.is_ascii_digit() || b"+-.".contains(byte)),
        Node::Date | Node::Time(_) | Node::Timestamp(_) | Node::LocalTimestamp(_) => {
            first.is_some_and(u8::is_ascii_digit)
        }
        _ => true,
    }
}

fn is_base64(text: &str) -> bool {
    text.len().is_multiple_of(4) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
}

/// Whether an object written from `own` may be one of the record or map `node`, by names and kinds of its members.
fn members_fit(schema: &Schema, node: &Node, own: &Node) -> bool {
    let Node::Record { fields: members, .. } = own else { return true };
    let overlap =
        |a: NodeId, b: NodeId| KINDS.into_iter().any(|kind| writes(schema, a, kind) && reads(schema, b, kind));
    match node {
        Node::Map(values) => members.iter().all(|member| overlap(member.node, *values)),
        Node::Record { fields, .. } => {
            let named = |name: &str| members.iter().any(|member| *member.name == *name);
            fields.iter().all(|field| field.default.is_some() || named(&field.name))
                && members.iter().all(|member| {
                    let field = fields.iter().find(|field| field.name == member.name);
                    field.is_some_and(|field| overlap(member.node, field.node))
                })
        }
        _ => true,
    }
}

fn reads(schema: &Schema, id: NodeId, kind: Kind) -> bool {
    match schema.node(id) {
        // A branch may be named.
        Node::Union(branches) => kind == Kind::Object || branches.iter().any(|id| takes(schema.node(*id), kind)),
        node => takes(node, kind),
    }
}

/// What a value may be written as: what it may be read from, and NaN as text.
fn writes(schema: &Schema, id: NodeId, kind: Kind) -> bool {
    let float = |id: &NodeId| matches!(schema.node(*id), Node::Float | Node::Double) && kind == Kind::String;
    match schema.node(id) {
        Node::Union(branches) => reads(schema, id, kind) || branches.iter().any(float),
        _ => reads(schema, id, kind) || float(&id),
    }
}
