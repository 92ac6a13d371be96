//! Names of the lake that are taken: nothing is written over, and whoever follows the advice has every record once.

use std::{sync::Arc, time::Duration};

use forebay_broker::{Committed, Log, sim::SimLog};
use forebay_sink::{
    connector::Connector,
    intent::DONE,
    sinks::{memory::MemoryStore, store::Metadata},
    status::{State, Trouble},
};

use super::{FAST, GROUP, part, pass, support::*};

/// Of the same settings as [`FAST`] but for the place.
const ELSEWHERE: &str = r#"{"topics.dir":"again","batch":{"max_age_ms":300}}"#;
const FIRST: &str = "t/partition=0/t+0+00000000000000000000+1.parquet";

/// What takes the name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Nobody,
    Another,
    /// The connector itself, under other settings, before its offsets were set back.
    Itself,
}

async fn failed(connector: &Connector) -> Trouble {
    eventually("the task to fail", async || connector.status().state == State::Failed).await;
    connector.status().trouble.unwrap()
}

async fn committed(log: &SimLog) -> Committed {
    log.committed(GROUP, &[part()]).await.unwrap()[&part()].clone()
}

/// A topic that was claimed before it had a record: only then a name is met first when it is written.
async fn claimed(seed: u64, options: &str) -> (Arc<SimLog>, World, Arc<MemoryStore>, Connector) {
    let (log, world, store) = simulated(seed).await;
    world.topic("t", 1).await;
    let connector = world.start_on(options, &store);
    eventually("the claim", async || world.committed(GROUP, "t").await.len() == 1).await;
    (log, world, store, connector)
}

/// Ten records whose name is taken, and a connector that has met it.
async fn taken(seed: u64, by: By) -> (Arc<SimLog>, World, Arc<MemoryStore>, Connector) {
    let (log, world, store, mut connector) = claimed(seed, FAST).await;
    let another: Metadata = [("forebay-connector".to_owned(), "another".to_owned())].into();
    match by {
        By::Nobody => store.plant(FIRST, "theirs".into(), Metadata::new()),
        By::Another => store.plant(FIRST, "theirs".into(), another),
        By::Itself => {}
    }
    world.publish("t", 1, 0, 10).await;
    if by == By::Itself {
        world.settled("t").await;
        drop(connector);
        pass(60).await;
        let (bytes, mut metadata) = store.objects()[FIRST].clone();
        metadata.insert("forebay-cfg".to_owned(), "0123456789abcdef".to_owned());
        store.plant(FIRST, bytes, metadata);
        log.overwrite_committed(GROUP, &part(), Some(Committed { offset: 0, metadata: DONE.to_owned() }));
        connector = world.start_on(FAST, &store);
    }
    let trouble = failed(&connector).await;
    assert_eq!(trouble.code, if by == By::Nobody { "FOREIGN_OBJECT" } else { "KEY_TAKEN" }, "{trouble:?}");
    assert!(trouble.advice.contains("topics.dir") && trouble.advice.to_lowercase().contains("move"), "{trouble:?}");
    assert_eq!(committed(&log).await, Committed { offset: 0, metadata: DONE.to_owned() }, "nothing holds it here");
    (log, world, store, connector)
}

#[tokio::test(start_paused = true)]
async fn both_ways_that_the_advice_names_lead_out() {
    for (seed, by) in [By::Nobody, By::Another, By::Itself].into_iter().enumerate() {
        for elsewhere in [false, true] {
            let (_, world, store, connector) = taken(seed as u64, by).await;
            let theirs = store.objects();
            // As often as it is started, and whatever comes meanwhile.
            connector.restart();
            failed(&connector).await;
            world.publish("t", 1, 10, 10).await;
            let (_connector, store) = if elsewhere {
                connector.drain(Duration::from_secs(60)).await;
                assert_eq!(store.objects(), theirs, "{by:?}");
                let store = Arc::new(MemoryStore::default());
                (world.start_on(ELSEWHERE, &store), store)
            } else {
                store.remove(FIRST);
                connector.restart();
                (connector, store)
            };
            world.settled("t").await;
            world.audit_rows("t", read_store(&store)).await;
        }
    }
}

/// Where a file of the group stands already, another place would have its rows twice: the group is finished where it is.
#[tokio::test(start_paused = true)]
async fn a_group_that_is_begun_is_finished_where_it_is() {
    const HOURLY: &str = r#"{"partitioner":"hourly","batch":{"max_age_ms":300}}"#;
    let (log, world, store, connector) = claimed(9, HOURLY).await;
    let hour = |n: i64| {
        let mut record = world.record("t", 0, Some(world.value(n)));
        record.timestamp_ms = Some(1_795_235_045_678 + (n % 2) * 3_600_000);
        record
    };
    let second = "t/year=2026/month=11/day=21/hour=05/t+0+00000000000000000000+1.parquet";
    store.plant(second, "theirs".into(), Metadata::new());
    world.send((0..10).map(hour).collect()).await;
    let trouble = failed(&connector).await;
    assert_eq!(trouble.code, "FOREIGN_OBJECT");
    assert!(!trouble.advice.contains("topics.dir") && trouble.advice.contains("move it away"), "{trouble:?}");
    assert!(committed(&log).await.metadata.starts_with("v1;e=9;"), "it stays announced");
    world.send((10..20).map(hour).collect()).await;
    store.remove(second);
    connector.restart();
    world.settled("t").await;
    world.audit_rows("t", read_store(&store)).await;
}
