//! Files that appear whole and stay: temporary file, sync, link, sync of the directory.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::{super::SinkError, fault, no_conditional_writes};

/// Makes a directory and syncs every parent in which one was made. The root must be there.
pub fn make_dirs(root: &Path, dir: &Path) -> Result<(), SinkError> {
    if dir.is_dir() {
        return Ok(());
    }
    if dir == root || !dir.starts_with(root) {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        return Err(fault("looking for", root, &missing));
    }
    let parent = dir.parent().unwrap_or(root);
    make_dirs(root, parent)?;
    match fs::create_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(fault("making", dir, &error)),
        _ => sync_dir(parent),
    }
}

/// Makes names in a directory durable.
pub fn sync_dir(dir: &Path) -> Result<(), SinkError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|error| fault("syncing", dir, &error))
}

/// A temporary file beside its final place; removed when dropped.
pub struct Temporary(PathBuf);

impl Temporary {
    /// Writes and syncs one. `write` gets a buffered file.
    pub fn write(
        dir: &Path,
        connector: &str,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    ) -> Result<Self, SinkError> {
        let temporary = Self(dir.join(format!("{}{}.tmp", prefix(connector), uuid::Uuid::new_v4().simple())));
        let written = || {
            let mut file = BufWriter::new(File::create_new(&temporary.0)?);
            write(&mut file)?;
            file.flush()?;
            file.get_ref().sync_all()
        };
        match written() {
            Ok(()) => Ok(temporary),
            Err(error) => Err(fault("writing", &temporary.0, &error)),
        }
    }

    /// Gives it its final name unless that is taken. True: it has it now. Without hard links: a rename that refuses to
    /// replace.
    pub fn publish(self, path: &Path) -> Result<bool, SinkError> {
        let error = match fs::hard_link(&self.0, path) {
            Ok(()) => return Ok(true),
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(false),
            io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported => {
                match renameat_with(CWD, &self.0, CWD, path, RenameFlags::NOREPLACE) {
                    Ok(()) => Ok(true),
                    Err(rustix::io::Errno::EXIST) => Ok(false),
                    Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::NOTSUP) => {
                        Err(no_conditional_writes(path.parent().unwrap_or(path)))
                    }
                    Err(errno) => Err(fault("naming", path, &errno.into())),
                }
            }
            _ => Err(fault("linking", path, &error)),
        }
    }

    /// Gives it its final name, replacing what is there.
    pub fn replace(self, path: &Path) -> Result<(), SinkError> {
        fs::rename(&self.0, path).map_err(|error| fault("naming", path, &error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // Renamed away, or worthless; what can't be removed now is removed at a later claim.
        let _ = fs::remove_file(&self.0);
    }
}

/// How temporary files of a connector begin.
pub fn prefix(connector: &str) -> String {
    format!(".forebay-{connector}-")
}
