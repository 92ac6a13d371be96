//! The embedded schema registry's state: in a keyspace of the log's database, or, where the log is elsewhere, in a
//! directory of its own.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use fjall::{Database, Keyspace, PersistMode};
use forebay_avro::registry::{Change, RegistryError, RegistryStore, Row};

use super::{
    keys::REGISTRY,
    lock::DirLock,
    open,
    state::{Shared, reason},
    writer::{Job, Put, PutOutcome},
};
use crate::LogError;

/// Cache of a registry's own database: it is read once, at its start.
const CACHE_BYTES: u64 = 1 << 20;

pub(super) struct Store {
    shared: Arc<Shared>,
}

impl Store {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl RegistryStore for Store {
    fn load(&self) -> Result<Vec<Row>, RegistryError> {
        rows(&self.shared.small.registry)
    }

    /// Blocks for one commit group.
    fn write(&self, changes: &[Change]) -> Result<(), RegistryError> {
        let registry = &self.shared.small.registry;
        let pairs = changes.iter().map(|(key, value)| (registry.clone(), key.clone(), value.clone())).collect();
        let (reply, answer) = mpsc::sync_channel(1);
        let done = Box::new(move |outcome| {
            let _ = reply.send(outcome);
        });
        let refused = |_| RegistryError::Unavailable("the log is closed or has too much to do".to_owned());
        self.shared.queue.push_other(Job::Put(Put { needs: Vec::new(), pairs, done })).map_err(refused)?;
        match answer.recv() {
            Ok(PutOutcome::Durable) => Ok(()),
            Ok(PutOutcome::Unknown(reason) | PutOutcome::Refused(reason)) => Err(RegistryError::Unavailable(reason)),
            Ok(PutOutcome::TopicGone) | Err(_) => Err(RegistryError::Unavailable("the log ended".to_owned())),
        }
    }
}

/// Opens or makes the state of an embedded registry in a directory of its own, which is locked until this is dropped.
/// Reads the journal, so call it off the async runtime.
pub fn registry_store(dir: &Path) -> Result<Arc<dyn RegistryStore>, LogError> {
    let open::Opened { db, dir, lock } = open::database(dir, "schema registry", CACHE_BYTES)?;
    let rows = open::small(&db, REGISTRY).map_err(|error| LogError::Fatal(reason(&error)))?;
    tracing::info!(dir = %dir.display(), "The embedded schema registry is open.");
    Ok(Arc::new(Alone { rows, db, _lock: lock }))
}

struct Alone {
    rows: Keyspace,
    db: Database,
    /// Last, so that it outlives the database.
    _lock: DirLock,
}

impl RegistryStore for Alone {
    fn load(&self) -> Result<Vec<Row>, RegistryError> {
        rows(&self.rows)
    }

    fn write(&self, changes: &[Change]) -> Result<(), RegistryError> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncAll));
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(&self.rows, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.rows, key.as_slice()),
            }
        }
        batch.commit().map_err(|error| RegistryError::Unavailable(reason(&error)))
    }
}

fn rows(keyspace: &Keyspace) -> Result<Vec<Row>, RegistryError> {
    let pair = |entry: fjall::Guard| {
        let (key, value) = entry.into_inner().map_err(|error| RegistryError::Unavailable(reason(&error)))?;
        Ok((key.to_vec(), value.to_vec()))
    };
    keyspace.iter().map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_of_its_own_keeps_what_it_took_and_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("registry");
        let row = |n: u8| (vec![n], vec![n, n]);
        let set = |n: u8| (vec![n], Some(vec![n, n]));
        let store = registry_store(&place).unwrap();
        store.write(&[set(2), set(1), set(3)]).unwrap();
        store.write(&[(vec![3], None)]).unwrap();
        let error = registry_store(&place).err().unwrap().to_string();
        assert!(error.contains("the schema registry in") && error.contains("in use"), "{error}");
        drop(store);
        let store = registry_store(&place).unwrap();
        assert_eq!(store.load().unwrap(), [row(1), row(2)]);
    }
}
