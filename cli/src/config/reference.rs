//! The page of all keys, from the same JSON Schema that editors use.

use std::fmt::Write;

use serde_json::Value;

/// Sections within sections that are followed.
const MAX_DEPTH: usize = 4;

const HEAD: &str = "\
# Configuration
One file, `forebay.yaml`; every key has a default, and `forebay up` runs without the file. This page is written by `forebay config reference`.

- The file is the one named by `-c FILE`, else by `$FOREBAY_CONFIG`, else `./forebay.yaml` if it exists. `forebay check` explains what was understood.
- Relative paths start from the file. A dotted key (`batch.max_rows: 5`) is a nested one.
- `${NAME}` and `${NAME:-default}` come from the environment, in **unquoted** values only; a value that still holds `${` afterwards is refused with its line. Inside `{ }` and
  `[ ]` such a value is no YAML: give its key a line of its own.
- An unknown key is refused with its line and the nearest known key.
- Editors know the keys by [forebay.schema.json](forebay.schema.json): put `# yaml-language-server: $schema=…/docs/forebay.schema.json` on the first line.
";

/// The page, in Markdown.
pub fn markdown(schema: &Value) -> String {
    let mut page = HEAD.to_owned();
    let root = Reference { root: schema };
    let (plain, sections): (Vec<_>, Vec<_>) = root.properties(schema).partition(|(_, p)| root.target(p).is_none());
    page.push('\n');
    root.table(&mut page, "", plain.into_iter(), 0);
    for (name, property) in sections {
        let Some((title, target)) = root
            .target(property)
            .map(|(map, target)| (if map { format!("{name}.<name>") } else { name.to_owned() }, target))
        else {
            continue;
        };
        let _ = writeln!(page, "\n## `{title}`\n{}\n", said(property));
        root.table(&mut page, "", root.properties(target), 0);
    }
    page
}

struct Reference<'s> {
    root: &'s Value,
}

impl<'s> Reference<'s> {
    fn properties(&self, object: &'s Value) -> impl Iterator<Item = (&'s str, &'s Value)> + use<'s> {
        let properties = object.get("properties").and_then(Value::as_object);
        properties.into_iter().flatten().map(|(name, property)| (name.as_str(), property))
    }

    /// The mapping with known keys that a property holds, and whether it holds it under free names.
    fn target(&self, property: &'s Value) -> Option<(bool, &'s Value)> {
        if let Some(inner) = property.get("additionalProperties").filter(|a| a.is_object()) {
            return self.target(inner).map(|(_, target)| (true, target));
        }
        let alternatives = property.get("anyOf").and_then(Value::as_array).into_iter().flatten().chain([property]);
        alternatives.filter_map(|a| self.resolved(a)).find(|t| t.get("properties").is_some()).map(|t| (false, t))
    }

    fn resolved(&self, schema: &'s Value) -> Option<&'s Value> {
        self.root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
    }

    fn table(
        &self,
        page: &mut String,
        prefix: &str,
        properties: impl Iterator<Item = (&'s str, &'s Value)>,
        depth: usize,
    ) {
        if depth == 0 {
            page.push_str("| key | what |\n|---|---|\n");
        }
        for (name, property) in properties {
            match self.target(property) {
                Some((false, target)) if depth < MAX_DEPTH => {
                    self.table(page, &format!("{prefix}{name}."), self.properties(target), depth + 1);
                }
                _ => {
                    let _ = writeln!(page, "| `{prefix}{name}` | {}{} |", said(property), self.words(property));
                }
            }
        }
    }

    /// The values of an enumeration, with what each means.
    fn words(&self, property: &'s Value) -> String {
        let items = property.get("items").unwrap_or(property);
        let alternatives = items.get("anyOf").and_then(Value::as_array).into_iter().flatten().chain([items]);
        let words = alternatives.filter_map(|a| self.resolved(a)?.get("oneOf")?.as_array()).flatten();
        words.filter_map(|w| Some(format!("<br>`{}`: {}", w.get("const")?.as_str()?, said(w)))).collect()
    }
}

fn said(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}
