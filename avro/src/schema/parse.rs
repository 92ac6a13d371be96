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
    Field, Node, NodeId, Reference, SchemaError, limits,
    logical::{self, Attributes},
    names, resolve,
};

type Result<T> = std::result::Result<T, SchemaError>;
type Object = Map<String, Value>;

/// A checked table of nodes.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    pub(super) fixed_aliases: HashMap<NodeId, Vec<Arc<str>>>,
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
    fields: usize,
    symbols: usize,
    place: String,
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
    fn at<T>(&mut self, step: impl Display, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let length = self.place.len();
        self.place.push('/');
        self.place.push_str(&step.to_string());
        let result = f(self);
        self.place.truncate(length);
        result
    }

    fn fail<T>(&self, problem: impl Into<String>, fix: impl Into<String>) -> Result<T> {
        Err(SchemaError::new(&self.place, problem, fix))
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.table.nodes.push(node);
        // The limit on text keeps the table far below u32::MAX.
        (self.table.nodes.len() - 1) as NodeId
    }

    /// Any type, in a namespace.
    fn any(&mut self, value: &Value, namespace: &str) -> Result<NodeId> {
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
        if matches!(name, "record" | "enum" | "fixed" | "array" | "map") {
            return self
                .fail(format!("{name:?} needs attributes"), format!("write an object: {{\"type\": {name:?}, ...}}"));
        }
        let full = self.full_name(name, namespace)?;
        let unit = self.units.len() - 1;
        if let Some((id, defined_in)) = self.names.get(full.as_str()).copied() {
            self.units[unit].uses.insert(defined_in);
            return Ok(id);
        }
        let id = self.push(Node::Null);
        self.pending.insert(id, Pending { name: full, unit, place: self.place.clone() });
        Ok(id)
    }

    fn full_name(&self, name: &str, namespace: &str) -> Result<String> {
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

    /// Takes a named type's name, and reserves its node, so that what follows may name it.
    fn define(&mut self, object: &Object, namespace: &str) -> Result<(NodeId, Arc<str>, Vec<Arc<str>>)> {
        let name = self.text(object, "name")?;
        let namespace = match object.get("namespace") {
            None | Some(Value::Null) => namespace,
            Some(Value::String(own)) => own,
            Some(_) => return self.at("namespace", |p| p.fail("a namespace must be a string", "write it in quotes")),
        };
        let full: Arc<str> = self.at("name", |p| p.full_name(name, namespace))?.into();
        let aliases = self.aliases(object, |p, alias| p.full_name(alias, names::namespace(&full)))?;
        let id = self.push(Node::Record { name: full.clone(), fields: Vec::new(), aliases: Vec::new() });
        let unit = self.units.len() - 1;
        if let Some((_, earlier)) = self.names.insert(full.clone(), (id, unit)) {
            let place = match self.units[earlier].place.trim_end() {
                "" => "the schema itself",
                place => place,
            }
            .to_owned();
            let fix = format!("rename one of them, or use the name alone (it is defined in {place})");
            return self.at("name", |p| p.fail(format!("{full:?} is defined a second time"), fix));
        }
        Ok((id, full, aliases))
    }

    fn text<'v>(&self, object: &'v Object, attribute: &str) -> Result<&'v str> {
        match object.get(attribute) {
            Some(Value::String(text)) => Ok(text),
            Some(_) => self.fail(format!("the attribute `{attribute}` must be a string"), "write it in quotes"),
            None => self.fail(format!("the attribute `{attribute}` is missing"), "add it"),
        }
    }

    fn aliases(&mut self, object: &Object, check: impl Fn(&Self, &str) -> Result<String>) -> Result<Vec<Arc<str>>> {
        let Some(aliases) = object.get("aliases").filter(|value| !value.is_null()) else { return Ok(Vec::new()) };
        self.at("aliases", |p| {
            let Value::Array(aliases) = aliases else { return p.fail("aliases must be an array", "write [\"name\"]") };
            let each = |(i, alias): (usize, &Value)| {
                p.at(i, |p| match alias {
                    Value::String(alias) => check(p, alias).map(Arc::from),
                    _ => p.fail("an alias must be a string", "write it in quotes"),
                })
            };
            aliases.iter().enumerate().map(each).collect()
        })
    }

    fn record(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
        let (id, name, aliases) = self.define(object, namespace)?;
        let Some(Value::Array(members)) = object.get("fields") else {
            return self.fail(format!("record {name:?} has no array `fields`"), "add \"fields\": [...]");
        };
        self.fields += members.len();
        if self.fields > limits::MAX_FIELDS {
            let problem = format!("more than {} fields in all records", limits::MAX_FIELDS);
            return self.fail(problem, "split the schema, or use a map");
        }
        let (mut fields, mut seen) = (Vec::with_capacity(members.len()), HashSet::new());
        self.at("fields", |p| {
            for (i, member) in members.iter().enumerate() {
                let field = p.at(i, |p| p.field(member, &name, id, i))?;
                if !seen.insert(field.name.clone()) {
                    let problem = format!("record {name:?} has a second field {:?}", field.name);
                    return p.at(i, |p| p.fail(problem, "rename or remove it"));
                }
                fields.push(field);
            }
            Ok(())
        })?;
        self.table.nodes[id as usize] = Node::Record { name, fields, aliases };
        Ok(id)
    }

    fn field(&mut self, member: &Value, record: &str, record_id: NodeId, index: usize) -> Result<Field> {
        let Value::Object(member) = member else {
            return self.fail("a field must be an object", "write {\"name\": ..., \"type\": ...}");
        };
        let simple = |p: &Self, name: &str| match names::check_simple(name) {
            Ok(()) => Ok(name.to_owned()),
            Err((problem, fix)) => p.fail(problem, fix),
        };
        let name = self.text(member, "name")?;
        let name = self.at("name", |p| simple(p, name))?;
        let aliases = self.aliases(member, simple)?;
        let Some(kind) = member.get("type") else {
            return self.fail(format!("field {name:?} has no `type`"), "add its type");
        };
        let node = self.at("type", |p| p.any(kind, names::namespace(record)))?;
        let default = member.get("default").cloned();
        if default.is_some() {
            let place = format!("{}/default", self.place);
            self.defaults.push(PendingDefault { record: record_id, field: index, place });
        }
        let sensitive = match member.get("forebay.sensitive") {
            None => false,
            Some(Value::Bool(sensitive)) => *sensitive,
            Some(_) => return self.fail("`forebay.sensitive` must be true or false", "write it without quotes"),
        };
        let doc = member.get("doc").and_then(Value::as_str).map(Arc::from);
        Ok(Field { name: name.into(), aliases, doc, default, sensitive, node })
    }

    fn enumeration(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
        let (id, name, aliases) = self.define(object, namespace)?;
        let Some(Value::Array(members)) = object.get("symbols") else {
            return self.fail(format!("enum {name:?} has no array `symbols`"), "add \"symbols\": [...]");
        };
        self.symbols += members.len();
        if self.symbols > limits::MAX_SYMBOLS {
            let problem = format!("more than {} symbols in all enums", limits::MAX_SYMBOLS);
            return self.fail(problem, "use a string");
        }
        let symbols = self.at("symbols", |p| p.symbol_list(members))?;
        let default = match object.get("default") {
            None => None,
            Some(Value::String(text)) if symbols.iter().any(|s| **s == **text) => Some(Arc::from(text.as_str())),
            Some(other) => {
                let problem = format!("the default {} is no symbol of enum {name:?}", clip_json(other));
                return self.at("default", |p| p.fail(problem, "name one of its symbols, or remove the default"));
            }
        };
        self.table.nodes[id as usize] = Node::Enum { name, symbols, default, aliases };
        Ok(id)
    }

    fn symbol_list(&mut self, members: &[Value]) -> Result<Vec<Arc<str>>> {
        if members.is_empty() {
            return self.fail("an enum without symbols has no value", "give it at least one symbol");
        }
        let (mut symbols, mut seen) = (Vec::with_capacity(members.len()), HashSet::new());
        for (i, member) in members.iter().enumerate() {
            let symbol = self.at(i, |p| {
                let Value::String(symbol) = member else {
                    return p.fail("a symbol must be a string", "write it in quotes");
                };
                if let Err((problem, fix)) = names::check_simple(symbol) {
                    return p.fail(problem, fix);
                }
                if !seen.insert(symbol.as_str()) {
                    return p.fail(format!("the symbol {symbol:?} stands there a second time"), "remove one of them");
                }
                Ok(Arc::from(symbol.as_str()))
            })?;
            symbols.push(symbol);
        }
        Ok(symbols)
    }

    fn fixed(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
        let (id, name, aliases) = self.define(object, namespace)?;
        let size = match object.get("size").map(Value::as_u64) {
            Some(Some(size)) if size <= limits::MAX_FIXED_BYTES => size as u32,
            _ => {
                let problem = format!("fixed {name:?} has no `size` from 0 to {}", limits::MAX_FIXED_BYTES);
                return self.at("size", |p| p.fail(problem, "give its size in bytes, as a number"));
            }
        };
        let base = Node::Fixed(name, size);
        let node = logical::refine(&base, &Attributes::of(object)).unwrap_or(base);
        self.table.nodes[id as usize] = node;
        if !aliases.is_empty() {
            self.table.fixed_aliases.insert(id, aliases);
        }
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
