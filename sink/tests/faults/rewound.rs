//! A log that has lost acknowledged records and gives their offsets to others, while the lake holds the old ones under
//! the names of the new ones: a replica that lagged was elected, or an older copy was put in the log's place.

use std::sync::Arc;

use forebay_broker::{Committed, Log, sim::SimLog};
use forebay_sink::{connector::Connector, intent::DONE, sinks::memory::MemoryStore, status::State};

use super::{FAST, GROUP, part, pass, support::*};

const EARLIEST: &str = r#"{"on_offset_mismatch":"earliest","batch":{"max_age_ms":300}}"#;
/// Of the same settings as [`FAST`] but for the place.
const ELSEWHERE: &str = r#"{"topics.dir":"again","batch":{"max_age_ms":300}}"#;
/// Ids of records that came after the loss begin here.
const NEW: i64 = 1000;

fn done(offset: i64) -> Committed {
    Committed { offset, metadata: DONE.to_owned() }
}

/// A lake of the batches [0, 49] and [50, 79]. Then the log ends at 60, `committed` says how far the group is, and `new`
/// more records come.
async fn cut_at_60(seed: u64, committed: Option<Committed>, new: i64) -> (Arc<SimLog>, World, Arc<MemoryStore>) {
    let (log, world, store) = simulated(seed).await;
    world.topic("t", 1).await;
    let connector = world.start_on(FAST, &store);
    for (from, count) in [(0, 50), (50, 30)] {
        world.publish("t", 1, from, count).await;
        world.settled("t").await;
    }
    drop(connector);
    pass(60).await;
    assert_eq!(store.objects().len(), 2);
    log.cut(&part(), 60).unwrap();
    log.overwrite_committed(GROUP, &part(), committed);
    if new > 0 {
        world.publish("t", 1, NEW, new).await;
    }
    (log, world, store)
}

async fn failed(connector: &Connector) -> String {
    let rewound = async || {
        let status = connector.status();
        status.state == State::Failed && status.trouble.is_some_and(|trouble| trouble.code == "LOG_REWOUND")
    };
    eventually("the task to fail", rewound).await;
    connector.status().trouble.unwrap().advice
}

/// Offsets and ids of the rows.
fn rows(store: &MemoryStore) -> Vec<(i64, i64)> {
    let mut rows: Vec<_> = read_store(store).into_iter().map(|row| (row.at.2, row.id)).collect();
    rows.sort_unstable();
    rows
}

#[tokio::test(start_paused = true)]
async fn new_records_are_never_taken_for_lost_ones() {
    // As many new records as were lost, fewer and more, none; and offsets that are lost with the records.
    let back = Some(done(50));
    let cases = [(back.clone(), 20), (back.clone(), 5), (back.clone(), 40), (back, 0), (None, 40)];
    for (seed, (committed, new)) in cases.into_iter().enumerate() {
        let (log, world, store) = cut_at_60(seed as u64, committed.clone(), new).await;
        let before = store.objects();
        let connector = world.start_on(FAST, &store);
        let advice = failed(&connector).await;
        assert!(advice.contains("from offset 50 on") && advice.contains("topics.dir"), "{advice}");
        assert_eq!(store.objects(), before);
        assert_eq!(
            log.committed(GROUP, &[part()]).await.unwrap()[&part()],
            done(50),
            "nothing is announced, nothing done"
        );
        // As often as it is started.
        connector.restart();
        failed(&connector).await;
        connector.drain(std::time::Duration::from_secs(60)).await;
        let elsewhere = Arc::new(MemoryStore::default());
        let _connector = world.start_on(ELSEWHERE, &elsewhere);
        world.settled("t").await;
        let kept = (50..60).map(|n| (n, n));
        let want: Vec<_> = kept.chain((0..new).map(|n| (60 + n, NEW + n))).collect();
        assert_eq!(rows(&elsewhere), want, "{committed:?} and {new}");
    }
}

#[tokio::test(start_paused = true)]
async fn beginning_anew_at_the_earliest_record_loses_nothing_in_silence() {
    // By hand to the new end, and as the group left it.
    for (seed, committed) in [Committed { offset: 60, metadata: String::new() }, done(80)].into_iter().enumerate() {
        let (log, world, store) = cut_at_60(seed as u64, Some(committed.clone()), 0).await;
        let before = store.objects();
        let connector = world.start_on(EARLIEST, &store);
        eventually("the task to fail", async || connector.status().state == State::Failed).await;
        let trouble = connector.status().trouble.unwrap();
        assert_eq!(trouble.code, "OFFSET_ABOVE_END", "the lake ends at 79: {trouble:?}");
        assert_eq!(log.committed(GROUP, &[part()]).await.unwrap()[&part()], committed);
        world.publish("t", 1, NEW, 40).await;
        if committed.offset == 80 {
            // It fits again, and looks as if nothing had been lost: the log alone can't tell.
            log.overwrite_committed(GROUP, &part(), Some(Committed { offset: 5000, metadata: DONE.to_owned() }));
        }
        connector.restart();
        failed(&connector).await;
        assert_eq!((store.objects(), &log.committed(GROUP, &[part()]).await.unwrap()[&part()]), (before, &done(50)));
    }
}

#[tokio::test(start_paused = true)]
async fn files_without_marks_are_recognised_by_their_range_alone() {
    let (log, world, store) = cut_at_60(0, Some(done(50)), 0).await;
    world.publish("t", 1, 60, 20).await;
    let older = Arc::new(MemoryStore::default());
    for (key, (bytes, mut metadata)) in store.objects() {
        assert!(metadata.remove("forebay-marks").is_some());
        older.plant(&key, bytes, metadata);
    }
    let _connector = world.start_on(FAST, &older);
    world.settled("t").await;
    assert_eq!(log.committed(GROUP, &[part()]).await.unwrap()[&part()], done(80));
    assert_eq!(older.objects().len(), 2);
}
