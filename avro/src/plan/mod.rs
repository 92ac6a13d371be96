//! Plans: a schema compiled once into what the one pass over JSON text needs at each place.

pub(crate) mod compile;
mod defaults;
mod names;

use std::sync::Arc;

use crate::{
    encode::{self, EncodeError, EncodeOptions},
    json::cursor::Kind,
    schema::{NodeId, Schema, TimeUnit},
};
pub(crate) use names::Names;

/// Why a schema cannot take events: 409 `schema_unsupported`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{reason}", if field.is_empty() { String::new() } else { format!("field {field:?}: ") })]
pub struct Unsupported {
    /// The field, with dots between nested ones; empty for the schema itself.
    pub field: String,
    /// What about it is not supported and what would be.
    pub reason: String,
}

/// A compiled schema. Compile once per schema id, share, and encode with it any number of values.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Beside the schema's nodes: the same index means the same type.
    pub(crate) nodes: Vec<PlanNode>,
    pub(crate) schema: Schema,
}

/// What to do at a place of the schema.
#[derive(Clone, Debug)]
pub(crate) enum PlanNode {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Date,
    Time(TimeUnit),
    Timestamp(TimeUnit),
    LocalTimestamp(TimeUnit),
    UuidString,
    UuidFixed,
    Decimal { precision: u32, scale: u32, size: Option<usize> },
    Fixed(usize),
    Enum(Names),
    Array(NodeId),
    Map(NodeId),
    Record(RecordPlan),
    Union(UnionPlan),
}

/// A record's fields in schema order.
#[derive(Clone, Debug)]
pub(crate) struct RecordPlan {
    pub full_name: Arc<str>,
    pub names: Names,
    pub fields: Vec<FieldPlan>,
}

#[derive(Clone, Debug)]
pub(crate) struct FieldPlan {
    pub name: Arc<str>,
    pub node: NodeId,
    /// Its default, already encoded.
    pub default: Option<Box<[u8]>>,
    pub sensitive: bool,
}

/// A union: which branches to try for a JSON value, and in which order.
#[derive(Clone, Debug)]
pub(crate) struct UnionPlan {
    pub branches: Vec<NodeId>,
    /// By [`Kind`]: branch indexes in the order to try.
    candidates: [Vec<u32>; 6],
    /// Full name (or the primitive's) of each branch.
    pub tags: Vec<Arc<str>>,
}

impl UnionPlan {
    /// The branches that values of this kind may fit, in the order to try.
    pub(crate) fn candidates(&self, kind: Kind) -> &[u32] {
        &self.candidates[kind as usize]
    }
}

impl Plan {
    /// Compiles a schema: checks its defaults, encodes them, and orders the branches of its unions.
    ///
    /// # Errors
    /// [`Unsupported`] for `duration` and for defaults that do not fit their field.
    pub fn compile(schema: &Schema) -> Result<Self, Unsupported> {
        compile::compile(schema)
    }

    /// Encodes one JSON value, without envelope or frame, and appends it to `out`; on error `out` is as before.
    ///
    /// # Errors
    /// [`EncodeError`]: no JSON, or every place at which the value breaks the schema.
    pub fn encode(&self, json: &str, options: &EncodeOptions, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        encode::plain(self, json, options, out)
    }

    /// The schema it was compiled from.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn node(&self, id: NodeId) -> &PlanNode {
        &self.nodes[id as usize]
    }

    /// The record of that index, if it is one.
    pub(crate) fn record(&self, id: NodeId) -> Option<&RecordPlan> {
        match self.node(id) {
            PlanNode::Record(record) => Some(record),
            _ => None,
        }
    }
}
