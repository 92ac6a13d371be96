//! How many bytes of bodies are under way to a store at once: on a slow link, more of them only make each time out.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bodies of all flushes of a connector together: four parts of the default size. With the default time of a request,
/// 60 s, a link of 1.7 MB/s is enough.
pub const IN_FLIGHT_BYTES: u64 = 100 << 20;
/// What is counted at once.
const UNIT: u64 = 1 << 20;

/// Room for bodies under way.
#[derive(Debug)]
pub struct Room {
    all: u32,
    free: Semaphore,
}

impl Room {
    /// For so many bytes.
    pub fn new(bytes: u64) -> Self {
        let all = units(bytes);
        Self { all, free: Semaphore::new(usize::try_from(all).unwrap_or(usize::MAX)) }
    }

    /// Waits until a body of `len` bytes may go, in the order of asking; one that is larger than everything goes alone.
    /// It is under way as long as the permit lives.
    pub async fn enter(&self, len: u64) -> Option<SemaphorePermit<'_>> {
        // An error would mean that it was closed, which it never is.
        self.free.acquire_many(units(len).min(self.all)).await.ok()
    }
}

/// At least one.
fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Mutex},
        time::Duration,
    };

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_under_way_stays_within_the_limit_and_everything_goes() {
        const MIB: u64 = 1 << 20;
        let room = Arc::new(Room::new(100 * MIB));
        let seen = Arc::new(Mutex::new((0, 0, 0)));
        let bodies = (0..40).map(|n| [25 * MIB, 7, 60 * MIB, 5000 * MIB][n % 4]);
        let tasks: Vec<_> = bodies
            .map(|len| {
                let (room, seen) = (Arc::clone(&room), Arc::clone(&seen));
                tokio::spawn(async move {
                    let permit = room.enter(len).await;
                    let counted = len.clamp(MIB, 100 * MIB);
                    {
                        let mut seen = seen.lock().unwrap();
                        seen.0 += counted;
                        seen.1 = seen.0.max(seen.1);
                        seen.2 += 1;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    seen.lock().unwrap().0 -= counted;
                    drop(permit);
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let (now, most, all) = *seen.lock().unwrap();
        assert_eq!((now, all), (0, 40));
        assert!((60 * MIB..=100 * MIB).contains(&most), "{most}");
    }
}
