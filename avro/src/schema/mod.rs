//! Schemas: Avro schema text parsed once into a flat table of resolved nodes.
//!
//! Everything else in this crate (encoder, walk, decoders, compatibility) works on [`Schema::node`], so named
//! references are resolved exactly once, and recursion is an index that points backwards.

mod canonical;
mod defaults;
mod error;
pub mod limits;
mod logical;
mod named;
pub(crate) mod names;
mod parse;
mod resolve;

#[cfg(test)]
pub(crate) mod arbitrary;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

pub use error::SchemaError;

/// Index of a node in its schema. The root is [`Schema::root`].
pub type NodeId = u32;

/// A parsed, checked and immutable schema. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Schema(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) text: String,
    pub(crate) references: Vec<Reference>,
    pub(crate) canonical: String,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
    /// Aliases of fixed types, which have no room for them in their node.
    pub(crate) fixed_aliases: HashMap<NodeId, Vec<Arc<str>>>,
    /// `doc` of named types.
    pub(crate) docs: HashMap<NodeId, Arc<str>>,
}

impl Node {
    /// The full name of a named type.
    pub fn full_name(&self) -> Option<&Arc<str>> {
        match self {
            Node::Record { name, .. } | Node::Enum { name, .. } => Some(name),
            Node::Fixed(name, _) | Node::UuidFixed(name) | Node::Duration(name) => Some(name),
            Node::Decimal { fixed: Some((name, _)), .. } => Some(name),
            _ => None,
        }
    }

    /// The type's name in the specification, without its logical type: `int`, `record`, `union` and so on.
    pub fn base_type(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Boolean => "boolean",
            Node::Int | Node::Date | Node::Time(TimeUnit::Millis) => "int",
            Node::Long | Node::Time(_) | Node::Timestamp(_) | Node::LocalTimestamp(_) => "long",
            Node::Float => "float",
            Node::Double => "double",
            Node::Bytes | Node::Decimal { fixed: None, .. } => "bytes",
            Node::String | Node::UuidString => "string",
            Node::Fixed(..) | Node::UuidFixed(_) | Node::Duration(_) | Node::Decimal { .. } => "fixed",
            Node::Enum { .. } => "enum",
            Node::Array(_) => "array",
            Node::Map(_) => "map",
            Node::Record { .. } => "record",
            Node::Union(_) => "union",
        }
    }
}

/// A schema that another one names (Schema Registry's `references`), already resolved to its text.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reference {
    /// The full name by which the referring schema uses it.
    pub name: String,
    /// Subject under which it is registered.
    pub subject: String,
    /// Its version under that subject.
    pub version: u32,
    /// Its schema text.
    pub schema: String,
}

/// One resolved type. Logical types that change how a value is read have a variant of their own; a logical type that
/// the Avro specification tells readers to ignore (unknown, or invalid for its base type) is its base type here.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`, zero bytes.
    Null,
    /// `boolean`.
    Boolean,
    /// `int`.
    Int,
    /// `long`.
    Long,
    /// `float`.
    Float,
    /// `double`.
    Double,
    /// `bytes`.
    Bytes,
    /// `string`.
    String,
    /// `int` with `date`: days since 1970-01-01.
    Date,
    /// `int` with `time-millis`, `long` with `time-micros`: time of day.
    Time(TimeUnit),
    /// `long` with `timestamp-*`: since 1970-01-01T00:00:00Z.
    Timestamp(TimeUnit),
    /// `long` with `local-timestamp-*`.
    LocalTimestamp(TimeUnit),
    /// `string` with `uuid`.
    UuidString,
    /// `fixed(16)` with `uuid`.
    UuidFixed(Arc<str>),
    /// `bytes` or `fixed` with `decimal`: two's complement, big-endian, unscaled.
    Decimal {
        /// Digits in all, at least 1.
        precision: u32,
        /// Digits behind the point, at most `precision`.
        scale: u32,
        /// `Some((full name, size))` when the base type is fixed.
        fixed: Option<(Arc<str>, u32)>,
    },
    /// `fixed(12)` with `duration`: months, days, milliseconds, each u32 little-endian.
    Duration(Arc<str>),
    /// `fixed`: full name and size in bytes.
    Fixed(Arc<str>, u32),
    /// `enum`.
    Enum {
        /// Full name.
        name: Arc<str>,
        /// Symbols in order.
        symbols: Vec<Arc<str>>,
        /// Default symbol (for readers).
        default: Option<Arc<str>>,
        /// Full names of its aliases.
        aliases: Vec<Arc<str>>,
    },
    /// `array`.
    Array(NodeId),
    /// `map`.
    Map(NodeId),
    /// `record`.
    Record {
        /// Full name.
        name: Arc<str>,
        /// Fields in schema order.
        fields: Vec<Field>,
        /// Full names of its aliases.
        aliases: Vec<Arc<str>>,
    },
    /// `union`: branches in schema order.
    Union(Vec<NodeId>),
}

/// Unit of a time type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    /// 10^-3 s.
    Millis,
    /// 10^-6 s.
    Micros,
    /// 10^-9 s.
    Nanos,
}

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Name.
    pub name: Arc<str>,
    /// Other names a reader accepts for it.
    pub aliases: Vec<Arc<str>>,
    /// Documentation.
    pub doc: Option<Arc<str>>,
    /// Default value as the schema states it (JSON encoding of the specification).
    pub default: Option<serde_json::Value>,
    /// The attribute `"forebay.sensitive": true`: its values never appear in messages.
    pub sensitive: bool,
    /// Its type.
    pub node: NodeId,
}

impl Schema {
    /// Parses and checks a schema. `references` must hold every schema that `text`, or one of them, names (in any
    /// order). The limits of [`limits`] hold for all of them together.
    ///
    /// # Errors
    /// What is wrong first, with its place and what would mend it.
    pub fn parse(text: &str, references: &[Reference]) -> Result<Schema, SchemaError> {
        let table = parse::parse(text, references)?;
        let canonical = canonical::canonical(&table.nodes, table.root);
        Ok(Schema(Arc::new(Inner {
            text: text.to_owned(),
            references: references.to_vec(),
            fingerprint: canonical::fingerprint(&canonical),
            canonical,
            nodes: table.nodes,
            root: table.root,
            fixed_aliases: table.fixed_aliases,
            docs: table.docs,
        })))
    }

    /// The Parsing Canonical Form of the specification, with referenced types written out where they are first used.
    pub fn canonical(&self) -> &str {
        &self.0.canonical
    }

    /// SHA-256 of [`Schema::canonical`].
    pub fn fingerprint(&self) -> [u8; 32] {
        self.0.fingerprint
    }

    /// The full name of the root, if it is a named type.
    pub fn full_name(&self) -> Option<&str> {
        self.node(self.root()).full_name().map(|name| &**name)
    }

    /// Full names of the aliases of a named type; empty for any other.
    pub fn aliases(&self, id: NodeId) -> &[Arc<str>] {
        match self.node(id) {
            Node::Record { aliases, .. } | Node::Enum { aliases, .. } => aliases,
            _ => self.0.fixed_aliases.get(&id).map_or(&[], |aliases| aliases),
        }
    }

    /// The `doc` of a named type.
    pub fn doc(&self, id: NodeId) -> Option<&str> {
        self.0.docs.get(&id).map(|doc| &**doc)
    }

    /// The root node's index.
    pub fn root(&self) -> NodeId {
        self.0.root
    }

    /// A node by index; indexes come from this schema only.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.0.nodes[id as usize]
    }

    /// All nodes, for tables built beside them.
    pub fn nodes(&self) -> &[Node] {
        &self.0.nodes
    }

    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The references it was parsed with.
    pub fn references(&self) -> &[Reference] {
        &self.0.references
    }
}
