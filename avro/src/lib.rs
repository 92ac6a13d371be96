//! What the bytes mean: schemas, the registry's rules, JSON to Avro, Avro to JSON and Arrow. No server, no log, no Python.

pub mod arrow;
pub mod compat;
pub mod decode;
pub mod encode;
pub mod event;
pub mod event_back;
pub mod frame;
pub mod json;
pub mod json_schema;
pub mod plan;
pub mod registry;
pub mod schema;
pub mod violation;
pub mod walk;
