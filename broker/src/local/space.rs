//! Whether the disk has room: records are refused before the log itself can't be written any more.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// Between two looks at the disk.
const EVERY: Duration = Duration::from_millis(100);

pub(super) struct FreeSpace {
    dir: PathBuf,
    min_bytes: u64,
    looked: Option<Instant>,
    last: Result<(), String>,
}

impl FreeSpace {
    pub fn new(dir: PathBuf, min_bytes: u64) -> Self {
        Self { dir, min_bytes, looked: None, last: Ok(()) }
    }

    /// The reason why nothing should be added now, if so. At most [`EVERY`] old.
    pub fn check(&mut self) -> Result<(), String> {
        if self.looked.is_none_or(|looked| looked.elapsed() >= EVERY) {
            self.looked = Some(Instant::now());
            self.last = look(&self.dir, self.min_bytes);
        }
        self.last.clone()
    }
}

/// Looks now.
pub(super) fn look(dir: &Path, min_bytes: u64) -> Result<(), String> {
    let Ok(stat) = rustix::fs::statvfs(dir) else {
        // What can't be told must not stop the log: a full disk would then show as an I/O error.
        return Ok(());
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= min_bytes {
        return Ok(());
    }
    Err(format!(
        "the disk of {} has {} MiB free, less than broker.min_free_bytes ({} MiB): make room",
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
}
