//! What the embedded registry knows, without any I/O: rows of the store to state, and the rows that a change writes.
//!
//! Keys: `format`; `id/` + id; `subject/` + name + NUL + version; `config` and `config/` + name. Numbers are u32
//! big-endian, values JSON. Rows are only added, so ids and versions are never given twice. A row that says more than
//! this version understands is refused, not half read; `format` counts up when rows change their meaning.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{Compatibility, RegistryError, Row};
use crate::schema::{Reference, limits::MAX_REFERENCES};

/// Most schemas of an embedded registry.
pub const MAX_SCHEMAS: usize = 10_000;
/// Most bytes of all their texts, which stay in memory.
pub const MAX_REGISTERED_BYTES: usize = 64 << 20;
/// Bytes of a subject's name.
pub const MAX_SUBJECT_BYTES: usize = 512;

const FORMAT_KEY: &[u8] = b"format";
const FORMAT: u32 = 1;
const GLOBAL_LEVEL_KEY: &[u8] = b"config";

/// A schema as it is stored: what was sent, references by name only.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StoredSchema {
    pub(super) schema: Arc<str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) references: Vec<StoredReference>,
}

/// A reference without its text, which its subject's version holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct StoredReference {
    pub(super) name: String,
    pub(super) subject: String,
    pub(super) version: u32,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredVersion {
    id: u32,
}

/// Everything, as of the last durable change.
#[derive(Debug, Default)]
pub(super) struct State {
    schemas: BTreeMap<u32, StoredSchema>,
    ids: HashMap<[u8; 32], u32>,
    subjects: BTreeMap<String, BTreeMap<u32, u32>>,
    global_level: Compatibility,
    levels: HashMap<String, Compatibility>,
    bytes: usize,
}

impl State {
    /// State from all rows of a store.
    pub(super) fn load(rows: Vec<Row>) -> Result<Self, RegistryError> {
        let mut state = State::default();
        rows.iter().try_for_each(|(key, value)| state.apply(key, value))?;
        Ok(state)
    }

    /// Takes one durable row in.
    pub(super) fn apply(&mut self, key: &[u8], value: &[u8]) -> Result<(), RegistryError> {
        if key == FORMAT_KEY {
            return match decode::<u32>(key, value)? {
                FORMAT => Ok(()),
                other => Err(RegistryError::Unavailable(format!(
                    "its store has format {other}, this version reads {FORMAT}: use the version that wrote it"
                ))),
            };
        }
        if key == GLOBAL_LEVEL_KEY {
            self.global_level = decode(key, value)?;
        } else if let Some(subject) = key.strip_prefix(b"config/") {
            self.levels.insert(name(key, subject)?, decode(key, value)?);
        } else if let Some(id) = key.strip_prefix(b"id/") {
            let stored: StoredSchema = decode(key, value)?;
            let id = number(key, id)?;
            self.bytes += stored.schema.len();
            self.ids.insert(identity(&stored.schema, &stored.references), id);
            self.schemas.insert(id, stored);
        } else if let Some(rest) = key.strip_prefix(b"subject/") {
            let (subject, version) = rest.split_at_checked(rest.len().saturating_sub(4)).unwrap_or((rest, &[]));
            let subject = name(key, subject.strip_suffix(&[0]).unwrap_or(subject))?;
            let stored: StoredVersion = decode(key, value)?;
            self.subjects.entry(subject).or_default().insert(number(key, version)?, stored.id);
        } else {
            return Err(broken(key, "unknown key"));
        }
        Ok(())
    }

    /// Names of all subjects, sorted.
    pub(super) fn subjects(&self) -> Vec<String> {
        self.subjects.keys().cloned().collect()
    }

    /// Version to id, ascending.
    pub(super) fn versions(&self, subject: &str) -> Result<&BTreeMap<u32, u32>, RegistryError> {
        self.subjects.get(subject).ok_or_else(|| RegistryError::UnknownSubject(subject.to_owned()))
    }

    /// The id of a version; the latest for `None`.
    pub(super) fn version(&self, subject: &str, version: Option<u32>) -> Result<(u32, u32), RegistryError> {
        let versions = self.versions(subject)?;
        let found = match version {
            None => versions.last_key_value(),
            Some(version) => versions.get_key_value(&version),
        };
        found
            .map(|(version, id)| (*version, *id))
            .ok_or_else(|| RegistryError::UnknownVersion { subject: subject.to_owned(), version: version.unwrap_or(0) })
    }

    /// What is stored under an id.
    pub(super) fn schema(&self, id: u32) -> Result<&StoredSchema, RegistryError> {
        self.schemas.get(&id).ok_or(RegistryError::UnknownId(id))
    }

    /// The id of a schema registered anywhere.
    pub(super) fn id_of(&self, schema: &StoredSchema) -> Option<u32> {
        self.ids.get(&identity(&schema.schema, &schema.references)).copied()
    }

    /// The level in force.
    pub(super) fn level(&self, subject: Option<&str>) -> Compatibility {
        subject.and_then(|subject| self.levels.get(subject)).copied().unwrap_or(self.global_level)
    }

    /// References with their texts, and those that they need, each once.
    pub(super) fn resolve(&self, direct: &[StoredReference]) -> Result<Vec<Reference>, RegistryError> {
        let mut open: Vec<StoredReference> = direct.iter().rev().cloned().collect();
        let mut resolved: Vec<Reference> = Vec::new();
        while let Some(next) = open.pop() {
            if resolved.iter().any(|r| r.subject == next.subject && r.version == next.version) {
                continue;
            }
            if resolved.len() == MAX_REFERENCES {
                return Err(RegistryError::Invalid(format!(
                    "more than {MAX_REFERENCES} references, with those that they need; merge some of them"
                )));
            }
            let (_, id) = self
                .version(&next.subject, Some(next.version))
                .map_err(|e| RegistryError::Invalid(format!("reference {:?}: {e}; register it first", next.name)))?;
            let stored = self.schema(id)?;
            open.extend(stored.references.iter().rev().cloned());
            let StoredReference { name, subject, version } = next;
            resolved.push(Reference { name, subject, version, schema: stored.schema.to_string() });
        }
        Ok(resolved)
    }

    /// The next version of a subject: its number, its schema's id, and the rows that make it durable.
    pub(super) fn add(&self, subject: &str, schema: &StoredSchema) -> Result<(u32, u32, Vec<Row>), RegistryError> {
        let mut rows = vec![(FORMAT_KEY.to_vec(), encode(&FORMAT)?)];
        let id = match self.id_of(schema) {
            Some(id) => id,
            None => {
                self.check_room(schema)?;
                let id = self.schemas.last_key_value().map_or(1, |(id, _)| id + 1);
                rows.push(([b"id/", &id.to_be_bytes()[..]].concat(), encode(schema)?));
                id
            }
        };
        let last = self.subjects.get(subject).and_then(|versions| versions.last_key_value());
        let version = last.map_or(1, |(version, _)| version + 1);
        let key = [b"subject/", subject.as_bytes(), &[0], &version.to_be_bytes()].concat();
        rows.push((key, encode(&StoredVersion { id })?));
        Ok((version, id, rows))
    }

    /// The row that sets a level.
    pub(super) fn set_level(subject: Option<&str>, level: Compatibility) -> Result<Row, RegistryError> {
        let key = match subject {
            None => GLOBAL_LEVEL_KEY.to_vec(),
            Some(subject) => [b"config/", subject.as_bytes()].concat(),
        };
        Ok((key, encode(&level)?))
    }

    fn check_room(&self, schema: &StoredSchema) -> Result<(), RegistryError> {
        if self.schemas.len() >= MAX_SCHEMAS {
            return Err(RegistryError::Full(format!("it holds {MAX_SCHEMAS} schemas")));
        }
        if self.bytes + schema.schema.len() > MAX_REGISTERED_BYTES {
            return Err(RegistryError::Full(format!("its schemas have {MAX_REGISTERED_BYTES} bytes")));
        }
        Ok(())
    }
}

/// A subject's name: 1 to 512 bytes without control characters.
pub(super) fn check_subject(subject: &str) -> Result<(), RegistryError> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
        let problem = format!("a subject's name has 1 to {MAX_SUBJECT_BYTES} bytes and no control characters");
        return Err(RegistryError::Invalid(problem));
    }
    Ok(())
}

/// Two schemas are one if their JSON is equal but for white space and the order of attributes, and their references
/// are.
fn identity(text: &str, references: &[StoredReference]) -> [u8; 32] {
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
    for StoredReference { name, subject, version } in references {
        hash.update(format!("\n{name:?} {subject:?} {version}"));
    }
    hash.finalize().into()
}

fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(value).map_err(|e| RegistryError::Unavailable(format!("a row can't be written: {e}")))
}

fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(value).map_err(|e| broken(key, &e.to_string()))
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

    fn schema(i: usize, bytes: usize) -> StoredSchema {
        let text = format!("\"n{i}\"");
        let padding = " ".repeat(bytes.saturating_sub(text.len()));
        StoredSchema { schema: (text + &padding).into(), references: Vec::new() }
    }

    /// State with schemas of ids from 1.
    fn state(count: usize, bytes: usize) -> State {
        let mut state = State::default();
        for i in 0..count {
            let (_, _, rows) = state.add("s", &schema(i, bytes)).unwrap();
            rows.iter().for_each(|(key, value)| state.apply(key, value).unwrap());
        }
        state
    }

    #[test]
    fn a_full_registry_takes_no_new_schema_but_known_ones() {
        let mut state = state(MAX_SCHEMAS - 1, 8);
        let (version, id, rows) = state.add("s", &schema(MAX_SCHEMAS, 8)).unwrap();
        assert_eq!((version as usize, id as usize), (MAX_SCHEMAS, MAX_SCHEMAS));
        rows.iter().for_each(|(key, value)| state.apply(key, value).unwrap());
        assert!(matches!(state.add("s", &schema(MAX_SCHEMAS + 1, 8)), Err(RegistryError::Full(_))));
        assert_eq!(state.add("other", &schema(0, 8)).unwrap().1, 1);
    }

    #[test]
    fn the_bytes_of_all_texts_are_bounded() {
        let state = state(63, 1 << 20);
        assert!(state.add("s", &schema(64, 1 << 20)).is_ok());
        assert!(matches!(state.add("s", &schema(64, (1 << 20) + 1)), Err(RegistryError::Full(_))));
    }

    #[test]
    fn rows_have_the_keys_that_are_documented() {
        let (_, _, rows) = State::default().add("a/b", &schema(1, 0)).unwrap();
        let keys: Vec<&[u8]> = rows.iter().map(|(key, _)| key.as_slice()).collect();
        assert_eq!(keys, [&b"format"[..], b"id/\0\0\0\x01", b"subject/a/b\0\0\0\0\x01"]);
        assert_eq!(rows[1].1, br#"{"schema":"\"n1\""}"#);
        assert_eq!(rows[2].1, br#"{"id":1}"#);
        let (key, value) = State::set_level(Some("a/b"), Compatibility::Full).unwrap();
        assert_eq!((key.as_slice(), value.as_slice()), (&b"config/a/b"[..], &br#""FULL""#[..]));
    }
}
