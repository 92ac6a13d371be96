//! A directory as a store of objects. An object is a file that appears whole, by a hard link from a synced temporary
//! file; its metadata stands in a sidecar below `_forebay/<connector>/`.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use tracing::debug;

pub use self::room::Reserve;
use self::service::Files;
use super::{
    SinkError,
    store::{Content, Metadata, ObjectStore, Put},
};

mod room;
mod service;
mod writer;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DirStore(Arc<Files>);

impl DirStore {
    /// Objects below `root/topics_dir`; sidecars and control files of `connector` below `_forebay/` there. Objects leave
    /// what `reserve` says.
    pub fn new(root: PathBuf, topics_dir: &str, connector: &str, reserve: Option<Reserve>) -> Self {
        let base = if topics_dir.is_empty() { root.clone() } else { root.join(topics_dir) };
        let control = base.join("_forebay").join(connector);
        let made = AtomicBool::new(false);
        Self(Arc::new(Files { root, base, control, connector: connector.to_owned(), made, reserve }))
    }

    /// Runs file work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Files) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, SinkError> {
        let files = Arc::clone(&self.0);
        tokio::task::spawn_blocking(move || work(&files))
            .await
            .unwrap_or_else(|error| Err(SinkError::retry(format!("file work was cut off: {error}"))))
    }
}

#[async_trait]
impl ObjectStore for DirStore {
    fn describe(&self) -> String {
        format!("file://{}", self.0.base.display())
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.blocking(Files::check).await
    }

    async fn put_if_absent(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError> {
        let (key, content, metadata) = (key.to_owned(), content.clone(), metadata.clone());
        self.blocking(move |files| files.put(&key, &content, &metadata)).await
    }

    async fn list(&self, prefix: &str, name: &str) -> Result<Vec<String>, SinkError> {
        let (prefix, name) = (prefix.to_owned(), name.to_owned());
        self.blocking(move |files| files.list(&prefix, &name)).await
    }

    async fn metadata(&self, key: &str) -> Result<Option<Metadata>, SinkError> {
        let key = key.to_owned();
        self.blocking(move |files| files.metadata(&key)).await
    }

    async fn tidy(&self, prefix: &str) {
        let prefix = prefix.to_owned();
        if let Err(error) = self.blocking(move |files| files.sweep(&prefix)).await {
            debug!(%error, "Temporary files of an earlier run were not looked for.");
        }
    }

    async fn control(&self, name: &str) -> Result<Option<String>, SinkError> {
        let name = name.to_owned();
        self.blocking(move |files| files.control(&name)).await
    }

    async fn put_control(&self, name: &str, text: &str, replace: bool) -> Result<(), SinkError> {
        let (name, text) = (name.to_owned(), text.to_owned());
        self.blocking(move |files| files.put_control(&name, &text, replace)).await
    }
}

/// A file system on which two writers of one name would both succeed.
fn no_conditional_writes(dir: &Path) -> SinkError {
    let advice = format!("{} does not refuse to replace files: use a local file system.", dir.display());
    SinkError::stop("NO_CONDITIONAL_WRITES", advice)
}

/// The fault of a path, as the destination's, save names that no retry makes right.
fn fault(doing: &str, path: &Path, error: &std::io::Error) -> SinkError {
    if error.kind() == std::io::ErrorKind::InvalidFilename {
        let path = path.display();
        let advice = format!("{path} is too long for this file system: shorten the topic's name or topics.dir.");
        return SinkError::stop("PATH_INVALID", advice);
    }
    SinkError::retry(format!("{doing} {}: {error}", path.display()))
}
