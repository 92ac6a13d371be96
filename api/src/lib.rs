//! Events in over HTTP: limits, check and encode, address, produce; one honest answer per event.

mod address;
mod admission;
mod answer;
mod body;
pub mod config;
mod conn;
mod context;
pub mod control;
mod encoders;
mod io;
mod latest;
mod layers;
mod metrics;
pub mod names;
mod negotiate;
pub mod openapi;
mod prepare;
mod probe;
pub mod problem;
mod publish;
mod query;
mod routes;
mod schema_files;
mod server;
mod state;
mod topics;

pub use config::Settings;
pub use control::ConnectorControl;
pub use server::{Deps, Drained, Listeners, ServeError, serve};
