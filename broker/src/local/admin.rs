//! Creating, growing, setting and deleting topics: on the writer thread, between commit groups.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use fjall::PersistMode;
use tokio::sync::oneshot;

use super::{
    keys, open,
    queue::Refused,
    state::{Configured, Partition, Shared, StoredTopic, Topic, reason},
    writer::Job,
};
use crate::{
    LogError, TopicInfo, TopicSpec,
    sync::{lock, write},
    topic,
};

/// Runs `work` on the writer thread and waits for it.
pub(super) async fn alone<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Arc<Shared>) -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    shared.usable()?;
    let (reply, answer) = oneshot::channel();
    let run = Box::new(move |shared: &Arc<Shared>| {
        // The caller may be gone; the work is done all the same.
        let _ = reply.send(work(shared));
    });
    match shared.queue.push_other(Job::Alone(run)) {
        Ok(()) => {}
        Err(Refused::Full) => return Err(LogError::Unavailable("too many requests are waiting".to_owned())),
        Err(Refused::Closed) => return Err(shared.usable().err().unwrap_or(LogError::Closed)),
    }
    answer.await.unwrap_or_else(|_| Err(shared.usable().err().unwrap_or(LogError::Closed)))
}

pub(super) fn create(shared: &Arc<Shared>, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
    let settings = topic::check(spec)?;
    if shared.topic(&spec.name).is_ok() {
        return Err(LogError::TopicExists(spec.name.clone()));
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let topic = Topic {
        name: spec.name.as_str().into(),
        records: open::records(&shared.db, &id).map_err(|error| broken(shared, &error))?,
        id: id.into(),
        configured: RwLock::new(Configured { config: spec.config.clone(), settings }),
        partitions: RwLock::new((0..spec.partitions).map(|_| Partition::new(0, 0)).collect()),
        deleted: AtomicBool::new(false),
    };
    store(shared, &topic, &topic.stored(spec.partitions))?;
    let info = topic.info();
    write(&shared.topics).insert(topic.name.clone(), Arc::new(topic));
    Ok(info)
}

pub(super) fn grow(shared: &Arc<Shared>, name: &str, partitions: i32) -> Result<TopicInfo, LogError> {
    let topic = shared.topic(name)?;
    topic::check_partitions(partitions)?;
    let now = topic.partition_count();
    if partitions < now {
        return Err(LogError::Invalid(format!(
            "topic {name:?} has {now} partitions and can't have fewer ({partitions}): a key's records would part"
        )));
    }
    store(shared, &topic, &topic.stored(partitions))?;
    write(&topic.partitions).extend((now..partitions).map(|_| Partition::new(0, 0)));
    Ok(topic.info())
}

/// Records that go by the new settings do so at the next look for expired ones.
pub(super) fn set(shared: &Arc<Shared>, name: &str, config: BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
    let topic = shared.topic(name)?;
    let mut merged = topic.config();
    merged.extend(config);
    let configured = Configured { settings: topic::settings(&merged)?, config: merged };
    store(shared, &topic, &StoredTopic { config: configured.config.clone(), ..topic.stored(topic.partition_count()) })?;
    *write(&topic.configured) = configured;
    Ok(topic.info())
}

pub(super) fn delete(shared: &Arc<Shared>, name: &str) -> Result<(), LogError> {
    let topic = shared.topic(name)?;
    let mut batch = shared.db.batch().durability(Some(PersistMode::SyncAll));
    batch.remove(&shared.small.topics, name);
    for partition in 0..topic.partition_count() {
        batch.remove(&shared.small.lows, keys::low(&topic.id, partition));
    }
    {
        let committed = lock(&shared.committed);
        for (group, positions) in committed.iter() {
            for part in positions.keys().filter(|part| part.topic == topic.name) {
                batch.remove(&shared.small.groups, keys::committed(group, part));
            }
        }
    }
    batch.commit().map_err(|error| broken(shared, &error))?;
    topic.deleted.store(true, Ordering::Release);
    write(&shared.topics).remove(name);
    lock(&shared.committed).retain(|_, positions| {
        positions.retain(|part, _| part.topic != topic.name);
        !positions.is_empty()
    });
    // Readers may hold it yet; its files go with the last of them. A crash in between leaves an orphan for the start.
    shared.db.delete_keyspace(topic.records.clone()).map_err(|error| broken(shared, &error))
}

fn store(shared: &Arc<Shared>, topic: &Topic, stored: &StoredTopic) -> Result<(), LogError> {
    let json = serde_json::to_vec(stored).map_err(|error| LogError::Invalid(error.to_string()))?;
    let mut batch = shared.db.batch().durability(Some(PersistMode::SyncAll));
    batch.insert(&shared.small.topics, topic.name.as_bytes(), json);
    batch.commit().map_err(|error| broken(shared, &error))
}

/// A write that failed leaves the log unusable.
fn broken(shared: &Shared, error: &fjall::Error) -> LogError {
    let reason = reason(error);
    shared.break_down(reason.clone());
    LogError::Fatal(reason)
}
