//! A member of a consumer group on Kafka. A thread of its own serves librdkafka (`thread.rs`) and fills a desk
//! (`desk.rs`) that the async side takes from; commits go past both (`commit.rs`).

mod commit;
mod desk;
mod thread;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use rdkafka::consumer::BaseConsumer;
use tokio::time::Instant;

use self::commit::Seat;
pub(super) use self::desk::Desk;
use super::{
    admin::Admin,
    client::{Cluster, Context, unavailable},
};
use crate::{Committer, Consumer, GroupSpec, LogError, Offset, Polled, TopicPartition, topic};

/// For leaving the group in order; the thread goes on by itself after it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// See the module. Dropping it leaves the group.
pub(super) struct KafkaConsumer {
    desk: Arc<Desk>,
    seat: Arc<Seat>,
}

impl KafkaConsumer {
    /// Joins a group.
    pub fn join(cluster: &Cluster, admin: Admin, spec: GroupSpec) -> Result<(Self, Arc<Desk>), LogError> {
        topic::check_group(&spec.group)?;
        if spec.topics.is_empty() && !spec.all_topics {
            return Err(LogError::Invalid("a consumer needs at least one topic".to_owned()));
        }
        let native: BaseConsumer<Context> = cluster
            .consumer(&spec.group)
            .create_with_context(Context::default())
            .map_err(|error| unavailable(&error))?;
        let native = Arc::new(native);
        let desk = Arc::new(Desk::default());
        let seat = Seat::new(Arc::downgrade(&native));
        let thread = thread::Service::new(native, Arc::clone(&desk), Arc::clone(&seat), admin, spec);
        std::thread::Builder::new()
            .name("forebay-consumer".to_owned())
            .spawn(move || thread.run())
            .map_err(|error| LogError::Unavailable(format!("no thread for the consumer: {error}")))?;
        Ok((Self { desk: Arc::clone(&desk), seat }, desk))
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn poll(&mut self, max_records: usize, wait: Duration) -> Result<Polled, LogError> {
        let deadline = Instant::now() + wait;
        loop {
            // Made before looking: what comes while we look is not missed.
            let changed = self.desk.changed();
            if let Some(polled) = self.desk.take(max_records.max(1))? {
                return Ok(polled);
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = tokio::time::sleep_until(deadline) => return Ok(Polled::Idle),
            }
        }
    }

    fn seek(&mut self, part: &TopicPartition, offset: Offset) -> Result<(), LogError> {
        self.desk.seek(part, offset)
    }

    fn pause(&mut self, parts: &[TopicPartition]) -> Result<(), LogError> {
        self.desk.pause(parts, true)
    }

    fn resume(&mut self, parts: &[TopicPartition]) -> Result<(), LogError> {
        self.desk.pause(parts, false)
    }

    fn committer(&self) -> Arc<dyn Committer> {
        self.seat.clone()
    }

    async fn close(self: Box<Self>) -> Result<(), LogError> {
        self.desk.leave();
        let left = tokio::time::timeout(CLOSE_TIMEOUT, self.desk.left()).await;
        left.map_err(|_| LogError::Unavailable("the group did not let go in time; it will notice".to_owned()))
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.desk.leave();
    }
}
