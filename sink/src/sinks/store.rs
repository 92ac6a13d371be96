//! What the lake asks of a store of objects, a directory or a bucket. Creating is conditional, and each object carries
//! metadata by which a second writer recognises it.

use std::{collections::BTreeMap, fs::File, io, os::unix::fs::FileExt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;

use super::SinkError;

/// Longest key, in bytes, that every store takes.
pub const MAX_KEY_BYTES: usize = 1024;

/// Names and values kept with an object.
pub type Metadata = BTreeMap<String, String>;

/// Bytes of an object, in memory or in a temporary file without a name.
#[derive(Clone, Debug)]
pub enum Content {
    /// In memory.
    Memory(Bytes),
    /// Spilled: the file and its length.
    File(Arc<File>, u64),
}

impl Content {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(_, len) => *len,
        }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes held in memory.
    pub fn memory(&self) -> usize {
        match self {
            Self::Memory(bytes) => bytes.len(),
            Self::File(..) => 0,
        }
    }

    /// Copies everything; may be called again and from several threads.
    pub fn copy_to(&self, out: &mut impl io::Write) -> io::Result<()> {
        let (file, len) = match self {
            Self::Memory(bytes) => return out.write_all(bytes),
            Self::File(file, len) => (file, *len),
        };
        let mut buffer = vec![0; 256 << 10];
        let mut at = 0;
        while at < len {
            let want = usize::try_from(len - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..want).unwrap_or_default();
            file.read_exact_at(piece, at)?;
            out.write_all(piece)?;
            at += want as u64;
        }
        Ok(())
    }
}

/// Outcome of a conditional put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there now, durable.
    Created,
    /// Something was there already, with this metadata (`None`: it has none).
    Exists(Option<Metadata>),
}

/// A store of objects. Every error is the destination's, save `Stop`.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Its URL, as dead letters name it.
    fn describe(&self) -> String;
    /// Longest key it takes.
    fn max_key_bytes(&self) -> usize {
        MAX_KEY_BYTES
    }
    /// Can it create objects conditionally? Leaves nothing behind.
    async fn check(&self) -> Result<(), SinkError>;
    /// Creates an object unless the key is taken; durable, with its metadata, when it returns.
    async fn put_if_absent(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError>;
    /// Keys below `prefix/` whose last part begins with `name`, in no order.
    async fn list(&self, prefix: &str, name: &str) -> Result<Vec<String>, SinkError>;
    /// Metadata of an object; `None`: it is not there, or has none.
    async fn metadata(&self, key: &str) -> Result<Option<Metadata>, SinkError>;
    /// Removes what a crash left below `prefix/` and nobody will finish. Best effort.
    async fn tidy(&self, prefix: &str);
    /// A small control file.
    async fn control(&self, name: &str) -> Result<Option<String>, SinkError>;
    /// Writes a control file; without `replace` an existing one stays as it is.
    async fn put_control(&self, name: &str, text: &str, replace: bool) -> Result<(), SinkError>;
}
