//! What is done for the cluster's clients beside all calls.

use std::{
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};
use tracing::debug;

use super::Inner;

/// How often the producer is looked after, even if it does not call, and brokers that were lost are looked for.
const LOOK_AFTER: Duration = Duration::from_millis(500);
/// How often what is known of topics is made new.
const TOPICS_AFTER: Duration = Duration::from_secs(10);

/// Mends the producer whenever it breaks, at once: nothing is taken meanwhile. Ends with the log.
pub(super) async fn mend(inner: Weak<Inner>, trouble: Arc<Notify>) {
    loop {
        // Without a call too: one that could not be made is tried again.
        let _ = tokio::time::timeout(LOOK_AFTER, trouble.notified()).await;
        let Some(inner) = inner.upgrade().filter(|inner| !inner.closed.load(Ordering::Acquire)) else { return };
        let _ = tokio::task::spawn_blocking(move || inner.producer.mend()).await;
    }
}

/// Notices that brokers are back, keeps topics current. Ends with the log.
pub(super) async fn look_after(inner: Weak<Inner>) {
    let mut topics_due = Instant::now() + TOPICS_AFTER;
    loop {
        tokio::time::sleep(LOOK_AFTER).await;
        let Some(inner) = inner.upgrade().filter(|inner| !inner.closed.load(Ordering::Acquire)) else { return };
        inner.admin.drain();
        inner.readers.drain();
        inner.offsets.drain();
        if inner.reach.away().is_some() && inner.admin.ping(LOOK_AFTER).await.is_ok() {
            inner.reach.found();
        }
        if Instant::now() >= topics_due {
            topics_due = Instant::now() + TOPICS_AFTER;
            if let Err(why) = inner.refresh().await {
                debug!(%why, "Topics can't be looked at now.");
            }
        }
    }
}
