//! What is remembered of a registry, for how long, and one question at a time for each key.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use moka::{Expiry, future::Cache, policy::EvictionPolicy};

use crate::registry::{Lookups, MAX_REGISTERED_BYTES, Registered, RegistryError, Version};

/// Most entries of each kind.
pub(super) const MAX_ENTRIES: usize = 10_000;
/// How long an answer that could not be renewed is used before the registry is asked again.
const HELD_FOR: Duration = Duration::from_secs(5);
/// How long a caller waits for a newer answer while there is an older one.
const PATIENCE: Duration = Duration::from_secs(1);

/// Something that is remembered by its size.
pub(super) trait Weighed: Clone + Send + Sync + 'static {
    /// Bytes of what it holds.
    fn bytes(&self) -> usize;
}

impl Weighed for Arc<Registered> {
    fn bytes(&self) -> usize {
        self.schema.text().len() + self.schema.references().iter().map(|r| r.schema.len()).sum::<usize>()
    }
}

impl Weighed for Arc<Vec<u32>> {
    fn bytes(&self) -> usize {
        size_of::<u32>() * self.len()
    }
}

impl Weighed for Arc<Version> {
    fn bytes(&self) -> usize {
        self.registered.bytes()
    }
}

/// An answer that may be remembered: something, or that there is no such thing.
type Answer<V> = Result<V, RegistryError>;

#[derive(Clone)]
struct Entry<V> {
    answer: Answer<V>,
    /// `None`: for ever.
    life: Option<Duration>,
    /// Changes counted when it was asked for.
    changes: u64,
    /// An older answer, because the registry gave none.
    stale: bool,
}

/// Each entry lives as long as it says.
struct Own;

impl<K, V> Expiry<K, Entry<V>> for Own {
    fn expire_after_create(&self, _: &K, entry: &Entry<V>, _: Instant) -> Option<Duration> {
        entry.life
    }

    fn expire_after_update(&self, _: &K, entry: &Entry<V>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        entry.life
    }
}

/// How long answers are remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lives {
    /// What was found; `None`: for ever.
    pub(super) found: Option<Duration>,
    /// What was not.
    pub(super) unknown: Duration,
}

/// Where an answer came from: [`Lookups`] says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Hit,
    Miss,
    Stale,
    Negative,
}

/// [`Lookups`] as they are counted, of one memory or of several.
#[derive(Debug, Default)]
pub(super) struct Counters([AtomicU64; 4]);

impl Counters {
    fn count(&self, source: Source) {
        let Self([hit, miss, stale, negative]) = self;
        let counter = match source {
            Source::Hit => hit,
            Source::Miss => miss,
            Source::Stale => stale,
            Source::Negative => negative,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Lookups {
        let [hit, miss, stale, negative] = self.0.each_ref().map(|counter| counter.load(Ordering::Relaxed));
        Lookups { hit, miss, stale, negative }
    }
}

/// Answers by key. Clones share them. What is in use longest ago goes first when there are too many.
#[derive(Clone)]
pub(super) struct Memory<K, V> {
    fresh: Cache<K, Entry<V>>,
    /// What was found last, for as long as it can't be found again.
    last: Cache<K, V>,
    lives: Lives,
    /// Counts what was changed in the registry: an answer from before a change is not kept, and given to nobody who
    /// asks after it.
    changes: Arc<AtomicU64>,
    counters: Arc<Counters>,
}

impl<K, V> Memory<K, V>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    V: Weighed,
{
    pub(super) fn new(lives: Lives, counters: &Arc<Counters>) -> Self {
        let keep = |builder: moka::future::CacheBuilder<K, Entry<V>, Cache<K, Entry<V>>>| builder.expire_after(Own);
        let fresh = bounded(|entry: &Entry<V>| entry.answer.as_ref().map_or(0, Weighed::bytes));
        let last = bounded(V::bytes);
        let (fresh, last) = (keep(fresh).build(), last.build());
        Self { fresh, last, lives, changes: Arc::default(), counters: Arc::clone(counters) }
    }

    /// The answer for a key: remembered, or by `ask`, which is asked once for all who wait, and goes on without them.
    /// Errors that another try may mend are not remembered; while there are any, what was found last is the answer.
    pub(super) async fn get<F>(&self, key: &K, ask: impl Fn() -> F + Send + Sync + 'static) -> Answer<V>
    where
        F: Future<Output = Answer<V>> + Send + 'static,
    {
        let (answer, source) = self.find(key, ask).await;
        self.counters.count(source);
        answer
    }

    async fn find<F>(&self, key: &K, ask: impl Fn() -> F + Send + Sync + 'static) -> (Answer<V>, Source)
    where
        F: Future<Output = Answer<V>> + Send + 'static,
    {
        if let Some(Entry { answer, stale, .. }) = self.fresh.get(key).await {
            let source = match answer {
                _ if stale => Source::Stale,
                Ok(_) => Source::Hit,
                Err(_) => Source::Negative,
            };
            return (answer, source);
        }
        let changes = self.changes.load(Ordering::SeqCst);
        let (this, owned) = (self.clone(), key.clone());
        let asking = tokio::spawn(async move { this.renew(owned, ask).await });
        let Some(last) = self.last.get(key).await else { return joined(asking.await) };
        match tokio::time::timeout(PATIENCE, asking).await {
            Ok(done) => joined(done),
            Err(_) => {
                let held = Entry { answer: Ok(last.clone()), life: Some(HELD_FOR), changes, stale: true };
                self.fresh.insert(key.clone(), held).await;
                // Whoever asks after a change gets no older answer only because someone else waited for it.
                if changes != self.changes.load(Ordering::SeqCst) {
                    self.fresh.invalidate(key).await;
                }
                (Ok(last), Source::Stale)
            }
        }
    }

    /// Remembers what was found by other means.
    pub(super) async fn put(&self, key: K, found: V) {
        self.last.insert(key.clone(), found.clone()).await;
        let changes = self.changes.load(Ordering::SeqCst);
        let entry = Entry { answer: Ok(found), life: self.lives.found, changes, stale: false };
        self.fresh.insert(key, entry).await;
    }

    /// What is remembered as found.
    pub(super) async fn found(&self, key: &K) -> Option<V> {
        self.fresh.get(key).await?.answer.ok()
    }

    /// Forgets that there was no such thing.
    pub(super) async fn doubt(&self, key: &K) {
        if self.fresh.get(key).await.is_some_and(|entry| entry.answer.is_err()) {
            self.fresh.invalidate(key).await;
        }
    }

    /// Forgets keys whose answers may have changed. What was found last is still used while it can't be found again.
    pub(super) async fn changed(&self, which: impl Fn(&K) -> bool) {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let keys: Vec<Arc<K>> = self.fresh.iter().map(|(key, _)| key).filter(|key| which(key)).collect();
        for key in keys {
            self.fresh.invalidate(&*key).await;
        }
    }

    async fn renew<F>(&self, key: K, ask: impl Fn() -> F) -> Result<Entry<V>, RegistryError>
    where
        F: Future<Output = Answer<V>>,
    {
        let changes = self.changes.load(Ordering::SeqCst);
        let first = self.ask(&key, ask()).await?;
        // Others were waiting for an answer from before a change. Their question is over: the next one is newer.
        if first.changes < changes { self.ask(&key, ask()).await } else { Ok(first) }
    }

    async fn ask(&self, key: &K, ask: impl Future<Output = Answer<V>>) -> Result<Entry<V>, RegistryError> {
        let asked = self.fresh.try_get_with(key.clone(), async {
            let changes = self.changes.load(Ordering::SeqCst);
            let mut entry = self.judge(key, ask.await, changes).await?;
            if changes != self.changes.load(Ordering::SeqCst) {
                entry.life = Some(Duration::ZERO);
            }
            Ok(entry)
        });
        asked.await.map_err(|error| RegistryError::clone(&error))
    }

    /// What is remembered of an answer, and how long.
    async fn judge(&self, key: &K, answer: Answer<V>, changes: u64) -> Result<Entry<V>, RegistryError> {
        use RegistryError::{Invalid, InvalidSubject, UnknownId, UnknownSubject, UnknownVersion};
        match answer {
            Ok(found) => {
                self.last.insert(key.clone(), found.clone()).await;
                Ok(Entry { answer: Ok(found), life: self.lives.found, changes, stale: false })
            }
            Err(
                error @ (UnknownId(_) | UnknownSubject(_) | UnknownVersion { .. } | Invalid(_) | InvalidSubject(_)),
            ) => {
                self.last.invalidate(key).await;
                Ok(Entry { answer: Err(error), life: Some(self.lives.unknown), changes, stale: false })
            }
            Err(error) => {
                let held = |last| Entry { answer: Ok(last), life: Some(HELD_FOR), changes, stale: true };
                self.last.get(key).await.map(held).ok_or(error)
            }
        }
    }
}

/// The answer of a registry that was asked.
fn joined<V>(done: Result<Result<Entry<V>, RegistryError>, tokio::task::JoinError>) -> (Answer<V>, Source) {
    match done {
        Ok(Ok(Entry { answer, stale, .. })) => (answer, if stale { Source::Stale } else { Source::Miss }),
        Ok(Err(error)) => (Err(error), Source::Miss),
        Err(error) => (Err(RegistryError::Unavailable(format!("its task ended: {error}"))), Source::Miss),
    }
}

/// At most [`MAX_ENTRIES`] and [`MAX_REGISTERED_BYTES`]: small entries weigh as much as makes both one limit.
fn bounded<K, V>(bytes: impl Fn(&V) -> usize + Send + Sync + 'static) -> moka::future::CacheBuilder<K, V, Cache<K, V>>
where
    K: Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let least = MAX_REGISTERED_BYTES.div_ceil(MAX_ENTRIES);
    Cache::builder()
        .max_capacity(MAX_REGISTERED_BYTES as u64)
        .weigher(move |_, value| u32::try_from(bytes(value).max(least)).unwrap_or(u32::MAX))
        .eviction_policy(EvictionPolicy::lru())
}
