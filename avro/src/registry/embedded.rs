//! The registry inside this process: all state in memory, every change durable in its store before it can be seen.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard},
};

use async_trait::async_trait;

use super::{
    Compatibility, Registered, Registry, RegistryError, RegistryStore, Row, Version, rules,
    state::{State, StoredReference, StoredSchema, check_subject},
};
use crate::schema::{Reference, Schema};

/// Most parsed schemas kept; others are parsed again when they are asked for.
const PARSED_SCHEMAS: usize = 1_000;
/// Most bytes of text of the parsed schemas kept.
const PARSED_BYTES: usize = 8 << 20;

/// The embedded registry. Cheap to clone; clones share their state. Only one may be open on a store.
#[derive(Clone)]
pub struct Embedded {
    core: Arc<Core>,
    /// Changes run one after another, each on a thread that may block.
    changes: Arc<tokio::sync::Mutex<()>>,
}

struct Core {
    store: Arc<dyn RegistryStore>,
    state: RwLock<State>,
    parsed: Mutex<Parsed>,
}

/// Parsed schemas by id, with the time of their last use.
#[derive(Default)]
struct Parsed {
    schemas: HashMap<u32, (u64, Arc<Registered>)>,
    bytes: usize,
    clock: u64,
}

impl Embedded {
    /// Opens the registry that a store holds; an empty store is an empty registry. Blocks on the store.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] if the store can't be read, is broken, or is of a newer format.
    pub fn open(store: Arc<dyn RegistryStore>) -> Result<Self, RegistryError> {
        let state = RwLock::new(State::load(store.load()?)?);
        let core = Core { store, state, parsed: Mutex::default() };
        Ok(Self { core: Arc::new(core), changes: Arc::default() })
    }

    /// Runs a change alone. It goes on to its end even if the caller goes away.
    async fn change<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Core) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let turn = self.changes.clone().lock_owned().await;
        self.blocking(move |core| {
            let _turn = turn;
            f(core)
        })
        .await
    }

    /// Runs what parses or waits for the store on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Core) -> Result<T, RegistryError> + Send + 'static,
    ) -> Result<T, RegistryError> {
        let core = self.core.clone();
        let done = tokio::task::spawn_blocking(move || f(&core)).await;
        done.unwrap_or_else(|e| Err(RegistryError::Unavailable(format!("its task ended: {e}"))))
    }

    /// One version, from memory where it was parsed before.
    async fn find(&self, subject: &str, version: Option<u32>) -> Result<Arc<Version>, RegistryError> {
        let (version, id) = self.core.state().version(subject, version)?;
        let registered = self.by_id(id).await?;
        Ok(Arc::new(Version { subject: subject.to_owned(), version, registered }))
    }
}

#[async_trait]
impl Registry for Embedded {
    async fn by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        match self.core.parsed(id) {
            Some(registered) => Ok(registered),
            None => self.blocking(move |core| core.registered(id)).await,
        }
    }

    async fn latest(&self, subject: &str) -> Result<Arc<Version>, RegistryError> {
        self.find(subject, None).await
    }

    async fn version(&self, subject: &str, version: u32) -> Result<Arc<Version>, RegistryError> {
        self.find(subject, Some(version)).await
    }

    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        Ok(self.core.state().subjects())
    }

    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        Ok(self.core.state().versions(subject)?.keys().copied().collect())
    }

    async fn register(
        &self,
        subject: &str,
        text: &str,
        references: &[Reference],
    ) -> Result<Arc<Version>, RegistryError> {
        let (subject, schema) = (subject.to_owned(), stored(text, references));
        self.change(move |core| core.register(&subject, &schema)).await
    }

    async fn check(&self, subject: &str, text: &str, references: &[Reference]) -> Result<Vec<String>, RegistryError> {
        let (subject, schema) = (subject.to_owned(), stored(text, references));
        self.blocking(move |core| {
            let (parsed, known) = core.examine(&subject, &schema)?;
            Ok(if known.is_some() { Vec::new() } else { core.compare(&subject, &parsed)?.1 })
        })
        .await
    }

    async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility, RegistryError> {
        Ok(self.core.state().level(subject))
    }

    async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<(), RegistryError> {
        subject.map_or(Ok(()), check_subject)?;
        let row = State::set_level(subject, level)?;
        self.change(move |core| core.commit(vec![row])).await
    }
}

/// A schema as it will be stored. The texts of references are the registry's own, found by subject and version.
fn stored(text: &str, references: &[Reference]) -> StoredSchema {
    let reference =
        |r: &Reference| StoredReference { name: r.name.clone(), subject: r.subject.clone(), version: r.version };
    StoredSchema { schema: text.into(), references: references.iter().map(reference).collect() }
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

impl Core {
    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&self, subject: &str, schema: &StoredSchema) -> Result<Arc<Version>, RegistryError> {
        let (parsed, known) = self.examine(subject, schema)?;
        if let Some((version, id)) = known {
            let registered = self.registered(id)?;
            return Ok(Arc::new(Version { subject: subject.to_owned(), version, registered }));
        }
        let (version, differences) = self.compare(subject, &parsed)?;
        if !differences.is_empty() {
            let level = self.state().level(Some(subject));
            return Err(RegistryError::Incompatible { subject: subject.to_owned(), version, level, differences });
        }
        let (version, id, rows) = self.state().add(subject, schema)?;
        self.commit(rows)?;
        let registered = self.registered(id)?;
        tracing::info!(subject, version, id, "Registered a schema.");
        Ok(Arc::new(Version { subject: subject.to_owned(), version, registered }))
    }

    /// Parses a schema under its limits; its version and id if the subject has it already.
    fn examine(&self, subject: &str, schema: &StoredSchema) -> Result<(Schema, Option<(u32, u32)>), RegistryError> {
        check_subject(subject)?;
        let references = self.state().resolve(&schema.references)?;
        let parsed = parse(schema, &references)?;
        let state = self.state();
        let known = state.id_of(schema).and_then(|id| {
            let versions = state.versions(subject).ok()?;
            versions.iter().rev().find(|(_, other)| **other == id).map(|(version, id)| (*version, *id))
        });
        if known.is_none() {
            readable_elsewhere(&schema.schema, &references)?;
        }
        Ok((parsed, known))
    }

    /// Compares a new schema by the subject's level: the first version that it does not go with, and why.
    fn compare(&self, subject: &str, new: &Schema) -> Result<(u32, Vec<String>), RegistryError> {
        let (level, versions) = {
            let state = self.state();
            let versions = state.versions(subject).cloned().unwrap_or_default();
            (state.level(Some(subject)), versions)
        };
        let numbers: Vec<u32> = versions.keys().copied().collect();
        for version in level.compared(&numbers) {
            let Some(id) = versions.get(&version) else { continue };
            let differences = rules::differences(level, new, &self.registered(*id)?.schema, version);
            if !differences.is_empty() {
                return Ok((version, differences));
            }
        }
        Ok((0, Vec::new()))
    }

    /// Makes rows durable, then visible.
    fn commit(&self, rows: Vec<Row>) -> Result<(), RegistryError> {
        self.store.put(&rows)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        rows.iter().try_for_each(|(key, value)| state.apply(key, value))
    }

    fn registered(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        if let Some(registered) = self.parsed(id) {
            return Ok(registered);
        }
        let (stored, references) = {
            let state = self.state();
            let stored = state.schema(id)?.clone();
            let references = state.resolve(&stored.references)?;
            (stored, references)
        };
        let registered = Arc::new(Registered { id, schema: parse(&stored, &references)? });
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).put(registered.clone());
        Ok(registered)
    }

    fn parsed(&self, id: u32) -> Option<Arc<Registered>> {
        self.parsed.lock().unwrap_or_else(PoisonError::into_inner).get(id)
    }
}

fn parse(schema: &StoredSchema, references: &[Reference]) -> Result<Schema, RegistryError> {
    Schema::parse(&schema.schema, references).map_err(|e| RegistryError::Invalid(e.to_string()))
}

impl Parsed {
    fn get(&mut self, id: u32) -> Option<Arc<Registered>> {
        self.clock += 1;
        let (used, registered) = self.schemas.get_mut(&id)?;
        *used = self.clock;
        Some(registered.clone())
    }

    /// Adds a schema, and drops those unused for longest while there are too many.
    fn put(&mut self, registered: Arc<Registered>) {
        self.clock += 1;
        self.bytes += size(&registered);
        if let Some((_, old)) = self.schemas.insert(registered.id, (self.clock, registered)) {
            self.bytes -= size(&old);
        }
        while self.schemas.len() > PARSED_SCHEMAS || (self.bytes > PARSED_BYTES && self.schemas.len() > 1) {
            let oldest = self.schemas.iter().min_by_key(|(_, (used, _))| *used).map(|(id, _)| *id);
            let Some((_, dropped)) = oldest.and_then(|id| self.schemas.remove(&id)) else { break };
            self.bytes -= size(&dropped);
        }
    }
}

/// Bytes of text behind a parsed schema.
fn size(registered: &Registered) -> usize {
    let references = registered.schema.references().iter().map(|r| r.schema.len()).sum::<usize>();
    registered.schema.text().len() + references
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parsed_schemas_are_bounded_and_the_used_ones_stay() {
        let schema = Schema::parse("\"int\"", &[]).unwrap();
        let mut parsed = Parsed::default();
        for id in 0..PARSED_SCHEMAS as u32 + 10 {
            parsed.put(Arc::new(Registered { id, schema: schema.clone() }));
            assert!(parsed.get(0).is_some(), "used all the time");
        }
        assert_eq!((parsed.schemas.len(), parsed.bytes), (PARSED_SCHEMAS, PARSED_SCHEMAS * 5));
        assert!(parsed.get(1).is_none());
        let large = Schema::parse(&format!("\"int\"{}", " ".repeat(1_000_000)), &[]).unwrap();
        for id in 5_000..5_020 {
            parsed.put(Arc::new(Registered { id, schema: large.clone() }));
        }
        assert_eq!(parsed.schemas.len(), PARSED_BYTES / 1_000_005);
    }
}
