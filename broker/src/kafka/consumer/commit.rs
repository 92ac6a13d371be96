//! Commits of a member, and the gate that a rebalance closes behind them.

use std::{
    collections::HashMap,
    sync::{Arc, RwLock, Weak},
};

use async_trait::async_trait;
use rdkafka::{
    TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::RDKafkaErrorCode,
};

use super::super::{client::Context, native, offsets::put};
use crate::{
    CommitError, Committed, Committer, Epoch, TopicPartition,
    sync::{read, write},
    topic,
};

/// Which partitions may be committed, under which assignment. A commit holds it for reading until its answer is there;
/// taking a partition away needs it for writing, and so waits, without a limit, for every commit on its way: librdkafka
/// may send one late, under a newer generation, and the cluster would take it.
#[derive(Debug, Default)]
struct Owned(HashMap<TopicPartition, Epoch>);

/// A member's place in its group, as far as commits go.
pub(super) struct Seat {
    me: Weak<Self>,
    native: Weak<BaseConsumer<Context>>,
    owned: RwLock<Owned>,
}

impl Seat {
    pub fn new(native: Weak<BaseConsumer<Context>>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self { me: me.clone(), native, owned: RwLock::default() })
    }

    /// From now on this partition may be committed.
    pub fn own(&self, part: &TopicPartition, epoch: Epoch) {
        write(&self.owned).0.insert(part.clone(), epoch);
    }

    /// From now on nothing of these partitions is committed, and nothing is on its way.
    pub fn disown(&self, parts: &[TopicPartition]) {
        write(&self.owned).0.retain(|part, _| !parts.contains(part));
    }

    /// The same for all of them.
    pub fn disown_all(&self) {
        write(&self.owned).0.clear();
    }

    fn commit_now(&self, part: &TopicPartition, epoch: Epoch, committed: &Committed) -> Result<(), CommitError> {
        let owned = read(&self.owned);
        if owned.0.get(part) != Some(&epoch) {
            return Err(CommitError::Fenced);
        }
        let native = self.native.upgrade().ok_or(CommitError::Fenced)?;
        if native.assignment_lost() {
            return Err(CommitError::Fenced);
        }
        let mut list = TopicPartitionList::new();
        put(&mut list, part, committed).map_err(|error| CommitError::Unavailable(error.to_string()))?;
        let code = match native::commit(native.client(), &list) {
            Ok(answers) => answers.into_iter().find_map(|answer| answer.error),
            Err(code) => Some(code),
        };
        drop(native);
        drop(owned);
        code.map_or(Ok(()), |code| Err(meaning(code)))
    }
}

/// What a refused commit means. While a rebalance goes on, or before this member has heard of a new generation, a commit
/// is refused though the partition stays ours: it may be sent again until the assignment is over.
fn meaning(code: RDKafkaErrorCode) -> CommitError {
    use RDKafkaErrorCode as Code;
    match code {
        Code::UnknownMemberId | Code::FencedInstanceId | Code::FencedMemberEpoch | Code::AssignmentLost => {
            CommitError::Fenced
        }
        Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::BrokerTransportFailure
        | Code::NetworkException
        | Code::MessageTimedOut => CommitError::Unknown(code.to_string()),
        code => CommitError::Unavailable(code.to_string()),
    }
}

#[async_trait]
impl Committer for Seat {
    async fn commit(&self, part: &TopicPartition, epoch: Epoch, committed: &Committed) -> Result<(), CommitError> {
        topic::check_committed(Some(committed)).map_err(|error| CommitError::Unavailable(error.to_string()))?;
        let (part, committed) = (part.clone(), committed.clone());
        let seat = self.me.upgrade().ok_or(CommitError::Fenced)?;
        match tokio::task::spawn_blocking(move || seat.commit_now(&part, epoch, &committed)).await {
            Ok(result) => result,
            Err(error) => Err(CommitError::Unknown(error.to_string())),
        }
    }
}
