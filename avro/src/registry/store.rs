//! A store that forgets: for tests and for runs without a directory.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{Change, RegistryError, RegistryStore, Row};

/// Keeps the registry's state in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<BTreeMap<Vec<u8>, Vec<u8>>>);

impl RegistryStore for MemoryStore {
    fn load(&self) -> Result<Vec<Row>, RegistryError> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(map.iter().map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, changes: &[Change]) -> Result<(), RegistryError> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in changes {
            match value {
                Some(value) => drop(map.insert(key.clone(), value.clone())),
                None => drop(map.remove(key)),
            }
        }
        Ok(())
    }
}
