//! The state of all groups: members, owners, and the hand-over of partitions between them.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
};

use super::{
    Place, Store,
    assign::{MemberId, assign},
    consumer::GroupConsumer,
    state::{Event, Group, Member, Owner, Stage, wanted},
};
use crate::{
    Assigned, CommitError, Committed, Consumer, Epoch, GroupSpec, LogError, Revoke, TopicInfo, TopicPartition,
    sync::lock,
    topic::{MAX_METADATA_BYTES, check_group},
};

/// Epochs grow with every assignment within the process, whichever log it is of.
static EPOCH: AtomicU64 = AtomicU64::new(1);

/// Longest that setting offsets waits for commits of former members.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(10);

/// All consumer groups of a log.
pub(crate) struct Coordinator {
    store: Arc<dyn Store>,
    state: Mutex<State>,
    /// Told when a last commit of a former owner is over.
    settled: Notify,
}

#[derive(Default)]
struct State {
    groups: BTreeMap<String, Group>,
    /// Last number given to a member or a revoke.
    last_id: u64,
}

/// Proof that a commit was allowed when it was sent. The partition changes hands only after it is dropped.
pub(crate) struct Ticket {
    coordinator: Arc<Coordinator>,
    group: String,
    part: TopicPartition,
    epoch: Epoch,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.coordinator.committed(&self.group, &self.part, self.epoch);
    }
}

/// Keeps a group without members from getting partitions while its offsets are set.
pub(crate) struct Frozen {
    coordinator: Arc<Coordinator>,
    group: String,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut state = lock(&self.coordinator.state);
        if let Some(group) = state.groups.get_mut(&self.group) {
            group.frozen -= 1;
        }
        self.coordinator.rebalance(&mut state, &self.group);
    }
}

impl Coordinator {
    pub fn new(store: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { store, state: Mutex::default(), settled: Notify::new() })
    }

    /// Adds a member; its partitions come through its `poll`.
    pub fn subscribe(self: &Arc<Self>, spec: GroupSpec) -> Result<Box<dyn Consumer>, LogError> {
        check_group(&spec.group)?;
        self.store.usable()?;
        if spec.topics.is_empty() && !spec.all_topics {
            return Err(LogError::Invalid(format!("group {:?} subscribes to no topic: name one", spec.group)));
        }
        let notify = Arc::new(Notify::new());
        let name = spec.group.clone();
        let mut state = lock(&self.state);
        state.last_id += 1;
        let id = state.last_id;
        let member = Member { spec, inbox: VecDeque::new(), notify: notify.clone(), runtime: Handle::current() };
        state.groups.entry(name.clone()).or_default().members.insert(id, member);
        self.rebalance(&mut state, &name);
        drop(state);
        Ok(Box::new(GroupConsumer::new(self.clone(), self.store.clone(), name, id, notify)))
    }

    /// Topics came, went or grew: partitions of topics that are gone are lost at once, new ones are given out.
    pub fn topics_changed(self: &Arc<Self>) {
        let mut state = lock(&self.state);
        let ids: HashMap<Arc<str>, TopicInfo> =
            self.store.topics_now().into_iter().map(|info| (info.name.clone(), info)).collect();
        let names: Vec<String> = state.groups.keys().cloned().collect();
        for name in names {
            if let Some(group) = state.groups.get_mut(&name) {
                let gone = |part: &TopicPartition, owner: &Owner| {
                    ids.get(&part.topic).is_none_or(|info| info.id.as_ref() != Some(&owner.topic_id))
                };
                let lost: Vec<_> = group.owned.iter().filter(|(p, o)| gone(p, o)).map(|(p, _)| p.clone()).collect();
                group.lose(&lost);
            }
            self.rebalance(&mut state, &name);
        }
    }

    /// Asks every member for all its partitions, then gives them out again: a rebalance on demand, for simulations.
    pub fn shake(self: &Arc<Self>, group: &str) {
        let mut state = lock(&self.state);
        let held = state.groups.get(group).map(Group::held).unwrap_or_default();
        self.revoke(&mut state, group, held);
        self.rebalance(&mut state, group);
    }

    /// Takes all partitions away without asking, as when sessions expire, then gives them out again: for simulations.
    pub fn expel(self: &Arc<Self>, group: &str) {
        let mut state = lock(&self.state);
        if let Some(found) = state.groups.get_mut(group) {
            let parts: Vec<_> = found.owned.keys().cloned().collect();
            found.lose(&parts);
        }
        self.rebalance(&mut state, group);
    }

    /// Keeps a group without members as it is, else refuses. Waits for commits of former members.
    pub async fn freeze_empty(self: &Arc<Self>, group: &str) -> Result<Frozen, LogError> {
        check_group(group)?;
        let frozen = self.freeze(group)?;
        let settled = async {
            loop {
                let settled = self.settled.notified();
                if lock(&self.state).groups.get(group).is_none_or(|found| found.owned.is_empty()) {
                    return;
                }
                settled.await;
            }
        };
        let waited = tokio::time::timeout(SETTLE_TIMEOUT, settled).await;
        waited.map_err(|_| LogError::Unavailable(format!("commits of group {group:?} do not come to an end")))?;
        Ok(frozen)
    }

    fn freeze(self: &Arc<Self>, group: &str) -> Result<Frozen, LogError> {
        let mut state = lock(&self.state);
        let found = state.groups.entry(group.to_owned()).or_default();
        if !found.members.is_empty() {
            return Err(LogError::GroupNotEmpty(group.to_owned()));
        }
        found.frozen += 1;
        Ok(Frozen { coordinator: self.clone(), group: group.to_owned() })
    }

    pub(super) fn next_event(&self, group: &str, member: MemberId) -> Option<Event> {
        lock(&self.state).groups.get_mut(group)?.members.get_mut(&member)?.inbox.pop_front()
    }

    pub(super) fn leave(self: &Arc<Self>, name: &str, member: MemberId) {
        let mut state = lock(&self.state);
        let Some(group) = state.groups.get_mut(name) else { return };
        group.members.remove(&member);
        let parts: Vec<_> = group.owned.iter().filter(|(_, o)| o.member == member).map(|(p, _)| p.clone()).collect();
        group.release(&parts);
        self.rebalance(&mut state, name);
    }

    pub(super) async fn commit(
        self: &Arc<Self>,
        group: &str,
        member: MemberId,
        part: &TopicPartition,
        epoch: Epoch,
        committed: &Committed,
    ) -> Result<(), CommitError> {
        if committed.metadata.len() > MAX_METADATA_BYTES {
            let bytes = committed.metadata.len();
            return Err(CommitError::Unavailable(format!("metadata of {bytes} bytes is over {MAX_METADATA_BYTES}")));
        }
        let (ticket, topic_id) = self.ticket(group, member, part, epoch).ok_or(CommitError::Fenced)?;
        self.store.store_commit(group, &Place { part, topic_id: &topic_id }, committed, ticket).await
    }

    fn ticket(
        self: &Arc<Self>,
        name: &str,
        member: MemberId,
        part: &TopicPartition,
        epoch: Epoch,
    ) -> Option<(Ticket, Arc<str>)> {
        let mut state = lock(&self.state);
        let owner = state.groups.get_mut(name)?.owned.get_mut(part)?;
        if owner.member != member || owner.epoch != epoch || owner.stage == Stage::Leaving {
            return None;
        }
        owner.in_flight += 1;
        let ticket = Ticket { coordinator: self.clone(), group: name.to_owned(), part: part.clone(), epoch };
        Some((ticket, owner.topic_id.clone()))
    }

    /// A commit came to its end.
    fn committed(self: &Arc<Self>, name: &str, part: &TopicPartition, epoch: Epoch) {
        let mut state = lock(&self.state);
        let Some(group) = state.groups.get_mut(name) else { return };
        let Some(owner) = group.owned.get_mut(part).filter(|owner| owner.epoch == epoch) else { return };
        owner.in_flight -= 1;
        if owner.in_flight == 0 && owner.stage == Stage::Leaving {
            group.owned.remove(part);
            self.settled.notify_waiters();
            self.rebalance(&mut state, name);
        }
    }

    /// Moves the group one step towards its best assignment: free partitions are given out, those that must change
    /// hands are asked back. Called again whenever one of them is free.
    fn rebalance(self: &Arc<Self>, state: &mut State, name: &str) {
        let Some(group) = state.groups.get_mut(name) else { return };
        if group.members.is_empty() && group.owned.is_empty() && group.frozen == 0 {
            state.groups.remove(name);
            return;
        }
        if group.frozen > 0 {
            return;
        }
        let topics = self.store.topics_now();
        let wanted = wanted(&group.members, &topics);
        let owners = group.owned.iter().filter(|(_, o)| o.stage == Stage::Held).map(|(p, o)| (p.clone(), o.member));
        let target = assign(&wanted, &owners.collect());
        let moving = group.owned.iter().filter(|(p, o)| o.stage == Stage::Held && target.get(p) != Some(&o.member));
        let moving: Vec<_> = moving.map(|(p, _)| p.clone()).collect();
        self.revoke(state, name, moving);
        self.give(state, name, &topics, target);
    }

    fn give(&self, state: &mut State, name: &str, topics: &[TopicInfo], target: BTreeMap<TopicPartition, MemberId>) {
        let Some(group) = state.groups.get_mut(name) else { return };
        let ids: HashMap<&str, &TopicInfo> = topics.iter().map(|info| (&*info.name, info)).collect();
        let mut news: BTreeMap<MemberId, Vec<Assigned>> = BTreeMap::new();
        for (part, member) in target {
            let Some(topic_id) = ids.get(&*part.topic).and_then(|info| info.id.clone()) else { continue };
            if group.owned.contains_key(&part) {
                continue;
            }
            let epoch = EPOCH.fetch_add(1, Ordering::Relaxed);
            let committed = self.store.committed_now(name, &part);
            let owner = Owner { member, epoch, topic_id: topic_id.clone(), stage: Stage::Held, in_flight: 0 };
            group.owned.insert(part.clone(), owner);
            news.entry(member).or_default().push(Assigned { part, epoch, topic_id: Some(topic_id), committed });
        }
        for (member, assigned) in news {
            tracing::debug!(group = name, member, partitions = assigned.len(), "A member was given partitions.");
            group.tell(member, Event::Assigned(assigned));
        }
    }

    /// Asks the owners of `parts` to give them back.
    fn revoke(self: &Arc<Self>, state: &mut State, name: &str, parts: Vec<TopicPartition>) {
        let State { groups, last_id } = state;
        let Some(group) = groups.get_mut(name) else { return };
        for (member, parts) in group.by_owner(parts) {
            // What the member was not yet told of it need not give back.
            let (unknown, known): (Vec<_>, Vec<_>) = group.withdraw(member, parts);
            group.release(&unknown);
            if known.is_empty() {
                continue;
            }
            *last_id += 1;
            let id = *last_id;
            for part in &known {
                if let Some(owner) = group.owned.get_mut(part) {
                    owner.stage = Stage::Revoking(id);
                }
            }
            let (revoke, answered) = Revoke::new(known.clone());
            if let Some(member) = group.members.get(&member) {
                let wait = self.clone().await_answer(name.to_owned(), id, known, answered, member.spec.revoke_timeout);
                member.runtime.spawn(wait);
            }
            group.tell(member, Event::Revoke(revoke));
        }
    }

    async fn await_answer(
        self: Arc<Self>,
        name: String,
        id: u64,
        parts: Vec<TopicPartition>,
        answered: oneshot::Receiver<()>,
        timeout: Duration,
    ) {
        let in_time = tokio::time::timeout(timeout, answered).await.is_ok();
        let mut state = lock(&self.state);
        let Some(group) = state.groups.get_mut(&name) else { return };
        let still = |part: &&TopicPartition| group.owned.get(*part).is_some_and(|o| o.stage == Stage::Revoking(id));
        let parts: Vec<_> = parts.iter().filter(still).cloned().collect();
        if in_time {
            group.release(&parts);
        } else {
            tracing::warn!(group = name, partitions = parts.len(), "A member did not give partitions back in time.");
            group.lose(&parts);
        }
        self.rebalance(&mut state, &name);
    }
}
