//! Faults that last or come at a bad moment, over a simulated log in virtual time.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod bad_rate;
mod by_hand;
mod claims;
mod handover;
mod identity;
mod outages;
mod rewound;
mod taken;

use std::time::Duration;

use forebay_broker::TopicPartition;

const FAST: &str = r#"{"batch":{"max_age_ms":300}}"#;
const GROUP: &str = "connect-lake";

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

fn part() -> TopicPartition {
    TopicPartition::new("t", 0)
}
