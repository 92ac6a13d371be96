//! Examples: one value of a type, rich enough to read and small enough to send.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use crate::schema::{Field, Node, NodeId, Schema, TimeUnit};

/// Values of an example that shows optional parts too; one with more shows only what is needed.
const RICH_VALUES: usize = 500;
/// Values of an example at all.
const BARE_VALUES: usize = 5_000;
/// Largest fixed value of an example.
const FIXED_BYTES: u32 = 4 << 10;

/// Makes values of one schema's types.
pub(crate) struct Examples<'s> {
    schema: &'s Schema,
    /// Values that may still be tried.
    left: usize,
    /// Optional parts are filled.
    rich: bool,
    /// Records that the value at hand is inside of. The shortest value of a type holds no record of its own type.
    open: Vec<NodeId>,
}

impl<'s> Examples<'s> {
    /// Values with their optional parts, or only with what must be there.
    pub(crate) fn new(schema: &'s Schema, rich: bool) -> Self {
        Self { schema, left: if rich { RICH_VALUES } else { BARE_VALUES }, rich, open: Vec::new() }
    }

    /// A value of a type; `None` if each is too large.
    pub(crate) fn value(&mut self, id: NodeId) -> Option<Value> {
        self.left = self.left.checked_sub(1)?;
        match self.schema.node(id) {
            Node::Array(items) => {
                let item = if self.rich { self.value(*items) } else { None };
                Some(Value::Array(item.into_iter().collect()))
            }
            Node::Map(values) => {
                let value = if self.rich { self.value(*values) } else { None };
                Some(Value::Object(value.map(|value| ("key".to_owned(), value)).into_iter().collect()))
            }
            Node::Record { fields, .. } => self.record(id, fields, |_| false).map(Value::Object),
            Node::Union(branches) => self.union(branches),
            leaf => leaf_value(leaf),
        }
    }

    /// A record, without the fields that something else fills in.
    pub(crate) fn record(
        &mut self,
        id: NodeId,
        fields: &[Field],
        filled: impl Fn(&str) -> bool,
    ) -> Option<Map<String, Value>> {
        if self.open.contains(&id) {
            return None;
        }
        self.open.push(id);
        let record = self.members(fields, filled);
        self.open.pop();
        record
    }

    fn members(&mut self, fields: &[Field], filled: impl Fn(&str) -> bool) -> Option<Map<String, Value>> {
        let mut record = Map::new();
        for field in fields.iter().filter(|field| !filled(&field.name)) {
            let optional = field.default.is_some();
            if optional && !self.rich {
                continue;
            }
            match self.value(field.node) {
                Some(value) => drop(record.insert(field.name.to_string(), value)),
                None if optional => {}
                None => return None,
            }
        }
        Some(record)
    }

    /// Of the first branch that has a value: null comes last in a rich example and first in a bare one.
    pub(crate) fn union(&mut self, branches: &[NodeId]) -> Option<Value> {
        let mut order = branches.to_vec();
        order.sort_by_key(|&id| (*self.schema.node(id) == Node::Null) == self.rich);
        order.into_iter().find_map(|branch| self.value(branch))
    }
}

fn leaf_value(node: &Node) -> Option<Value> {
    Some(match node {
        Node::Null => Value::Null,
        Node::Boolean => true.into(),
        Node::Int | Node::Long => 1.into(),
        Node::Float | Node::Double => 1.5.into(),
        Node::Bytes => "Zm9yZWJheQ==".into(),
        Node::String => "string".into(),
        Node::Date => "2026-01-31".into(),
        Node::Time(_) => "12:30:00".into(),
        Node::Timestamp(TimeUnit::Nanos) => "2026-01-31T12:30:00.000000001Z".into(),
        Node::Timestamp(TimeUnit::Micros) => "2026-01-31T12:30:00.000001Z".into(),
        Node::Timestamp(TimeUnit::Millis) => "2026-01-31T12:30:00.001Z".into(),
        Node::LocalTimestamp(_) => "2026-01-31T12:30:00".into(),
        Node::UuidString | Node::UuidFixed(_) => "0197c3f0-0000-7000-8000-000000000001".into(),
        Node::Decimal { precision, scale, .. } => json!(match (scale, precision > scale) {
            (0, _) => "1",
            (_, true) => "1.5",
            (_, false) => "0.5",
        }),
        Node::Enum { symbols, .. } => symbols.first()?.to_string().into(),
        Node::Fixed(_, size) if *size <= FIXED_BYTES => STANDARD.encode(vec![0; *size as usize]).into(),
        Node::Fixed(..) | Node::Duration(_) => return None,
        Node::Array(_) | Node::Map(_) | Node::Record { .. } | Node::Union(_) => return None,
    })
}
