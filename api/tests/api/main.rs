//! The service over real sockets, on a simulated log: every route, every limit, and what hostile clients do.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admin;
mod backpressure;
mod bodies;
mod connections;
mod contract;
mod docs;
mod drain;
mod http2;
mod limits;
mod logs;
mod problems;
mod publishing;
mod reading;
mod registry;
mod registry_away;
mod registry_both_sides;
mod registry_clients;
mod registry_trouble;
mod support;
