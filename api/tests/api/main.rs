//! The service over real sockets, on a simulated log: every route, every limit, and what hostile clients do.

mod bodies;
mod connections;
mod support;
