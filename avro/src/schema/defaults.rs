//! Whether a default, in the JSON encoding that the specification gives defaults, fits its type.

use serde_json::Value;

use super::{Node, NodeId, limits::MAX_DEFAULT_STEPS, parse::clip_json};

/// Why a default does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// JSON pointer from the default to the place.
    pub(super) pointer: String,
    /// What stands there.
    pub(super) problem: String,
    /// What would fit.
    pub(super) fix: String,
}

/// Matches defaults within one budget of steps, as nested unions could otherwise take exponential time.
#[derive(Debug)]
pub(super) struct Matcher<'n> {
    nodes: &'n [Node],
    steps: usize,
}

type Result = std::result::Result<(), Mismatch>;

impl<'n> Matcher<'n> {
    pub(super) fn new(nodes: &'n [Node]) -> Self {
        Self { nodes, steps: 0 }
    }

    /// Checks `value` against a type. Recursion is bounded by the nesting of the value's JSON.
    pub(super) fn check(&mut self, id: NodeId, value: &Value) -> Result {
        self.steps += 1;
        if self.steps > MAX_DEFAULT_STEPS {
            let problem = format!("all defaults together take more than {MAX_DEFAULT_STEPS} steps to check");
            return mismatch(problem, "shorten the defaults, or remove some");
        }
        let node = &self.nodes[id as usize];
        match (node, value) {
            (Node::Null, Value::Null) | (Node::Boolean, Value::Bool(_)) => Ok(()),
            (Node::Float | Node::Double, Value::Number(_)) => Ok(()),
            (Node::String | Node::UuidString, Value::String(_)) => Ok(()),
            (Node::Array(items), Value::Array(values)) => {
                values.iter().enumerate().try_for_each(|(i, v)| self.inner(*items, v, &i.to_string()))
            }
            (Node::Map(values), Value::Object(members)) => {
                members.iter().try_for_each(|(name, v)| self.inner(*values, v, name))
            }
            (Node::Record { name, fields, .. }, Value::Object(members)) => {
                for field in fields {
                    match members.get(&*field.name) {
                        Some(value) => self.inner(field.node, value, &field.name)?,
                        None if field.default.is_some() => {}
                        None => {
                            let problem = format!("field {:?} of record {name:?} is missing", field.name);
                            return mismatch(problem, "add it, or give the field a default of its own");
                        }
                    }
                }
                Ok(())
            }
            (Node::Union(branches), value) => self.union(branches, value),
            (node, value) if scalar_fits(node, value) => Ok(()),
            (node, value) => wrong(node, value),
        }
    }

    fn inner(&mut self, id: NodeId, value: &Value, step: &str) -> Result {
        self.check(id, value).map_err(|mut mismatch| {
            let step = step.replace('~', "~0").replace('/', "~1");
            mismatch.pointer = format!("/{step}{}", mismatch.pointer);
            mismatch
        })
    }

    /// Any branch may match (specification 1.12; up to 1.11 it had to be the first).
    fn union(&mut self, branches: &[NodeId], value: &Value) -> Result {
        if branches.iter().any(|branch| self.check(*branch, value).is_ok()) {
            return Ok(());
        }
        if self.steps > MAX_DEFAULT_STEPS || branches.len() == 1 {
            return branches.iter().try_for_each(|branch| self.check(*branch, value));
        }
        let node = |id: &NodeId| &self.nodes[*id as usize];
        let names = branches.iter().take(8).map(|id| match node(id).full_name() {
            Some(name) => name.to_string(),
            None => node(id).base_type().to_owned(),
        });
        let problem = format!(
            "the default {} matches no branch of the union ({})",
            clip_json(value),
            names.collect::<Vec<_>>().join(", ")
        );
        let null = branches.iter().any(|id| *node(id) == Node::Null);
        if null && value.as_str() == Some("null") {
            return mismatch(problem, "write null without quotes");
        }
        mismatch(problem, "give a value of one of them, or remove the default")
    }
}

/// Types whose values are single JSON scalars with a rule of their own.
fn scalar_fits(node: &Node, value: &Value) -> bool {
    match (node.base_type(), value) {
        ("int", Value::Number(number)) => number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()),
        ("long", Value::Number(number)) => number.as_i64().is_some(),
        ("bytes", Value::String(text)) => text.chars().all(|c| u32::from(c) <= 0xFF),
        ("fixed", Value::String(text)) => {
            text.chars().all(|c| u32::from(c) <= 0xFF) && text.chars().count() as u64 == fixed_size(node)
        }
        ("enum", Value::String(text)) => match node {
            Node::Enum { symbols, .. } => symbols.iter().any(|symbol| **symbol == **text),
            _ => false,
        },
        _ => false,
    }
}

fn fixed_size(node: &Node) -> u64 {
    match node {
        Node::Fixed(_, size) | Node::Decimal { fixed: Some((_, size)), .. } => u64::from(*size),
        Node::UuidFixed(_) => 16,
        _ => 12,
    }
}

fn wrong(node: &Node, value: &Value) -> Result {
    let kind = node.full_name().map_or_else(|| node.base_type().to_owned(), |name| name.to_string());
    let expected = match node.base_type() {
        "null" => "null".to_owned(),
        "boolean" => "true or false".to_owned(),
        "int" => "a whole number from -2147483648 to 2147483647".to_owned(),
        "long" => "a whole number of 64 bits".to_owned(),
        "float" | "double" => "a number".to_owned(),
        "bytes" => "a string of characters U+0000 to U+00FF, one per byte".to_owned(),
        "fixed" => format!("a string of {} characters U+0000 to U+00FF, one per byte", fixed_size(node)),
        "enum" => "one of its symbols".to_owned(),
        "array" => "an array".to_owned(),
        "map" | "record" => "an object".to_owned(),
        _ => "a string".to_owned(),
    };
    mismatch(
        format!("the default {} does not match type {kind}", clip_json(value)),
        format!("give {expected}, or remove the default"),
    )
}

fn mismatch(problem: impl Into<String>, fix: impl Into<String>) -> Result {
    Err(Mismatch { pointer: String::new(), problem: problem.into(), fix: fix.into() })
}
