//! What the embedded registry takes and shows: plain values, close to Schema Registry's own words.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A reference by name only; its text is what the subject's version holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReferenceKey {
    /// The full name by which the referring schema uses it.
    pub name: String,
    /// Subject under which it is registered.
    pub subject: String,
    /// Its version under that subject.
    pub version: u32,
}

/// A schema that is handed in.
#[derive(Clone, Debug, Default)]
pub struct NewSchema {
    /// Its text.
    pub text: String,
    /// The schemas that it names itself; what those name is known.
    pub references: Vec<ReferenceKey>,
    /// Take its normal form for it.
    pub normalize: bool,
    /// Where it stood in another registry; in mode `IMPORT` only.
    pub origin: Option<Origin>,
}

/// Where an imported schema stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its id, kept.
    pub id: u32,
    /// Its version, kept; the next one if it is not known.
    pub version: Option<u32>,
}

/// A schema as it was registered.
#[derive(Clone, Debug)]
pub struct SchemaEntry {
    /// Global id, from 1.
    pub id: u32,
    /// Equal for equal schemas, in every embedded registry.
    pub guid: Uuid,
    /// Text as it was sent.
    pub text: Arc<str>,
    /// The schemas that it names itself.
    pub references: Vec<ReferenceKey>,
}

/// One version of a subject as it was registered.
#[derive(Clone, Debug)]
pub struct VersionEntry {
    /// The subject.
    pub subject: String,
    /// Its version.
    pub version: u32,
    /// Deleted, but not permanently.
    pub deleted: bool,
    /// What it holds.
    pub schema: SchemaEntry,
}

/// Which versions and subjects are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Those that are not deleted.
    Live,
    /// Those too that are deleted, but not permanently.
    All,
    /// Only those.
    Deleted,
}

impl Shown {
    /// Whether a version is looked at.
    pub(super) fn one(self, deleted: bool) -> bool {
        match self {
            Shown::Live => !deleted,
            Shown::All => true,
            Shown::Deleted => deleted,
        }
    }

    /// Whether a subject is, by its versions: one that has a live version is not deleted.
    pub(super) fn any(self, mut deleted: impl Iterator<Item = bool>) -> bool {
        match self {
            Shown::Live => deleted.any(|deleted| !deleted),
            Shown::All => true,
            Shown::Deleted => deleted.all(|deleted| deleted),
        }
    }
}
