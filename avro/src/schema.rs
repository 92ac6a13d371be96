//! Schemas: Avro schema text parsed once into a flat table of resolved nodes.
//!
//! Everything else in this crate (encoder, walk, decoders, compatibility) works on [`Schema::node`], so named
//! references are resolved exactly once, and recursion is an index that points backwards.

use std::sync::Arc;

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
    pub(crate) nodes: Vec<Node>,
    pub(crate) root: NodeId,
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
