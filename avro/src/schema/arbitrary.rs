//! Random schemas for property tests, as small trees that can be changed before they are written as text.

use proptest::prelude::*;

/// A type. Named types get their names from where they stand when the tree is written.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// A primitive by name.
    Primitive(&'static str),
    /// Attributes of a type with a logical type, without braces.
    Logical(&'static str),
    Array(Box<Tree>),
    Map(Box<Tree>),
    /// A union of null and another type; whether null stands first.
    Optional(Box<Tree>, bool),
    /// Symbols `S0` up to a number; whether `S0` is the default.
    Enum(u8, bool),
    Fixed(u8),
    Record(Vec<Member>),
}

/// A field of a record.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) tree: Tree,
    /// A default as JSON text.
    pub(crate) default: Option<&'static str>,
}

/// Trees of at most four levels.
pub(crate) fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        4 => prop::sample::select(vec!["boolean", "int", "long", "float", "double", "bytes", "string"])
            .prop_map(Tree::Primitive),
        1 => prop::sample::select(vec![
            r#""type":"int","logicalType":"date""#,
            r#""type":"long","logicalType":"timestamp-micros""#,
            r#""type":"string","logicalType":"no-such""#,
        ])
        .prop_map(Tree::Logical),
        1 => (1..4u8, any::<bool>()).prop_map(|(symbols, default)| Tree::Enum(symbols, default)),
        1 => (0..4u8).prop_map(Tree::Fixed),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let no_union = |inner: &Tree| !matches!(inner, Tree::Optional(..));
        prop_oneof![
            inner.clone().prop_map(|t| Tree::Array(Box::new(t))),
            inner.clone().prop_map(|t| Tree::Map(Box::new(t))),
            (inner.clone().prop_filter("a union in a union", no_union), any::<bool>())
                .prop_map(|(t, first)| Tree::Optional(Box::new(t), first)),
            prop::collection::vec(inner, 0..4).prop_map(|trees| Tree::Record(members(trees))),
        ]
    })
}

fn members(trees: Vec<Tree>) -> Vec<Member> {
    let member = |(i, tree)| Member { name: format!("f{i}"), tree, default: None };
    trees.into_iter().enumerate().map(member).collect()
}

impl Tree {
    /// As schema text. `path` becomes the names of named types, so that equal places have equal names.
    pub(crate) fn text(&self, path: &str) -> String {
        let below = |tree: &Tree| tree.text(&format!("{path}_"));
        match self {
            Tree::Primitive(name) => format!("{name:?}"),
            Tree::Logical(attributes) => format!("{{{attributes}}}"),
            Tree::Array(items) => format!(r#"{{"type":"array","items":{}}}"#, below(items)),
            Tree::Map(values) => format!(r#"{{"values":{},"type":"map"}}"#, below(values)),
            Tree::Optional(tree, true) => format!(r#"["null",{}]"#, tree.text(path)),
            Tree::Optional(tree, false) => format!(r#"[{},"null"]"#, tree.text(path)),
            Tree::Enum(symbols, default) => {
                let symbols: Vec<_> = (0..*symbols).map(|i| format!("\"S{i}\"")).collect();
                let default = if *default { r#","default":"S0""# } else { "" };
                format!(r#"{{"type":"enum","name":"n.E{path}","symbols":[{}]{default}}}"#, symbols.join(","))
            }
            Tree::Fixed(size) => format!(r#"{{"type":"fixed","name":"n.F{path}","size":{size}}}"#),
            Tree::Record(members) => {
                let field = |m: &Member| {
                    let default = m.default.map_or_else(String::new, |default| format!(r#","default":{default}"#));
                    let kind = m.tree.text(&format!("{path}_{}", m.name));
                    format!(r#"{{"name":{:?},"type":{kind}{default}}}"#, m.name)
                };
                let fields: Vec<_> = members.iter().map(field).collect();
                format!(r#"{{"type":"record","doc":"d","name":"n.R{path}","fields":[{}]}}"#, fields.join(","))
            }
        }
    }
}
