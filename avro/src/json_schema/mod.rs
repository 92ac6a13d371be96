//! Avro schemas in the words of JSON Schema (2020-12): which JSON the encoder accepts, for documents that people and
//! their tools read.
//!
//! What it accepts, the encoder encodes, but for what JSON Schema can't say: an integer with a fraction of zero (`1.0`),
//! the digits of a second and of a decimal, sizes. What it leaves out: `{"<branch>": value}` for unions whose values tell
//! the branch by themselves.

mod example;
mod leaf;

#[cfg(test)]
mod tests;

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::{
    json::cursor::Kind,
    plan::compile::{tag, takes},
    schema::{Field, Node, NodeId, Schema},
};
pub(crate) use example::Examples;

/// Where named types stand below the schema that uses them.
const DEFS: &str = "$defs";

/// How a schema is described.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// URI fragment of the place where the description will stand, such as `#/components/schemas/order`: references to
    /// its own types begin with it. `#` (or nothing) for a document of its own.
    pub at: &'a str,
    /// Members that the schema lacks are allowed.
    pub ignore_unknown: bool,
}

/// The JSON Schema of a schema's values, without envelope. Named types stand below `$defs` by their full names.
pub fn of(schema: &Schema, options: &Options<'_>) -> Value {
    let mut writer = Writer::new(schema, options);
    let root = writer.value(schema.root());
    let mut root = into_object(root);
    writer.finish(&mut root);
    Value::Object(root)
}

/// Writes the parts of one description, and keeps account of the types they name.
pub(crate) struct Writer<'s> {
    schema: &'s Schema,
    options: Options<'s>,
    seen: HashSet<NodeId>,
    todo: Vec<NodeId>,
}

impl<'s> Writer<'s> {
    pub(crate) fn new(schema: &'s Schema, options: &Options<'s>) -> Self {
        let at = if options.at.is_empty() { "#" } else { options.at };
        Self { schema, options: Options { at, ..*options }, seen: HashSet::new(), todo: Vec::new() }
    }

    /// The description of a type. Its size is that of the type's text: what has a name is referred to.
    pub(crate) fn value(&mut self, id: NodeId) -> Value {
        match self.schema.node(id) {
            Node::Record { .. } | Node::Enum { .. } => self.reference(id),
            Node::Union(branches) => self.union(branches),
            _ => self.unnamed(id),
        }
    }

    fn reference(&mut self, id: NodeId) -> Value {
        if self.seen.insert(id) {
            self.todo.push(id);
        }
        json!({ "$ref": format!("{}/{DEFS}/{}", self.options.at, self.key(id)) })
    }

    /// The name of a type below `$defs`: no Avro name holds a hyphen.
    fn key(&self, id: NodeId) -> String {
        let node = self.schema.node(id);
        node.full_name().map_or_else(|| format!("{}-{id}", node.base_type()), |name| name.to_string())
    }

    /// The type itself, whether or not it has a name.
    fn unnamed(&mut self, id: NodeId) -> Value {
        match self.schema.node(id) {
            Node::Array(items) => json!({"type": "array", "items": self.value(*items)}),
            Node::Map(values) => json!({"type": "object", "additionalProperties": self.value(*values)}),
            Node::Record { fields, .. } => Value::Object(self.record(id, fields, |_| false)),
            Node::Union(branches) => self.union(branches),
            leaf => leaf::describe(leaf),
        }
    }

    /// A record in full. `filled` says which fields something else fills in when they are absent.
    pub(crate) fn record(&mut self, id: NodeId, fields: &[Field], filled: impl Fn(&str) -> bool) -> Map<String, Value> {
        let mut properties = Map::new();
        for field in fields {
            properties.insert(field.name.to_string(), self.field(field));
        }
        let required: Vec<&str> =
            fields.iter().filter(|f| f.default.is_none() && !filled(&f.name)).map(|f| &*f.name).collect();
        let mut object = self.head(id);
        object.insert("type".into(), "object".into());
        object.insert("properties".into(), properties.into());
        if !required.is_empty() {
            object.insert("required".into(), required.into());
        }
        if !self.options.ignore_unknown {
            object.insert("additionalProperties".into(), false.into());
        }
        object
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut described = into_object(self.value(field.node));
        if let Some(doc) = &field.doc {
            let own = described.get("description").and_then(Value::as_str);
            let text = own.map_or_else(|| doc.to_string(), |own| format!("{doc} ({own})"));
            described.insert("description".into(), text.into());
        }
        if let Some(default) = field.default.as_ref().filter(|d| leaf::is_plain(self.schema, field.node, d)) {
            described.insert("default".into(), default.clone());
        }
        Value::Object(described)
    }

    /// Title and description of a named type.
    fn head(&self, id: NodeId) -> Map<String, Value> {
        let mut head = Map::new();
        if let Some(name) = self.schema.node(id).full_name() {
            head.insert("title".into(), name.rsplit('.').next().unwrap_or(name).into());
        }
        if let Some(doc) = self.schema.doc(id) {
            head.insert("description".into(), doc.into());
        }
        head
    }

    fn union(&mut self, branches: &[NodeId]) -> Value {
        self.choice(branches, true)
    }

    /// A value of one of these branches: untagged, and tagged where the JSON alone may not tell which one is meant.
    pub(crate) fn choice(&mut self, branches: &[NodeId], null: bool) -> Value {
        let (nulls, others): (Vec<NodeId>, Vec<NodeId>) =
            branches.iter().partition(|&&id| *self.schema.node(id) == Node::Null);
        let tagged = self.is_ambiguous(&others);
        let mut choices: Vec<Value> = others.iter().map(|&id| self.branch(id, tagged)).collect();
        if tagged {
            choices.extend(others.iter().map(|&id| self.tagged(id)).collect::<Vec<_>>());
        }
        let null = null && !nulls.is_empty();
        match (choices.len(), null) {
            (0, _) => json!({"type": "null"}),
            (1, _) => {
                let choice = choices.swap_remove(0);
                if null { or_null(choice) } else { choice }
            }
            (_, true) => {
                choices.push(json!({"type": "null"}));
                json!({ "anyOf": choices })
            }
            (_, false) => json!({ "anyOf": choices }),
        }
    }

    /// A container that stands both bare and tagged is referred to: written twice at each level, it would double.
    fn branch(&mut self, id: NodeId, twice: bool) -> Value {
        match self.schema.node(id) {
            Node::Array(_) | Node::Map(_) if twice => self.reference(id),
            _ => self.value(id),
        }
    }

    /// `{"<branch full name>": value}`.
    fn tagged(&mut self, id: NodeId) -> Value {
        let tag = tag(self.schema.node(id));
        let value = self.branch(id, true);
        json!({"type": "object", "properties": {&*tag: value}, "required": [&*tag], "additionalProperties": false})
    }

    /// Whether two branches take JSON of the same kind.
    fn is_ambiguous(&self, branches: &[NodeId]) -> bool {
        [Kind::Boolean, Kind::Number, Kind::String, Kind::Array, Kind::Object]
            .into_iter()
            .any(|kind| branches.iter().filter(|&&id| takes(self.schema.node(id), kind)).count() > 1)
    }

    /// Adds the types that were named, and those which they name.
    pub(crate) fn finish(mut self, root: &mut Map<String, Value>) {
        let mut defs = Map::new();
        while let Some(id) = self.todo.pop() {
            let described = match self.schema.node(id) {
                Node::Enum { symbols, .. } => {
                    let mut object = self.head(id);
                    object.insert("type".into(), "string".into());
                    object.insert("enum".into(), symbols.iter().map(|symbol| Value::from(&**symbol)).collect());
                    Value::Object(object)
                }
                _ => self.unnamed(id),
            };
            defs.insert(self.key(id), described);
        }
        if !defs.is_empty() {
            defs.sort_keys();
            root.insert(DEFS.into(), defs.into());
        }
    }
}

/// A description that also takes null.
pub(crate) fn or_null(mut choice: Value) -> Value {
    match choice.get_mut("type") {
        Some(Value::Array(types)) => types.push("null".into()),
        Some(kind) => *kind = json!([kind.take(), "null"]),
        None => return json!({"anyOf": [choice, {"type": "null"}]}),
    }
    choice
}

fn into_object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}
