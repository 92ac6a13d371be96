//! Whether the disk has room: records are refused before the log itself can't be written any more.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::sync::lock;

/// Between two looks at the disk.
const EVERY: Duration = Duration::from_millis(100);
/// Wanted free by default: what tidying up a busy topic takes at once, and some.
const MIN_FREE_BYTES: u64 = 512 << 20;
/// The part of a smaller disk that is.
const MIN_FREE_PART: u64 = 10;

/// Free bytes below which a log in `dir` refuses records: as configured; else 512 MiB, or a tenth of a disk of less than
/// 5 GiB.
pub fn min_free_bytes(dir: &Path, configured: Option<u64>) -> u64 {
    let part = |stat: rustix::fs::StatVfs| stat.f_blocks.saturating_mul(stat.f_frsize) / MIN_FREE_PART;
    let default = || rustix::fs::statvfs(dir).map_or(MIN_FREE_BYTES, |stat| part(stat).min(MIN_FREE_BYTES));
    configured.unwrap_or_else(default)
}

/// The log's disk. Tells when room runs out, and when there is some again; not each time that someone asks.
pub(super) struct FreeSpace {
    dir: PathBuf,
    min_bytes: u64,
    last: Mutex<Look>,
}

struct Look {
    at: Option<Instant>,
    found: Result<(), String>,
}

impl FreeSpace {
    pub fn new(dir: PathBuf, min_bytes: u64) -> Self {
        Self { dir, min_bytes, last: Mutex::new(Look { at: None, found: Ok(()) }) }
    }

    /// The reason why nothing should be added now, if so. At most [`EVERY`] old.
    pub fn check(&self) -> Result<(), String> {
        let mut last = lock(&self.last);
        if last.at.is_none_or(|at| at.elapsed() >= EVERY) {
            let found = look(&self.dir, self.min_bytes);
            match (&last.found, &found) {
                (Ok(()), Err(reason)) => tracing::warn!(reason, "The log takes no records until there is room."),
                (Err(_), Ok(())) => tracing::info!("There is room on the log's disk: it takes records again."),
                _ => {}
            }
            *last = Look { at: Some(Instant::now()), found };
        }
        last.found.clone()
    }
}

/// An I/O error with what to do about it, where that is known.
pub(super) fn told(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => format!("{error}: make room"),
        std::io::ErrorKind::ReadOnlyFilesystem => format!("{error}: mount it for writing"),
        _ => error.to_string(),
    }
}

fn look(dir: &Path, min_bytes: u64) -> Result<(), String> {
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        // What can't be told must not stop the log: a full disk would then show as an I/O error.
        return Ok(());
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= min_bytes {
        return Ok(());
    }
    Err(format!(
        "the disk of {} has {} MiB free, and the log wants {} MiB (broker.min_free_bytes): make room",
        dir.display(),
        free >> 20,
        min_bytes >> 20
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_of_too_little_room() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(FreeSpace::new(dir.path().into(), 0).check(), Ok(()));
        let reason = FreeSpace::new(dir.path().into(), u64::MAX).check().unwrap_err();
        assert!(reason.contains("broker.min_free_bytes"), "{reason}");
    }

    #[test]
    fn a_small_disk_is_not_all_reserve() {
        let dir = tempfile::tempdir().unwrap();
        let stat = rustix::fs::statvfs(dir.path()).unwrap();
        let default = min_free_bytes(dir.path(), None);
        assert_eq!(default, (512 << 20).min(stat.f_blocks * stat.f_frsize / 10));
        assert_eq!(min_free_bytes(dir.path(), Some(7)), 7);
        assert_eq!(min_free_bytes(&dir.path().join("missing"), None), 512 << 20);
    }
}
