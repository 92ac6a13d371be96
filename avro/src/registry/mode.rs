//! Modes: what may be changed in the registry, in one subject or in all.

use std::{fmt, str::FromStr};

use super::RegistryError;

/// What may be changed, in Schema Registry's words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Mode {
    /// Everything; ids are given by the registry.
    #[default]
    Readwrite,
    /// Nothing but modes.
    Readonly,
    /// As `Readonly`, and stronger than any subject's own mode; for the whole registry.
    ReadonlyOverride,
    /// Schemas come with their id, and perhaps their version, from another registry; no level is asked.
    Import,
}

impl Mode {
    /// All modes.
    pub const ALL: [Mode; 4] = [Mode::Readwrite, Mode::Readonly, Mode::ReadonlyOverride, Mode::Import];

    /// Its name in Schema Registry's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Readwrite => "READWRITE",
            Mode::Readonly => "READONLY",
            Mode::ReadonlyOverride => "READONLY_OVERRIDE",
            Mode::Import => "IMPORT",
        }
    }

    pub(super) fn is_read_only(self) -> bool {
        matches!(self, Mode::Readonly | Mode::ReadonlyOverride)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = RegistryError;

    /// Any case is taken.
    fn from_str(text: &str) -> Result<Self, RegistryError> {
        Self::ALL.into_iter().find(|mode| mode.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
            let names = Self::ALL.map(Mode::as_str).join(", ");
            RegistryError::Invalid(format!("mode {:?} is none of {names}", super::clip(text)))
        })
    }
}
