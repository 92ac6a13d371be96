//! One group: its members, who owns what, and the changes that need nothing but that. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use tokio::{runtime::Handle, sync::Notify};

use super::assign::MemberId;
use crate::{Assigned, Epoch, GroupSpec, Revoke, TopicInfo, TopicPartition, is_one_of_all};

#[derive(Default)]
pub(super) struct Group {
    pub members: BTreeMap<MemberId, Member>,
    pub owned: BTreeMap<TopicPartition, Owner>,
    /// Offsets are being set from outside: nothing is assigned meanwhile.
    pub frozen: usize,
}

pub(super) struct Member {
    pub spec: GroupSpec,
    /// At most a few events per partition: what was not delivered yet is withdrawn, not followed up.
    pub inbox: VecDeque<Event>,
    pub notify: Arc<Notify>,
    pub runtime: Handle,
}

pub(super) struct Owner {
    pub member: MemberId,
    pub epoch: Epoch,
    pub topic_id: Arc<str>,
    pub stage: Stage,
    /// Commits on their way to the store.
    pub in_flight: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Held,
    /// Asked back under this number; may still commit.
    Revoking(u64),
    /// No longer the member's: waits for commits in flight.
    Leaving,
}

/// What a member is told next.
pub(super) enum Event {
    Assigned(Vec<Assigned>),
    Revoke(Revoke),
    Lost(Vec<TopicPartition>),
}

impl Group {
    pub fn tell(&mut self, member: MemberId, event: Event) {
        if let Some(member) = self.members.get_mut(&member) {
            member.inbox.push_back(event);
            member.notify.notify_one();
        }
    }

    pub fn held(&self) -> Vec<TopicPartition> {
        self.owned.iter().filter(|(_, owner)| owner.stage == Stage::Held).map(|(part, _)| part.clone()).collect()
    }

    pub fn by_owner(&self, parts: Vec<TopicPartition>) -> BTreeMap<MemberId, Vec<TopicPartition>> {
        let mut by_owner: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
        for part in parts {
            if let Some(owner) = self.owned.get(&part) {
                by_owner.entry(owner.member).or_default().push(part);
            }
        }
        by_owner
    }

    /// Ends the ownership, now or when the last commit in flight is over.
    pub fn release(&mut self, parts: &[TopicPartition]) {
        for part in parts {
            match self.owned.get_mut(part) {
                Some(owner) if owner.in_flight > 0 => owner.stage = Stage::Leaving,
                _ => {
                    self.owned.remove(part);
                }
            }
        }
    }

    /// Takes partitions away without asking.
    pub fn lose(&mut self, parts: &[TopicPartition]) {
        let held = parts.iter().filter(|part| self.owned.get(*part).is_some_and(|o| o.stage != Stage::Leaving));
        for (member, parts) in self.by_owner(held.cloned().collect()) {
            let (_, known) = self.withdraw(member, parts);
            if !known.is_empty() {
                self.tell(member, Event::Lost(known));
            }
        }
        self.release(parts);
    }

    /// Takes news of these partitions out of the member's inbox. Returns (those it was never told of, the others).
    pub fn withdraw(
        &mut self,
        member: MemberId,
        parts: Vec<TopicPartition>,
    ) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let Some(member) = self.members.get_mut(&member) else { return (parts, Vec::new()) };
        let mut unknown = BTreeSet::new();
        for event in &mut member.inbox {
            match event {
                Event::Assigned(news) => news.retain(|news| {
                    let withdrawn = parts.contains(&news.part);
                    if withdrawn {
                        unknown.insert(news.part.clone());
                    }
                    !withdrawn
                }),
                Event::Revoke(revoke) => revoke.parts.retain(|part| !parts.contains(part)),
                Event::Lost(_) => {}
            }
        }
        member.inbox.retain(|event| match event {
            Event::Assigned(news) => !news.is_empty(),
            Event::Revoke(revoke) => !revoke.parts.is_empty(),
            Event::Lost(parts) => !parts.is_empty(),
        });
        parts.into_iter().partition(|part| unknown.contains(part))
    }
}

/// Every partition, with the members that may have it.
pub(super) fn wanted(
    members: &BTreeMap<MemberId, Member>,
    topics: &[TopicInfo],
) -> BTreeMap<TopicPartition, BTreeSet<MemberId>> {
    let mut wanted = BTreeMap::new();
    for info in topics {
        let takers: BTreeSet<_> =
            members.iter().filter(|(_, member)| takes(&member.spec, &info.name)).map(|(id, _)| *id).collect();
        for partition in 0..if takers.is_empty() { 0 } else { info.partitions } {
            wanted.insert(TopicPartition::new(info.name.clone(), partition), takers.clone());
        }
    }
    wanted
}

fn takes(spec: &GroupSpec, topic: &str) -> bool {
    spec.topics.iter().any(|name| name == topic)
        || (spec.all_topics && is_one_of_all(topic) && !spec.except.iter().any(|name| name == topic))
}
