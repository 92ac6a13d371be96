//! What the embedded registry knows, without any I/O: rows of the store to state, and questions to it.

mod changes;
mod rows;
mod scoped;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};

use uuid::Uuid;

use super::{
    Compatibility, Mode, ReferenceKey, RegistryError, Row, SchemaEntry, Shown, VersionEntry, identity::Identity,
};
use crate::schema::{
    Reference,
    limits::{MAX_REFERENCES, check_size},
};

use rows::{Key, StoredVersion, decode};
use scoped::Scoped;

pub use changes::DeleteRefused;
pub(super) use rows::StoredSchema;

/// Most schemas of an embedded registry.
pub const MAX_SCHEMAS: usize = 10_000;
/// Most versions of all its subjects, with those that are deleted but not permanently.
pub const MAX_VERSIONS: usize = 50_000;
/// Most subjects with a level of their own, and most with a mode of their own.
pub const MAX_SETTINGS: usize = 10_000;
/// Most bytes of all its texts, which stay in memory.
pub const MAX_REGISTERED_BYTES: usize = 64 << 20;
/// Bytes of a subject's name.
pub const MAX_SUBJECT_BYTES: usize = 512;
/// The highest id, and the highest version: clients read them as signed numbers.
pub const MAX_NUMBER: u32 = i32::MAX as u32;

/// Everything, as of the last durable change.
#[derive(Debug, Default)]
pub(super) struct State {
    schemas: BTreeMap<u32, Kept>,
    /// The lowest id of each identity. Imports may bring several.
    ids: HashMap<Identity, u32>,
    /// A subject that is there has a version.
    subjects: BTreeMap<String, BTreeMap<u32, StoredVersion>>,
    levels: Scoped<Compatibility>,
    modes: Scoped<Mode>,
    last_id: u32,
    versions: usize,
    bytes: usize,
    /// The format of the store's rows; `None` if it has none yet.
    format: Option<u32>,
}

#[derive(Debug)]
struct Kept {
    stored: StoredSchema,
    identity: Identity,
}

impl State {
    /// State from all rows of a store.
    pub(super) fn load(rows: Vec<Row>) -> Result<Self, RegistryError> {
        let mut state = State::default();
        rows.iter().try_for_each(|(key, value)| state.apply(key, Some(value)))?;
        Ok(state)
    }

    /// Takes one durable change in; `None` removes.
    pub(super) fn apply(&mut self, bytes: &[u8], value: Option<&[u8]>) -> Result<(), RegistryError> {
        match (Key::parse(bytes)?, value) {
            (Key::Format, Some(value)) => {
                let format = decode(bytes, value)?;
                rows::check_format(format)?;
                self.format = Some(format);
            }
            (Key::LastId, Some(value)) => self.last_id = self.last_id.max(decode(bytes, value)?),
            (Key::Config(subject), Some(value)) => self.levels.set(subject, decode(bytes, value)?),
            (Key::Config(subject), None) => self.levels.remove(subject.as_deref()),
            (Key::Mode(subject), Some(value)) => self.modes.set(subject, decode(bytes, value)?),
            (Key::Mode(subject), None) => self.modes.remove(subject.as_deref()),
            (Key::Id(id), Some(value)) => self.keep(id, decode(bytes, value)?),
            (Key::Id(id), None) => self.forget(id),
            (Key::Version(subject, version), Some(value)) => {
                let versions = self.subjects.entry(subject).or_default();
                self.versions += usize::from(versions.insert(version, decode(bytes, value)?).is_none());
            }
            (Key::Version(subject, version), None) => self.forget_version(&subject, version),
            // Never written.
            (Key::Format | Key::LastId, None) => {}
        }
        Ok(())
    }

    fn keep(&mut self, id: u32, stored: StoredSchema) {
        let identity = stored.identity();
        self.ids.entry(identity).and_modify(|lowest| *lowest = id.min(*lowest)).or_insert(id);
        self.last_id = self.last_id.max(id);
        self.bytes += stored.schema.len();
        if let Some(old) = self.schemas.insert(id, Kept { stored, identity }) {
            self.bytes -= old.stored.schema.len();
        }
    }

    fn forget(&mut self, id: u32) {
        let Some(Kept { stored, identity }) = self.schemas.remove(&id) else { return };
        self.bytes -= stored.schema.len();
        match self.schemas.iter().find(|(_, kept)| kept.identity == identity) {
            Some((lowest, _)) => self.ids.insert(identity, *lowest),
            None => self.ids.remove(&identity),
        };
    }

    fn forget_version(&mut self, subject: &str, version: u32) {
        let Some(versions) = self.subjects.get_mut(subject) else { return };
        self.versions -= usize::from(versions.remove(&version).is_some());
        if versions.is_empty() {
            self.subjects.remove(subject);
        }
    }

    /// Names of all subjects with a version that is shown, sorted.
    pub(super) fn subjects(&self, shown: Shown) -> Vec<String> {
        let known = self.subjects.iter().filter(|(_, versions)| shown.any(versions.values().map(|v| v.deleted)));
        known.map(|(subject, _)| subject.clone()).collect()
    }

    /// The versions of a subject that are shown, with their ids, ascending; none if there is no such subject.
    fn listed(&self, subject: &str, shown: Shown) -> impl DoubleEndedIterator<Item = (u32, u32)> {
        let all = self.subjects.get(subject).into_iter().flatten();
        all.filter(move |(_, v)| shown.one(v.deleted)).map(|(number, v)| (*number, v.id))
    }

    /// The versions of a subject that are shown, with their ids, ascending.
    pub(super) fn versions(&self, subject: &str, shown: Shown) -> Result<Vec<(u32, u32)>, RegistryError> {
        let found: Vec<_> = self.listed(subject, shown).collect();
        if found.is_empty() { Err(RegistryError::UnknownSubject(subject.to_owned())) } else { Ok(found) }
    }

    /// The number and the id of a version; the latest for `None`.
    pub(super) fn version(
        &self,
        subject: &str,
        version: Option<u32>,
        shown: Shown,
    ) -> Result<(u32, u32), RegistryError> {
        let found = match version {
            None => self.listed(subject, shown).next_back(),
            Some(number) => self.listed(subject, shown).find(|(other, _)| *other == number),
        };
        found.ok_or_else(|| match version {
            Some(version) if self.listed(subject, shown).next().is_some() => {
                RegistryError::UnknownVersion { subject: subject.to_owned(), version }
            }
            _ => RegistryError::UnknownSubject(subject.to_owned()),
        })
    }

    /// The latest version of a subject that holds a schema, with its id.
    pub(super) fn find(&self, subject: &str, identity: Identity, shown: Shown) -> Option<(u32, u32)> {
        let same = |id: u32| self.schemas.get(&id).is_some_and(|kept| kept.identity == identity);
        self.listed(subject, shown).rev().find(|(_, id)| same(*id))
    }

    /// What is stored under an id.
    pub(super) fn schema(&self, id: u32) -> Result<&StoredSchema, RegistryError> {
        self.schemas.get(&id).map(|kept| &kept.stored).ok_or(RegistryError::UnknownId(id))
    }

    /// A schema as it is shown.
    pub(super) fn entry(&self, id: u32) -> Result<SchemaEntry, RegistryError> {
        let Kept { stored, identity } = self.schemas.get(&id).ok_or(RegistryError::UnknownId(id))?;
        Ok(SchemaEntry {
            id,
            guid: identity.guid(),
            text: stored.schema.clone(),
            references: stored.references.clone(),
        })
    }

    /// A version as it is shown.
    pub(super) fn version_entry(
        &self,
        subject: &str,
        version: Option<u32>,
        shown: Shown,
    ) -> Result<VersionEntry, RegistryError> {
        let (version, id) = self.version(subject, version, shown)?;
        let deleted = self.subjects.get(subject).and_then(|all| all.get(&version)).is_some_and(|v| v.deleted);
        Ok(VersionEntry { subject: subject.to_owned(), version, deleted, schema: self.entry(id)? })
    }

    /// The id of the schema with a GUID.
    pub(super) fn id_of_guid(&self, guid: Uuid) -> Option<u32> {
        self.ids.iter().find(|(identity, _)| identity.guid() == guid).map(|(_, id)| *id)
    }

    /// The highest id ever given; 0 if there was none.
    pub(super) fn last_id(&self) -> u32 {
        self.last_id
    }

    /// The versions that hold an id.
    pub(super) fn uses(&self, id: u32, shown: Shown) -> Result<Vec<(String, u32)>, RegistryError> {
        self.schema(id)?;
        let all = self.subjects.iter().flat_map(|(subject, versions)| versions.iter().map(move |v| (subject, v)));
        let found = all.filter(|(_, (_, v))| v.id == id && shown.one(v.deleted));
        Ok(found.map(|(subject, (number, _))| (subject.clone(), *number)).collect())
    }

    /// Ids of the schemas with a version that is shown that refer to a version, ascending.
    pub(super) fn referenced_by(&self, subject: &str, version: u32, shown: Shown) -> Vec<u32> {
        let refers = |key: &ReferenceKey| key.version == version && key.subject == subject;
        let mut ids: Vec<u32> =
            self.schemas.iter().filter(|(_, k)| k.stored.references.iter().any(refers)).map(|(id, _)| *id).collect();
        if !ids.is_empty() {
            let versions = self.subjects.values().flat_map(BTreeMap::values);
            let used: HashSet<u32> = versions.filter(|v| shown.one(v.deleted)).map(|v| v.id).collect();
            ids.retain(|id| used.contains(id));
        }
        ids
    }

    /// The level in force.
    pub(super) fn level(&self, subject: Option<&str>) -> Compatibility {
        self.levels.in_force(subject)
    }

    /// The level that was set for just this scope.
    pub(super) fn own_level(&self, subject: Option<&str>) -> Option<Compatibility> {
        self.levels.own(subject)
    }

    /// The mode in force.
    pub(super) fn mode(&self, subject: Option<&str>) -> Mode {
        match self.modes.in_force(None) {
            Mode::ReadonlyOverride => Mode::ReadonlyOverride,
            _ => self.modes.in_force(subject),
        }
    }

    /// The mode that was set for just this scope.
    pub(super) fn own_mode(&self, subject: Option<&str>) -> Option<Mode> {
        self.modes.own(subject)
    }

    /// References with their texts, and those that they need, each once. `shown`: which versions may be named directly;
    /// what those need may be deleted by now.
    pub(super) fn resolve(&self, direct: &[ReferenceKey], shown: Shown) -> Result<Vec<Reference>, RegistryError> {
        let mut open: Vec<(ReferenceKey, Shown)> = direct.iter().rev().map(|key| (key.clone(), shown)).collect();
        let mut resolved: Vec<Reference> = Vec::new();
        let mut bytes = 0;
        while let Some((next, shown)) = open.pop() {
            if resolved.iter().any(|r| r.subject == next.subject && r.version == next.version) {
                continue;
            }
            if resolved.len() == MAX_REFERENCES {
                return Err(RegistryError::Invalid(format!(
                    "more than {MAX_REFERENCES} references, with those that they need; merge some of them"
                )));
            }
            let (_, id) = self
                .version(&next.subject, Some(next.version), shown)
                .map_err(|e| RegistryError::Invalid(format!("reference {:?}: {e}; register it first", next.name)))?;
            let stored = self.schema(id)?;
            open.extend(stored.references.iter().rev().map(|key| (key.clone(), Shown::All)));
            bytes += stored.schema.len();
            check_size(bytes).map_err(|error| RegistryError::Invalid(error.to_string()))?;
            let ReferenceKey { name, subject, version } = next;
            resolved.push(Reference { name, subject, version, schema: stored.schema.to_string() });
        }
        Ok(resolved)
    }
}

impl StoredSchema {
    /// What makes it one schema with another.
    pub(super) fn identity(&self) -> Identity {
        Identity::of(&self.schema, &self.references)
    }
}

/// A subject's name: 1 to 512 bytes without control characters.
pub(super) fn check_subject(subject: &str) -> Result<(), RegistryError> {
    if subject.is_empty() || subject.len() > MAX_SUBJECT_BYTES || subject.chars().any(char::is_control) {
        let problem = format!("a subject's name has 1 to {MAX_SUBJECT_BYTES} bytes and no control characters");
        return Err(RegistryError::InvalidSubject(problem));
    }
    Ok(())
}

/// A subject's name in the one context that the embedded registry has.
pub(super) fn check_own_subject(subject: &str) -> Result<(), RegistryError> {
    check_subject(subject)?;
    if subject.starts_with(":.") {
        let problem = "a subject's name can't begin with \":.\": there is one context only".to_owned();
        return Err(RegistryError::InvalidSubject(problem));
    }
    Ok(())
}
