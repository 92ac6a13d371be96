//! One process per directory: a locked file that names its holder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, SeekFrom, Write},
    path::Path,
};

use super::space::told;
use crate::LogError;

/// Beside the database's own lock, which can't say who holds it.
const FILE: &str = "forebay.lock";

/// Held as long as this lives; the operating system lets go when the process dies, however it dies.
pub(super) struct DirLock(File);

impl Drop for DirLock {
    /// Unlocks by name, because closing is not enough: a child that another thread is starting just now holds a copy of
    /// the descriptor until its exec, and with it the lock.
    fn drop(&mut self) {
        let _ = self.0.unlock();
    }
}

impl DirLock {
    /// Takes the lock, or says who holds it. `dir` exists; `what` is in it.
    pub fn take(dir: &Path, what: &str) -> Result<Self, LogError> {
        let path = dir.join(FILE);
        let fail = |error: std::io::Error| {
            LogError::Unavailable(format!("{} can't be used: {}", path.display(), told(&error)))
        };
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::Unavailable(held(dir, what, &mut file))),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        // Only a hint for people, which a full disk may have no room for: the lock itself is what counts.
        let _ = file.set_len(0);
        let _ = file.seek(SeekFrom::Start(0)).and_then(|_| writeln!(file, "{}", std::process::id()));
        Ok(Self(file))
    }
}

fn held(dir: &Path, what: &str, file: &mut File) -> String {
    let mut pid = String::new();
    let holder = match file.take(32).read_to_string(&mut pid).ok().and_then(|_| pid.trim().parse::<u32>().ok()) {
        Some(pid) if pid == std::process::id() => "this very process".to_owned(),
        Some(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    format!(
        "the {what} in {} is in use by {holder}: stop that first, or talk to its API (--api URL); \
         one process at a time can open it",
        dir.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_holds_it_and_the_lock_goes_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::take(dir.path(), "log").unwrap();
        let error = DirLock::take(dir.path(), "log").err().unwrap().to_string();
        assert!(error.contains("this very process") && error.contains("--api"), "{error}");
        let in_a_child = first.0.try_clone().unwrap();
        drop(first);
        DirLock::take(dir.path(), "log").unwrap();
        drop(in_a_child);
    }
}
