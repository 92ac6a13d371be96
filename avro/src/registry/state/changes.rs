//! What a change writes: each function checks whether the change may be, and answers the rows that make it durable.

use serde::Serialize;

use super::{
    super::{Change, Compatibility, Mode, Origin, RegistryError, Shown},
    MAX_NUMBER, MAX_REGISTERED_BYTES, MAX_SCHEMAS, MAX_SETTINGS, MAX_VERSIONS, State, check_own_subject,
    rows::{FORMAT, Key, StoredSchema, StoredVersion, encode},
};

/// Why something was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteRefused {
    /// It is deleted already; only a permanent delete is left.
    #[error("it is deleted already; permanent=true deletes it for good")]
    Deleted,
    /// Permanent deletes come second.
    #[error("it is not deleted yet: delete it first without permanent=true")]
    NotDeleted,
    /// Schemas name it; their ids.
    #[error("version {version} of {subject:?} is referenced by the schemas {by:?}; delete those first")]
    Referenced {
        /// The subject.
        subject: String,
        /// The version.
        version: u32,
        /// Ids of the schemas.
        by: Vec<u32>,
    },
    /// Anything that other requests meet too.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

fn put(key: &Key, value: &impl Serialize) -> Result<Change, RegistryError> {
    Ok((key.bytes(), Some(encode(value)?)))
}

fn remove(key: &Key) -> Change {
    (key.bytes(), None)
}

fn not_permitted<T>(why: String) -> Result<T, RegistryError> {
    Err(RegistryError::NotPermitted(why))
}

impl State {
    /// The changes, with the row that raises the store's format if its rows are older.
    pub(crate) fn stamped(&self, mut changes: Vec<Change>) -> Result<Vec<Change>, RegistryError> {
        if !changes.is_empty() && self.format != Some(FORMAT) {
            changes.insert(0, put(&Key::Format, &FORMAT)?);
        }
        Ok(changes)
    }

    /// Refuses changes of a scope that is read-only.
    pub(crate) fn check_writable(&self, subject: Option<&str>) -> Result<(), RegistryError> {
        let mode = self.mode(subject);
        if !mode.is_read_only() {
            return Ok(());
        }
        let scope = subject.map_or("the registry".to_owned(), |subject| format!("subject {subject:?}"));
        not_permitted(format!("{scope} is in mode {mode}: set it to READWRITE to change anything"))
    }

    /// Refuses schemas with an id outside the mode IMPORT, and without one in it.
    pub(crate) fn check_registers(&self, subject: &str, origin: Option<Origin>) -> Result<(), RegistryError> {
        self.check_writable(Some(subject))?;
        match (self.mode(Some(subject)), origin) {
            (Mode::Import, None) => not_permitted(format!(
                "subject {subject:?} is in mode IMPORT and takes schemas with their id only: set it to READWRITE"
            )),
            (Mode::Import, Some(_)) | (_, None) => Ok(()),
            (mode, Some(_)) => not_permitted(format!(
                "subject {subject:?} is in mode {mode}: schemas bring an id of their own in mode IMPORT only"
            )),
        }
    }

    /// The next version of a subject: its number, its schema's id, and the rows.
    pub(crate) fn add(
        &self,
        subject: &str,
        schema: &StoredSchema,
        origin: Option<Origin>,
    ) -> Result<(u32, u32, Vec<Change>), RegistryError> {
        let (id, mut changes) = match origin {
            None => self.place(schema)?,
            Some(origin) => (origin.id, self.place_at(schema, origin.id)?),
        };
        let (version, new) = match origin {
            None => (self.next_version(subject)?, true),
            Some(origin) => self.imported_version(subject, id, origin.version)?,
        };
        if new {
            if self.versions >= MAX_VERSIONS {
                return Err(RegistryError::Full(format!("it holds {MAX_VERSIONS} versions")));
            }
            changes.push(put(&Key::Version(subject.to_owned(), version), &StoredVersion { id, deleted: false })?);
        }
        Ok((version, id, changes))
    }

    /// The id of a schema, and its row if it is new.
    fn place(&self, schema: &StoredSchema) -> Result<(u32, Vec<Change>), RegistryError> {
        if let Some(id) = self.ids.get(&schema.identity()) {
            return Ok((*id, Vec::new()));
        }
        self.check_room(schema)?;
        let id = self.last_id + 1;
        if id > MAX_NUMBER {
            return Err(RegistryError::Full(format!("its last id, {MAX_NUMBER}, is taken")));
        }
        Ok((id, vec![put(&Key::Id(id), schema)?]))
    }

    /// The row of an imported schema, if it is not there.
    fn place_at(&self, schema: &StoredSchema, id: u32) -> Result<Vec<Change>, RegistryError> {
        if id == 0 || id > MAX_NUMBER {
            return Err(RegistryError::Invalid(format!("an id is a number from 1 to {MAX_NUMBER}")));
        }
        match self.schemas.get(&id) {
            Some(kept) if kept.identity == schema.identity() => Ok(Vec::new()),
            Some(_) => not_permitted(format!("id {id} is another schema's")),
            None => {
                self.check_room(schema)?;
                Ok(vec![put(&Key::Id(id), schema)?])
            }
        }
    }

    fn next_version(&self, subject: &str) -> Result<u32, RegistryError> {
        let last = self.subjects.get(subject).and_then(|versions| versions.last_key_value());
        match last.map_or(1, |(version, _)| version + 1) {
            next if next <= MAX_NUMBER => Ok(next),
            _ => Err(RegistryError::Full(format!("subject {subject:?} has its last version, {MAX_NUMBER}"))),
        }
    }

    /// The version that an imported schema takes, and whether it is new. The same import again is no change.
    fn imported_version(&self, subject: &str, id: u32, version: Option<u32>) -> Result<(u32, bool), RegistryError> {
        let Some(version) = version else {
            let there = self.versions(subject, Shown::Live).unwrap_or_default();
            return match there.into_iter().rev().find(|(_, other)| *other == id) {
                Some((version, _)) => Ok((version, false)),
                None => Ok((self.next_version(subject)?, true)),
            };
        };
        if version == 0 || version > MAX_NUMBER {
            return Err(RegistryError::Invalid(format!("a version is a number from 1 to {MAX_NUMBER}")));
        }
        match self.subjects.get(subject).and_then(|versions| versions.get(&version)) {
            None => Ok((version, true)),
            Some(there) if there.id == id && !there.deleted => Ok((version, false)),
            Some(_) => not_permitted(format!("version {version} of {subject:?} is there already, with another id")),
        }
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

    /// Deletes a version (`None`: the latest): hides it, or, if it is hidden already, removes it for good.
    pub(crate) fn delete_version(
        &self,
        subject: &str,
        version: Option<u32>,
        permanent: bool,
    ) -> Result<(u32, Vec<Change>), DeleteRefused> {
        let (version, _) = self.version(subject, version, Shown::All)?;
        self.check_writable(Some(subject))?;
        let hidden = self.version(subject, Some(version), Shown::Live).is_err();
        let changes = match (permanent, hidden) {
            (false, true) => return Err(DeleteRefused::Deleted),
            (true, false) => return Err(DeleteRefused::NotDeleted),
            (false, false) => self.hide(subject, &[version])?,
            (true, true) => self.remove_versions(subject, &[version])?,
        };
        Ok((version, changes))
    }

    /// Deletes a subject: hides what is shown of it, with its level and mode; or, if all of it is hidden, removes it for
    /// good. The versions that this was about.
    pub(crate) fn delete_subject(
        &self,
        subject: &str,
        permanent: bool,
    ) -> Result<(Vec<u32>, Vec<Change>), DeleteRefused> {
        let numbers = |shown| -> Result<Vec<u32>, RegistryError> {
            Ok(self.versions(subject, shown)?.into_iter().map(|(number, _)| number).collect())
        };
        let all = numbers(Shown::All)?;
        self.check_writable(Some(subject))?;
        match (permanent, numbers(Shown::Live)) {
            (false, Err(_)) => Err(DeleteRefused::Deleted),
            (true, Ok(_)) => Err(DeleteRefused::NotDeleted),
            (true, Err(_)) => Ok((all.clone(), self.remove_versions(subject, &all)?)),
            (false, Ok(live)) => {
                let mut changes = self.hide(subject, &live)?;
                let own = |there: bool, key| there.then(|| remove(&key));
                changes.extend(own(self.own_level(Some(subject)).is_some(), Key::Config(Some(subject.to_owned()))));
                changes.extend(own(self.own_mode(Some(subject)).is_some(), Key::Mode(Some(subject.to_owned()))));
                Ok((live, changes))
            }
        }
    }

    /// Versions that live schemas refer to stay.
    fn hide(&self, subject: &str, versions: &[u32]) -> Result<Vec<Change>, DeleteRefused> {
        self.check_unreferenced(subject, versions, Shown::Live)?;
        let hidden = versions.iter().map(|version| {
            let (_, id) = self.version(subject, Some(*version), Shown::All)?;
            put(&Key::Version(subject.to_owned(), *version), &StoredVersion { id, deleted: true })
        });
        Ok(hidden.collect::<Result<_, _>>()?)
    }

    /// Versions that any schema refers to stay: records of a deleted version are still read. Schemas that no version holds
    /// any more go, but their ids are never given again.
    fn remove_versions(&self, subject: &str, versions: &[u32]) -> Result<Vec<Change>, DeleteRefused> {
        self.check_unreferenced(subject, versions, Shown::All)?;
        let mut changes: Vec<_> = versions.iter().map(|v| remove(&Key::Version(subject.to_owned(), *v))).collect();
        let mut ids = Vec::new();
        for (version, id) in self.versions(subject, Shown::All)? {
            if versions.contains(&version) && !ids.contains(&id) {
                ids.push(id);
            }
        }
        for id in ids {
            let gone = |(name, number): &(String, u32)| name == subject && versions.contains(number);
            if self.uses(id, Shown::All)?.iter().all(gone) {
                changes.push(remove(&Key::Id(id)));
            }
        }
        changes.push(put(&Key::LastId, &self.last_id)?);
        Ok(changes)
    }

    /// References from versions that go together do not count.
    fn check_unreferenced(&self, subject: &str, versions: &[u32], shown: Shown) -> Result<(), DeleteRefused> {
        for version in versions {
            let mut by = self.referenced_by(subject, *version, shown);
            by.retain(|id| {
                let gone = |(name, number): &(String, u32)| name == subject && versions.contains(number);
                !self.uses(*id, shown).is_ok_and(|uses| uses.iter().all(gone))
            });
            if !by.is_empty() {
                return Err(DeleteRefused::Referenced { subject: subject.to_owned(), version: *version, by });
            }
        }
        Ok(())
    }

    /// Sets a level; `None` removes it.
    pub(crate) fn set_level(
        &self,
        subject: Option<&str>,
        level: Option<Compatibility>,
    ) -> Result<Vec<Change>, RegistryError> {
        self.check_writable(subject)?;
        set(Key::Config(subject.map(str::to_owned)), subject, self.own_level(subject), level, self.levels.count())
    }

    /// Sets a mode; `None` removes it. What is there must not be overwritten by an import, unless it is forced.
    pub(crate) fn set_mode(
        &self,
        subject: Option<&str>,
        mode: Option<Mode>,
        force: bool,
    ) -> Result<Vec<Change>, RegistryError> {
        if subject.is_some() && mode == Some(Mode::ReadonlyOverride) {
            return Err(RegistryError::Invalid("READONLY_OVERRIDE is a mode of the whole registry only".to_owned()));
        }
        let filled = match subject {
            None => !self.subjects(Shown::Live).is_empty(),
            Some(subject) => self.versions(subject, Shown::Live).is_ok(),
        };
        if mode == Some(Mode::Import) && filled && !force {
            return not_permitted(
                "there are schemas already: import into an empty place, or with force=true".to_owned(),
            );
        }
        set(Key::Mode(subject.map(str::to_owned)), subject, self.own_mode(subject), mode, self.modes.count())
    }
}

/// The change of one setting, if it is one.
fn set<T: Copy + PartialEq + Serialize>(
    key: Key,
    subject: Option<&str>,
    old: Option<T>,
    new: Option<T>,
    count: usize,
) -> Result<Vec<Change>, RegistryError> {
    match new {
        _ if new == old => Ok(Vec::new()),
        None => Ok(vec![remove(&key)]),
        Some(value) => {
            subject.map_or(Ok(()), check_own_subject)?;
            if subject.is_some() && old.is_none() && count >= MAX_SETTINGS {
                return Err(RegistryError::Full(format!("{MAX_SETTINGS} subjects have a setting of their own")));
            }
            Ok(vec![put(&key, &value)?])
        }
    }
}
