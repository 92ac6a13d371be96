//! Room that files leave on a disk, because someone else needs it there.

use std::{os::unix::fs::MetadataExt, path::PathBuf};

use super::super::SinkError;

/// What a lake leaves free, if it lies on the same disk as the log: a log that can't write must end its process, a lake
/// that can't only waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// Where the log is.
    pub dir: PathBuf,
    /// Bytes left free.
    pub bytes: u64,
}

impl Reserve {
    /// Refuses `more` bytes in `root` for now if they would not leave it. What can't be told is allowed: the write will
    /// tell.
    pub fn allows(&self, root: &std::path::Path, more: u64) -> Result<(), SinkError> {
        let disk = |dir| std::fs::metadata(dir).map(|meta| meta.dev());
        let (Ok(ours), Ok(theirs), Ok(stat)) = (disk(root), disk(&self.dir), rustix::fs::statvfs(root)) else {
            return Ok(());
        };
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if ours != theirs || free >= self.bytes.saturating_add(more) {
            return Ok(());
        }
        Err(SinkError::retry(format!(
            "the disk of {} has {} MiB free, of which the log in {} needs {} MiB (half of broker.min_free_bytes): make room",
            root.display(),
            free >> 20,
            self.dir.display(),
            self.bytes >> 20
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_keeps_its_room_on_its_own_disk_only() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = |bytes| Reserve { dir: dir.path().to_owned(), bytes };
        assert!(reserve(0).allows(dir.path(), 1).is_ok());
        let told = reserve(u64::MAX / 2).allows(dir.path(), 1).unwrap_err().to_string();
        assert!(told.contains("broker.min_free_bytes") && told.contains("make room"), "{told}");
        assert!(reserve(0).allows(dir.path(), u64::MAX / 2).is_err(), "what is to be written counts");
        assert!(reserve(u64::MAX).allows(std::path::Path::new("/proc"), 1).is_ok(), "another disk");
        assert!(reserve(u64::MAX).allows(&dir.path().join("missing"), 1).is_ok());
    }
}
