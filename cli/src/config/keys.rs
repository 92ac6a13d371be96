//! Which keys a document may have, from the JSON Schema of the options: unknown ones are refused with the nearest
//! known one, dotted ones (`batch.max_age_ms: 5`) become nested ones, and nothing may still hold `${`.

use serde_json::Value as Json;

use super::{
    nearest::nearest,
    node::{Entry, Node, Problem, Value},
};

/// References and alternatives followed when a schema is looked up.
const MAX_HOPS: usize = 16;

/// Checks and normalizes `node` in place against the JSON Schema `schema`.
pub fn settle(node: &mut Node, schema: &Json) -> Result<(), Problem> {
    Keys { root: schema }.settle(node, schema, &mut Vec::new())
}

struct Keys<'s> {
    root: &'s Json,
}

/// What a schema allows, over its references and alternatives.
#[derive(Default)]
struct Shape<'s> {
    properties: Vec<(&'s str, &'s Json)>,
    any_key: Option<&'s Json>,
    items: Option<&'s Json>,
}

impl<'s> Keys<'s> {
    fn settle(&self, node: &mut Node, schema: &'s Json, path: &mut Vec<String>) -> Result<(), Problem> {
        let mut shape = Shape::default();
        self.collect(schema, &mut shape, MAX_HOPS);
        match &mut node.value {
            Value::Text(text) if text.contains("${") => Err(Problem::at(node.line, path, uninterpolated(text))),
            Value::List(items) => {
                for (i, item) in items.iter_mut().enumerate() {
                    self.below(item, shape.items.unwrap_or(&Json::Null), &i.to_string(), path)?;
                }
                Ok(())
            }
            Value::Map(entries) => self.map(entries, &shape, path),
            _ => Ok(()),
        }
    }

    fn below(&self, node: &mut Node, schema: &'s Json, key: &str, path: &mut Vec<String>) -> Result<(), Problem> {
        path.push(key.to_owned());
        self.settle(node, schema, path)?;
        path.pop();
        Ok(())
    }

    fn map(&self, entries: &mut Vec<Entry>, shape: &Shape<'s>, path: &mut Vec<String>) -> Result<(), Problem> {
        let mut settled: Vec<Entry> = Vec::new();
        for entry in entries.drain(..) {
            put(&mut settled, self.undotted(entry, shape), path)?;
        }
        for entry in &mut settled {
            let schema = match shape.get(&entry.key).or(shape.any_key) {
                Some(schema) => schema,
                None if shape.properties.is_empty() => &Json::Null,
                None => return Err(self.unknown(entry, shape, path)),
            };
            self.below(&mut entry.value, schema, &entry.key, path)?;
        }
        *entries = settled;
        Ok(())
    }

    /// `a.b: v` as `a: {b: v}`, if `a` is a known mapping here and `a.b` is no key of its own.
    fn undotted(&self, mut entry: Entry, shape: &Shape<'s>) -> Entry {
        if shape.get(&entry.key).is_some() || shape.any_key.is_some() {
            return entry;
        }
        let Some((head, rest)) = entry.key.split_once('.') else { return entry };
        let mut inner = Shape::default();
        if let Some(schema) = shape.get(head) {
            self.collect(schema, &mut inner, MAX_HOPS);
        }
        if inner.properties.is_empty() && inner.any_key.is_none() {
            return entry;
        }
        let (head, rest, line) = (head.to_owned(), rest.to_owned(), entry.line);
        entry.key = rest;
        Entry { key: head, line, value: Node { line, value: Value::Map(vec![entry]) } }
    }

    fn unknown(&self, entry: &Entry, shape: &Shape<'_>, path: &[String]) -> Problem {
        let place = if path.is_empty() { String::new() } else { format!(" under {}", path.join(".")) };
        let known = shape.properties.iter().map(|(name, _)| *name);
        let hint = if let Some(near) = nearest(&entry.key, known.clone()) {
            format!("did you mean {near}?")
        } else if let Some(elsewhere) = self.elsewhere(&entry.key) {
            format!("did you mean {elsewhere}?")
        } else {
            format!("known here: {}", known.collect::<Vec<_>>().join(", "))
        };
        Problem::at(entry.line, &[], format!("unknown key {:?}{place}; {hint}", entry.key))
    }

    /// The same key in another section, as a dotted path.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let mut top = Shape::default();
        self.collect(self.root, &mut top, MAX_HOPS);
        top.properties.iter().find_map(|(section, schema)| {
            let mut inner = Shape::default();
            self.collect(schema, &mut inner, MAX_HOPS);
            inner.get(key).map(|_| format!("{section}.{key}"))
        })
    }

    fn collect(&self, schema: &'s Json, shape: &mut Shape<'s>, hops: usize) {
        let Some(hops) = hops.checked_sub(1) else { return };
        if let Some(pointer) = schema.get("$ref").and_then(Json::as_str).and_then(|r| r.strip_prefix('#'))
            && let Some(target) = self.root.pointer(pointer)
        {
            self.collect(target, shape, hops);
        }
        for word in ["anyOf", "oneOf", "allOf"] {
            for alternative in schema.get(word).and_then(Json::as_array).into_iter().flatten() {
                self.collect(alternative, shape, hops);
            }
        }
        if let Some(properties) = schema.get("properties").and_then(Json::as_object) {
            shape.properties.extend(properties.iter().map(|(name, schema)| (name.as_str(), schema)));
        }
        if let Some(any) = schema.get("additionalProperties").filter(|a| **a != Json::Bool(false)) {
            shape.any_key = Some(any);
        }
        shape.items = schema.get("items").or(shape.items);
    }
}

impl<'s> Shape<'s> {
    fn get(&self, key: &str) -> Option<&'s Json> {
        self.properties.iter().find(|(name, _)| *name == key).map(|(_, schema)| *schema)
    }
}

/// Adds an entry; two mappings of one key (one of them dotted) become one.
fn put(entries: &mut Vec<Entry>, entry: Entry, path: &[String]) -> Result<(), Problem> {
    let Some(there) = entries.iter_mut().find(|e| e.key == entry.key) else {
        entries.push(entry);
        return Ok(());
    };
    match (&mut there.value.value, entry.value.value) {
        (Value::Map(old), Value::Map(new)) => {
            let mut path = path.to_vec();
            path.push(entry.key);
            new.into_iter().try_for_each(|e| put(old, e, &path))
        }
        _ => {
            let text = format!("{:?} stands here and on line {}: keep one", entry.key, there.line);
            Err(Problem::at(entry.line, path, text))
        }
    }
}

fn uninterpolated(text: &str) -> String {
    let fix = match text.split_once("${") {
        Some((_, rest)) if !rest.contains('}') => "the closing } is missing",
        _ => "variables are read in unquoted values only: remove the quotes",
    };
    format!("the value still holds \"${{\"; {fix}")
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Top {
        producer: Option<Producer>,
        names: BTreeMap<String, Inner>,
        free: BTreeMap<String, String>,
        list: Vec<Inner>,
    }

    #[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Producer {
        linger_ms: Option<u32>,
        queue_bytes: Option<u64>,
    }

    #[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Inner {
        topics: Vec<String>,
        #[serde(rename = "topics.dir")]
        topics_dir: String,
        batch: Option<Batch>,
        mode: Mode,
    }

    #[derive(Debug, Default, Deserialize, schemars::JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Batch {
        max_age_ms: Option<u64>,
        max_rows: Option<u64>,
    }

    #[derive(Debug, Default, PartialEq, Deserialize, schemars::JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        #[default]
        Plain,
        Full,
    }

    fn read(text: &str) -> Result<Top, Problem> {
        let variables = HashMap::from([("LINGER".to_owned(), "7".to_owned())]);
        let mut node = Node::parse(text, variables)?;
        settle(&mut node, schemars::schema_for!(Top).as_value())?;
        Top::deserialize(&node)
    }

    #[test]
    fn takes_dotted_keys_as_nesting() {
        let top = read(
            "names:\n  a.b:\n    topics.dir: x\n    batch.max_age_ms: 5\n    batch: {max_rows: 6}\n    topics: [t]\n",
        )
        .unwrap();
        let inner = &top.names["a.b"];
        let batch = inner.batch.as_ref().unwrap();
        assert_eq!((inner.topics_dir.as_str(), batch.max_age_ms, batch.max_rows), ("x", Some(5), Some(6)));
        assert_eq!(read("producer.linger_ms: ${LINGER}").unwrap().producer.unwrap().linger_ms, Some(7));
        assert_eq!(read("producer.linger_ms: ${NONE:-9}").unwrap().producer.unwrap().linger_ms, Some(9));
    }

    #[test]
    fn an_empty_file_and_empty_sections_are_fine() {
        for text in ["", "# nothing\n", "producer:\n", "producer: {}\n", "names: {a: }\n"] {
            read(text).unwrap_or_else(|p| panic!("{text:?}: {p}"));
        }
    }

    #[test]
    fn refuses_with_line_and_fix() {
        for (text, line, says) in [
            ("producer:\n  linger: 5\n", 2, "unknown key \"linger\" under producer; did you mean linger_ms?"),
            ("\nproduser: {}\n", 2, "unknown key \"produser\"; did you mean producer?"),
            ("linger_ms: 5\n", 1, "unknown key \"linger_ms\"; did you mean producer.linger_ms?"),
            ("zzz: 1\n", 1, "unknown key \"zzz\"; known here: producer, names, free, list"),
            ("producer.linger: 1\n", 1, "unknown key \"linger\" under producer; did you mean linger_ms?"),
            ("names:\n  a:\n    batch:\n      max_row: 1\n", 4, "under names.a.batch; did you mean max_rows?"),
            (
                "list:\n  - {topics: []}\n  - {topic: []}\n",
                3,
                "unknown key \"topic\" under list.1; did you mean topics?",
            ),
            ("free:\n  a: \"${HOME}\"\n", 2, "free.a: the value still holds \"${\"; variables are read in unquoted"),
            ("free:\n  a: ${HOME\n", 2, "}"),
            ("producer: {linger_ms: 1}\nproducer.linger_ms: 2\n", 2, "stands here and on line 1: keep one"),
            ("producer:\n  linger_ms: soon\n", 2, "producer.linger_ms: expected a whole number from 0 up, got text"),
            ("producer:\n  linger_ms: -5\n", 2, "producer.linger_ms: the value is out of range"),
            ("free:\n  a: 5\n", 2, "free.a: expected text, got a number: put it in quotes"),
            ("names:\n  a: {mode: ful}\n", 2, "names.a.mode: \"ful\" is none of plain, full; did you mean full?"),
            ("names:\n  a: {topics: x}\n", 2, "names.a.topics: expected a list, got text"),
            ("producer: 5\n", 1, "producer: expected a mapping, got a number"),
            ("free:\n  a: ${NOT_SET}\n", 2, "NOT_SET"),
            ("free: {a: 1\n", 1, ""),
            ("free: {a: ${HOME}}\n", 1, "give the key a line of its own"),
            ("a: 1\na: 2\n", 2, "duplicate"),
        ] {
            let problem = read(text).expect_err(text);
            assert!(problem.to_string().contains(says), "{text:?}: {problem}");
            assert!(
                problem.line.is_some_and(|l| l.abs_diff(line) <= u64::from(says.is_empty())),
                "{text:?}: {problem:?}"
            );
        }
    }

    #[test]
    fn keeps_secrets_out_of_its_errors() {
        let mut node =
            Node::parse("producer:\n  linger_ms: ${TOKEN}", HashMap::from([("TOKEN".into(), "hunter2".into())]))
                .unwrap();
        settle(&mut node, schemars::schema_for!(Top).as_value()).unwrap();
        let problem = Top::deserialize(&node).unwrap_err();
        assert!(!problem.to_string().contains("hunter2"), "{problem}");
    }
}
