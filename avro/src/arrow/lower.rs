//! Which places of a schema keep their type, and which become JSON text.

use serde_json::{Value, json};

use crate::schema::{Node, NodeId, Schema, TimeUnit};

/// What to do with the value at one place. Names are resolved and types stand inline, so a type used twice has two
/// places.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lowered {
    /// The bytes stay as they are.
    Copy,
    /// A `null`, of which nothing is left but its place: a nullable string that is always null.
    Nothing,
    /// JSON text; `null_branch` is the union's branch that is kept as a null.
    Text { null_branch: Option<usize> },
    /// A record, field by field.
    Record(Vec<Lowered>),
    /// An array's elements.
    Array(Box<Lowered>),
    /// A map's values.
    Map(Box<Lowered>),
    /// A union of one type: that type.
    Only(Box<Lowered>),
    /// A union of null and one other type, which becomes `["null", other]`.
    Nullable { null_branch: usize, other: Box<Lowered> },
}

/// Places at most. Types that repeat inside each other could otherwise unfold without end: beyond, places become text.
const MAX_PLACES: usize = 10_000;
/// Digits that Arrow's widest decimal holds.
const MAX_PRECISION: u32 = 76;
/// Bytes that arrow-avro takes for a fixed decimal.
const MAX_DECIMAL_BYTES: u32 = 32;
/// Bytes of a fixed value that keeps its type: in Arrow a null takes as many, so one byte of a datum could ask for 2 GiB.
const MAX_FIXED_BYTES: u32 = 1_024;
/// Nesting of types that stay columns. Names may nest types deeper than one JSON text can, and arrow-avro reads JSON.
const MAX_NESTING: usize = 32;

/// The places, and the lowered schema as Avro text.
pub(super) fn lower(schema: &Schema) -> (Lowered, String) {
    let mut lowering = Lowering { schema, open: Vec::new(), places: 0, nesting: 0 };
    let root = lowering.place(schema.root());
    let is_record = matches!(root.lowered, Lowered::Copy | Lowered::Record(_))
        && matches!(schema.node(schema.root()), Node::Record { .. });
    if is_record {
        return (root.lowered, root.avro.to_string());
    }
    // A record of one field takes no bytes of its own.
    let avro = json!({"type": "record", "name": "row", "fields": [{"name": "value", "type": root.avro}]});
    (root.lowered, avro.to_string())
}

struct Lowering<'a> {
    schema: &'a Schema,
    /// Records around this place.
    open: Vec<NodeId>,
    places: usize,
    nesting: usize,
}

struct Place {
    lowered: Lowered,
    avro: Value,
}

fn copy(avro: Value) -> Place {
    Place { lowered: Lowered::Copy, avro }
}

fn text() -> Place {
    Place { lowered: Lowered::Text { null_branch: None }, avro: json!("string") }
}

fn logical(base: &str, logical: &str) -> Place {
    copy(json!({"type": base, "logicalType": logical}))
}

impl Lowering<'_> {
    fn place(&mut self, id: NodeId) -> Place {
        self.places += 1;
        if self.places > MAX_PLACES || self.nesting == MAX_NESTING {
            return text();
        }
        self.nesting += 1;
        let place = self.typed(id);
        self.nesting -= 1;
        place
    }

    fn typed(&mut self, id: NodeId) -> Place {
        match self.schema.node(id) {
            Node::Null => Place { lowered: Lowered::Nothing, avro: json!(["null", "string"]) },
            Node::Boolean => copy(json!("boolean")),
            Node::Int => copy(json!("int")),
            Node::Long => copy(json!("long")),
            Node::Float => copy(json!("float")),
            Node::Double => copy(json!("double")),
            Node::Bytes => copy(json!("bytes")),
            Node::String | Node::UuidString => copy(json!("string")),
            Node::Date => logical("int", "date"),
            Node::Time(TimeUnit::Millis) => logical("int", "time-millis"),
            Node::Time(_) => logical("long", "time-micros"),
            Node::Timestamp(unit) => logical("long", timestamp(*unit)),
            Node::LocalTimestamp(unit) => logical("long", &format!("local-{}", timestamp(*unit))),
            Node::Duration(_) => text(),
            Node::UuidFixed(_) => copy(self.fixed(16)),
            Node::Fixed(_, size) if *size == 0 || *size > MAX_FIXED_BYTES => text(),
            Node::Fixed(_, size) => copy(self.fixed(*size)),
            Node::Decimal { precision, .. } if *precision > MAX_PRECISION => text(),
            Node::Decimal { fixed: Some((_, size)), .. } if *size > MAX_DECIMAL_BYTES => text(),
            Node::Decimal { precision, scale, fixed } => {
                let mut avro = match fixed {
                    Some((_, size)) => self.fixed(*size),
                    None => json!({"type": "bytes"}),
                };
                avro["logicalType"] = json!("decimal");
                avro["precision"] = json!(precision);
                avro["scale"] = json!(scale);
                copy(avro)
            }
            Node::Enum { symbols, .. } => {
                let symbols: Vec<&str> = symbols.iter().map(AsRef::as_ref).collect();
                copy(json!({"type": "enum", "name": self.name(), "symbols": symbols}))
            }
            Node::Array(items) => {
                let items = self.place(*items);
                let avro = json!({"type": "array", "items": items.avro});
                around(items.lowered, Lowered::Array, avro)
            }
            Node::Map(values) => {
                let values = self.place(*values);
                let avro = json!({"type": "map", "values": values.avro});
                around(values.lowered, Lowered::Map, avro)
            }
            Node::Record { .. } => self.record(id),
            Node::Union(branches) => self.union(branches),
        }
    }

    /// Unique, since types stand inline.
    fn name(&self) -> String {
        format!("t{}", self.places)
    }

    fn fixed(&self, size: u32) -> Value {
        json!({"type": "fixed", "name": self.name(), "size": size})
    }

    fn record(&mut self, id: NodeId) -> Place {
        let Node::Record { fields, .. } = self.schema.node(id) else { return text() };
        if fields.is_empty() || self.open.contains(&id) {
            return text();
        }
        let name = self.name();
        self.open.push(id);
        let places: Vec<Place> = fields.iter().map(|field| self.place(field.node)).collect();
        self.open.pop();
        let columns =
            fields.iter().zip(&places).map(|(field, place)| json!({"name": &*field.name, "type": place.avro}));
        let avro = json!({"type": "record", "name": name, "fields": columns.collect::<Vec<_>>()});
        let lowered: Vec<Lowered> = places.into_iter().map(|place| place.lowered).collect();
        if lowered.iter().all(|place| *place == Lowered::Copy) {
            return copy(avro);
        }
        Place { lowered: Lowered::Record(lowered), avro }
    }

    fn union(&mut self, branches: &[NodeId]) -> Place {
        let null_branch = branches.iter().position(|id| *self.schema.node(*id) == Node::Null);
        match (branches, null_branch) {
            ([only], _) => {
                let place = self.place(*only);
                Place { lowered: Lowered::Only(Box::new(place.lowered)), avro: place.avro }
            }
            ([_, _], Some(null_branch)) => {
                let other = self.place(branches[1 - null_branch]);
                if null_branch == 1 && other.lowered == Lowered::Copy {
                    return copy(json!([other.avro, "null"]));
                }
                let avro = json!(["null", other.avro]);
                match other.lowered {
                    Lowered::Text { .. } => Place { lowered: Lowered::Text { null_branch: Some(null_branch) }, avro },
                    Lowered::Copy => copy(avro),
                    other => Place { lowered: Lowered::Nullable { null_branch, other: Box::new(other) }, avro },
                }
            }
            (_, Some(_)) => Place { lowered: Lowered::Text { null_branch }, avro: json!(["null", "string"]) },
            _ => text(),
        }
    }
}

fn timestamp(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Millis => "timestamp-millis",
        TimeUnit::Micros => "timestamp-micros",
        TimeUnit::Nanos => "timestamp-nanos",
    }
}

/// A container keeps its bytes if its content does.
fn around(content: Lowered, container: fn(Box<Lowered>) -> Lowered, avro: Value) -> Place {
    match content {
        Lowered::Copy => copy(avro),
        content => Place { lowered: container(Box::new(content)), avro },
    }
}
