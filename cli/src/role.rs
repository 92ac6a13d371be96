//! Which parts a process runs: everything (`up`), the service that takes events (`api`), the connectors (`sink`). Pure.

use crate::{config::Config, exit::Failure};

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Everything.
    Up,
    /// Takes events, delivers none.
    Api,
    /// Delivers records, takes none.
    Sink,
}

impl Role {
    /// Whether it listens for events.
    pub fn takes_events(self) -> bool {
        self != Self::Sink
    }

    /// Whether it runs the connectors.
    pub fn delivers(self) -> bool {
        self != Self::Api
    }

    /// Refuses a configuration under which this role could do nothing, or something wrong.
    pub fn allows(self, config: &Config) -> Result<(), Failure> {
        if self != Self::Sink {
            return Ok(());
        }
        if let Some(log) = config.local_log() {
            return Err(Failure::usage(format!(
                "`forebay sink` works beside another process, and the log in {} can be opened by one only: use \
                 `forebay up`, or set broker.url to kafka://host:port",
                log.display()
            )));
        }
        if config.registry_is_embedded() {
            return Err(Failure::usage(
                "`forebay sink` reads schemas from a registry that it shares with the API: add its address to \
                 forebay.yaml, e.g.\n  registry: {url: \"http://127.0.0.1:8081\"}",
            ));
        }
        if config.connectors.is_empty() {
            return Err(Failure::usage("`forebay sink` has nothing to run: `connectors:` is empty"));
        }
        Ok(())
    }
}
