//! Produce calls with topics that are not known yet: they wait in their order until the cluster told of them.

use std::sync::{Arc, atomic::Ordering};

use tokio::sync::{mpsc, oneshot};

use super::{
    Inner,
    producer::{Done, Taken},
};
use crate::{LogError, NewRecord, ProduceError};

/// A produce call that waits for what is to be known of its topics.
pub(super) struct Waiting {
    pub records: Vec<NewRecord>,
    pub taken: Taken,
    pub done: oneshot::Sender<Done>,
}

/// Sends calls in their order, each when its topics are known.
pub(super) async fn serve_lane(inner: Arc<Inner>, mut waiting: mpsc::Receiver<Waiting>) {
    while let Some(Waiting { records, taken, done }) = waiting.recv().await {
        let plan = match inner.learn(&records).await {
            Ok(()) => inner.topics.plan(records),
            Err(why) => records.iter().map(|_| Err(not_taken(&why))).collect(),
        };
        let sent = inner.producer.send(taken, plan);
        inner.in_lane.fetch_sub(1, Ordering::AcqRel);
        tokio::spawn(async move {
            if let Ok(end) = sent.await {
                // Nobody may be waiting any more.
                let _ = done.send(end);
            }
        });
    }
}

/// What it means for records that nothing could be learnt of their topic.
fn not_taken(why: &LogError) -> ProduceError {
    match why {
        LogError::Denied(why) => ProduceError::Denied(why.clone()),
        LogError::Unavailable(why) => ProduceError::Unavailable(why.clone()),
        why => ProduceError::Unavailable(why.to_string()),
    }
}
