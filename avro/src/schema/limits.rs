//! The limits of a schema, and the checks that must pass before its JSON is parsed at all.
//!
//! All counts are over a schema and its references together, so that splitting a schema gains nothing.

use super::{Reference, SchemaError};

/// Bytes of the schema's text and those of its references.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Nesting of types, the root being level 1, through references and names too; a type inside itself counts once.
pub const MAX_DEPTH: usize = 64;
/// Nesting of brackets and braces in the text, so that the JSON parser's recursion is bounded.
pub const MAX_JSON_DEPTH: usize = 127;
/// Fields of all records.
pub const MAX_FIELDS: usize = 10_000;
/// Symbols of all enums.
pub const MAX_SYMBOLS: usize = 10_000;
/// Bytes of a full name, a field's name or a symbol.
pub const MAX_NAME_BYTES: usize = 512;
/// References of a schema.
pub const MAX_REFERENCES: usize = 50;
/// Bytes of a fixed value.
pub const MAX_FIXED_BYTES: u64 = i32::MAX as u64;
/// Values compared with their types in all defaults; each branch of a union that is tried counts.
pub const MAX_DEFAULT_STEPS: usize = 100_000;

/// Size, number and JSON nesting: one pass over the bytes, no recursion, nothing allocated.
pub(super) fn check_texts(text: &str, references: &[Reference]) -> Result<(), SchemaError> {
    if references.len() > MAX_REFERENCES {
        return Err(SchemaError::new(
            "",
            format!("{} references, over the limit of {MAX_REFERENCES}", references.len()),
            "merge some of them into one schema",
        ));
    }
    check_size(references.iter().map(|r| r.schema.len()).sum::<usize>() + text.len())?;
    check_json_depth("", text)?;
    references.iter().try_for_each(|r| check_json_depth(&super::names::reference_place(&r.name), &r.schema))
}

/// Refuses more bytes of texts than a schema may have, with its references or so far.
///
/// # Errors
/// Says how to have fewer.
pub fn check_size(bytes: usize) -> Result<(), SchemaError> {
    if bytes <= MAX_TEXT_BYTES {
        return Ok(());
    }
    Err(SchemaError::new(
        "",
        format!("{bytes} bytes with its references, over the limit of {MAX_TEXT_BYTES}"),
        "split the schema, or shorten its documentation",
    ))
}

/// Counts brackets outside strings. Text that is no JSON may pass; the parser says so better.
fn check_json_depth(place: &str, text: &str) -> Result<(), SchemaError> {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > MAX_JSON_DEPTH {
                    return Err(SchemaError::new(
                        place,
                        format!("brackets nest deeper than {MAX_JSON_DEPTH}"),
                        "name inner types in references, and use their names",
                    ));
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}
