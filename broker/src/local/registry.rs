//! The embedded schema registry's state, in a keyspace of the log's database.

use std::sync::{Arc, mpsc};

use forebay_avro::registry::{RegistryError, RegistryStore};

use super::{
    state::{Shared, reason},
    writer::{Job, Put, PutOutcome},
};

pub(super) struct Store {
    shared: Arc<Shared>,
}

impl Store {
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl RegistryStore for Store {
    fn load(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RegistryError> {
        let pair = |entry: fjall::Guard| {
            let (key, value) = entry.into_inner().map_err(|error| RegistryError::Unavailable(reason(&error)))?;
            Ok((key.to_vec(), value.to_vec()))
        };
        self.shared.small.registry.iter().map(pair).collect()
    }

    /// Blocks for one commit group.
    fn put(&self, pairs: &[(Vec<u8>, Vec<u8>)]) -> Result<(), RegistryError> {
        let registry = &self.shared.small.registry;
        let pairs = pairs.iter().map(|(key, value)| (registry.clone(), key.clone(), Some(value.clone()))).collect();
        let (reply, answer) = mpsc::sync_channel(1);
        let done = Box::new(move |outcome| {
            let _ = reply.send(outcome);
        });
        let refused = |_| RegistryError::Unavailable("the log is closed or has too much to do".to_owned());
        self.shared.queue.push_other(Job::Put(Put { needs: None, pairs, done })).map_err(refused)?;
        match answer.recv() {
            Ok(PutOutcome::Durable) => Ok(()),
            Ok(PutOutcome::Unknown(reason) | PutOutcome::Refused(reason)) => Err(RegistryError::Unavailable(reason)),
            Ok(PutOutcome::TopicGone) | Err(_) => Err(RegistryError::Unavailable("the log ended".to_owned())),
        }
    }
}
