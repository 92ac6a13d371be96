//! What is remembered, for how long, and how often the registry is asked.

use std::time::Duration;

use forebay_avro::registry::{Lookups, Registry, RegistryError, Remote, config::RemoteSettings};
use serde_json::json;
use wiremock::{
    Mock, MockServer,
    matchers::{method, path},
};

use crate::support::*;

const LATEST: &str = "/subjects/s/versions/latest";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_at_once_are_one_question() {
    let server = MockServer::start().await;
    let slowly = |answer: wiremock::ResponseTemplate| answer.set_delay(Duration::from_millis(300));
    get(&server, "/schemas/ids/1", slowly(ok(&json!({"schema": USER})))).await;
    get(&server, LATEST, slowly(ok(&version("s", 1, 2, USER)))).await;
    let remote = client(&server);
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move {
                remote.by_id(1).await.unwrap();
                remote.latest("s").await.unwrap();
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((asked(&server, "/schemas/ids/1").await, asked(&server, LATEST).await), (1, 1));
}

#[tokio::test]
async fn who_goes_away_takes_no_answer_from_others() {
    let server = MockServer::start().await;
    let answer = ok(&json!({"schema": USER})).set_delay(Duration::from_secs(5));
    get(&server, "/schemas/ids/1", answer).await;
    let remote = client(&server);
    let gone = tokio::time::timeout(Duration::from_millis(50), remote.by_id(1)).await;
    assert!(gone.is_err());
    remote.by_id(1).await.unwrap();
    assert_eq!(asked(&server, "/schemas/ids/1").await, 1);
}

#[tokio::test]
async fn an_unknown_id_is_remembered_for_a_moment_but_not_by_who_must_know() {
    let server = MockServer::start().await;
    get(&server, "/schemas/ids/9", error(404, 40403)).await;
    let remote = client(&server);
    for _ in 0..3 {
        assert!(matches!(remote.by_id(9).await, Err(RegistryError::UnknownId(9))));
    }
    assert_eq!(asked(&server, "/schemas/ids/9").await, 1);
    for _ in 0..3 {
        assert!(matches!(remote.ask_by_id(9).await, Err(RegistryError::UnknownId(9))));
    }
    assert_eq!(asked(&server, "/schemas/ids/9").await, 4);
    // What is found in the end is kept for both.
    server.reset().await;
    get(&server, "/schemas/ids/9", ok(&json!({"schema": USER}))).await;
    remote.ask_by_id(9).await.unwrap();
    remote.ask_by_id(9).await.unwrap();
    remote.by_id(9).await.unwrap();
    assert_eq!(asked(&server, "/schemas/ids/9").await, 1);
}

#[tokio::test]
async fn the_unknown_is_asked_for_again_after_its_time() {
    let server = MockServer::start().await;
    get(&server, LATEST, error(404, 40401)).await;
    let short = RemoteSettings { unknown_ttl: Duration::from_millis(100), ..settings(&server.uri()) };
    let remote = Remote::open(&short).unwrap();
    assert!(matches!(remote.latest("s").await, Err(RegistryError::UnknownSubject(s)) if s == "s"));
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    eventually("the new subject is seen", || async { remote.latest("s").await.is_ok() }).await;
}

#[tokio::test]
async fn errors_that_may_pass_are_not_remembered() {
    let server = MockServer::start().await;
    get(&server, "/schemas/ids/1", error(503, 50003)).await;
    get(&server, LATEST, error(500, 50001)).await;
    let remote = client(&server);
    for n in 1..=3 {
        assert!(matches!(remote.by_id(1).await, Err(RegistryError::Unavailable(_))));
        assert!(matches!(remote.latest("s").await, Err(RegistryError::Unavailable(_))));
        assert_eq!((asked(&server, "/schemas/ids/1").await, asked(&server, LATEST).await), (n, n));
    }
}

#[tokio::test]
async fn a_new_version_is_seen_after_the_time_to_live() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    let remote = Remote::open(&RemoteSettings { latest_ttl: Duration::from_millis(100), ..settings(&server.uri()) });
    let remote = remote.unwrap();
    assert_eq!(remote.latest("s").await.unwrap().version, 1);
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 2, 2, USER_WITH_AGE))).await;
    eventually("version 2", || async { remote.latest("s").await.unwrap().version == 2 }).await;
}

#[tokio::test]
async fn what_is_known_is_served_while_the_registry_is_away() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    get(&server, "/subjects/s/versions/1", ok(&version("s", 1, 1, USER))).await;
    let always = RemoteSettings { latest_ttl: Duration::ZERO, ..settings(&server.uri()) };
    let remote = Remote::open(&always).unwrap();
    remote.latest("s").await.unwrap();
    remote.version("s", 1).await.unwrap();
    for away in [error(503, 50003), error(401, 401), error(429, 42901)] {
        server.reset().await;
        Mock::given(method("GET")).respond_with(away).mount(&server).await;
        for _ in 0..50 {
            assert_eq!(remote.latest("s").await.unwrap().version, 1);
            assert_eq!(remote.version("s", 1).await.unwrap().version, 1);
            assert_eq!(remote.by_id(1).await.unwrap().id, 1, "seen under the subject, so known by its id");
        }
        let asked = asked(&server, LATEST).await;
        assert!(asked < 25, "it is not asked all the time: {asked} times");
    }
    // What is gone for good is not served.
    server.reset().await;
    get(&server, LATEST, error(404, 40401)).await;
    eventually("the subject is gone", || async {
        matches!(remote.latest("s").await, Err(RegistryError::UnknownSubject(_)))
    })
    .await;
}

#[tokio::test]
async fn a_registry_that_hangs_holds_nobody_up_who_has_an_answer() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    let remote = Remote::open(&RemoteSettings { latest_ttl: Duration::ZERO, ..settings(&server.uri()) }).unwrap();
    remote.latest("s").await.unwrap();
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 2, 2, USER)).set_delay(Duration::from_secs(18))).await;
    let began = std::time::Instant::now();
    for _ in 0..20 {
        assert_eq!(remote.latest("s").await.unwrap().version, 1);
    }
    assert!(began.elapsed() < Duration::from_secs(15), "one wait for all, far below the time-out");
}

#[tokio::test]
async fn what_this_process_registered_is_the_latest_at_once() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    let remote = client(&server);
    assert_eq!(remote.latest("s").await.unwrap().version, 1);
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 2, 2, USER_WITH_AGE))).await;
    get(&server, "/schemas/ids/2", ok(&json!({"schema": USER_WITH_AGE}))).await;
    for (at, body) in [("/subjects/s/versions", json!({"id": 2})), ("/subjects/s", version("s", 2, 2, USER_WITH_AGE))] {
        Mock::given(method("POST")).and(path(at)).respond_with(ok(&body)).mount(&server).await;
    }
    remote.register("s", USER_WITH_AGE, &[]).await.unwrap();
    assert_eq!(remote.latest("s").await.unwrap().version, 2);
}

#[tokio::test]
async fn what_is_forgotten_is_asked_for_again_and_nothing_else() {
    let server = MockServer::start().await;
    let forgotten = [(LATEST, true), ("/subjects/s/versions/1", true), ("/subjects/s/versions/2", false)];
    for (at, found) in forgotten {
        get(&server, at, if found { ok(&version("s", 1, 1, USER)) } else { error(404, 40402) }).await;
    }
    get(&server, "/subjects/other/versions/latest", ok(&version("other", 1, 1, USER))).await;
    let remote = client(&server);
    let look = async || {
        remote.version("s", 1).await.unwrap();
        let second = remote.version("s", 2).await.map(|found| found.version);
        remote.latest("other").await.unwrap();
        (remote.latest("s").await.unwrap().version, second.ok())
    };
    assert_eq!((look().await, look().await), ((1, None), (1, None)));
    server.reset().await;
    for at in [LATEST, "/subjects/s/versions/2"] {
        get(&server, at, ok(&version("s", 2, 2, USER_WITH_AGE))).await;
    }
    get(&server, "/subjects/s/versions/1", ok(&version("s", 1, 1, USER))).await;
    assert_eq!(look().await, (1, None));
    remote.forget("s").await;
    assert_eq!((look().await, look().await), ((2, Some(2)), (2, Some(2))));
    for (at, _) in forgotten {
        assert_eq!(asked(&server, at).await, 1, "{at}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 3, "neither another subject nor an id");

    // What was known is better than nothing.
    server.reset().await;
    Mock::given(method("GET")).respond_with(error(503, 50003)).mount(&server).await;
    remote.forget("s").await;
    assert_eq!(remote.latest("s").await.unwrap().version, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_after_forgetting_waits_for_no_answer_from_before() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER)).set_delay(Duration::from_secs(1))).await;
    let remote = client(&server);
    let before = tokio::spawn({
        let remote = remote.clone();
        async move { remote.latest("s").await.unwrap().version }
    });
    eventually("the question is asked", || async { asked(&server, LATEST).await == 1 }).await;
    // Keeps the answer that is on its way.
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 2, 2, USER_WITH_AGE))).await;
    remote.forget("s").await;
    assert_eq!(remote.latest("s").await.unwrap().version, 2);
    assert_eq!(before.await.unwrap(), 1);
    assert_eq!(remote.latest("s").await.unwrap().version, 2, "the old answer is not kept");
}

#[tokio::test]
async fn a_schema_of_one_subject_is_none_of_another() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    get(&server, "/subjects/other/versions/latest", error(404, 40401)).await;
    get(&server, "/subjects/other/versions/1", error(404, 40401)).await;
    let remote = client(&server);
    remote.latest("s").await.unwrap();
    remote.version("s", 1).await.unwrap_err();
    for found in [remote.latest("other").await, remote.version("other", 1).await] {
        assert!(matches!(found, Err(RegistryError::UnknownSubject(s)) if s == "other"));
    }
}

#[tokio::test]
async fn many_schemas_do_not_fill_the_memory() {
    let server = MockServer::start().await;
    // 70 schemas of 1 MiB are more than may be kept; which of them go is the cache's choice.
    let padding = " ".repeat((1 << 20) - 10);
    for id in 0..70 {
        get(&server, &format!("/schemas/ids/{id}"), ok(&json!({"schema": format!("\"int\"{padding}")}))).await;
    }
    let remote = client(&server);
    for id in 0..70 {
        remote.by_id(id).await.unwrap();
    }
    eventually("some are forgotten", || async {
        for id in 0..70 {
            remote.by_id(id).await.unwrap();
        }
        server.received_requests().await.unwrap().len() > 70
    })
    .await;
}

#[tokio::test]
async fn an_old_version_held_for_others_does_not_outlive_a_change() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    let remote = Remote::open(&RemoteSettings { latest_ttl: Duration::from_millis(1), ..settings(&server.uri()) });
    let remote = remote.unwrap();
    remote.latest("s").await.unwrap();
    server.reset().await;
    // Longer than a caller waits where there is an older answer.
    let slow = ok(&version("s", 1, 1, USER)).set_delay(Duration::from_millis(1_600));
    get(&server, LATEST, slow).await;
    eventually("the version is asked for again", || async {
        let _ = tokio::time::timeout(Duration::from_millis(10), remote.latest("s")).await;
        asked(&server, LATEST).await > 0
    })
    .await;
    let waiting = tokio::spawn({
        let remote = remote.clone();
        async move { remote.latest("s").await.unwrap().version }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 2, 2, USER_WITH_AGE))).await;
    remote.forget("s").await;
    assert_eq!(waiting.await.unwrap(), 1, "nobody waits longer");
    assert_eq!(remote.latest("s").await.unwrap().version, 2);
}

#[tokio::test]
async fn the_versions_of_a_subject_are_remembered_until_it_is_forgotten() {
    let server = MockServer::start().await;
    let list = "/subjects/s/versions";
    get(&server, list, ok(&json!([2, 1]))).await;
    let remote = client(&server);
    for _ in 0..3 {
        assert_eq!(remote.versions("s").await.unwrap(), [1, 2]);
    }
    assert_eq!(asked(&server, list).await, 1);
    server.reset().await;
    get(&server, list, ok(&json!([1, 2, 3]))).await;
    remote.forget("s").await;
    assert_eq!(remote.versions("s").await.unwrap(), [1, 2, 3]);
}

#[tokio::test]
async fn each_lookup_is_counted_once_by_where_its_answer_came_from() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER))).await;
    get(&server, "/schemas/ids/9", error(404, 40403)).await;
    let remote = client(&server);
    let counted = || {
        let Lookups { hit, miss, stale, negative } = remote.lookups().unwrap();
        [hit, miss, stale, negative]
    };
    assert_eq!(counted(), [0, 0, 0, 0], "nothing is asked yet");
    for _ in 0..3 {
        remote.latest("s").await.unwrap();
        remote.by_id(9).await.unwrap_err();
    }
    assert_eq!(counted(), [2, 2, 0, 2]);
    remote.by_id(1).await.unwrap();
    remote.ask_by_id(9).await.unwrap_err();
    assert_eq!(counted(), [3, 3, 0, 2], "an id seen under its subject is known; who must know asks");

    // A registry that fails: the older answer, at once and for as long as nobody asks again. Without one, none.
    server.reset().await;
    Mock::given(method("GET")).respond_with(error(503, 50003)).mount(&server).await;
    remote.forget("s").await;
    for _ in 0..3 {
        remote.latest("s").await.unwrap();
    }
    remote.by_id(7).await.unwrap_err();
    assert_eq!(counted(), [3, 4, 3, 2]);

    // One that hangs.
    server.reset().await;
    get(&server, LATEST, ok(&version("s", 2, 2, USER_WITH_AGE)).set_delay(Duration::from_secs(18))).await;
    remote.forget("s").await;
    for _ in 0..2 {
        remote.latest("s").await.unwrap();
    }
    assert_eq!(counted(), [3, 4, 5, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_with_others_for_one_answer_has_missed_too() {
    let server = MockServer::start().await;
    get(&server, LATEST, ok(&version("s", 1, 1, USER)).set_delay(Duration::from_millis(300))).await;
    let remote = client(&server);
    let all = (0..20).map(|_| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.latest("s").await.unwrap() })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap();
    }
    let Lookups { hit, miss, stale, negative } = remote.lookups().unwrap();
    assert_eq!((hit + miss, stale, negative), (20, 0, 0), "each is counted");
    assert!(miss > 1, "not only the one that asked: {miss}");
    assert_eq!(asked(&server, LATEST).await, 1);
}
