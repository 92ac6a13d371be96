//! When two schemas are one schema: the identity behind an id, and the GUID made of it.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::ReferenceKey;

/// SHA-256 over a schema's JSON and its references.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity([u8; 32]);

impl Identity {
    /// Two schemas are one if their JSON is equal but for white space and the order of attributes, and their references
    /// are. Fixed for ever: GUIDs made of it stand in the headers of records.
    pub(super) fn of(text: &str, references: &[ReferenceKey]) -> Self {
        let mut hash = Sha256::new();
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(mut value) => {
                value.sort_all_objects();
                hash.update(value.to_string());
            }
            // Never registered, as it is no schema; equal to itself alone.
            Err(_) => hash.update(text),
        }
        let mut references: Vec<_> = references.iter().collect();
        references.sort();
        for ReferenceKey { name, subject, version } in references {
            hash.update(format!("\n{name:?} {subject:?} {version}"));
        }
        Self(hash.finalize().into())
    }

    /// The GUID of a schema: equal schemas have equal GUIDs in every embedded registry. A UUID of version 8 (RFC 9562),
    /// whose free bits are the first of the identity.
    pub(super) fn guid(&self) -> Uuid {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&self.0[..16]);
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Uuid::from_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_two_schemas_one() {
        let reference = |name: &str| ReferenceKey { name: name.into(), subject: "s".into(), version: 1 };
        let one = Identity::of(r#"{"type":"fixed","name":"f","size":2}"#, &[reference("a"), reference("b")]);
        for (text, references, same) in [
            (r#"{ "size":2, "name":"f", "type":"fixed" }"#, vec![reference("b"), reference("a")], true),
            (r#"{"type":"fixed","name":"f","size":2}"#, vec![reference("a")], false),
            (r#"{"type":"fixed","name":"f","size":3}"#, vec![reference("a"), reference("b")], false),
        ] {
            assert_eq!(Identity::of(text, &references) == one, same, "{text} {references:?}");
        }
    }

    #[test]
    fn guids_never_change() {
        let guid = Identity::of("\"string\"", &[]).guid();
        assert_eq!(guid.get_version_num(), 8);
        assert_eq!(guid.to_string(), "e9e5c1c9-e4f6-8773-b9d1-bcde0733a59b");
    }
}
