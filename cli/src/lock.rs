//! `data_dir/lock`: one process at a time works on a data directory, and others find its API by it.
//!
//! The operating system holds the lock, so that it ends with its process, however that ends; the text in the file only
//! says who it is.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};

/// How long a verb waits for another one to let go, or for a starting `forebay up` to say where its API is.
pub const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// Who works on the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Base URL of its API, once it listens; `None` for verbs that open the log themselves.
    pub api: Option<String>,
}

/// The lock while it is held; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// What an attempt found.
#[derive(Debug)]
pub enum Attempt {
    /// It is ours now.
    Ours(Lock),
    /// Someone else's; `None` while they are still writing who they are.
    Held(Option<Holder>),
}

impl Lock {
    /// Takes the lock of `data_dir` (created if missing), or says who holds it.
    pub fn attempt(data_dir: &Path) -> Result<Attempt, Failure> {
        let told = |what: &str, path: &Path, error: std::io::Error| {
            Failure::error(format!(
                "can't {what} {}: {error}; choose another data_dir or fix its rights",
                path.display()
            ))
        };
        std::fs::create_dir_all(data_dir).map_err(|e| told("create", data_dir, e))?;
        let path = path(data_dir);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|e| told("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => {
                let mut lock = Self { file };
                // A full disk may have no room for it before the log, when it opens, gives some back.
                let _ = lock.tell(None);
                Ok(Attempt::Ours(lock))
            }
            Err(TryLockError::WouldBlock) => Ok(Attempt::Held(holder(data_dir))),
            Err(TryLockError::Error(error)) => Err(told("lock", &path, error)),
        }
    }

    /// Waits up to [`PATIENCE`] for a lock that names no API to be given up or to name one.
    pub async fn attempt_patiently(data_dir: &Path) -> Result<Attempt, Failure> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let attempt = Self::attempt(data_dir)?;
            let named = !matches!(&attempt, Attempt::Held(None | Some(Holder { api: None, .. })));
            if named || tokio::time::Instant::now() >= deadline {
                return Ok(attempt);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Writes who we are.
    pub fn tell(&mut self, api: Option<String>) -> Result<(), Failure> {
        let text = serde_json::to_string(&Holder { pid: std::process::id(), api }).unwrap_or_default();
        let written = self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0)));
        written
            .and_then(|_| self.file.write_all(text.as_bytes()))
            .map_err(|e| Failure::error(format!("can't write the lock file: {e}; is the disk full?")))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A clean end leaves no stale URL behind; after a crash the lock itself is gone, which is what counts.
        let _ = self.file.set_len(0);
        // Unlocked by name: a child process just being started may hold a copy of the descriptor.
        let _ = self.file.unlock();
    }
}

/// Who holds the lock, by the text in it.
fn holder(data_dir: &Path) -> Option<Holder> {
    serde_json::from_str(&std::fs::read_to_string(path(data_dir)).ok()?).ok()
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("lock")
}

/// The refusal for whoever needs the data directory for itself.
pub fn refused(data_dir: &Path, holder: Option<&Holder>) -> Failure {
    let who = match holder {
        Some(Holder { pid, api: Some(api) }) => format!("process {pid}, whose API is {api}"),
        Some(Holder { pid, api: None }) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    let dir = data_dir.display();
    Failure::new(Exit::Refused, format!("{dir} is in use by {who}; stop it, or set another data_dir"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_and_the_other_learns_who() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        let Attempt::Ours(mut lock) = Lock::attempt(&data).unwrap() else { panic!("taken") };
        lock.tell(Some("http://127.0.0.1:1".into())).unwrap();
        let Attempt::Held(Some(held)) = Lock::attempt(&data).unwrap() else { panic!("not held") };
        assert_eq!(held, Holder { pid: std::process::id(), api: Some("http://127.0.0.1:1".into()) });
        let refusal = refused(&data, Some(&held));
        assert_eq!(refusal.exit, Exit::Refused);
        assert!(refusal.text.contains("whose API is http://127.0.0.1:1"), "{refusal}");
        drop(lock);
        assert!(matches!(Lock::attempt(&data).unwrap(), Attempt::Ours(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn waits_for_a_short_holder() {
        let dir = tempfile::tempdir().unwrap();
        let Attempt::Ours(lock) = Lock::attempt(dir.path()).unwrap() else { panic!("taken") };
        let waiting = Lock::attempt_patiently(dir.path());
        let (attempt, ()) = tokio::join!(waiting, async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            drop(lock);
        });
        assert!(matches!(attempt.unwrap(), Attempt::Ours(_)));
    }
}
