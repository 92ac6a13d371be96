//! The breaker of bad records sees every record once, in the order of the log.

use forebay_sink::status::State;

use super::{GROUP, pass, support::*};

/// Sends `count` records, those bad that the pattern says; how the connector is a minute later, and what it still lags.
async fn after(seed: u64, window: usize, count: i64, bad: impl Fn(i64) -> bool) -> (State, i64) {
    let (_, world, store) = simulated(seed).await;
    world.topic("t", 1).await;
    let value = |n| if bad(n) { "bad".into() } else { world.value(n) };
    world.send((0..count).map(|n| world.record("t", 0, Some(value(n)))).collect()).await;
    let options = format!(r#"{{"batch":{{"max_age_ms":300}},"errors":{{"window":{window}}}}}"#);
    let connector = world.start_on(&options, &store);
    pass(60).await;
    let status = connector.status();
    assert_eq!(status.trouble.map(|trouble| trouble.code), (status.state == State::Paused).then_some("BAD_RATE"));
    (status.state, world.lag(GROUP, "t").await)
}

#[tokio::test(start_paused = true)]
async fn less_than_half_never_pauses() {
    assert_eq!(after(1, 1000, 5000, |n| n % 5 < 2).await, (State::Running, 0), "40 %, mixed");
    assert_eq!(after(2, 1000, 500, |n| n >= 300).await, (State::Running, 0), "40 %, all at the end");
    assert_eq!(after(3, 100, 5000, |n| n % 25 < 3).await, (State::Running, 0), "12 % in a window smaller than a poll");
}

#[tokio::test(start_paused = true)]
async fn more_than_half_pauses() {
    for (seed, window) in [(4, 100), (5, 1000)] {
        let (state, lag) = after(seed, window, 5000, |n| n % 5 < 3).await;
        assert_eq!(state, State::Paused);
        assert!(lag > 0, "window {window}: what comes later waits");
    }
}
