//! Waiting for receipts: once per produce call, up to a deadline; what comes later is still counted.

use std::{sync::Arc, time::Duration};

use forebay_broker::{PendingReceipts, Receipt, Receipts};
use tokio::time::Instant;

use crate::{
    metrics::Outcome,
    problem::{
        Problem,
        of_log::{delivery_unknown, note, produce_problem},
    },
    topics::Topic,
};

/// One result per record of a produce call.
pub(crate) type Results = Vec<Result<Receipt, Problem>>;

/// A produce call whose receipts are on their way.
pub(crate) struct Pending {
    receipts: Option<PendingReceipts>,
    topic: Arc<Topic>,
    /// What a stored record is counted as, if the caller has gone.
    outcome: Outcome,
    count: usize,
    bytes: usize,
    started: std::time::Instant,
    answered: bool,
}

impl Pending {
    pub(crate) fn new(
        receipts: PendingReceipts,
        topic: Arc<Topic>,
        outcome: Outcome,
        count: usize,
        bytes: usize,
    ) -> Self {
        Self {
            receipts: Some(receipts),
            topic,
            outcome,
            count,
            bytes,
            started: std::time::Instant::now(),
            answered: false,
        }
    }

    /// All receipts, or `delivery_unknown` for every record if they are not there in time.
    pub(crate) async fn wait(mut self, deadline: Instant) -> Results {
        let Some(receipts) = self.receipts.as_mut() else { return Vec::new() };
        let result = tokio::time::timeout_at(deadline, receipts).await;
        self.answered = true;
        match result {
            Ok(receipts) => {
                self.receipts = None;
                count(&self.topic, &receipts, self.bytes, self.started.elapsed());
                note(&self.topic.name, receipts.iter().filter_map(|receipt| receipt.as_ref().err()));
                receipts.into_iter().map(|receipt| receipt.map_err(produce_problem)).collect()
            }
            Err(_) => vec![Err(delivery_unknown()); self.count],
        }
    }
}

/// The caller went away, or was told that the outcome is unknown: the records go on their way, and are counted.
impl Drop for Pending {
    fn drop(&mut self) {
        let Some(receipts) = self.receipts.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (topic, outcome, bytes) = (self.topic.clone(), self.outcome, self.bytes);
        let (started, answered) = (self.started, self.answered);
        runtime.spawn(async move {
            let receipts = receipts.await;
            count(&topic, &receipts, bytes, started.elapsed());
            if !answered {
                let stored = receipts.iter().filter(|receipt| receipt.is_ok()).count();
                topic.metrics.events(outcome, stored);
            }
        });
    }
}

fn count(topic: &Topic, receipts: &Receipts, bytes: usize, took: Duration) {
    let stored = receipts.iter().filter(|receipt| receipt.is_ok()).count();
    // Bytes of a call that was stored in part are counted whole: the parts are not told apart here.
    let bytes = if stored > 0 { bytes } else { 0 };
    topic.metrics.receipts(stored, bytes, stored == receipts.len(), took);
}
