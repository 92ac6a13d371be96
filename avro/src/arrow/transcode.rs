//! A datum of the user's schema, rewritten to its lowered schema.

use super::lower::Lowered;
use crate::{
    decode,
    encode::wire,
    schema::{Node, NodeId, Schema},
    walk::{Fault, Limits, Walk, WalkError, Walked},
};

/// Appends the lowered form of a datum.
pub(super) fn transcode(schema: &Schema, root: &Lowered, datum: &[u8], out: &mut Vec<u8>) -> Result<(), WalkError> {
    let limits = Limits::default();
    let mut walk = Walk::new(schema, datum, &limits);
    let mut pass = Pass { schema, out };
    pass.value(&mut walk, schema.root(), root, limits.depth).map_err(WalkError::outward)
}

struct Pass<'s, 'o> {
    schema: &'s Schema,
    out: &'o mut Vec<u8>,
}

impl Pass<'_, '_> {
    fn value(&mut self, walk: &mut Walk<'_>, node: NodeId, place: &Lowered, depth: usize) -> Walked<()> {
        match (place, self.schema.node(node)) {
            (Lowered::Copy, _) => self.out.extend_from_slice(walk.span(node, depth)?),
            (Lowered::Nothing, _) => wire::long(0, self.out),
            (Lowered::Text { null_branch: None }, _) => self.text(walk, node, depth)?,
            (Lowered::Text { null_branch: Some(null) }, Node::Union(branches)) => {
                let start = walk.at;
                if walk.index(branches.len(), Fault::UnionIndex)? == *null {
                    wire::long(0, self.out);
                } else {
                    wire::long(1, self.out);
                    walk.at = start;
                    self.text(walk, node, depth)?;
                }
            }
            (Lowered::Record(places), Node::Record { fields, .. }) => {
                let inner = walk.deeper(depth)?;
                for (field, place) in fields.iter().zip(places) {
                    self.value(walk, field.node, place, inner)?;
                }
            }
            (Lowered::Array(place), Node::Array(items)) => self.items(walk, *items, place, false, depth)?,
            (Lowered::Map(place), Node::Map(values)) => self.items(walk, *values, place, true, depth)?,
            (Lowered::Only(place), Node::Union(branches)) => {
                let branch = walk.index(branches.len(), Fault::UnionIndex)?;
                let inner = walk.deeper(depth)?;
                self.value(walk, branches[branch], place, inner)?;
            }
            (Lowered::Nullable { null_branch, other }, Node::Union(branches)) => {
                let branch = walk.index(branches.len(), Fault::UnionIndex)?;
                let inner = walk.deeper(depth)?;
                wire::long(i64::from(branch != *null_branch), self.out);
                if branch != *null_branch {
                    self.value(walk, branches[branch], other, inner)?;
                }
            }
            // Places are made from these very nodes.
            _ => return Err(walk.fault(Fault::UnionIndex)),
        }
        Ok(())
    }

    fn text(&mut self, walk: &mut Walk<'_>, node: NodeId, depth: usize) -> Walked<()> {
        let mut json = String::new();
        decode::value(self.schema, walk, node, depth, &mut json)?;
        wire::bytes(json.as_bytes(), self.out);
        Ok(())
    }

    /// Items as blocks of one.
    fn items(&mut self, walk: &mut Walk<'_>, item: NodeId, place: &Lowered, keyed: bool, depth: usize) -> Walked<()> {
        let inner = walk.deeper(depth)?;
        walk.each_item(keyed, |walk, key| {
            wire::long(1, self.out);
            if let Some(key) = key {
                wire::bytes(key.as_bytes(), self.out);
            }
            self.value(walk, item, place, inner)
        })?;
        wire::long(0, self.out);
        Ok(())
    }
}
