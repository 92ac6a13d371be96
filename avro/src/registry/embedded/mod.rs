//! The registry inside this process: all state in memory, every change durable in its store before it can be seen.

mod core;
mod parsed;
mod serve;

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Compatibility, NewSchema, ReferenceKey, Registered, Registry, RegistryError, RegistryStore, Shown, Version,
    state::State,
};

use self::core::Core;

pub use serve::Against;

/// The embedded registry. Cheap to clone; clones share their state. Only one may be open on a store.
///
/// Beside [`Registry`] it has what serving it to others takes: see its own methods.
#[derive(Clone)]
pub struct Embedded {
    core: Arc<Core>,
    /// Changes run one after another, each on a thread that may block.
    changes: Arc<tokio::sync::Mutex<()>>,
}

impl Embedded {
    /// Opens the registry that a store holds; an empty store is an empty registry. Blocks on the store.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] if the store can't be read, is broken, or is of a newer format.
    pub fn open(store: Arc<dyn RegistryStore>) -> Result<Self, RegistryError> {
        let state = State::load(store.load()?)?;
        Ok(Self { core: Arc::new(Core::new(store, state)), changes: Arc::default() })
    }

    /// Runs a change alone. It goes on to its end even if the caller goes away.
    async fn change<T: Send + 'static, E: From<RegistryError> + Send + 'static>(
        &self,
        f: impl FnOnce(&Core) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let turn = self.changes.clone().lock_owned().await;
        self.blocking(move |core| {
            let _turn = turn;
            f(core)
        })
        .await
    }

    /// Runs what parses or waits for the store on a thread that may block.
    async fn blocking<T: Send + 'static, E: From<RegistryError> + Send + 'static>(
        &self,
        f: impl FnOnce(&Core) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let core = self.core.clone();
        let done = tokio::task::spawn_blocking(move || f(&core)).await;
        done.unwrap_or_else(|e| Err(RegistryError::Unavailable(format!("its task ended: {e}")).into()))
    }

    /// One version, from memory where it was parsed before.
    async fn find(&self, subject: &str, version: Option<u32>) -> Result<Arc<Version>, RegistryError> {
        let (version, id) = self.core.state().version(subject, version, Shown::Live)?;
        let registered = self.by_id(id).await?;
        Ok(Arc::new(Version { subject: subject.to_owned(), version, registered }))
    }
}

#[async_trait]
impl Registry for Embedded {
    async fn by_id(&self, id: u32) -> Result<Arc<Registered>, RegistryError> {
        match self.core.parsed(id) {
            Some(registered) => Ok(registered),
            None => self.blocking(move |core| core.registered(id)).await,
        }
    }

    async fn latest(&self, subject: &str) -> Result<Arc<Version>, RegistryError> {
        self.find(subject, None).await
    }

    async fn version(&self, subject: &str, version: u32) -> Result<Arc<Version>, RegistryError> {
        self.find(subject, Some(version)).await
    }

    async fn subjects(&self) -> Result<Vec<String>, RegistryError> {
        Ok(self.list_subjects(Shown::Live))
    }

    async fn versions(&self, subject: &str) -> Result<Vec<u32>, RegistryError> {
        self.list_versions(subject, Shown::Live)
    }

    async fn register(
        &self,
        subject: &str,
        text: &str,
        references: &[ReferenceKey],
    ) -> Result<Arc<Version>, RegistryError> {
        let (subject, new) = (subject.to_owned(), new_schema(text, references));
        self.change(move |core| {
            let (version, id) = core.register(&subject, &new)?;
            Ok(Arc::new(Version { subject, version, registered: core.registered(id)? }))
        })
        .await
    }

    async fn check(
        &self,
        subject: &str,
        text: &str,
        references: &[ReferenceKey],
    ) -> Result<Vec<String>, RegistryError> {
        self.compare(subject, new_schema(text, references), Against::Level).await
    }

    async fn compatibility(&self, subject: Option<&str>) -> Result<Compatibility, RegistryError> {
        Ok(self.core.state().level(subject))
    }

    async fn set_compatibility(&self, subject: Option<&str>, level: Compatibility) -> Result<(), RegistryError> {
        self.set_level(subject, Some(level)).await.map(drop)
    }
}

fn new_schema(text: &str, references: &[ReferenceKey]) -> NewSchema {
    NewSchema { text: text.to_owned(), references: references.to_vec(), ..NewSchema::default() }
}
