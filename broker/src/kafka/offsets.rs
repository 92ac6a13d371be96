//! Offsets of groups. What is committed is asked by a client of the group that never joins it.
//!
//! Not by librdkafka's admin call for it: after a coordinator that hung, that one aborts the process (its pull request
//! 5397). Setting offsets has no other call; nothing in the service sets any.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
    topic_partition_list::TopicPartitionListElem,
};

use super::{
    admin::Admin,
    client::{ASK_TIMEOUT, Cluster, Context, refused, unavailable},
    native::{self, Element, Event, Events, Refused, Waker},
};
use crate::{Committed, LogError, TopicPartition, sync::lock, topic};

/// Clients kept; the one that was used least recently goes first. More than a configuration has connectors, each of whose
/// groups is asked for whenever somebody looks at all of them: with fewer, each look would make all of them anew.
const MAX_CLIENTS: usize = 64;
/// For an answer, before it is looked at what the client has met on its way to the coordinator.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Before a coordinator that was not ready is asked again.
const COORDINATOR_PAUSE: Duration = Duration::from_millis(200);

/// Clients by group.
pub(super) struct Offsets {
    cluster: Cluster,
    /// The last one was used last.
    clients: Mutex<Vec<(String, Arc<Client>)>>,
}

struct Client {
    native: BaseConsumer<Context>,
    /// What a person must mend, as it met it last; it tells each failure once.
    denied: Mutex<Option<LogError>>,
}

impl Offsets {
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, clients: Mutex::default() }
    }

    /// What a group has committed for these partitions, once transactions on their way have settled.
    pub async fn committed(
        self: &Arc<Self>,
        group: &str,
        parts: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        topic::check_group(group)?;
        if parts.is_empty() {
            return Ok(BTreeMap::new());
        }
        let (offsets, group, parts) = (Arc::clone(self), group.to_owned(), parts.to_vec());
        let asked = tokio::task::spawn_blocking(move || {
            let client = offsets.client(&group)?;
            let answer = client.ask(&parts);
            if answer.is_err() {
                // It may still be busy with its failure.
                offsets.forget(&client);
            }
            answer
        });
        asked.await.unwrap_or_else(|error| Err(LogError::Unavailable(format!("a question was cut off: {error}"))))
    }

    fn client(&self, group: &str) -> Result<Arc<Client>, LogError> {
        let mut clients = lock(&self.clients);
        if let Some(at) = clients.iter().position(|(name, _)| name == group) {
            let known = clients.remove(at);
            let client = Arc::clone(&known.1);
            clients.push(known);
            return Ok(client);
        }
        let mut config = self.cluster.consumer(group);
        // It is no member, and asks as one of the older protocol may.
        config.remove("group.protocol");
        config.remove("group.remote.assignor");
        let native = config.create_with_context(Context::default()).map_err(|error| unavailable(&error))?;
        let client = Arc::new(Client { native, denied: Mutex::default() });
        clients.push((group.to_owned(), Arc::clone(&client)));
        let gone = (clients.len() > MAX_CLIENTS).then(|| clients.remove(0));
        drop(clients);
        // Letting go of one takes a moment.
        drop(gone);
        Ok(client)
    }

    fn forget(&self, client: &Arc<Client>) {
        lock(&self.clients).retain(|(_, known)| !Arc::ptr_eq(known, client));
    }

    /// Passes on what the clients say of themselves.
    pub fn drain(&self) {
        let clients: Vec<_> = lock(&self.clients).iter().map(|(_, client)| Arc::clone(client)).collect();
        clients.iter().for_each(|client| client.drain());
    }

    /// Lets go of all clients.
    pub fn close(&self) {
        let clients = std::mem::take(&mut *lock(&self.clients));
        drop(clients);
    }
}

impl Client {
    /// A refusal shows as what the client met; its own answer would only be that time is up.
    fn ask(&self, parts: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
        let mut answer = Ok(BTreeMap::new());
        for wait in [FIRST_WAIT, ASK_TIMEOUT.saturating_sub(FIRST_WAIT)] {
            let lines = settle(wait, |wait| fetch(&self.native, parts, wait));
            answer = lines.map(committed_of_all).map_err(|why| refused(&why));
            if answer.is_ok() {
                // What it met before is over.
                *lock(&self.denied) = None;
            }
            if !matches!(answer, Err(LogError::Unavailable(_))) {
                break;
            }
            self.drain();
            if let Some(denied) = lock(&self.denied).clone() {
                return Err(denied);
            }
        }
        answer
    }

    fn drain(&self) {
        let Some(events) = Events::of(self.native.client(), Waker::default()) else { return };
        while let Some(event) = events.poll(Duration::ZERO) {
            if let Event::Fault { code, why, .. } = event
                && let denied @ LogError::Denied(_) = refused(&(code, why))
            {
                *lock(&self.denied) = Some(denied);
            }
        }
    }
}

/// Asks once, by a client of the group.
pub(super) fn ask(
    client: &BaseConsumer<Context>,
    parts: &[TopicPartition],
    wait: Duration,
) -> Result<BTreeMap<TopicPartition, Committed>, LogError> {
    if parts.is_empty() {
        return Ok(BTreeMap::new());
    }
    fetch(client, parts, wait).and_then(sound).map(committed_of_all).map_err(|why| refused(&why))
}

/// The first line's error is that of the answer.
fn sound(lines: Vec<Element>) -> Result<Vec<Element>, Refused> {
    match lines.iter().find_map(|line| line.error) {
        Some(code) => Err((code, String::new())),
        None => Ok(lines),
    }
}

fn fetch(client: &BaseConsumer<Context>, parts: &[TopicPartition], wait: Duration) -> Result<Vec<Element>, Refused> {
    let mut list = TopicPartitionList::new();
    for part in parts {
        list.add_partition(&part.topic, part.partition);
    }
    let answer = client.committed_offsets(list, wait).map_err(|error| match error.rdkafka_error_code() {
        Some(code) => (code, String::new()),
        None => (RDKafkaErrorCode::Unknown, error.to_string()),
    })?;
    let element = |line: &TopicPartitionListElem<'_>| Element {
        topic: line.topic().into(),
        partition: line.partition(),
        offset: match line.offset() {
            rdkafka::Offset::Offset(offset) => offset,
            _ => -1,
        },
        metadata: line.metadata().to_owned(),
        error: line.error().err().and_then(|error| error.rdkafka_error_code()),
    };
    Ok(answer.elements().iter().map(element).collect())
}

/// Asks the group's coordinator again while it is not ready: a cluster's first group, and one whose coordinator moved,
/// have none for a moment. What is asked may happen twice.
fn settle(wait: Duration, ask: impl Fn(Duration) -> Result<Vec<Element>, Refused>) -> Result<Vec<Element>, Refused> {
    let until = Instant::now() + wait;
    loop {
        let answer = ask(until.saturating_duration_since(Instant::now())).and_then(sound);
        let moving = matches!(
            answer,
            Err((
                RDKafkaErrorCode::NotCoordinator
                    | RDKafkaErrorCode::CoordinatorNotAvailable
                    | RDKafkaErrorCode::CoordinatorLoadInProgress,
                _
            ))
        );
        if !moving || Instant::now() + COORDINATOR_PAUSE >= until {
            return answer;
        }
        thread::sleep(COORDINATOR_PAUSE);
    }
}

impl Admin {
    /// Sets or forgets offsets of a group without members.
    pub async fn set_committed(
        &self,
        group: &str,
        offsets: &[(TopicPartition, Option<Committed>)],
    ) -> Result<(), LogError> {
        topic::check_group(group)?;
        let (mut set, mut forget) = (TopicPartitionList::new(), TopicPartitionList::new());
        let topics: BTreeMap<_, _> = offsets.iter().map(|(part, _)| (part.topic.to_string(), ())).collect();
        let known = self.infos(topics.into_keys().collect()).await?;
        for (part, committed) in offsets {
            topic::check_committed(committed.as_ref())?;
            let Some(_) = known.iter().find(|info| info.name == part.topic && info.partitions > part.partition) else {
                return Err(LogError::UnknownTopic(part.topic.to_string()));
            };
            match committed {
                Some(committed) => put(&mut set, part, committed)?,
                None => drop(forget.add_partition(&part.topic, part.partition)),
            }
        }
        let group = group.to_owned();
        self.blocking(move |admin| {
            if set.count() > 0 {
                settle(ASK_TIMEOUT, |wait| native::alter_group_offsets(admin.inner(), &group, &set, wait))
                    .map_err(|why| not_empty(&group, &why))?;
            }
            if forget.count() > 0 {
                settle(ASK_TIMEOUT, |wait| native::delete_group_offsets(admin.inner(), &group, &forget, wait))
                    .map_err(|why| not_empty(&group, &why))?;
            }
            Ok(())
        })
        .await
    }
}

fn not_empty(group: &str, why: &Refused) -> LogError {
    match why.0 {
        RDKafkaErrorCode::UnknownMemberId
        | RDKafkaErrorCode::NonEmptyGroup
        | RDKafkaErrorCode::GroupSubscribedToTopic
        | RDKafkaErrorCode::RebalanceInProgress
        | RDKafkaErrorCode::IllegalGeneration => LogError::GroupNotEmpty(group.to_owned()),
        _ => refused(why),
    }
}

/// Adds a position to a list.
pub(super) fn put(list: &mut TopicPartitionList, part: &TopicPartition, at: &Committed) -> Result<(), LogError> {
    let mut element = list.add_partition(&part.topic, part.partition);
    element.set_offset(rdkafka::Offset::Offset(at.offset)).map_err(|error| LogError::Invalid(error.to_string()))?;
    element.set_metadata(at.metadata.as_str());
    Ok(())
}

fn committed_of_all(lines: Vec<Element>) -> BTreeMap<TopicPartition, Committed> {
    lines.into_iter().filter_map(committed_of).collect()
}

/// A line about a committed position; none if there is no position.
fn committed_of(element: Element) -> Option<(TopicPartition, Committed)> {
    let at = Committed { offset: element.offset, metadata: element.metadata };
    if at.offset < 0 || element.error.is_some() {
        return None;
    }
    Some((TopicPartition { topic: element.topic, partition: element.partition }, at))
}
