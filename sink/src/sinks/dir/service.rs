//! The directory's calls, as plain blocking file work.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use super::{
    super::{
        SinkError,
        store::{Content, Metadata, Put},
    },
    Reserve, fault, no_conditional_writes,
    writer::{Temporary, make_dirs, prefix, sync_dir},
};
use crate::crash_point;

/// Temporary files older than this belong to nobody.
const STALE: Duration = Duration::from_secs(3600);
/// Largest control file and sidecar read.
const MAX_CONTROL_BYTES: u64 = 1 << 20;

#[derive(Debug)]
pub struct Files {
    pub root: PathBuf,
    pub base: PathBuf,
    pub control: PathBuf,
    pub connector: String,
    /// The root was made, or seen, by this process. From then on a missing root is a fault of the destination (an
    /// unmounted disk), and nothing is written below its mount point.
    pub made: AtomicBool,
    pub reserve: Option<Reserve>,
}

impl Files {
    fn ready(&self) -> Result<(), SinkError> {
        if !self.made.load(Ordering::Acquire) {
            fs::create_dir_all(&self.root).map_err(|error| fault("making", &self.root, &error))?;
            self.made.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Links a probe where the lake is or will be, and sees that a second link is refused. Leaves nothing behind.
    pub fn check(&self) -> Result<(), SinkError> {
        let dir = self.root.ancestors().find(|dir| dir.exists()).unwrap_or(&self.root);
        let name = dir.join(format!("{}probe-{}", prefix(&self.connector), uuid::Uuid::new_v4().simple()));
        let probe = || Temporary::write(dir, &self.connector, |file| file.write_all(b"probe"));
        let first = probe()?.publish(&name);
        let second = probe().and_then(|again| again.publish(&name));
        let _ = fs::remove_file(&name);
        if first? && !second? {
            return Ok(());
        }
        Err(no_conditional_writes(dir))
    }

    fn sidecar(&self, key: &str) -> PathBuf {
        self.control.join(format!("{key}.json"))
    }

    /// The steps of one object. A crash between any two leaves no object, or the whole of it.
    pub fn put(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError> {
        self.ready()?;
        let path = self.base.join(key);
        let dir = path.parent().unwrap_or(&self.base).to_owned();
        make_dirs(&self.root, &dir)?;
        if path.exists() {
            return self.existing(key, &dir);
        }
        self.reserve.as_ref().map_or(Ok(()), |reserve| reserve.allows(&dir, content.len()))?;
        let temporary = Temporary::write(&dir, &self.connector, |file| content.copy_to(file))?;
        crash_point!("dir.tmp_synced");
        self.put_sidecar(key, metadata, &path)?;
        crash_point!("dir.sidecar_written");
        if !temporary.publish(&path)? {
            return self.existing(key, &dir);
        }
        crash_point!("dir.linked");
        sync_dir(&dir)?;
        crash_point!("dir.synced");
        Ok(Put::Created)
    }

    /// The sidecar stands before its object. One without an object is from an attempt that came to nothing; if it
    /// says something else, it is replaced.
    fn put_sidecar(&self, key: &str, metadata: &Metadata, object: &Path) -> Result<(), SinkError> {
        let sidecar = self.sidecar(key);
        let text = to_json(metadata);
        match read_small(&sidecar)? {
            Some(found) if found == text || object.exists() => Ok(()),
            Some(_) => self.write_control(&sidecar, &text, true),
            None => self.write_control(&sidecar, &text, false),
        }
    }

    /// An object that was there: its name is made durable too, because its writer may have crashed before that.
    fn existing(&self, key: &str, dir: &Path) -> Result<Put, SinkError> {
        sync_dir(dir)?;
        let text = read_small(&self.sidecar(key))?;
        Ok(Put::Exists(text.and_then(|text| serde_json::from_str(&text).ok())))
    }

    fn write_control(&self, path: &Path, text: &str, replace: bool) -> Result<(), SinkError> {
        let dir = path.parent().unwrap_or(&self.control).to_owned();
        make_dirs(&self.root, &dir)?;
        let temporary = Temporary::write(&dir, &self.connector, |file| file.write_all(text.as_bytes()))?;
        if replace {
            temporary.replace(path)?;
        } else {
            temporary.publish(path)?;
        }
        sync_dir(&dir)
    }

    pub fn control(&self, name: &str) -> Result<Option<String>, SinkError> {
        self.ready()?;
        read_small(&self.control.join(name))
    }

    pub fn put_control(&self, name: &str, text: &str, replace: bool) -> Result<(), SinkError> {
        self.ready()?;
        let path = self.control.join(name);
        if !replace && path.exists() {
            return Ok(());
        }
        self.write_control(&path, text, replace)
    }

    /// Objects below `prefix/` whose name begins with `name`.
    pub fn list(&self, prefix: &str, name: &str) -> Result<Vec<String>, SinkError> {
        self.ready()?;
        let mut found = Vec::new();
        let mut dirs = vec![self.base.join(prefix)];
        while let Some(dir) = dirs.pop() {
            for entry in entries(&dir)? {
                let path = entry.path();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    dirs.push(path);
                } else if entry.file_name().to_string_lossy().starts_with(name) {
                    found.extend(path.strip_prefix(&self.base).ok().and_then(Path::to_str).map(str::to_owned));
                }
            }
        }
        Ok(found)
    }

    /// What an object's sidecar says.
    pub fn metadata(&self, key: &str) -> Result<Option<Metadata>, SinkError> {
        self.ready()?;
        if !self.base.join(key).exists() {
            return Ok(None);
        }
        let text = read_small(&self.sidecar(key))?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Removes this connector's temporary files below `prefix/` that are older than an hour.
    pub fn sweep(&self, prefix: &str) -> Result<(), SinkError> {
        let ours = super::writer::prefix(&self.connector);
        let mut dirs = vec![self.base.join(prefix), self.control.join(prefix)];
        while let Some(dir) = dirs.pop() {
            for entry in entries(&dir)? {
                let Ok(meta) = entry.metadata() else { continue };
                if meta.is_dir() {
                    dirs.push(entry.path());
                } else if entry.file_name().to_string_lossy().starts_with(&ours) && is_stale(&meta) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
        Ok(())
    }
}

fn is_stale(meta: &fs::Metadata) -> bool {
    meta.modified().is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > STALE))
}

fn entries(dir: &Path) -> Result<Vec<fs::DirEntry>, SinkError> {
    let read = match fs::read_dir(dir) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault("listing", dir, &error)),
    };
    read.collect::<Result<_, _>>().map_err(|error| fault("listing", dir, &error))
}

fn read_small(path: &Path) -> Result<Option<String>, SinkError> {
    match fs::metadata(path) {
        Ok(meta) if meta.len() > MAX_CONTROL_BYTES => {
            Err(fault("reading", path, &io::Error::from(io::ErrorKind::FileTooLarge)))
        }
        Ok(_) => fs::read_to_string(path).map(Some).map_err(|error| fault("reading", path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(fault("reading", path, &error)),
    }
}

/// Names and values only: this can't fail.
fn to_json(metadata: &Metadata) -> String {
    serde_json::to_string(metadata).unwrap_or_default()
}
