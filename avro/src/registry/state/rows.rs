//! Keys and values of the store's rows.
//!
//! Keys: `format`; `last_id`; `id/` + id; `subject/` + name + NUL + version; `config`, `mode` and each with `/` + name.
//! Numbers in keys are u32 big-endian, values JSON. A row that says more than this version understands is refused, not
//! half read; `format` counts up when rows change their meaning:
//! 1: `format`, `id/`, `subject/`, `config`. 2: `last_id`, `mode`, and `deleted` in a version.

use std::sync::Arc;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::super::{ReferenceKey, RegistryError};

/// The format that is written.
pub(crate) const FORMAT: u32 = 2;
/// The oldest format that is read. Its rows mean the same in [`FORMAT`].
pub(crate) const OLDEST_FORMAT: u32 = 1;

/// What a row is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The format of all rows.
    Format,
    /// The highest id ever given, once it can't be told from the schemas any more.
    LastId,
    /// A level: the global one, or a subject's.
    Config(Option<String>),
    /// A mode: the global one, or a subject's.
    Mode(Option<String>),
    /// A schema.
    Id(u32),
    /// A version of a subject.
    Version(String, u32),
}

/// A schema as it is stored: what was sent, references by name only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredSchema {
    pub(crate) schema: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<ReferenceKey>,
}

/// A version as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StoredVersion {
    pub(crate) id: u32,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleted: bool,
}

impl Key {
    /// The key's bytes in the store.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let scoped = |name: &[u8], subject: &Option<String>| match subject {
            None => name.to_vec(),
            Some(subject) => [name, b"/", subject.as_bytes()].concat(),
        };
        match self {
            Key::Format => b"format".to_vec(),
            Key::LastId => b"last_id".to_vec(),
            Key::Config(subject) => scoped(b"config", subject),
            Key::Mode(subject) => scoped(b"mode", subject),
            Key::Id(id) => [b"id/", &id.to_be_bytes()[..]].concat(),
            Key::Version(subject, version) => [b"subject/", subject.as_bytes(), &[0], &version.to_be_bytes()].concat(),
        }
    }

    /// What a key of the store is about.
    pub(crate) fn parse(key: &[u8]) -> Result<Self, RegistryError> {
        let subject = |bytes: &[u8]| name(key, bytes).map(Some);
        Ok(match key {
            b"format" => Key::Format,
            b"last_id" => Key::LastId,
            b"config" => Key::Config(None),
            b"mode" => Key::Mode(None),
            _ => {
                if let Some(rest) = key.strip_prefix(b"config/") {
                    Key::Config(subject(rest)?)
                } else if let Some(rest) = key.strip_prefix(b"mode/") {
                    Key::Mode(subject(rest)?)
                } else if let Some(id) = key.strip_prefix(b"id/") {
                    Key::Id(number(key, id)?)
                } else if let Some(rest) = key.strip_prefix(b"subject/") {
                    let (subject, version) = rest.split_at_checked(rest.len().saturating_sub(4)).unwrap_or((rest, &[]));
                    let subject = name(key, subject.strip_suffix(&[0]).unwrap_or(subject))?;
                    Key::Version(subject, number(key, version)?)
                } else {
                    return Err(broken(key, "unknown key"));
                }
            }
        })
    }
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(value).map_err(|e| RegistryError::Unavailable(format!("a row can't be written: {e}")))
}

pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(value).map_err(|e| broken(key, &e.to_string()))
}

/// Checks the value of the format's row.
pub(crate) fn check_format(format: u32) -> Result<(), RegistryError> {
    if (OLDEST_FORMAT..=FORMAT).contains(&format) {
        return Ok(());
    }
    Err(RegistryError::Unavailable(format!(
        "its store has format {format}, this version reads {OLDEST_FORMAT} to {FORMAT}: use the version that wrote it"
    )))
}

fn name(key: &[u8], bytes: &[u8]) -> Result<String, RegistryError> {
    String::from_utf8(bytes.to_vec()).map_err(|e| broken(key, &e.to_string()))
}

fn number(key: &[u8], bytes: &[u8]) -> Result<u32, RegistryError> {
    bytes.try_into().map(u32::from_be_bytes).map_err(|_| broken(key, "no number of 4 bytes"))
}

fn broken(key: &[u8], why: &str) -> RegistryError {
    let key = String::from_utf8_lossy(key).into_owned();
    RegistryError::Unavailable(format!("its store is broken at {key:?}: {why}; restore the directory from a backup"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_as_documented_and_back() {
        let subject = || Some("a/b".to_owned());
        for (key, bytes) in [
            (Key::Format, &b"format"[..]),
            (Key::LastId, b"last_id"),
            (Key::Config(None), b"config"),
            (Key::Config(subject()), b"config/a/b"),
            (Key::Mode(None), b"mode"),
            (Key::Mode(subject()), b"mode/a/b"),
            (Key::Id(1), b"id/\0\0\0\x01"),
            (Key::Version("a/b".into(), 258), b"subject/a/b\0\0\0\x01\x02"),
        ] {
            assert_eq!(key.bytes(), bytes);
            assert_eq!(Key::parse(bytes).unwrap(), key);
        }
    }

    #[test]
    fn values_as_documented() {
        let text = |value: Vec<u8>| String::from_utf8(value).unwrap();
        let reference = ReferenceKey { name: "n".into(), subject: "s".into(), version: 2 };
        let mut schema = StoredSchema { schema: "\"int\"".into(), references: vec![] };
        assert_eq!(text(encode(&schema).unwrap()), r#"{"schema":"\"int\""}"#);
        schema.references.push(reference);
        assert_eq!(
            text(encode(&schema).unwrap()),
            r#"{"schema":"\"int\"","references":[{"name":"n","subject":"s","version":2}]}"#
        );
        assert_eq!(text(encode(&StoredVersion { id: 1, deleted: false }).unwrap()), r#"{"id":1}"#);
        assert_eq!(text(encode(&StoredVersion { id: 1, deleted: true }).unwrap()), r#"{"id":1,"deleted":true}"#);
    }
}
