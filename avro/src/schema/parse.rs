//! JSON text to the table of nodes: one walk per text that checks names, attributes and union rules on its way.
//!
//! References are walked first. A name that is not defined yet leaves a placeholder, which [`super::resolve`] replaces.

use std::{
    collections::{HashMap, HashSet},
    fmt::Display,
    sync::Arc,
};

use serde_json::{Map, Value};

use super::{
    Node, NodeId, Reference, SchemaError, limits,
    logical::{self, Attributes},
    names, resolve,
};

pub(super) type Result<T> = std::result::Result<T, SchemaError>;
pub(super) type Object = Map<String, Value>;

/// A checked table of nodes.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    pub(super) fixed_aliases: HashMap<NodeId, Vec<Arc<str>>>,
    pub(super) docs: HashMap<NodeId, Arc<str>>,
}

/// One text of those parsed together: a reference, or (the last one) the schema itself.
#[derive(Debug)]
pub(super) struct Unit {
    /// Where its places begin.
    pub(super) place: String,
    /// Units whose types it names.
    pub(super) uses: HashSet<usize>,
}

/// A name that was used before it was defined.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) name: String,
    pub(super) unit: usize,
    pub(super) place: String,
}

/// A default that waits to be matched with its type.
#[derive(Debug)]
pub(super) struct PendingDefault {
    pub(super) record: NodeId,
    pub(super) field: usize,
    pub(super) place: String,
}

/// Everything one parse gathers.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) table: Table,
    /// Full name to node and unit.
    pub(super) names: HashMap<Arc<str>, (NodeId, usize)>,
    pub(super) units: Vec<Unit>,
    pub(super) pending: HashMap<NodeId, Pending>,
    pub(super) defaults: Vec<PendingDefault>,
    pub(super) fields: usize,
    pub(super) symbols: usize,
    pub(super) place: String,
}

/// Parses a schema with its references.
pub(super) fn parse(text: &str, references: &[Reference]) -> Result<Table> {
    limits::check_texts(text, references)?;
    let mut parser = Parser::default();
    let mut seen = HashSet::new();
    for reference in references.iter().filter(|r| seen.insert(r.schema.as_str())) {
        parser.unit(names::reference_place(&reference.name), &reference.schema)?;
    }
    let root = parser.unit(String::new(), text)?;
    resolve::finish(parser, root)
}

impl Parser {
    fn unit(&mut self, place: String, text: &str) -> Result<NodeId> {
        self.place.clone_from(&place);
        let value: Value = serde_json::from_str(text).map_err(|e| {
            SchemaError::new(
                &place,
                format!("the text is no JSON: {e}"),
                "correct the JSON (a name alone needs quotes)",
            )
        })?;
        self.units.push(Unit { place, uses: HashSet::new() });
        self.any(&value, "")
    }

    /// Runs `f` with a step added to the place.
    pub(super) fn at<T>(&mut self, step: impl Display, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let length = self.place.len();
        self.place.push('/');
        self.place.push_str(&step.to_string());
        let result = f(self);
        self.place.truncate(length);
        result
    }

    pub(super) fn fail<T>(&self, problem: impl Into<String>, fix: impl Into<String>) -> Result<T> {
        Err(SchemaError::new(&self.place, problem, fix))
    }

    pub(super) fn push(&mut self, node: Node) -> NodeId {
        self.table.nodes.push(node);
        // The limit on text keeps the table far below u32::MAX.
        (self.table.nodes.len() - 1) as NodeId
    }

    /// Any type, in a namespace.
    pub(super) fn any(&mut self, value: &Value, namespace: &str) -> Result<NodeId> {
        match value {
            Value::String(name) => self.name(name, namespace),
            Value::Array(branches) => self.union(branches, namespace),
            Value::Object(object) => self.object(object, namespace),
            other => self.fail(
                format!("{} is no schema", clip_json(other)),
                "write a type's name, an object with a `type`, or an array of union branches",
            ),
        }
    }

    /// A primitive type, or the name of a type defined elsewhere.
    fn name(&mut self, name: &str, namespace: &str) -> Result<NodeId> {
        if let Some(node) = primitive(name) {
            return Ok(self.push(node));
        }
        let full = self.full_name(name, namespace)?;
        let unit = self.units.len() - 1;
        if let Some((id, defined_in)) = self.names.get(full.as_str()).copied() {
            self.units[unit].uses.insert(defined_in);
            return Ok(id);
        }
        if matches!(name, "record" | "enum" | "fixed" | "array" | "map") {
            return self
                .fail(format!("{name:?} needs attributes"), format!("write an object: {{\"type\": {name:?}, ...}}"));
        }
        let id = self.push(Node::Null);
        self.pending.insert(id, Pending { name: full, unit, place: self.place.clone() });
        Ok(id)
    }

    pub(super) fn full_name(&self, name: &str, namespace: &str) -> Result<String> {
        names::full(name, namespace).map_err(|(problem, fix)| SchemaError::new(&self.place, problem, fix))
    }

    fn union(&mut self, branches: &[Value], namespace: &str) -> Result<NodeId> {
        if branches.is_empty() {
            return self.fail("a union without branches has no value", "give it at least one branch");
        }
        let id = self.push(Node::Null);
        let (mut ids, mut seen) = (Vec::with_capacity(branches.len()), HashSet::new());
        for (i, branch) in branches.iter().enumerate() {
            let branch = self.at(i, |p| {
                let branch = p.any(branch, namespace)?;
                let key = p.branch_key(branch);
                if key == "union" {
                    return p.fail("a union stands directly in a union", "list its branches in the outer union");
                }
                if !seen.insert(key.clone()) {
                    return p.fail(
                        format!("the union has a second branch of type {key}"),
                        "remove it, or wrap one of the two in a record (a logical type does not tell them apart)",
                    );
                }
                Ok(branch)
            })?;
            ids.push(branch);
        }
        self.table.nodes[id as usize] = Node::Union(ids);
        Ok(id)
    }

    /// What must not repeat in a union: a full name, or an unnamed type (which a name in quotes can't equal).
    fn branch_key(&self, id: NodeId) -> String {
        if let Some(pending) = self.pending.get(&id) {
            return format!("{:?}", pending.name);
        }
        let node = &self.table.nodes[id as usize];
        node.full_name().map_or_else(|| node.base_type().to_owned(), |name| format!("{name:?}"))
    }

    fn object(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
        match object.get("type") {
            Some(Value::String(kind)) => match kind.as_str() {
                "record" => self.record(object, namespace),
                "enum" => self.enumeration(object, namespace),
                "fixed" => self.fixed(object, namespace),
                "array" => self.container(object, namespace, "items", Node::Array),
                "map" => self.container(object, namespace, "values", Node::Map),
                name => {
                    let id = self.at("type", |p| p.name(name, namespace))?;
                    Ok(self.annotate(id, object))
                }
            },
            Some(inner) => {
                let id = self.at("type", |p| p.any(inner, namespace))?;
                Ok(self.annotate(id, object))
            }
            None => self.fail("the attribute `type` is missing", "add it, e.g. \"type\": \"record\""),
        }
    }

    /// Applies the logical type of an object around an unnamed primitive, whose node is never shared.
    fn annotate(&mut self, id: NodeId, object: &Object) -> NodeId {
        let node = &self.table.nodes[id as usize];
        if node.full_name().is_none()
            && let Some(node) = logical::refine(node, &Attributes::of(object))
        {
            self.table.nodes[id as usize] = node;
        }
        id
    }

    fn container(
        &mut self,
        object: &Object,
        namespace: &str,
        attribute: &str,
        node: impl FnOnce(NodeId) -> Node,
    ) -> Result<NodeId> {
        let id = self.push(Node::Null);
        let Some(inner) = object.get(attribute) else {
            return self.fail(format!("the attribute `{attribute}` is missing"), "add it: the type of each value");
        };
        let inner = self.at(attribute, |p| p.any(inner, namespace))?;
        self.table.nodes[id as usize] = node(inner);
        Ok(id)
    }
}

fn primitive(name: &str) -> Option<Node> {
    Some(match name {
        "null" => Node::Null,
        "boolean" => Node::Boolean,
        "int" => Node::Int,
        "long" => Node::Long,
        "float" => Node::Float,
        "double" => Node::Double,
        "bytes" => Node::Bytes,
        "string" => Node::String,
        _ => return None,
    })
}

/// A JSON value for a message, at most 64 characters.
pub(super) fn clip_json(value: &Value) -> String {
    match value {
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        scalar => names::clip(&scalar.to_string()).to_owned(),
    }
}
