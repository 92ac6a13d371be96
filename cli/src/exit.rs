//! How the command ends: exit codes, and failures as sentences that carry theirs.

use std::fmt::Display;

/// Exit codes, the same for every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Something went wrong.
    Error = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Nothing of that name, or nothing there.
    Nothing = 3,
    /// Some of many did not succeed.
    SomeFailed = 4,
    /// A guard said no: it would do harm, or someone else is at it.
    Refused = 5,
    /// A second Ctrl-C.
    Interrupted = 130,
}

/// Why a verb did not do as asked: a sentence that names the fix, and the exit code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The code.
    pub exit: Exit,
    /// The sentence.
    pub text: String,
}

impl Failure {
    /// Exit 1.
    pub fn error(text: impl Display) -> Self {
        Self::new(Exit::Error, text)
    }

    /// Exit 2.
    pub fn usage(text: impl Display) -> Self {
        Self::new(Exit::Usage, text)
    }

    /// Exit 3.
    pub fn nothing(text: impl Display) -> Self {
        Self::new(Exit::Nothing, text)
    }

    /// Any code.
    pub fn new(exit: Exit, text: impl Display) -> Self {
        Self { exit, text: text.to_string() }
    }
}

/// What every verb returns.
pub type Outcome = Result<(), Failure>;
