//! Destinations and logs that fail for long, or a little all the time.

use super::{pass, support::*};

#[tokio::test(start_paused = true)]
async fn a_batch_of_many_files_gets_on_under_throttling() {
    const FILES: i64 = 500;
    let (_, world, store) = simulated(1).await;
    world.topic("t", 1).await;
    store.throttle(20);
    let _connector = world.start_on(r#"{"partitioner":"daily","batch":{"max_age_ms":300}}"#, &store);
    let on_day = |day: i64| {
        let mut record = world.record("t", 0, Some(world.value(day)));
        record.timestamp_ms = record.timestamp_ms.map(|ms| ms - day * 86_400_000);
        record
    };
    world.send((0..FILES).map(on_day).collect()).await;
    pass(10).await;
    assert_eq!(world.lag("connect-lake", "t").await, 0, "a few passes are enough");
    assert_eq!(store.objects().len() as i64, FILES);
    assert_eq!(store.puts() - store.throttled(), FILES as u64, "each file is put once");
    world.audit_rows("t", read_store(&store)).await;
}
