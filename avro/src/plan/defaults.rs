//! Defaults of fields, from the JSON encoding of the Avro specification to bytes.

use serde_json::Value;

use crate::{
    encode::wire,
    schema::{Field, Node, NodeId, Schema, TimeUnit},
};

/// Records whose defaults hold records: deeper than this, they hold themselves.
const DEPTH: usize = 64;

/// Values and bytes that all defaults of a schema may come to. A schema of a few lines can ask for more than any
/// memory holds: records whose defaults hold two of the next record, and so on.
const BUDGET: usize = 4 << 20;

/// Encodes the defaults of one schema.
pub(super) struct Defaults<'s> {
    schema: &'s Schema,
    budget: usize,
    depth: usize,
    out: Vec<u8>,
}

impl<'s> Defaults<'s> {
    pub(super) fn new(schema: &'s Schema) -> Self {
        Self { schema, budget: BUDGET, depth: 0, out: Vec::new() }
    }

    /// A default's bytes, or why it does not fit the type. A union's default may fit any branch (Avro 1.12).
    pub(super) fn encode(&mut self, node: NodeId, value: &Value) -> Result<Vec<u8>, String> {
        self.out.clear();
        match self.put(node, value) {
            Some(()) => Ok(std::mem::take(&mut self.out)),
            None if self.budget == 0 => Err(format!("the defaults of its schema unfold to more than {BUDGET} bytes")),
            None => Err(format!("its default {} does not fit its type", shorten(value))),
        }
    }

    fn put(&mut self, id: NodeId, value: &Value) -> Option<()> {
        self.budget = self.budget.saturating_sub(1);
        if self.depth == DEPTH || self.budget == 0 {
            return None;
        }
        self.depth += 1;
        let fits = match self.schema.node(id) {
            Node::Array(items) => self.array(*items, value),
            Node::Map(values) => self.map(*values, value),
            Node::Record { fields, .. } => self.record(fields, value),
            Node::Union(branches) => self.union(branches, value),
            leaf => {
                let start = self.out.len();
                let fits = put_leaf(leaf, value, &mut self.out);
                self.budget = self.budget.saturating_sub(self.out.len() - start);
                fits
            }
        };
        self.depth -= 1;
        fits
    }

    fn array(&mut self, items: NodeId, value: &Value) -> Option<()> {
        let list = value.as_array()?;
        if !list.is_empty() {
            wire::count(list.len(), &mut self.out);
        }
        list.iter().try_for_each(|item| self.put(items, item))?;
        self.out.push(0);
        Some(())
    }

    fn map(&mut self, values: NodeId, value: &Value) -> Option<()> {
        let map = value.as_object()?;
        if !map.is_empty() {
            wire::count(map.len(), &mut self.out);
        }
        for (key, value) in map {
            wire::bytes(key.as_bytes(), &mut self.out);
            self.put(values, value)?;
        }
        self.out.push(0);
        Some(())
    }

    fn record(&mut self, fields: &[Field], value: &Value) -> Option<()> {
        let given = value.as_object()?;
        if given.keys().any(|key| fields.iter().all(|field| *field.name != **key)) {
            return None;
        }
        fields.iter().try_for_each(|field| self.put(field.node, given.get(&*field.name).or(field.default.as_ref())?))
    }

    fn union(&mut self, branches: &[NodeId], value: &Value) -> Option<()> {
        let start = self.out.len();
        for (index, branch) in branches.iter().enumerate() {
            wire::count(index, &mut self.out);
            if self.put(*branch, value).is_some() {
                return Some(());
            }
            self.out.truncate(start);
        }
        None
    }
}

fn put_leaf(node: &Node, value: &Value, out: &mut Vec<u8>) -> Option<()> {
    match node {
        Node::Null => value.as_null()?,
        Node::Boolean => out.push(u8::from(value.as_bool()?)),
        Node::Int | Node::Date | Node::Time(TimeUnit::Millis) => {
            wire::long(i32::try_from(value.as_i64()?).ok()?.into(), out);
        }
        Node::Long | Node::Time(_) | Node::Timestamp(_) | Node::LocalTimestamp(_) => wire::long(value.as_i64()?, out),
        Node::Float => {
            // From the literal's text: by way of f64 it could be rounded twice.
            let float: f32 = value.as_number()?.to_string().parse().ok().filter(|f: &f32| f.is_finite())?;
            out.extend(float.to_le_bytes());
        }
        Node::Double => out.extend(value.as_f64().filter(|f| f.is_finite())?.to_le_bytes()),
        Node::Bytes | Node::Decimal { fixed: None, .. } => wire::bytes(&code_points(value)?, out),
        Node::String => wire::bytes(value.as_str()?.as_bytes(), out),
        Node::UuidString => {
            wire::parse_uuid(value.as_str()?)?;
            wire::bytes(value.as_str()?.as_bytes(), out);
        }
        Node::UuidFixed(_) => put_fixed(value, 16, out)?,
        Node::Duration(_) => put_fixed(value, 12, out)?,
        Node::Fixed(_, size) | Node::Decimal { fixed: Some((_, size)), .. } => put_fixed(value, *size, out)?,
        Node::Enum { symbols, .. } => {
            let symbol = value.as_str()?;
            wire::count(symbols.iter().position(|s| **s == *symbol)?, out);
        }
        Node::Array(_) | Node::Map(_) | Node::Record { .. } | Node::Union(_) => return None,
    }
    Some(())
}

/// Bytes in the specification's JSON encoding: one character per byte, U+0000 to U+00FF.
fn code_points(value: &Value) -> Option<Vec<u8>> {
    value.as_str()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn put_fixed(value: &Value, size: u32, out: &mut Vec<u8>) -> Option<()> {
    let bytes = code_points(value)?;
    (bytes.len() == size as usize).then(|| out.extend(bytes))
}

fn shorten(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 64 { text } else { format!("{}…", text.chars().take(63).collect::<String>()) }
}
