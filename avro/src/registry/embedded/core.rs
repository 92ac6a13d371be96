//! What the embedded registry does, without waiting for turns: examine, compare, commit.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use super::{
    super::{
        Change, NewSchema, ReferenceKey, Registered, RegistryError, RegistryStore, Shown,
        normalize::normalize,
        rules,
        state::{State, StoredSchema, check_own_subject},
    },
    parsed::Parsed,
};
use crate::schema::{
    Reference, Schema,
    limits::{MAX_NAME_BYTES, MAX_REFERENCES},
    names::clip,
};

/// State, its store, and what was parsed of it.
pub(super) struct Core {
    store: Arc<dyn RegistryStore>,
    state: RwLock<State>,
    parsed: Mutex<Parsed>,
}

/// A schema that was handed in, once it is known to be one.
pub(super) struct Examined {
    pub(super) stored: StoredSchema,
    pub(super) parsed: Schema,
    /// The version that holds it already, and its id.
    pub(super) known: Option<(u32, u32)>,
}

impl Core {
    pub(super) fn new(store: Arc<dyn RegistryStore>, state: State) -> Self {
        Self { store, state: RwLock::new(state), parsed: Mutex::default() }
    }

    pub(super) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a schema: its version and its id.
    pub(super) fn register(&self, subject: &str, new: &NewSchema) -> Result<(u32, u32), RegistryError> {
        let Examined { stored, parsed, known } = self.examine(subject, new, Shown::Live)?;
        match (known, new.origin) {
            (Some(known), None) => return Ok(known),
            (_, origin) => self.state().check_registers(subject, origin)?,
        }
        if new.origin.is_none() {
            let (version, differences) = self.compare(subject, &parsed)?;
            if !differences.is_empty() {
                let level = self.state().level(Some(subject));
                return Err(RegistryError::Incompatible { subject: subject.to_owned(), version, level, differences });
            }
        }
        let (version, id, changes) = self.state().add(subject, &stored, new.origin)?;
        self.commit(changes)?;
        tracing::info!(subject, version, id, "Registered a schema.");
        Ok((version, id))
    }

    /// Parses a schema under its limits, and looks for it among the versions of the subject that are shown.
    pub(super) fn examine(&self, subject: &str, new: &NewSchema, shown: Shown) -> Result<Examined, RegistryError> {
        check_own_subject(subject)?;
        check_references(&new.references)?;
        let references = self.state().resolve(&new.references, shown)?;
        let mut parsed = parse(&new.text, &references)?;
        let mut text: Arc<str> = new.text.as_str().into();
        if new.normalize {
            text = normalize(&text).into();
            parsed = parse(&text, &references)?;
        }
        let stored = StoredSchema { schema: text, references: new.references.clone() };
        let known = self.state().find(subject, stored.identity(), shown);
        if known.is_none() {
            readable_elsewhere(&stored.schema, &references)?;
        }
        Ok(Examined { stored, parsed, known })
    }

    /// Compares a new schema by the subject's level: the first version that it does not go with, and why.
    pub(super) fn compare(&self, subject: &str, new: &Schema) -> Result<(u32, Vec<String>), RegistryError> {
        let (level, versions) = {
            let state = self.state();
            (state.level(Some(subject)), state.versions(subject, Shown::Live).unwrap_or_default())
        };
        let numbers: Vec<u32> = versions.iter().map(|(number, _)| *number).collect();
        for version in level.compared(&numbers) {
            let Some((_, id)) = versions.iter().find(|(number, _)| *number == version) else { continue };
            let differences = rules::differences(level, new, &self.registered(*id)?.schema, version);
            if !differences.is_empty() {
                return Ok((version, differences));
            }
        }
        Ok((0, Vec::new()))
    }

    /// Makes changes durable, then visible.
    pub(super) fn commit(&self, changes: Vec<Change>) -> Result<(), RegistryError> {
        if changes.is_empty() {
            return Ok(());
        }
        let changes = self.state().stamped(changes)?;
        self.store.write(&changes)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        changes.iter().try_for_each(|(key, value)| state.apply(key, value.as_deref()))?;
        if changes.iter().any(|(_, value)| value.is_none()) {
            let mut parsed = self.parsed.lock().unwrap_or_else(PoisonError::into_inner);
            parsed.retain(|id| state.schema(id).is_ok());
        }
        Ok(())
    }

    pub(super) fn registered(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        if let Some(registered) = self.parsed(id) {
            return Ok(registered);
        }
        let (stored, references) = {
            let state = self.state();
            let stored = state.schema(id)?.clone();
            let references = state.resolve(&stored.references, Shown::All)?;
            (stored, references)
        };
        let registered = Arc::new(Registered { id, schema: parse(&stored.schema, &references)? });
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).put(registered.clone());
        Ok(registered)
    }

    pub(super) fn parsed(&self, id: u32) -> Option<Arc<Registered>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).get(id)
    }
}

fn parse(text: &str, references: &[Reference]) -> Result<Schema, RegistryError> {
    Schema::parse(text, references).map_err(|e| RegistryError::Invalid(e.to_string()))
}

/// What is stored of references is bounded like everything else.
fn check_references(references: &[ReferenceKey]) -> Result<(), RegistryError> {
    if references.len() > MAX_REFERENCES {
        let problem = format!("{} references, over the limit of {MAX_REFERENCES}", references.len());
        return Err(RegistryError::Invalid(problem));
    }
    for reference in references {
        if reference.name.len() > MAX_NAME_BYTES {
            let name = clip(&reference.name);
            let problem = format!("the name {name:?}... of a reference is over the limit of {MAX_NAME_BYTES} bytes");
            return Err(RegistryError::Invalid(problem));
        }
        check_own_subject(&reference.subject)?;
    }
    Ok(())
}

/// A new schema must be one that Avro's own library reads too: records outlive the software that wrote them.
fn readable_elsewhere(text: &str, references: &[Reference]) -> Result<(), RegistryError> {
    let parsed = match references {
        [] => apache_avro::Schema::parse_str(text).map(drop),
        _ => apache_avro::Schema::parse_str_with_list(text, references.iter().map(|r| &r.schema)).map(drop),
    };
    parsed.map_err(|error| {
        RegistryError::Invalid(format!(
            "Apache Avro's own library can't read this schema: {error}; change it so that every reader can"
        ))
    })
}
