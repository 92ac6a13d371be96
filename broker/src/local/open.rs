//! Opening a log directory: the lock, the database, and what is kept in memory of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, RwLock, atomic::AtomicBool},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use tokio::sync::Notify;

use super::{
    LocalSettings, journal,
    keys::{self, GROUPS, LOWS, META, RECORDS_PREFIX, REGISTRY, TOPICS},
    lock::DirLock,
    queue::Queue,
    space::{FreeSpace, min_free_bytes, told},
    state::{Configured, Partition, Shared, SmallKeyspaces, StoredTopic, Topic, reason},
};
use crate::{Committed, LogError, Offset, TopicPartition, topic};

/// Write buffer of a topic.
pub(super) const RECORDS_BUFFER_BYTES: u64 = 16 << 20;
/// Write buffer of each small keyspace.
const SMALL_BUFFER_BYTES: u64 = 2 << 20;
/// Journals on disk before the oldest is made superfluous: it bounds what a start has to read again.
const JOURNALS_BYTES: u64 = 128 << 20;
/// Files of the database held open at once.
const OPEN_FILES: usize = 128;
/// Layout of the directory, in the keyspace `meta`.
const FORMAT: &[u8] = b"1";

pub(super) fn open(settings: &LocalSettings) -> Result<Arc<Shared>, LogError> {
    let Opened { db, dir, lock } = database(&settings.dir, "log", settings.cache_bytes)?;
    let unopened = |error: fjall::Error| unopened("log", &dir, &error);
    let small = SmallKeyspaces {
        topics: small(&db, TOPICS).map_err(unopened)?,
        lows: small(&db, LOWS).map_err(unopened)?,
        groups: small(&db, GROUPS).map_err(unopened)?,
        registry: small(&db, REGISTRY).map_err(unopened)?,
        meta: small(&db, META).map_err(unopened)?,
    };
    let cluster_id = identity(&db, &small.meta).map_err(unopened)?.map_err(LogError::Fatal)?;
    let topics = load_topics(&db, &small)?;
    drop_orphans(&db, &topics).map_err(unopened)?;
    let committed = load_committed(&small.groups)?;
    Ok(Arc::new_cyclic(|me| Shared {
        me: me.clone(),
        cluster_id,
        db,
        small,
        topics: RwLock::new(topics),
        committed: Mutex::new(committed),
        queue: Queue::new(settings.producer.queue_records, settings.producer.queue_bytes),
        appended: Arc::new(Notify::new()),
        record_bytes: settings.producer.record_bytes,
        free: FreeSpace::new(dir.clone(), min_free_bytes(&dir, settings.min_free_bytes)),
        broken: OnceLock::new(),
        dir,
        _lock: lock,
    }))
}

/// A database in a directory that is ours.
pub(super) struct Opened {
    pub db: Database,
    pub dir: PathBuf,
    pub lock: DirLock,
}

/// Opens or makes the database of a directory, under its lock. `what` names it to people.
pub(super) fn database(dir: &Path, what: &str, cache_bytes: u64) -> Result<Opened, LogError> {
    let unmade = |e| LogError::Unavailable(format!("directory {} can't be made: {}", dir.display(), told(&e)));
    make_dir(dir).map_err(unmade)?;
    let dir = dir.canonicalize().map_err(|e| LogError::Unavailable(format!("{}: {e}", dir.display())))?;
    let lock = DirLock::take(&dir, what)?;
    journal::repair(&dir)?;
    let db = Database::builder(&dir)
        .cache_size(cache_bytes)
        .max_journaling_size(JOURNALS_BYTES)
        .max_cached_files(Some(OPEN_FILES))
        .open()
        .map_err(|error| unopened(what, &dir, &error))?;
    Ok(Opened { db, dir, lock })
}

fn unopened(what: &str, dir: &Path, error: &fjall::Error) -> LogError {
    LogError::Fatal(format!("the {what} in {} can't be opened: {}", dir.display(), reason(error)))
}

/// Makes the directory, and its entry in its parent durable.
fn make_dir(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    match dir.canonicalize()?.parent() {
        Some(parent) => fs::File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

pub(super) fn small(db: &Database, name: &str) -> fjall::Result<Keyspace> {
    db.keyspace(name, || KeyspaceCreateOptions::default().max_memtable_size(SMALL_BUFFER_BYTES))
}

/// The keyspace of a topic's records.
pub(super) fn records(db: &Database, topic_id: &str) -> fjall::Result<Keyspace> {
    let name = format!("{RECORDS_PREFIX}{topic_id}");
    db.keyspace(&name, || KeyspaceCreateOptions::default().max_memtable_size(RECORDS_BUFFER_BYTES))
}

/// The cluster id, made at the first start; the inner error is a directory of another release.
fn identity(db: &Database, meta: &Keyspace) -> fjall::Result<Result<String, String>> {
    if let Some(id) = meta.get("cluster_id")? {
        let format = meta.get("format")?;
        if format.as_deref() != Some(FORMAT) {
            return Ok(Err("the log directory has a layout that this release does not know".to_owned()));
        }
        return Ok(String::from_utf8(id.to_vec()).map_err(|_| "the cluster id is damaged".to_owned()));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let mut batch = db.batch().durability(Some(fjall::PersistMode::SyncAll));
    batch.insert(meta, "cluster_id", id.as_str());
    batch.insert(meta, "format", FORMAT);
    batch.commit()?;
    Ok(Ok(id))
}

fn load_topics(db: &Database, small: &SmallKeyspaces) -> Result<BTreeMap<Arc<str>, Arc<Topic>>, LogError> {
    let mut topics = BTreeMap::new();
    for entry in small.topics.iter() {
        let (key, value) = entry.into_inner().map_err(|error| LogError::Fatal(reason(&error)))?;
        let name = std::str::from_utf8(&key).map_err(|_| damaged("a topic's name"))?;
        let stored: StoredTopic = serde_json::from_slice(&value).map_err(|_| damaged(name))?;
        let topic = load_topic(db, small, name, stored)?;
        topics.insert(topic.name.clone(), Arc::new(topic));
    }
    Ok(topics)
}

fn load_topic(db: &Database, small: &SmallKeyspaces, name: &str, stored: StoredTopic) -> Result<Topic, LogError> {
    let fatal = |error: fjall::Error| LogError::Fatal(reason(&error));
    let records = records(db, &stored.id).map_err(fatal)?;
    let mut partitions = Vec::new();
    for partition in 0..stored.partitions {
        let low = small.lows.get(keys::low(&stored.id, partition)).map_err(fatal)?;
        let low = match low {
            None => 0,
            Some(low) => low.as_ref().try_into().map(Offset::from_be_bytes).map_err(|_| damaged(name))?,
        };
        let range = keys::record(partition, low)..=keys::record(partition, Offset::MAX);
        let last = match records.range(range).next_back() {
            None => None,
            Some(last) => Some(keys::offset(&last.key().map_err(fatal)?).ok_or_else(|| damaged(name))?),
        };
        partitions.push(Partition::new(low, last.map_or(low, |last| last + 1)));
    }
    Ok(Topic {
        name: name.into(),
        id: stored.id.into(),
        configured: RwLock::new(Configured { settings: topic::settings(&stored.config)?, config: stored.config }),
        records,
        partitions: RwLock::new(partitions),
        deleted: AtomicBool::new(false),
    })
}

/// Keyspaces of topics whose creation or deletion a crash cut short.
fn drop_orphans(db: &Database, topics: &BTreeMap<Arc<str>, Arc<Topic>>) -> fjall::Result<()> {
    let known: BTreeSet<String> = topics.values().map(|topic| format!("{RECORDS_PREFIX}{}", topic.id)).collect();
    for name in db.list_keyspace_names() {
        if name.starts_with(RECORDS_PREFIX) && !known.contains(&*name) {
            let keyspace = db.keyspace(&name, KeyspaceCreateOptions::default)?;
            db.delete_keyspace(keyspace)?;
        }
    }
    Ok(())
}

fn load_committed(groups: &Keyspace) -> Result<HashMap<String, BTreeMap<TopicPartition, Committed>>, LogError> {
    let mut all: HashMap<String, BTreeMap<_, _>> = HashMap::new();
    for entry in groups.iter() {
        let (key, value) = entry.into_inner().map_err(|error| LogError::Fatal(reason(&error)))?;
        let (group, part) = keys::split_committed(&key).ok_or_else(|| damaged("a committed offset"))?;
        let committed = keys::decode_committed(&value).ok_or_else(|| damaged("a committed offset"))?;
        all.entry(group).or_default().insert(part, committed);
    }
    Ok(all)
}

fn damaged(what: &str) -> LogError {
    LogError::Fatal(format!("the log's own notes are damaged ({what}): restore the directory from a copy"))
}
