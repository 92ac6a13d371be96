//! The client to a registry elsewhere: against answers made up, recorded, and those of an independent registry.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod apicurio;
mod calls;
mod faults;
mod memory;
mod recorded;
mod support;
mod tls;
