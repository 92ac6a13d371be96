//! File formats: rows to encoded bytes.

pub mod columns;
pub mod parquet;
pub mod spill;
