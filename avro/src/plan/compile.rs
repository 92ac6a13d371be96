//! Schema to plan, once per schema id.

use std::sync::Arc;

use super::{FieldPlan, Names, Plan, PlanNode, RecordPlan, UnionPlan, Unsupported, defaults::Defaults};
use crate::{
    json::cursor::Kind,
    schema::{Field, Node, NodeId, Schema},
};

pub(super) fn compile(schema: &Schema) -> Result<Plan, Unsupported> {
    if let Some(field) = path_to_duration(schema) {
        let reason = "the logical type duration cannot be written from JSON; use a long of milliseconds instead";
        return Err(Unsupported { field, reason: reason.into() });
    }
    let mut defaults = Defaults::new(schema);
    let nodes = schema.nodes().iter().map(|node| plan_node(schema, node, &mut defaults)).collect::<Result<_, _>>()?;
    Ok(Plan { nodes, schema: schema.clone() })
}

/// Dotted path to the first `duration` that a value could reach.
fn path_to_duration(schema: &Schema) -> Option<String> {
    let mut seen = vec![false; schema.nodes().len()];
    let mut open: Vec<(NodeId, String)> = vec![(schema.root(), String::new())];
    while let Some((id, path)) = open.pop() {
        if std::mem::replace(&mut seen[id as usize], true) {
            continue;
        }
        match schema.node(id) {
            Node::Duration(_) => return Some(path),
            Node::Array(inner) | Node::Map(inner) => open.push((*inner, path)),
            Node::Union(branches) => open.extend(branches.iter().map(|&branch| (branch, path.clone()))),
            Node::Record { fields, .. } => open.extend(fields.iter().map(|field| {
                let dot = if path.is_empty() { "" } else { "." };
                (field.node, format!("{path}{dot}{}", field.name))
            })),
            _ => {}
        }
    }
    None
}

fn plan_node(schema: &Schema, node: &Node, defaults: &mut Defaults<'_>) -> Result<PlanNode, Unsupported> {
    Ok(match node {
        Node::Null => PlanNode::Null,
        Node::Boolean => PlanNode::Boolean,
        Node::Int => PlanNode::Int,
        Node::Long => PlanNode::Long,
        Node::Float => PlanNode::Float,
        Node::Double => PlanNode::Double,
        Node::Bytes => PlanNode::Bytes,
        Node::String => PlanNode::String,
        Node::Date => PlanNode::Date,
        Node::Time(unit) => PlanNode::Time(*unit),
        Node::Timestamp(unit) => PlanNode::Timestamp(*unit),
        Node::LocalTimestamp(unit) => PlanNode::LocalTimestamp(*unit),
        Node::UuidString => PlanNode::UuidString,
        Node::UuidFixed(_) => PlanNode::UuidFixed,
        Node::Decimal { precision, scale, fixed } => {
            let size = fixed.as_ref().map(|(_, size)| *size as usize);
            PlanNode::Decimal { precision: *precision, scale: *scale, size }
        }
        // Never reached: a duration that a value could reach was refused above.
        Node::Duration(_) => PlanNode::Fixed(12),
        Node::Fixed(_, size) => PlanNode::Fixed(*size as usize),
        Node::Enum { symbols, .. } => PlanNode::Enum(Names::new(symbols.clone())),
        Node::Array(items) => PlanNode::Array(*items),
        Node::Map(values) => PlanNode::Map(*values),
        Node::Record { name, fields, .. } => {
            let names = Names::new(fields.iter().map(|field| field.name.clone()).collect());
            let fields = fields.iter().map(|field| plan_field(field, defaults)).collect::<Result<_, _>>()?;
            PlanNode::Record(RecordPlan { full_name: name.clone(), names, fields })
        }
        Node::Union(branches) => PlanNode::Union(plan_union(schema, branches)),
    })
}

fn plan_field(field: &Field, defaults: &mut Defaults<'_>) -> Result<FieldPlan, Unsupported> {
    let default = match &field.default {
        None => None,
        Some(value) => {
            let bytes = defaults
                .encode(field.node, value)
                .map_err(|reason| Unsupported { field: field.name.to_string(), reason })?;
            Some(bytes.into_boxed_slice())
        }
    };
    Ok(FieldPlan { name: field.name.clone(), node: field.node, default, sensitive: field.sensitive })
}

fn plan_union(schema: &Schema, branches: &[NodeId]) -> UnionPlan {
    let mut candidates: [Vec<u32>; 6] = Default::default();
    for kind in [Kind::Null, Kind::Boolean, Kind::Number, Kind::String, Kind::Array, Kind::Object] {
        let fits = (0..).zip(branches).filter(|(_, id)| takes(schema.node(**id), kind));
        let mut order: Vec<(u32, &NodeId)> = fits.collect();
        // Floats last: an integer literal stays an integer where some branch can hold it. The sort is stable.
        order.sort_by_key(|(_, id)| matches!(schema.node(**id), Node::Float | Node::Double));
        candidates[kind as usize] = order.into_iter().map(|(branch, _)| branch).collect();
    }
    let tags = branches.iter().map(|&id| tag(schema.node(id))).collect();
    UnionPlan { branches: branches.to_vec(), candidates, tags }
}

/// Whether some JSON value of this kind fits the type.
pub(crate) fn takes(node: &Node, kind: Kind) -> bool {
    match node {
        Node::Null => kind == Kind::Null,
        Node::Boolean => kind == Kind::Boolean,
        Node::Int | Node::Long | Node::Float | Node::Double => kind == Kind::Number,
        Node::Date | Node::Time(_) | Node::Timestamp(_) | Node::LocalTimestamp(_) | Node::Decimal { .. } => {
            matches!(kind, Kind::Number | Kind::String)
        }
        Node::Bytes | Node::String | Node::UuidString | Node::UuidFixed(_) => kind == Kind::String,
        Node::Duration(_) | Node::Fixed(..) | Node::Enum { .. } => kind == Kind::String,
        Node::Array(_) => kind == Kind::Array,
        Node::Map(_) | Node::Record { .. } => kind == Kind::Object,
        // Unions do not nest.
        Node::Union(_) => false,
    }
}

/// The name by which Avro's JSON encoding calls a branch: the full name of a named type, else the base type's.
pub(crate) fn tag(node: &Node) -> Arc<str> {
    node.full_name().cloned().unwrap_or_else(|| node.base_type().into())
}
