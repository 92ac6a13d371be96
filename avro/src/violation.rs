//! What is wrong with an event, and where: one [`Violation`] per place, in the words of the HTTP API.

use std::fmt::Write as _;

/// One step of a path from the event down to the offending value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// A member of an object.
    Name(String),
    /// An element of an array.
    Index(usize),
}

/// One offending place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// From the event (empty) to the value: `payload`, `items`, 3, `amount`.
    pub path: Vec<Segment>,
    /// One sentence that says what was expected, what came, and how to mend it where that can be told. Never repeats
    /// a value longer than 64 characters, nor any value of a sensitive field.
    pub msg: String,
    /// Stable type, in pydantic's names where one exists: `missing`, `float_type`, `enum` and so on.
    pub kind: &'static str,
    /// What the schema asks for, e.g. `double` (dead letters only).
    pub expected: Option<String>,
    /// What came, at most 64 bytes; only the JSON type for sensitive fields (dead letters only).
    pub got: Option<String>,
}

impl Violation {
    /// RFC 6901 pointer from the event.
    pub fn pointer(&self) -> String {
        let mut out = String::new();
        for segment in &self.path {
            match segment {
                Segment::Name(name) => {
                    out.push('/');
                    for c in name.chars() {
                        match c {
                            '~' => out.push_str("~0"),
                            '/' => out.push_str("~1"),
                            c => out.push(c),
                        }
                    }
                }
                // Writing to a String can't fail.
                Segment::Index(i) => drop(write!(out, "/{i}")),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointer_escapes_and_indexes() {
        let violation = Violation {
            path: vec![Segment::Name("a/b~c".into()), Segment::Index(3), Segment::Name(String::new())],
            msg: String::new(),
            kind: "missing",
            expected: None,
            got: None,
        };
        assert_eq!(violation.pointer(), "/a~1b~0c/3/");
    }
}
