//! Events in over HTTP: limits, check and encode, address, produce; one honest answer per event.

pub mod config;
pub mod control;
pub mod names;
mod server;

pub use config::Settings;
pub use control::ConnectorControl;
pub use server::{Deps, Drained, Listeners, ServeError, serve};
