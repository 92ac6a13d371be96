//! From the log to stores: connectors, their tasks, batches, exactly-once commits and dead letters.
//!
//! A record's way: `connector` starts tasks; `task` polls, and is the only place that commits; `converter` turns
//! records into rows; `sinks` write them; `dlq` takes what can't be written. `batch`, `watermark`, `retry`, `intent`
//! and `partitioner` decide, and do no I/O.

pub mod batch;
pub mod breaker;
pub mod config;
pub mod connector;
pub mod converter;
pub mod dlq;
pub mod formats;
pub mod intent;
pub mod memory;
pub mod metrics;
pub mod partitioner;
pub mod retry;
pub mod sinks;
pub mod status;
pub mod task;
pub mod watermark;

/// A named crash point of the tests; nothing without the feature `failpoints`.
macro_rules! crash_point {
    ($name:expr) => {
        fail::fail_point!($name)
    };
}
pub(crate) use crash_point;
