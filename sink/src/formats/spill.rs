//! Bytes of an open file: in memory up to a limit, then in a temporary file without a name, which vanishes with the
//! process. What it holds is worthless after a crash: the records are read again.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use parquet::{
    arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory},
    errors::{ParquetError, Result as ParquetResult},
};

use crate::sinks::store::Content;

/// Where and when to spill.
#[derive(Clone, Debug)]
pub struct Spill {
    /// Folder of temporary files.
    pub dir: PathBuf,
    /// Bytes kept in memory.
    pub threshold: usize,
}

fn nameless(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("spill-{}", uuid::Uuid::new_v4().simple()));
    let open = || OpenOptions::new().read(true).write(true).create_new(true).open(&path);
    let file = match open() {
        // Someone tidies temporary folders.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir)?;
            open()?
        }
        other => other?,
    };
    fs::remove_file(path)?;
    Ok(file)
}

/// The encoded file as it grows.
pub struct Output {
    spill: Spill,
    memory: Vec<u8>,
    file: Option<File>,
    written: u64,
}

impl Output {
    /// Empty.
    pub fn new(spill: Spill) -> Self {
        Self { spill, memory: Vec::new(), file: None, written: 0 }
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.memory.len()
    }

    /// What was written, for reading.
    pub fn into_content(self) -> Content {
        match self.file {
            Some(file) => Content::File(Arc::new(file), self.written),
            None => Content::Memory(self.memory.into()),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.file.is_none() && self.memory.len() + bytes.len() > self.spill.threshold {
            let mut file = nameless(&self.spill.dir)?;
            file.write_all(&self.memory)?;
            (self.memory, self.file) = (Vec::new(), Some(file));
        }
        match &mut self.file {
            Some(file) => file.write_all(bytes)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Finished pages of the row group in work. All columns of one file share the limit and the temporary file.
#[derive(Clone, Debug)]
pub struct Pages(Arc<Mutex<Pool>>);

#[derive(Debug)]
struct Pool {
    spill: Spill,
    held: usize,
    file: Option<File>,
    end: u64,
}

impl Pages {
    /// Empty.
    pub fn new(spill: Spill) -> Self {
        Self(Arc::new(Mutex::new(Pool { spill, held: 0, file: None, end: 0 })))
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _: &PageStoreArgs<'_>) -> ParquetResult<Box<dyn PageStore>> {
        Ok(Box::new(Column { pages: self.clone(), blobs: Vec::new(), held: 0 }))
    }
}

impl Pool {
    fn append(&mut self, value: &[u8]) -> io::Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(nameless(&self.spill.dir)?),
        };
        let at = self.end;
        file.write_all_at(value, at)?;
        self.end += value.len() as u64;
        Ok(at)
    }

    fn read(&self, at: u64, len: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; len];
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.read_exact_at(&mut buffer, at)?;
        Ok(buffer.into())
    }
}

/// One column's pages.
struct Column {
    pages: Pages,
    blobs: Vec<Blob>,
    held: usize,
}

enum Blob {
    Memory(Bytes),
    File { at: u64, len: usize },
    Taken,
}

impl PageStore for Column {
    fn put(&mut self, value: Bytes) -> ParquetResult<PageKey> {
        let len = value.len();
        let mut pool = self.pages.pool();
        let blob = if pool.held + len <= pool.spill.threshold {
            pool.held += len;
            self.held += len;
            Blob::Memory(value)
        } else {
            Blob::File { at: pool.append(&value).map_err(external)?, len }
        };
        self.blobs.push(blob);
        Ok(PageKey::new(self.blobs.len() as u64 - 1))
    }

    fn take(&mut self, key: PageKey) -> ParquetResult<Bytes> {
        let index = usize::try_from(key.get()).unwrap_or(usize::MAX);
        let blob = self.blobs.get_mut(index).map(|blob| std::mem::replace(blob, Blob::Taken));
        let mut pool = self.pages.pool();
        match blob {
            Some(Blob::Memory(bytes)) => {
                pool.held -= bytes.len();
                self.held -= bytes.len();
                Ok(bytes)
            }
            Some(Blob::File { at, len }) => pool.read(at, len).map_err(external),
            Some(Blob::Taken) | None => Err(ParquetError::General("a page was asked for twice".to_owned())),
        }
    }

    fn memory_size(&self) -> usize {
        self.held
    }
}

impl Drop for Column {
    fn drop(&mut self) {
        self.pages.pool().held -= self.held;
    }
}

fn external(error: io::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test: a failed expectation is the result")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_was_tidied_away_is_made_again() {
        let home = tempfile::tempdir().unwrap();
        let spill = Spill { dir: home.path().join("tmp/0"), threshold: 4 };
        for _ in 0..2 {
            let mut output = Output::new(spill.clone());
            output.write_all(b"more than four").unwrap();
            assert!(matches!(output.into_content(), Content::File(_, 14)));
            fs::remove_dir_all(home.path().join("tmp")).unwrap();
        }
    }
}
