//! What serving the embedded registry to others takes: everything that is kept, shown as it is; deletes, levels, modes.

use uuid::Uuid;

use super::{
    super::{Compatibility, DeleteRefused, Mode, NewSchema, RegistryError, SchemaEntry, Shown, VersionEntry, rules},
    Embedded,
    core::{Core, Examined},
};

/// What a schema is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// The versions that the subject's level asks for, as if it were registered.
    Level,
    /// One version, the latest for `None`.
    Version(Option<u32>),
}

/// What it holds. Answers come from memory.
impl Embedded {
    /// Names of subjects, sorted.
    pub fn list_subjects(&self, shown: Shown) -> Vec<String> {
        self.core.state().subjects(shown)
    }

    /// The versions of a subject, ascending.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`] if none is shown.
    pub fn list_versions(&self, subject: &str, shown: Shown) -> Result<Vec<u32>, RegistryError> {
        Ok(self.core.state().versions(subject, shown)?.into_iter().map(|(number, _)| number).collect())
    }

    /// A version, the latest for `None`.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`], [`RegistryError::UnknownVersion`].
    pub fn show_version(
        &self,
        subject: &str,
        version: Option<u32>,
        shown: Shown,
    ) -> Result<VersionEntry, RegistryError> {
        self.core.state().version_entry(subject, version, shown)
    }

    /// The schema of an id.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`].
    pub fn show_id(&self, id: u32) -> Result<SchemaEntry, RegistryError> {
        self.core.state().entry(id)
    }

    /// The schema of a GUID.
    pub fn show_guid(&self, guid: Uuid) -> Option<SchemaEntry> {
        let state = self.core.state();
        state.id_of_guid(guid).and_then(|id| state.entry(id).ok())
    }

    /// The highest id ever given; 0 if there was none.
    pub fn last_id(&self) -> u32 {
        self.core.state().last_id()
    }

    /// Subjects and versions that hold an id.
    ///
    /// # Errors
    /// [`RegistryError::UnknownId`].
    pub fn uses(&self, id: u32, shown: Shown) -> Result<Vec<(String, u32)>, RegistryError> {
        self.core.state().uses(id, shown)
    }

    /// Ids of the schemas that refer to a version (`None`: the latest), ascending.
    ///
    /// # Errors
    /// [`RegistryError::UnknownSubject`], [`RegistryError::UnknownVersion`].
    pub fn referenced_by(&self, subject: &str, version: Option<u32>, shown: Shown) -> Result<Vec<u32>, RegistryError> {
        let state = self.core.state();
        let (version, _) = state.version(subject, version, Shown::All)?;
        Ok(state.referenced_by(subject, version, shown))
    }

    /// The level in force for a subject (`None`: the global one).
    pub fn level(&self, subject: Option<&str>) -> Compatibility {
        self.core.state().level(subject)
    }

    /// The level that was set for just this scope.
    pub fn own_level(&self, subject: Option<&str>) -> Option<Compatibility> {
        self.core.state().own_level(subject)
    }

    /// The mode in force for a subject (`None`: the global one).
    pub fn mode(&self, subject: Option<&str>) -> Mode {
        self.core.state().mode(subject)
    }

    /// The mode that was set for just this scope.
    pub fn own_mode(&self, subject: Option<&str>) -> Option<Mode> {
        self.core.state().own_mode(subject)
    }
}

/// What needs a parser or the store.
impl Embedded {
    /// Registers a schema, if the subject's mode and level allow; one that is there already answers its version.
    ///
    /// # Errors
    /// What is wrong with the schema, or refuses it: [`RegistryError::Invalid`], [`RegistryError::InvalidSubject`],
    /// [`RegistryError::Incompatible`], [`RegistryError::NotPermitted`], [`RegistryError::Full`].
    pub async fn add(&self, subject: &str, new: NewSchema) -> Result<VersionEntry, RegistryError> {
        let subject = subject.to_owned();
        self.change(move |core| {
            let (version, _) = core.register(&subject, &new)?;
            core.state().version_entry(&subject, Some(version), Shown::Live)
        })
        .await
    }

    /// The latest version of a subject that holds a schema.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for what is no schema; [`RegistryError::UnknownSubject`].
    pub async fn look_up(
        &self,
        subject: &str,
        new: NewSchema,
        shown: Shown,
    ) -> Result<Option<VersionEntry>, RegistryError> {
        let subject = subject.to_owned();
        self.blocking(move |core| match core.examine(&subject, &new, shown)?.known {
            Some((version, _)) => core.state().version_entry(&subject, Some(version), shown).map(Some),
            None => core.state().versions(&subject, shown).map(|_| None),
        })
        .await
    }

    /// The differences between a schema and what is there that break the subject's level; empty if none does.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for what is no schema; [`RegistryError::UnknownSubject`] and
    /// [`RegistryError::UnknownVersion`] if the version to compare with is not there.
    pub async fn compare(&self, subject: &str, new: NewSchema, against: Against) -> Result<Vec<String>, RegistryError> {
        let subject = subject.to_owned();
        self.blocking(move |core| match against {
            Against::Level => match core.examine(&subject, &new, Shown::Live)? {
                Examined { known: Some(_), .. } => Ok(Vec::new()),
                Examined { parsed, .. } => Ok(core.compare(&subject, &parsed)?.1),
            },
            Against::Version(version) => compare_with(core, &subject, &new, version),
        })
        .await
    }

    /// Deletes a version (`None`: the latest): hides it, or removes what is hidden for good. Its number.
    ///
    /// # Errors
    /// Why it stays as it is.
    pub async fn delete_version(
        &self,
        subject: &str,
        version: Option<u32>,
        permanent: bool,
    ) -> Result<u32, DeleteRefused> {
        let subject = subject.to_owned();
        self.change(move |core| {
            let (version, changes) = core.state().delete_version(&subject, version, permanent)?;
            core.commit(changes)?;
            tracing::info!(subject, version, permanent, "Deleted a version of a schema.");
            Ok(version)
        })
        .await
    }

    /// Deletes a subject: hides it, or removes what is hidden for good. The versions that went.
    ///
    /// # Errors
    /// Why it stays as it is.
    pub async fn delete_subject(&self, subject: &str, permanent: bool) -> Result<Vec<u32>, DeleteRefused> {
        let subject = subject.to_owned();
        self.change(move |core| {
            let (versions, changes) = core.state().delete_subject(&subject, permanent)?;
            core.commit(changes)?;
            tracing::info!(subject, ?versions, permanent, "Deleted a subject.");
            Ok(versions)
        })
        .await
    }

    /// Sets the level of a subject (`None`: the global one); no level removes it. The one that was set before.
    ///
    /// # Errors
    /// [`RegistryError::NotPermitted`] in a read-only mode; [`RegistryError::InvalidSubject`], [`RegistryError::Full`].
    pub async fn set_level(
        &self,
        subject: Option<&str>,
        level: Option<Compatibility>,
    ) -> Result<Option<Compatibility>, RegistryError> {
        let subject = subject.map(str::to_owned);
        self.change(move |core| {
            let subject = subject.as_deref();
            let old = core.state().own_level(subject);
            let changes = core.state().set_level(subject, level)?;
            core.commit(changes)?;
            tracing::info!(subject, level = level.map(Compatibility::as_str), "Set a compatibility level.");
            Ok(old)
        })
        .await
    }

    /// Sets the mode of a subject (`None`: the global one); no mode removes it. The one that was set before. `force`:
    /// allow `IMPORT` where schemas are.
    ///
    /// # Errors
    /// [`RegistryError::NotPermitted`] for `IMPORT` where schemas are; [`RegistryError::Invalid`] for a mode that a
    /// subject can't have; [`RegistryError::InvalidSubject`], [`RegistryError::Full`].
    pub async fn set_mode(
        &self,
        subject: Option<&str>,
        mode: Option<Mode>,
        force: bool,
    ) -> Result<Option<Mode>, RegistryError> {
        let subject = subject.map(str::to_owned);
        self.change(move |core| {
            let subject = subject.as_deref();
            let old = core.state().own_mode(subject);
            let changes = core.state().set_mode(subject, mode, force)?;
            core.commit(changes)?;
            tracing::info!(subject, mode = mode.map(Mode::as_str), "Set a mode of the registry.");
            Ok(old)
        })
        .await
    }
}

fn compare_with(
    core: &Core,
    subject: &str,
    new: &NewSchema,
    version: Option<u32>,
) -> Result<Vec<String>, RegistryError> {
    let (version, id) = core.state().version(subject, version, Shown::Live)?;
    let new = core.examine(subject, new, Shown::Live)?.parsed;
    Ok(rules::differences(core.state().level(Some(subject)), &new, &core.registered(id)?.schema, version))
}
