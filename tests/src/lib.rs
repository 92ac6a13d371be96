//! The system from outside: start and kill it, load it, and audit what it promised, reading the log and the lake directly.

pub mod audit;
pub mod disk;
pub mod harness;
pub mod lake;
pub mod load;
pub mod process;
