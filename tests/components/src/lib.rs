//! The real parts that tests run against: Apache Kafka, S3 servers, a schema registry and a proxy that breaks connections.
//!
//! Each starts on free ports of 127.0.0.1 in a folder of its own, is ready when its `start` returns, and ends when it is
//! dropped or when the process that started it ends, however that happens. `make components` installs them.
//!
//! ```no_run
//! # fn main() {
//! let kafka = forebay_components::require!(forebay_components::Kafka::shared());
//! println!("{}", kafka.brokers());
//! # }
//! ```

mod apicurio;
mod certificates;
pub mod http;
mod install;
mod kafka;
mod moto;
mod ports;
mod process;
mod s3;
mod toxiproxy;

use std::io::Write;

pub use apicurio::Apicurio;
pub use install::{directory, python};
pub use kafka::{Kafka, Secured, User};
pub use moto::Moto;
pub use s3::{Bucket, S3};
pub use toxiproxy::{Proxy, Stream, Toxic, Toxiproxy};

/// Why a component can't be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// It isn't installed here. A test may skip.
    #[error("{0} (`make components` installs it)")]
    Missing(String),
    /// This machine does not allow it. A test may skip.
    #[error("{0}")]
    NotAllowed(String),
    /// It is installed and does not work: the text says how it failed. A test fails.
    #[error("{0}")]
    Failed(String),
}

impl From<anyhow::Error> for Unavailable {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

/// The component, or `None` when it isn't installed and the test is to be skipped, which stderr is told.
///
/// # Panics
/// The component does not work, or it is missing while `FOREBAY_TEST_REQUIRE` is `all`.
#[allow(clippy::panic)]
pub fn available<T>(started: Result<T, Unavailable>) -> Option<T> {
    match started {
        Ok(component) => Some(component),
        Err(Unavailable::Missing(reason)) if !required() => {
            // Not by eprintln: of a test that passes, its output is kept back.
            let _ = writeln!(std::io::stderr(), "skipped: {reason} (`make components` installs it)");
            None
        }
        Err(Unavailable::NotAllowed(reason)) if !required() => {
            let _ = writeln!(std::io::stderr(), "skipped: {reason}");
            None
        }
        Err(unavailable) => panic!("{unavailable}"),
    }
}

fn required() -> bool {
    std::env::var("FOREBAY_TEST_REQUIRE").is_ok_and(|value| value == "all")
}

/// The component that an expression starts; when it isn't installed, the function returns, with the second argument if
/// there is one, and the test is skipped. Panics as [`available`] does.
#[macro_export]
macro_rules! require {
    ($started:expr) => {
        $crate::require!($started, ())
    };
    ($started:expr, $skipped:expr) => {
        match $crate::available($started) {
            Some(component) => component,
            None => return $skipped,
        }
    };
}
