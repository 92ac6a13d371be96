//! Bounds the memory of all topics' write buffers together: each has its own limit, their number has none.

use std::collections::HashMap;

use fjall::Keyspace;

use super::{open::RECORDS_BUFFER_BYTES, state::Topic};

/// Bytes of records in memory, of all topics, before the largest buffer is written to disk.
const MAX_BYTES: u64 = 64 << 20;

/// What was written to each topic since its buffer was last handed over.
#[derive(Default)]
pub(super) struct Buffers {
    bytes: HashMap<u64, (Keyspace, u64)>,
}

impl Buffers {
    pub fn add(&mut self, topic: &Topic, bytes: u64) {
        let (_, sum) = self.bytes.entry(topic.records.id()).or_insert_with(|| (topic.records.clone(), 0));
        *sum += bytes;
        if *sum >= RECORDS_BUFFER_BYTES {
            // The database hands over a full one by itself.
            self.bytes.remove(&topic.records.id());
        }
    }

    /// Hands the largest buffer over if all are too large together.
    pub fn relieve(&mut self) -> fjall::Result<()> {
        if self.bytes.values().map(|(_, bytes)| bytes).sum::<u64>() <= MAX_BYTES {
            return Ok(());
        }
        let largest = self.bytes.iter().max_by_key(|(_, (_, bytes))| *bytes).map(|(id, _)| *id);
        if let Some((records, _)) = largest.and_then(|id| self.bytes.remove(&id)) {
            // Public but undocumented in fjall 3.1; its own limit over all buffers is not implemented there.
            records.rotate_memtable()?;
        }
        Ok(())
    }
}
