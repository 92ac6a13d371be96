//! The words in which incompatibilities are told.

use std::fmt;

use crate::schema::Node;

/// One reason why a reader's schema can't read a writer's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incompatibility {
    /// The reader's field: names joined by dots, `[]` for the items of an array, `{}` for the values of a map. Empty
    /// for the root.
    pub path: String,
    /// The rule that is broken.
    pub rule: Rule,
    /// What does not match: a clause.
    pub problem: String,
    /// What would mend it: a clause.
    pub fix: String,
}

impl fmt::Display for Incompatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => write!(f, "the schema's root: ")?,
            path => write!(f, "field `{path}`: ")?,
        }
        write!(f, "{}; {} ({})", self.problem, self.fix, self.rule.as_str())
    }
}

/// The rules, by the names that Schema Registry's clients know where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// Named types have other names, and no alias joins them.
    NameMismatch,
    /// Fixed types of different sizes.
    FixedSizeMismatch,
    /// The reader's enum lacks symbols and has no default.
    MissingEnumSymbols,
    /// The reader has a field that the writer lacks, without a default.
    ReaderFieldMissingDefault,
    /// Types that are neither equal nor promoted.
    TypeMismatch,
    /// The reader's union has no branch for a written type.
    MissingUnionBranch,
    /// Decimals of different precision or scale.
    DecimalMismatch,
    /// The comparison ran into its limit.
    TooIntricate,
}

impl Rule {
    /// Its name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Rule::NameMismatch => "NAME_MISMATCH",
            Rule::FixedSizeMismatch => "FIXED_SIZE_MISMATCH",
            Rule::MissingEnumSymbols => "MISSING_ENUM_SYMBOLS",
            Rule::ReaderFieldMissingDefault => "READER_FIELD_MISSING_DEFAULT_VALUE",
            Rule::TypeMismatch => "TYPE_MISMATCH",
            Rule::MissingUnionBranch => "MISSING_UNION_BRANCH",
            Rule::DecimalMismatch => "DECIMAL_MISMATCH",
            Rule::TooIntricate => "TOO_INTRICATE",
        }
    }
}

/// A path from its steps: `a`, `[]`, `b` is `a[].b`.
pub(super) fn path(steps: &[&str]) -> String {
    let mut out = String::new();
    for step in steps {
        if !out.is_empty() && !matches!(*step, "[]" | "{}") {
            out.push('.');
        }
        out.push_str(step);
    }
    out
}

/// A type as a message names it.
pub(super) fn kind(node: &Node) -> String {
    let base = node.base_type();
    match (node, node.full_name()) {
        (Node::Decimal { precision, scale, .. }, _) => format!("decimal({precision},{scale}) in {base}"),
        (_, Some(name)) => format!("{base} {name}"),
        _ => base.to_owned(),
    }
}

/// The types that a written base type is promoted to.
pub(super) fn readable_as(written: &str) -> &'static str {
    match written {
        "int" => "long, float, double",
        "long" => "float, double",
        "float" => "double",
        "string" => "bytes",
        "bytes" => "string",
        _ => "",
    }
}

/// Bytes of a fixed type.
pub(super) fn fixed_size(node: &Node) -> u32 {
    match node {
        Node::Fixed(_, size) | Node::Decimal { fixed: Some((_, size)), .. } => *size,
        Node::UuidFixed(_) => 16,
        Node::Duration(_) => 12,
        _ => 0,
    }
}

/// At most ten names of a list.
pub(super) fn list(names: &[&str]) -> String {
    let shown = names.iter().take(10).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(10) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
