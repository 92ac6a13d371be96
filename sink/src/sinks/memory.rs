//! A store in memory, for tests of the protocol: it can be away, and it can lose replies.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    SinkError,
    store::{Content, Metadata, ObjectStore, Put},
};

/// Objects and control files in memory.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, (Bytes, Metadata)>,
    controls: BTreeMap<String, String>,
    away: bool,
    lose_replies: u32,
    puts: u64,
    throttled: u64,
    throttle: Option<u64>,
    delay: Duration,
}

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reachable(&self) -> Result<MutexGuard<'_, State>, SinkError> {
        let state = self.state();
        if state.away { Err(SinkError::retry("the store is away")) } else { Ok(state) }
    }

    /// Every call fails while it is away.
    pub fn set_away(&self, away: bool) {
        self.state().away = away;
    }

    /// The next puts take effect, but their callers hear of a failure.
    pub fn lose_replies(&self, count: u32) {
        self.state().lose_replies = count;
    }

    /// Every put takes so long, half of it before it takes effect.
    pub fn set_delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// One put in so many is refused, whatever it puts.
    pub fn throttle(&self, one_in: u64) {
        self.state().throttle = Some(one_in);
    }

    /// Puts refused so.
    pub fn throttled(&self) -> u64 {
        self.state().throttled
    }

    /// All objects by key.
    pub fn objects(&self) -> BTreeMap<String, (Bytes, Metadata)> {
        self.state().objects.clone()
    }

    /// Puts tried so far.
    pub fn puts(&self) -> u64 {
        self.state().puts
    }

    fn put(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError> {
        let mut bytes = Vec::new();
        content.copy_to(&mut bytes).map_err(|error| SinkError::retry(error.to_string()))?;
        let mut state = self.state();
        state.puts += 1;
        if state.away {
            return Err(SinkError::retry("the store is away"));
        }
        if state.throttle.is_some_and(|one_in| state.puts.is_multiple_of(one_in)) {
            state.throttled += 1;
            return Err(SinkError::retry("slow down"));
        }
        let put = match state.objects.get(key) {
            Some((_, theirs)) => Put::Exists((!theirs.is_empty()).then(|| theirs.clone())),
            None => {
                state.objects.insert(key.to_owned(), (bytes.into(), metadata.clone()));
                Put::Created
            }
        };
        if state.lose_replies > 0 {
            state.lose_replies -= 1;
            return Err(SinkError::retry("no reply"));
        }
        Ok(put)
    }

    /// Moves an object away.
    pub fn remove(&self, key: &str) {
        self.state().objects.remove(key);
    }

    /// Plants an object.
    pub fn plant(&self, key: &str, bytes: Bytes, metadata: Metadata) {
        self.state().objects.insert(key.to_owned(), (bytes, metadata));
    }
}

#[async_trait]
impl ObjectStore for MemoryStore {
    fn describe(&self) -> String {
        "memory:".to_owned()
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.reachable().map(drop)
    }

    async fn put_if_absent(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError> {
        let half = self.state().delay / 2;
        tokio::time::sleep(half).await;
        let put = self.put(key, content, metadata);
        tokio::time::sleep(half).await;
        put
    }

    async fn list(&self, prefix: &str, name: &str) -> Result<Vec<String>, SinkError> {
        let prefix = format!("{prefix}/");
        let last = |key: &str| key.rsplit('/').next().is_some_and(|last| last.starts_with(name));
        Ok(self.reachable()?.objects.keys().filter(|key| key.starts_with(&prefix) && last(key)).cloned().collect())
    }

    async fn metadata(&self, key: &str) -> Result<Option<Metadata>, SinkError> {
        let state = self.reachable()?;
        let found = state.objects.get(key).map(|(_, metadata)| metadata.clone());
        Ok(found.filter(|metadata| !metadata.is_empty()))
    }

    async fn tidy(&self, _: &str) {}

    async fn control(&self, name: &str) -> Result<Option<String>, SinkError> {
        Ok(self.reachable()?.controls.get(name).cloned())
    }

    async fn put_control(&self, name: &str, text: &str, replace: bool) -> Result<(), SinkError> {
        let mut state = self.reachable()?;
        if replace || !state.controls.contains_key(name) {
            state.controls.insert(name.to_owned(), text.to_owned());
        }
        Ok(())
    }
}
