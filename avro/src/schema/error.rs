//! What is wrong with a schema, where, and what would mend it.

use std::fmt;

/// A schema that was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SchemaError {
    /// JSON pointer into the schema's text, empty for its root; after the name of a reference and a space, into that
    /// reference's text.
    pub place: String,
    /// What is wrong there: a clause without a full stop.
    pub problem: String,
    /// What would mend it: a clause without a full stop.
    pub fix: String,
}

impl SchemaError {
    pub(crate) fn new(place: impl Into<String>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        let place: String = place.into();
        Self { place: place.trim_end().to_owned(), problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.place.is_empty() { "the schema's root" } else { &self.place };
        write!(f, "at {place}: {}; {}", self.problem, self.fix)
    }
}
