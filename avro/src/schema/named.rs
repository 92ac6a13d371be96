//! The named types: records with their fields, enums, fixed.

use std::{collections::HashSet, sync::Arc};

use serde_json::Value;

use super::{
    Field, Node, NodeId, limits,
    logical::{self, Attributes},
    names,
    parse::{Object, Parser, PendingDefault, Result, clip_json},
};

impl Parser {
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
        if let Some(doc) = object.get("doc").and_then(Value::as_str) {
            self.table.docs.insert(id, doc.into());
        }
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

    pub(super) fn record(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
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

    pub(super) fn enumeration(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
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

    pub(super) fn fixed(&mut self, object: &Object, namespace: &str) -> Result<NodeId> {
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
