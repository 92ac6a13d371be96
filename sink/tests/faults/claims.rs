//! A partition that is claimed again starts clean: nothing that was read or heard before counts.

use std::{sync::Arc, time::Duration};

use forebay_broker::{Committed, Log};
use forebay_sink::{intent::DONE, sinks::memory::MemoryStore};

use super::{FAST, GROUP, part, pass, support::*};

/// What a consumer tells while the claim takes its time must not end the batch that is read again.
const CLAIM: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn an_end_told_during_a_claim_skips_nothing() {
    let (_, world, store) = simulated(1).await;
    world.topic("t", 1).await;
    let (_connector, faults) = world.start_faulty(FAST, &store);
    world.publish("t", 1, 0, 10).await;
    world.settled("t").await;
    faults.slow_claims(CLAIM);
    faults.fail_seals(1);
    world.publish("t", 1, 10, 10).await;
    eventually("the failure", async || faults.have_happened()).await;
    pass(2).await;
    world.publish("t", 1, 20, 10).await;
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}

#[tokio::test(start_paused = true)]
async fn an_end_told_during_a_claim_does_not_end_a_redo() {
    let (log, world, store) = simulated(2).await;
    world.topic("t", 1).await;
    let other = world.registry.register("b-value", &SCHEMA.replace("Reading", "Other"), &[]).await.unwrap();
    let ids = [world.schema_id, other.registered.id];
    let records = |from| (from..from + 10).map(|id| world.record("t", 0, Some(value(ids[id as usize % 2], id))));
    world.send(records(0).collect()).await;
    let connector = world.start_on(FAST, &store);
    world.settled("t").await;
    drop(connector);
    pass(60).await;
    // Only the first file of the batch was written, and a commit that came late has hidden its intent.
    let half = Arc::new(MemoryStore::default());
    let (key, (bytes, metadata)) = store.objects().into_iter().next().unwrap();
    half.plant(&key, bytes, metadata);
    log.overwrite_committed(GROUP, &part(), Some(Committed { offset: 0, metadata: DONE.to_owned() }));
    world.send(records(10).collect()).await;
    let (_connector, faults) = world.start_faulty(FAST, &half);
    let adopted = async || log.committed(GROUP, &[part()]).await.unwrap()[&part()].metadata.contains("e=9;n=0;");
    faults.slow_claims(CLAIM);
    eventually("the intent", adopted).await;
    pass(2).await;
    world.send(records(20).collect()).await;
    world.settled("t").await;
    world.audit_rows("t", read_store(&half)).await;
}
