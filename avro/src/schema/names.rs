//! Names: what the specification allows, and how a short one becomes a full one.

use super::limits::MAX_NAME_BYTES;

/// Names that no other type may take.
pub(crate) const PRIMITIVES: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// `[A-Za-z_][A-Za-z0-9_]*`.
pub(super) fn is_simple(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Checks a field's name or a symbol; the problem and its fix if it breaks the rules.
pub(super) fn check_simple(name: &str) -> Result<(), (String, String)> {
    check_length(name)?;
    if is_simple(name) { Ok(()) } else { Err(bad(name, "")) }
}

/// The full name of `name` in a namespace. A name with a dot is full already; a leading dot is the empty namespace.
pub(super) fn full(name: &str, namespace: &str) -> Result<String, (String, String)> {
    let full = match name.rsplit_once('.') {
        Some(("", short)) => short.to_owned(),
        Some(_) => name.to_owned(),
        None if namespace.is_empty() => name.to_owned(),
        None => format!("{namespace}.{name}"),
    };
    check_length(&full)?;
    if !full.split('.').all(is_simple) {
        return Err(bad(&full, ", in each part between dots"));
    }
    if PRIMITIVES.contains(&full.as_str()) {
        return Err((format!("{full:?} is the name of a primitive type"), "choose another name".into()));
    }
    Ok(full)
}

/// The namespace of a full name; empty if it has none.
pub(super) fn namespace(full: &str) -> &str {
    full.rsplit_once('.').map_or("", |(namespace, _)| namespace)
}

/// How a place within a reference begins.
pub(super) fn reference_place(name: &str) -> String {
    format!("reference {:?} ", clip(name))
}

/// At most 64 characters of a text that may be hostile.
pub(crate) fn clip(text: &str) -> &str {
    text.char_indices().nth(64).map_or(text, |(end, _)| &text[..end])
}

fn check_length(name: &str) -> Result<(), (String, String)> {
    if name.len() <= MAX_NAME_BYTES {
        return Ok(());
    }
    Err((
        format!("the name {:?}... has {} bytes, over the limit of {MAX_NAME_BYTES}", clip(name), name.len()),
        "choose a shorter name".into(),
    ))
}

fn bad(name: &str, where_: &str) -> (String, String) {
    (
        format!("{:?} is no Avro name", clip(name)),
        format!("use letters A-Z and a-z, digits and _, not beginning with a digit{where_}"),
    )
}
