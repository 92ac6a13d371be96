//! Parsing Canonical Form and fingerprint, by the section "Parsing Canonical Form for Schemas" of the specification.

use std::{collections::HashSet, fmt::Write as _};

use sha2::{Digest, Sha256};

use super::{Node, NodeId};

/// SHA-256 of a canonical form.
pub(super) fn fingerprint(canonical: &str) -> [u8; 32] {
    Sha256::digest(canonical.as_bytes()).into()
}

/// The canonical form of a checked table. Names need no escapes: only ASCII letters, digits, `_` and dots got here.
pub(super) fn canonical(nodes: &[Node], root: NodeId) -> String {
    let mut writer = Writer { nodes, written: HashSet::new(), out: String::new() };
    writer.node(root);
    writer.out
}

struct Writer<'n> {
    nodes: &'n [Node],
    /// Named types that stand in `out` already; from then on their name stands for them.
    written: HashSet<NodeId>,
    out: String,
}

impl<'n> Writer<'n> {
    fn node(&mut self, id: NodeId) {
        let node = &self.nodes[id as usize];
        let name = node.full_name();
        if let Some(name) = name
            && !self.written.insert(id)
        {
            return self.put(format_args!("\"{name}\""));
        }
        match node {
            Node::Array(items) => self.wrap("{\"type\":\"array\",\"items\":", *items),
            Node::Map(values) => self.wrap("{\"type\":\"map\",\"values\":", *values),
            Node::Union(branches) => {
                self.out.push('[');
                self.list(branches, |writer, branch| writer.node(*branch));
                self.out.push(']');
            }
            Node::Enum { name, symbols, .. } => {
                self.put(format_args!("{{\"name\":\"{name}\",\"type\":\"enum\",\"symbols\":["));
                self.list(symbols, |writer, symbol| writer.put(format_args!("\"{symbol}\"")));
                self.out.push_str("]}");
            }
            Node::Record { name, fields, .. } => {
                self.put(format_args!("{{\"name\":\"{name}\",\"type\":\"record\",\"fields\":["));
                self.list(fields, |writer, field| {
                    writer.put(format_args!("{{\"name\":\"{}\",\"type\":", field.name));
                    writer.node(field.node);
                    writer.out.push('}');
                });
                self.out.push_str("]}");
            }
            Node::Fixed(name, size) | Node::Decimal { fixed: Some((name, size)), .. } => self.fixed(name, *size),
            Node::UuidFixed(name) => self.fixed(name, 16),
            Node::Duration(name) => self.fixed(name, 12),
            primitive => self.put(format_args!("\"{}\"", primitive.base_type())),
        }
    }

    fn fixed(&mut self, name: &str, size: u32) {
        self.put(format_args!("{{\"name\":\"{name}\",\"type\":\"fixed\",\"size\":{size}}}"));
    }

    fn wrap(&mut self, head: &str, inner: NodeId) {
        self.out.push_str(head);
        self.node(inner);
        self.out.push('}');
    }

    fn list<T>(&mut self, items: &'n [T], mut each: impl FnMut(&mut Self, &'n T)) {
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.out.push(',');
            }
            each(self, item);
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = self.out.write_fmt(text);
    }
}
