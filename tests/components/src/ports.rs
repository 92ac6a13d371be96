//! Ports to listen on, chosen before the listener exists because its configuration must name them.

use std::{
    hash::{BuildHasher, RandomState},
    net::TcpListener,
    sync::{LazyLock, Mutex, PoisonError},
};

use anyhow::{Result, bail};

/// Below the ports that Linux gives to outgoing connections, so that a port stays free while its component restarts.
const RANGE: std::ops::Range<u16> = 15_000..32_000;

static NEXT: LazyLock<Mutex<u16>> = LazyLock::new(|| Mutex::new(RANGE.start + random_below(RANGE.len() as u64)));

#[allow(clippy::cast_possible_truncation)]
fn random_below(limit: u64) -> u16 {
    (random() % limit) as u16
}

/// A number that other processes hardly draw too.
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// A port of 127.0.0.1 on which nothing listens. No two calls of one process give the same.
pub fn free() -> Result<u16> {
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in RANGE {
        let port = *next;
        *next = if port + 1 < RANGE.end { port + 1 } else { RANGE.start };
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port of {RANGE:?} is free")
}
