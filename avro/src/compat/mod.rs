//! Whether a reader's schema can read what a writer's schema wrote, by the section "Schema Resolution" of the Avro
//! specification; every place where it can't, in words.

mod words;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

pub use words::{Incompatibility, Rule};

use crate::schema::{Field, Node, NodeId, Schema};

/// Most differences that one check tells.
pub const MAX_DIFFERENCES: usize = 100;
/// Most fields, branches and symbols that one check looks at, in both schemas. Only hostile schemas look at the same
/// ones again and again.
pub const MAX_STEPS: usize = 1 << 20;
/// Most branches of a union tried for one written type because they share its short name or have it as an alias.
const MAX_NAMESAKES: usize = 16;
/// Deepest path of pairs. Schemas nest at most 64 levels; recursive types of different lengths make longer paths.
const MAX_LEVELS: usize = 256;

/// Checks that `reader` can read everything `writer` can write. Empty if so.
///
/// A type that is wrong in itself is told once, at the first place that uses it.
pub fn check(reader: &Schema, writer: &Schema) -> Vec<Incompatibility> {
    let mut checker = Checker {
        reader,
        writer,
        assumed: HashSet::new(),
        order: Vec::new(),
        refuted: HashSet::new(),
        path: Vec::new(),
        steps: 0,
        failures: 0,
        found: Vec::new(),
    };
    checker.pair(reader.root(), writer.root());
    checker.found
}

/// A node of the reader and one of the writer.
type Pair = (NodeId, NodeId);

struct Checker<'s> {
    reader: &'s Schema,
    writer: &'s Schema,
    /// Pairs seen. They count as readable until shown otherwise, which is what recursion needs.
    assumed: HashSet<Pair>,
    /// `assumed` in order of arrival, to undo a failed try of a branch.
    order: Vec<Pair>,
    /// Pairs that failed such a try: they fail whatever is assumed.
    refuted: HashSet<Pair>,
    path: Vec<&'s str>,
    steps: usize,
    /// Differences met, also those beyond [`MAX_DIFFERENCES`].
    failures: usize,
    found: Vec<Incompatibility>,
}

impl<'s> Checker<'s> {
    fn report(&mut self, rule: Rule, problem: String, fix: String) {
        self.failures += 1;
        if self.found.len() < MAX_DIFFERENCES {
            self.found.push(Incompatibility { path: words::path(&self.path), rule, problem, fix });
        }
    }

    fn within(&mut self, step: &'s str, pair: Pair) {
        self.path.push(step);
        self.pair(pair.0, pair.1);
        self.path.pop();
    }

    fn pair(&mut self, r: NodeId, w: NodeId) {
        if !self.assumed.insert((r, w)) {
            return;
        }
        self.order.push((r, w));
        self.steps += weight(self.reader.node(r)) + weight(self.writer.node(w));
        if self.steps > MAX_STEPS || self.path.len() > MAX_LEVELS {
            let problem = "the two schemas are too intricate to compare".to_owned();
            return self.report(Rule::TooIntricate, problem, "simplify recursive types and nested unions".to_owned());
        }
        let (reader, writer) = (self.reader, self.writer);
        match (reader.node(r), writer.node(w)) {
            (reader, Node::Union(branches)) => self.writer_union(r, reader, branches),
            (Node::Union(branches), writer) => {
                let index = Branches::of(self.reader, branches);
                self.reader_union(&index, writer, w);
            }
            (Node::Array(r), Node::Array(w)) => self.within("[]", (*r, *w)),
            (Node::Map(r), Node::Map(w)) => self.within("{}", (*r, *w)),
            (Node::Record { fields, .. }, Node::Record { fields: written, .. }) => {
                if self.same_name(r, w) {
                    self.fields(fields, written);
                }
            }
            (Node::Enum { symbols, default, .. }, Node::Enum { symbols: written, .. }) => {
                if self.same_name(r, w) && default.is_none() {
                    self.symbols(symbols, written);
                }
            }
            (reader, writer) if reader.base_type() == "fixed" && writer.base_type() == "fixed" => {
                if self.same_name(r, w) {
                    self.fixed(reader, writer);
                    self.decimal(reader, writer);
                }
            }
            (reader, writer) if promotes(writer.base_type(), reader.base_type()) => self.decimal(reader, writer),
            (reader, writer) => self.types(reader, writer),
        }
    }

    /// Named types resolve if their short names are equal, or an alias of the reader is the writer's full name.
    fn same_name(&mut self, r: NodeId, w: NodeId) -> bool {
        let (Some(reader), Some(writer)) = (self.reader.node(r).full_name(), self.writer.node(w).full_name()) else {
            return true;
        };
        if short(reader) == short(writer) || self.reader.aliases(r).contains(writer) {
            return true;
        }
        let problem = format!("the reader's {reader:?} has another name than the writer's {writer:?}");
        let fix = format!("keep the name, or give the reader's type the alias {writer:?}");
        self.report(Rule::NameMismatch, problem, fix);
        false
    }

    fn fields(&mut self, fields: &'s [Field], written: &'s [Field]) {
        let by_name: HashMap<&str, &Field> = written.iter().map(|field| (&*field.name, field)).collect();
        for field in fields {
            let names = std::iter::once(&field.name).chain(&field.aliases);
            match names.into_iter().find_map(|name| by_name.get(&**name)) {
                Some(source) => self.within(&field.name, (field.node, source.node)),
                None if field.default.is_some() => {}
                None => {
                    self.path.push(&field.name);
                    let problem = "the writer lacks this field, and the reader has no default for it".to_owned();
                    let fix = "give it a default, or an alias that names the writer's field".to_owned();
                    self.report(Rule::ReaderFieldMissingDefault, problem, fix);
                    self.path.pop();
                }
            }
        }
    }

    fn symbols(&mut self, symbols: &'s [std::sync::Arc<str>], written: &'s [std::sync::Arc<str>]) {
        let known: HashSet<&str> = symbols.iter().map(|symbol| &**symbol).collect();
        let missing: Vec<&str> = written.iter().map(|symbol| &**symbol).filter(|s| !known.contains(s)).collect();
        if !missing.is_empty() {
            let problem = format!("the reader's enum lacks the writer's symbols {}", words::list(&missing));
            let fix = "add them to the reader's enum, or give it a default symbol".to_owned();
            self.report(Rule::MissingEnumSymbols, problem, fix);
        }
    }

    fn fixed(&mut self, reader: &Node, writer: &Node) {
        let (reader, writer) = (words::fixed_size(reader), words::fixed_size(writer));
        if reader != writer {
            let problem = format!("the writer's fixed has {writer} bytes, the reader's {reader}");
            let fix = "keep the size, or add a field of a new type".to_owned();
            self.report(Rule::FixedSizeMismatch, problem, fix);
        }
    }

    /// Two decimals resolve only if precision and scale are equal; a decimal and plain bytes resolve as bytes.
    fn decimal(&mut self, reader: &Node, writer: &Node) {
        let (Node::Decimal { precision: rp, scale: rs, .. }, Node::Decimal { precision: wp, scale: ws, .. }) =
            (reader, writer)
        else {
            return;
        };
        if (rp, rs) != (wp, ws) {
            let problem = format!("the writer's decimal({wp},{ws}) can't be read as decimal({rp},{rs})");
            let fix = "keep precision and scale, or add a field of the new type".to_owned();
            self.report(Rule::DecimalMismatch, problem, fix);
        }
    }

    fn types(&mut self, reader: &Node, writer: &Node) {
        let problem = format!("the writer's {} can't be read as {}", words::kind(writer), words::kind(reader));
        let fix = match words::readable_as(writer.base_type()) {
            "" => format!("keep {}, or add a field of the new type", words::kind(writer)),
            types => format!("keep {}, or choose a type it is promoted to ({types})", words::kind(writer)),
        };
        self.report(Rule::TypeMismatch, problem, fix);
    }

    /// Each branch that the writer may have chosen must be readable.
    fn writer_union(&mut self, r: NodeId, reader: &'s Node, written: &'s [NodeId]) {
        match reader {
            Node::Union(branches) => {
                let index = Branches::of(self.reader, branches);
                written.iter().for_each(|w| self.reader_union(&index, self.writer.node(*w), *w));
            }
            _ => written.iter().for_each(|w| self.pair(r, *w)),
        }
    }

    /// Some branch of the reader must take what was written.
    fn reader_union(&mut self, branches: &Branches<'s>, writer: &'s Node, w: NodeId) {
        let candidates = branches.candidates(self.reader, writer);
        match candidates.as_slice() {
            [] => {
                let kind = words::kind(writer);
                let problem = format!("the reader's union ({}) has no branch for {kind}", branches.words(self.reader));
                self.report(Rule::MissingUnionBranch, problem, format!("add {kind} to the reader's union"));
            }
            [only] => self.pair(*only, w),
            [first, ..] => {
                if !candidates.iter().any(|r| self.try_pair(*r, w)) {
                    // All fail: tell why the best one does.
                    self.pair(*first, w);
                }
            }
        }
    }

    /// Checks a pair without telling, and forgets what was assumed if it fails.
    fn try_pair(&mut self, r: NodeId, w: NodeId) -> bool {
        if self.refuted.contains(&(r, w)) {
            return false;
        }
        let (failures, found, order) = (self.failures, self.found.len(), self.order.len());
        self.pair(r, w);
        if self.failures == failures {
            return true;
        }
        self.failures = failures;
        self.found.truncate(found);
        for pair in self.order.drain(order..) {
            self.assumed.remove(&pair);
        }
        self.refuted.insert((r, w));
        false
    }
}

/// A reader's union, indexed: a union may hold thousands of named branches.
struct Branches<'s> {
    ids: &'s [NodeId],
    unnamed: Vec<NodeId>,
    full: HashMap<&'s str, NodeId>,
    /// Short name, or full alias, to branches.
    named: HashMap<&'s str, Vec<NodeId>>,
}

impl<'s> Branches<'s> {
    fn of(schema: &'s Schema, ids: &'s [NodeId]) -> Self {
        let mut branches = Self { ids, unnamed: Vec::new(), full: HashMap::new(), named: HashMap::new() };
        for id in ids {
            let Some(name) = schema.node(*id).full_name() else {
                branches.unnamed.push(*id);
                continue;
            };
            branches.full.insert(name, *id);
            branches.named.entry(short(name)).or_default().push(*id);
            for alias in schema.aliases(*id).iter().filter(|alias| ***alias != *short(name)) {
                branches.named.entry(alias).or_default().push(*id);
            }
        }
        branches
    }

    /// Branches that could take a written type, the best first: equal full names and equal types before promotions.
    fn candidates(&self, schema: &Schema, writer: &Node) -> Vec<NodeId> {
        let base = writer.base_type();
        let of = |id: &NodeId| schema.node(*id).base_type();
        let Some(name) = writer.full_name() else {
            let mut found: Vec<NodeId> = self.unnamed.iter().copied().filter(|id| promotes(base, of(id))).collect();
            found.sort_by_key(|id| of(id) != base);
            return found;
        };
        let by = |key: &str| self.named.get(key).into_iter().flatten().take(MAX_NAMESAKES);
        let mut seen = HashSet::new();
        let found = self.full.get(&**name).into_iter().chain(by(name)).chain(by(short(name)));
        found.copied().filter(|id| of(id) == base && seen.insert(*id)).collect()
    }

    fn words(&self, schema: &Schema) -> String {
        let names: Vec<String> = self.ids.iter().take(8).map(|id| words::kind(schema.node(*id))).collect();
        let more = if self.ids.len() > names.len() { ", ..." } else { "" };
        names.join(", ") + more
    }
}

/// What looking at a node costs.
fn weight(node: &Node) -> usize {
    1 + match node {
        Node::Record { fields, .. } => fields.len(),
        Node::Union(branches) => branches.len(),
        Node::Enum { symbols, .. } => symbols.len(),
        _ => 0,
    }
}

fn short(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(_, short)| short)
}

/// Whether a value written as one base type may be read as another, or is of the same type.
fn promotes(written: &str, read: &str) -> bool {
    written == read || words::readable_as(written).split(", ").any(|base| base == read)
}
