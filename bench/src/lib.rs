//! What the benches share: CPU time, paired ratios with bootstrap intervals, result files.

pub mod cpu;
pub mod result;
pub mod sample;
pub mod stats;
