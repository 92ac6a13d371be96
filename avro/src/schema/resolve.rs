//! What can only be told once every text was walked: names across texts, loops, nesting, and defaults.

use std::collections::VecDeque;

use super::{
    Node, NodeId, SchemaError,
    defaults::Matcher,
    limits::MAX_DEPTH,
    names::{clip, namespace},
    parse::{Parser, Pending, Table},
};

type Result<T> = std::result::Result<T, SchemaError>;

/// Resolves what is pending and makes the final checks.
pub(super) fn finish(mut parser: Parser, root: NodeId) -> Result<Table> {
    let root = resolve_names(&mut parser, root)?;
    check_reference_loops(&parser)?;
    let nodes = &parser.table.nodes;
    Depth { nodes, known: vec![Known::New; nodes.len()], path: Vec::new() }.visit(root, 1)?;
    check_finite(nodes)?;
    check_defaults(&parser)?;
    parser.table.root = root;
    Ok(parser.table)
}

/// Replaces the placeholders of names. A name must be defined in another text: within one, before it is used.
fn resolve_names(parser: &mut Parser, root: NodeId) -> Result<NodeId> {
    if parser.pending.is_empty() {
        return Ok(root);
    }
    let mut target: Vec<NodeId> = (0..parser.table.nodes.len() as NodeId).collect();
    let mut pending: Vec<_> = parser.pending.iter().collect();
    pending.sort_by_key(|(id, _)| **id);
    for (id, use_) in pending {
        match parser.names.get(use_.name.as_str()) {
            Some((defined, unit)) if *unit != use_.unit => {
                target[*id as usize] = *defined;
                parser.units[use_.unit].uses.insert(*unit);
            }
            Some(_) => return Err(too_early(use_)),
            None => return Err(unknown(parser, use_)),
        }
    }
    let map = |id: &mut NodeId| *id = target[*id as usize];
    for node in &mut parser.table.nodes {
        match node {
            Node::Array(inner) | Node::Map(inner) => map(inner),
            Node::Union(branches) => branches.iter_mut().for_each(map),
            Node::Record { fields, .. } => fields.iter_mut().for_each(|field| map(&mut field.node)),
            _ => {}
        }
    }
    Ok(target[root as usize])
}

fn too_early(use_: &Pending) -> SchemaError {
    SchemaError::new(
        &use_.place,
        format!("{:?} is used before it is defined", use_.name),
        "write the definition where the name is used first, and the name alone after it",
    )
}

fn unknown(parser: &Parser, use_: &Pending) -> SchemaError {
    let short = |name: &str| name.strip_prefix(namespace(name)).unwrap_or(name).trim_start_matches('.').to_lowercase();
    let wanted = short(&use_.name);
    let near = parser.names.keys().filter(|name| short(name) == wanted).min();
    let primitive = match wanted.as_str() {
        "bool" => Some("boolean"),
        "integer" | "int32" => Some("int"),
        "int64" | "timestamp" => Some("long"),
        "number" | "float64" => Some("double"),
        "str" | "text" | "uuid" | "date" | "datetime" => Some("string"),
        _ => None,
    };
    let fix = match (near, primitive) {
        (Some(near), _) => format!("did you mean {near:?}?"),
        (None, Some(primitive)) => format!("did you mean {primitive:?}?"),
        (None, None) => "define it there, or add a reference whose schema defines it".to_owned(),
    };
    SchemaError::new(&use_.place, format!("no type is named {:?}", clip(&use_.name)), fix)
}

/// A reference must not need itself, through others or the schema that refers to it.
fn check_reference_loops(parser: &Parser) -> Result<()> {
    let root = parser.units.len() - 1;
    let mut open: Vec<usize> = (0..root).collect();
    // Takes away what only needs what was taken away; what is left after that runs in a loop.
    loop {
        let before = open.len();
        let left = open.clone();
        open.retain(|unit| parser.units[*unit].uses.iter().any(|u| *u != *unit && (*u == root || left.contains(u))));
        if open.len() == before {
            break;
        }
    }
    match open.first() {
        None => Ok(()),
        Some(unit) => Err(SchemaError::new(
            parser.units[*unit].place.trim_end(),
            "references run in a loop",
            "let types that need each other stand in one schema",
        )),
    }
}

#[derive(Clone, Copy)]
enum Known {
    New,
    /// On the path now: meeting it again is recursion.
    Open,
    /// Levels from here to the deepest type.
    Levels(usize),
}

/// Measures nesting through names. Recursion is bounded by the limit it checks.
struct Depth<'n> {
    nodes: &'n [Node],
    known: Vec<Known>,
    path: Vec<&'n str>,
}

impl<'n> Depth<'n> {
    fn visit(&mut self, id: NodeId, level: usize) -> Result<usize> {
        match self.known[id as usize] {
            Known::Open => return Ok(0),
            Known::Levels(levels) if level + levels - 1 <= MAX_DEPTH => return Ok(levels),
            Known::New if level <= MAX_DEPTH => {}
            _ => return Err(self.too_deep()),
        }
        self.known[id as usize] = Known::Open;
        let nodes = self.nodes;
        let inner = match &nodes[id as usize] {
            Node::Array(inner) | Node::Map(inner) => self.step("[]", *inner, level)?,
            Node::Union(branches) => {
                branches.iter().try_fold(0, |most, branch| Ok(most.max(self.visit(*branch, level + 1)?)))?
            }
            Node::Record { fields, .. } => {
                fields.iter().try_fold(0, |most, field| Ok(most.max(self.step(&field.name, field.node, level)?)))?
            }
            _ => 0,
        };
        self.known[id as usize] = Known::Levels(inner + 1);
        Ok(inner + 1)
    }

    fn step(&mut self, name: &'n str, id: NodeId, level: usize) -> Result<usize> {
        self.path.push(name);
        let levels = self.visit(id, level + 1)?;
        self.path.pop();
        Ok(levels)
    }

    fn too_deep(&self) -> SchemaError {
        let path = self.path.iter().take(6).copied().collect::<Vec<_>>().join(".").replace(".[]", "[]");
        SchemaError::new(
            "",
            format!("types nest deeper than {MAX_DEPTH} levels, under {:?}", clip(&path)),
            "flatten them, or keep the inner part as a string of JSON",
        )
    }
}

/// Every type must have a value of finite length: a record may hold itself only where it can also be left out.
fn check_finite(nodes: &[Node]) -> Result<()> {
    // How many children must be known as finite before the node is; and who waits for whom.
    let mut waits_for = vec![0usize; nodes.len()];
    let mut waiting: Vec<Vec<NodeId>> = vec![Vec::new(); nodes.len()];
    let mut finite = VecDeque::new();
    for (id, node) in nodes.iter().enumerate() {
        let children: Vec<NodeId> = match node {
            Node::Record { fields, .. } => fields.iter().map(|field| field.node).collect(),
            Node::Union(branches) => branches.clone(),
            _ => Vec::new(),
        };
        waits_for[id] = if matches!(node, Node::Union(_)) { 1 } else { children.len() };
        children.iter().for_each(|child| waiting[*child as usize].push(id as NodeId));
        if waits_for[id] == 0 {
            finite.push_back(id);
        }
    }
    while let Some(id) = finite.pop_front() {
        for parent in &waiting[id] {
            let left = &mut waits_for[*parent as usize];
            if *left > 0 {
                *left -= 1;
                if *left == 0 {
                    finite.push_back(*parent as usize);
                }
            }
        }
    }
    let endless = nodes.iter().zip(&waits_for).find(|(node, left)| **left > 0 && node.full_name().is_some());
    match endless.and_then(|(node, _)| node.full_name()) {
        None => Ok(()),
        Some(name) => Err(SchemaError::new(
            "",
            format!("record {name:?} always holds a record that holds itself: no value of it ever ends"),
            "make the inner one a branch of a union with null, or the items of an array",
        )),
    }
}

fn check_defaults(parser: &Parser) -> Result<()> {
    let mut matcher = Matcher::new(&parser.table.nodes);
    for pending in &parser.defaults {
        let Node::Record { fields, .. } = &parser.table.nodes[pending.record as usize] else { continue };
        let Some(field) = fields.get(pending.field) else { continue };
        let Some(default) = &field.default else { continue };
        matcher.check(field.node, default).map_err(|mismatch| {
            let place = format!("{}{} (field {:?})", pending.place, mismatch.pointer, field.name);
            SchemaError::new(place, mismatch.problem, mismatch.fix)
        })?;
    }
    Ok(())
}
