//! A folder for temporary files below `data_dir/tmp`, for one process at a time. Several workers may share a data
//! directory; each takes the first folder that is free, and one whose process died is free again.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    path::{Path, PathBuf},
};

use forebay_sink::connector;

use crate::exit::Failure;

/// Workers that may share a data directory.
const MOST: usize = 100;

/// The folder while it is ours.
#[derive(Debug)]
pub struct Workspace {
    dir: PathBuf,
    lock: File,
}

impl Workspace {
    /// Takes the first free folder, and empties it of what a process that died has left there.
    pub fn take(data_dir: &Path) -> Result<Self, Failure> {
        let tmp = data_dir.join("tmp");
        for number in 0..MOST {
            let dir = tmp.join(number.to_string());
            let told = |error: std::io::Error| {
                Failure::error(format!(
                    "can't use {}: {error}; choose another data_dir or fix its rights",
                    dir.display()
                ))
            };
            fs::create_dir_all(&dir).map_err(told)?;
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("lock"));
            let lock = file.map_err(told)?;
            match lock.try_lock() {
                Ok(()) => {
                    connector::clear_tmp(&dir).map_err(told)?;
                    return Ok(Self { dir, lock });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(told(error)),
            }
        }
        Err(Failure::error(format!("{MOST} processes work on {} already: set another data_dir", data_dir.display())))
    }

    /// Where it is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        // Unlocked by name: a child process just being started may hold a copy of the descriptor.
        let _ = self.lock.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_own_and_a_free_one_is_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let first = Workspace::take(dir.path()).unwrap();
        let second = Workspace::take(dir.path()).unwrap();
        assert_ne!(first.dir(), second.dir());
        let left = first.dir().join("spill-left");
        fs::write(&left, "x").unwrap();
        fs::write(second.dir().join("spill-used"), "x").unwrap();
        drop(first);
        let third = Workspace::take(dir.path()).unwrap();
        assert_eq!(third.dir(), left.parent().unwrap());
        assert!(!left.exists() && second.dir().join("spill-used").exists());
    }
}
