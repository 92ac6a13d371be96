//! JSON text without trees: tokens for the encoder, and look-ups in text that was already checked.

pub(crate) mod cursor;
pub(crate) mod keys;
mod token;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

use cursor::{Cursor, Kind, Syntax};

/// A value found in JSON text.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'a> {
    /// A string, escapes resolved.
    String(Cow<'a, str>),
    /// A number without fraction and exponent, as sent.
    Integer(&'a str),
    /// Any other number, as sent.
    Number(&'a str),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
    /// An array's text.
    Array(&'a str),
    /// An object's text.
    Object(&'a str),
}

/// The value at an RFC 6901 pointer; `None` if there is none, if the pointer is malformed, or if `text` is not the
/// checked JSON it should be. Of members named twice, the first.
pub fn find<'a>(text: &'a str, pointer: &str) -> Option<Found<'a>> {
    let mut cursor = Cursor::new(text);
    if !pointer.is_empty() {
        for step in pointer.strip_prefix('/')?.split('/') {
            let step =
                if step.contains('~') { Cow::Owned(step.replace("~1", "/").replace("~0", "~")) } else { step.into() };
            enter(&mut cursor, &step)?;
        }
    }
    value(&mut cursor).ok()
}

/// Moves into the member or element named.
fn enter(cursor: &mut Cursor<'_>, step: &str) -> Option<()> {
    let mut first = true;
    match cursor.kind().ok()? {
        Kind::Object => {
            cursor.open();
            while let Some(key) = cursor.member(&mut first).ok()? {
                if (!key.escaped && key.raw == step) || (key.escaped && key.decode() == step) {
                    return Some(());
                }
                cursor.skip().ok()?;
            }
        }
        Kind::Array => {
            if step.starts_with('+') || (step.len() > 1 && step.starts_with('0')) {
                return None;
            }
            let index: usize = step.parse().ok()?;
            cursor.open();
            for _ in 0..index {
                if !cursor.element(&mut first).ok()? {
                    return None;
                }
                cursor.skip().ok()?;
            }
            return cursor.element(&mut first).ok()?.then_some(());
        }
        _ => {}
    }
    None
}

fn value<'a>(cursor: &mut Cursor<'a>) -> Result<Found<'a>, Syntax> {
    let kind = cursor.kind()?;
    let start = cursor.pos();
    Ok(match kind {
        Kind::Null => cursor.null().map(|()| Found::Null)?,
        Kind::Boolean => Found::Bool(cursor.boolean()?),
        Kind::String => Found::String(cursor.string()?.decode()),
        Kind::Number => {
            let number = cursor.number()?;
            if number.integer { Found::Integer(number.raw) } else { Found::Number(number.raw) }
        }
        Kind::Array | Kind::Object => {
            cursor.skip()?;
            let text = &cursor.text()[start..cursor.pos()];
            if kind == Kind::Array { Found::Array(text) } else { Found::Object(text) }
        }
    })
}

/// Appends a copy of checked JSON without insignificant whitespace; strings and numbers are untouched.
pub fn compact(text: &str, out: &mut String) {
    let bytes = text.as_bytes();
    let (mut start, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = after_string(bytes, at),
            b' ' | b'\n' | b'\r' | b'\t' => {
                out.push_str(&text[start..at]);
                at += 1;
                start = at;
            }
            _ => at += 1,
        }
    }
    out.push_str(text.get(start..).unwrap_or_default());
}

/// Offset behind the string that begins at `at`.
fn after_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at = cursor::plain_run(bytes, at + 1);
        match bytes.get(at) {
            Some(b'\\') => at += 1,
            Some(b'"') => return at + 1,
            Some(_) => {}
            None => return bytes.len(),
        }
    }
}

/// Line and column (both from 1, the column in characters) of a byte offset.
pub(crate) fn place(text: &str, at: u32) -> (usize, usize) {
    let before = text.get(..at as usize).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or(before);
    (1 + before.bytes().filter(|&b| b == b'\n').count(), 1 + line.chars().count())
}

/// A syntax error in words: what was expected and what stands there.
pub(crate) fn explain(text: &str, error: &Syntax) -> String {
    let expected = error.expected.words();
    match text.get(error.at as usize..).and_then(|rest| rest.chars().next()) {
        None => format!("expected {expected}, found the end of the body"),
        Some('\u{feff}') => format!("expected {expected}, found a byte order mark: send UTF-8 without one"),
        Some('\'') => format!("expected {expected}, found a single quote: JSON strings stand in double quotes"),
        Some(c) if c.is_control() => format!("expected {expected}, found U+{:04X}", u32::from(c)),
        Some(c) => format!("expected {expected}, found {c:?}"),
    }
}
