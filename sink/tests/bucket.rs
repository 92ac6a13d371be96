//! The S3 store and the lake on it against a real server: races, large objects, kill -9, and objects of others.

#![allow(clippy::unwrap_used)]

mod support;

use std::{io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use forebay_components::{Bucket, Moto, S3, require};
use forebay_sink::{
    config::ConnectorOptions,
    connector::Connector,
    sinks::{
        SinkError,
        store::{Content, Metadata, ObjectStore, Put},
    },
    status::State,
};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use support::*;
use tokio::sync::watch;

const MIB: usize = 1 << 20;
const FIRST: &str = "t/partition=0/t+0+00000000000000000000+1.parquet";

fn metadata(writer: usize) -> Metadata {
    [("forebay-connector".to_owned(), "lake".to_owned()), ("forebay-end".to_owned(), writer.to_string())].into()
}

/// Writers race for the same keys: of each key exactly one is told that it created it, and its bytes stand there.
async fn race(s3: &Bucket, prefix: &str, section: Value, writers: usize, keys: usize, len: usize) {
    let writing = (0..writers).map(|writer| {
        let store = bucket::store(s3, prefix, section.clone());
        async move {
            let content = Content::Memory(vec![writer as u8; len].into());
            let put = async |key: usize| {
                let key = format!("t/{key}");
                match store.put_if_absent(&key, &content, &metadata(writer)).await.unwrap() {
                    Put::Created => Some((key, writer)),
                    Put::Exists(theirs) => {
                        assert_ne!(theirs.unwrap()["forebay-end"], writer.to_string());
                        None
                    }
                }
            };
            stream::iter(0..keys).map(put).buffered(1).collect::<Vec<_>>().await
        }
    });
    let won = futures_util::future::join_all(writing).await;
    let won: Vec<(String, usize)> = won.into_iter().flatten().flatten().collect();
    assert_eq!(won.len(), keys, "one winner for each key");
    let objects = bucket::objects(s3, prefix).await;
    assert_eq!(objects.len(), keys);
    for (key, writer) in won {
        let (bytes, found) = &objects[&key];
        assert!(bytes.len() == len && bytes.iter().all(|byte| usize::from(*byte) == writer), "{key} is torn");
        assert_eq!(*found, metadata(writer));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_eight_writers_one_wins_each_key() {
    let s3 = require!(S3::start());
    race(&s3, "single", json!({}), 8, 50, 10_000).await;
    race(&s3, "parts", json!({"single_put_bytes": 1}), 8, 20, 10_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_service_answers_alike() {
    // Moto looks for the key and creates the object in two steps on threads of its own: it can judge what a writer
    // hears and leaves, not who wins a race.
    let moto = require!(Moto::start());
    for (prefix, section) in [("single", json!({})), ("parts", json!({"single_put_bytes": 1}))] {
        for writer in 0..3 {
            let store = bucket::store(&moto, prefix, section.clone());
            let content = Content::Memory(vec![writer as u8; 1000].into());
            let put = store.put_if_absent("t/0", &content, &metadata(writer)).await.unwrap();
            let expected = if writer == 0 { Put::Created } else { Put::Exists(Some(metadata(0))) };
            assert_eq!(put, expected, "{prefix}, writer {writer}");
        }
        let objects = bucket::objects(&moto, prefix).await;
        assert_eq!(objects["t/0"], (Bytes::from(vec![0; 1000]), metadata(0)), "{prefix}");
        assert_eq!(objects.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn forty_megabytes_go_in_parts_and_read_back_equal() {
    let s3 = require!(S3::start());
    let bytes: Vec<u8> = (0..40 * MIB).map(|n| (n / 7 % 251) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    let spilled = Content::File(Arc::new(file), bytes.len() as u64);
    let bytes = Bytes::from(bytes);
    for (prefix, section, content) in [
        ("file", json!({}), &spilled),
        ("memory", json!({}), &Content::Memory(bytes.clone())),
        ("sums", json!({"checksum": "when_supported"}), &spilled),
        ("one", json!({"single_put_bytes": 64 * MIB}), &spilled),
    ] {
        let store = bucket::store(&s3, prefix, section);
        assert_eq!(store.put_if_absent("t/large", content, &metadata(1)).await.unwrap(), Put::Created, "{prefix}");
        assert_eq!(
            store.put_if_absent("t/large", content, &metadata(2)).await.unwrap(),
            Put::Exists(Some(metadata(1)))
        );
        let objects = bucket::objects(&s3, prefix).await;
        assert!(objects["t/large"].0 == bytes && objects["t/large"].1 == metadata(1), "{prefix}");
        assert_eq!(objects.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_a_kill_of_the_server() {
    let mut s3 = require!(S3::start());
    for (prefix, section) in [("single", json!({})), ("parts", json!({"single_put_bytes": 1}))] {
        let store = bucket::store(&s3, prefix, section);
        let acknowledged = Arc::new(watch::Sender::new(0));
        let killed = Arc::new(watch::Sender::new(false));
        let writing = tokio::spawn({
            let (store, acknowledged, killed) = (store.clone(), acknowledged.clone(), killed.clone());
            async move {
                let put = async |n: usize| {
                    // However slowly the kill comes, there is something left that it cuts off.
                    if n >= 200 {
                        killed.subscribe().wait_for(|killed| *killed).await.unwrap();
                        return None;
                    }
                    let content = Content::Memory(vec![n as u8; 100_000].into());
                    let put = store.put_if_absent(&format!("t/{n}"), &content, &metadata(n)).await;
                    acknowledged.send_modify(|count| *count += usize::from(put.is_ok()));
                    put.is_ok().then_some(n)
                };
                stream::iter(0..400).map(put).buffer_unordered(8).collect::<Vec<_>>().await
            }
        });
        acknowledged.subscribe().wait_for(|count| *count > 20).await.unwrap();
        s3.kill().unwrap();
        killed.send_replace(true);
        let done: Vec<usize> = writing.await.unwrap().into_iter().flatten().collect();
        s3.restart().unwrap();
        assert!(done.len() > 20, "{}", done.len());
        let objects = bucket::objects(&s3, prefix).await;
        for n in done {
            let (bytes, found) = &objects[&format!("t/{n}")];
            assert!(bytes.len() == 100_000 && bytes.iter().all(|byte| *byte == n as u8), "{n} is torn");
            assert_eq!(*found, metadata(n));
        }
        for n in 0..400 {
            let content = Content::Memory(vec![n as u8; 100_000].into());
            let put = store.put_if_absent(&format!("t/{n}"), &content, &metadata(n)).await.unwrap();
            assert!(matches!(put, Put::Created) || put == Put::Exists(Some(metadata(n))));
        }
        assert_eq!(
            bucket::objects(&s3, prefix).await.len(),
            400,
            "what was left half done is done, nothing else is there"
        );
    }
}

fn fast(s3: &S3, prefix: &str) -> String {
    bucket::options(s3, prefix, r#"{"batch":{"max_age_ms":200}}"#, json!({"timeout_ms": 2000}))
}

async fn world(seed: u64) -> World {
    simulated(seed).await.1
}

async fn audit(world: &World, s3: &S3, prefix: &str) {
    world.audit_rows("t", bucket::rows(&bucket::objects(s3, prefix).await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_becomes_a_row_in_an_object_of_its_name() {
    let s3 = require!(S3::start());
    let world = world(1).await;
    world.topic("t", 1).await;
    world.publish("t", 1, 7, 3).await;
    let connector = world.start(&fast(&s3, "raw"));
    assert_eq!(connector.destination(), format!("s3://{}/raw", s3.bucket));
    world.settled("t").await;
    assert!(connector.drain(Duration::from_secs(60)).await);
    let objects = bucket::objects(&s3, "raw").await;
    let cfg = world.settings("{}");
    let control: Vec<&str> =
        objects.keys().map(String::as_str).filter(|key| key.starts_with("_forebay/lake/")).collect();
    assert_eq!(control.len(), 2, "settings and the topic's identity: {control:?}");
    let found = &objects[FIRST].1;
    let of = |name: &str| found[name].as_str();
    assert_eq!((of("forebay-connector"), of("forebay-start"), of("forebay-end")), (cfg.name.as_str(), "0", "2"));
    assert_eq!((of("forebay-count"), of("forebay-group-files"), of("forebay-v")), ("3", "1", "1"));
    audit(&world, &s3, "raw").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_and_hangs_is_waited_for() {
    let mut s3 = require!(S3::start());
    let world = world(2).await;
    world.topic("t", 2).await;
    let connector = world.start(&fast(&s3, "raw"));
    for round in 0..3 {
        match round {
            1 => s3.kill().unwrap(),
            2 => s3.stop().unwrap(),
            _ => {}
        }
        world.publish("t", 2, round * 100, 100).await;
        if round > 0 {
            let down = async || connector.status().trouble.is_some_and(|trouble| trouble.code == "DESTINATION_DOWN");
            eventually("the trouble to show", down).await;
        }
        match round {
            1 => s3.restart().unwrap(),
            2 => s3.cont().unwrap(),
            _ => {}
        }
        world.settled("t").await;
    }
    assert!(connector.drain(Duration::from_secs(60)).await);
    audit(&world, &s3, "raw").await;
    assert!(world.dead().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_others_are_never_touched() {
    let s3 = require!(S3::start());
    let of = |pairs: &[(&str, &str)]| -> Metadata { pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect() };
    let cases = [
        ("foreign", Metadata::new(), "FOREIGN_OBJECT"),
        ("someone", of(&[("owner", "me")]), "FOREIGN_OBJECT"),
        ("other", of(&[("forebay-connector", "another"), ("forebay-end", "9")]), "KEY_TAKEN"),
    ];
    for (n, (prefix, theirs, want)) in cases.into_iter().enumerate() {
        let content = Content::Memory("theirs".into());
        bucket::store(&s3, prefix, json!({})).put_if_absent(FIRST, &content, &theirs).await.unwrap();
        let world = world(10 + n as u64).await;
        world.topic("t", 1).await;
        world.publish("t", 1, 0, 3).await;
        let connector = world.start(&fast(&s3, prefix));
        eventually("the task to fail", async || connector.status().state == State::Failed).await;
        assert_eq!(connector.status().trouble.unwrap().code, want);
        let objects = bucket::objects(&s3, prefix).await;
        assert_eq!((objects[FIRST].0.as_ref(), &objects[FIRST].1), (&b"theirs"[..], &theirs));
        connector.drain(Duration::from_secs(60)).await;
    }
}

/// TLS with a certificate of an authority of one's own, which is trusted by its file alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_by_its_authority_alone() {
    let (s3, other) = (require!(S3::over_tls()), require!(S3::over_tls()));
    let authority = |s3: &S3| json!({"ca_file": s3.ca_file().unwrap()});
    let put = async |section: Value| {
        let store = bucket::store(&s3, "raw", section);
        store.put_if_absent(FIRST, &Content::Memory("ours".into()), &metadata(1)).await
    };
    for (section, what) in [(json!({}), "no authority"), (authority(&other), "another's authority")] {
        let refused = put(section).await.expect_err(what);
        // It waits: the server may get another certificate.
        assert!(matches!(refused, SinkError::Retry { .. }), "{what}: {refused}");
        let why = refused.to_string();
        let clear = ["showed a certificate that is not trusted", "s3.ca_file", &s3.endpoint];
        assert!(clear.iter().all(|part| why.contains(part)), "{what}: {why}");
    }
    assert_eq!(put(authority(&s3)).await.unwrap(), Put::Created);
    let object = s3.root().unwrap().join(&s3.bucket).join("raw").join(FIRST);
    assert_eq!(std::fs::read_to_string(object).unwrap(), "ours");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_leaves_nothing_and_says_what_is_wrong() {
    let s3 = require!(S3::start());
    let check = async |options: String| {
        let options: ConnectorOptions = serde_json::from_str(&options).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let settings = options.resolve("lake", dir.path(), dir.path()).unwrap();
        Connector::check(&settings, dir.path()).await.map_err(|error| error.to_string())
    };
    let options = fast(&s3, "raw");
    check(options.clone()).await.unwrap();
    assert!(bucket::objects(&s3, "").await.is_empty() && bucket::objects(&s3, "raw").await.is_empty());
    let wrong = [
        ("/url", "s3://no-such-bucket/raw", "does not exist"),
        ("/s3/access_key_id", "nobody", "refused the credentials"),
        ("/s3/secret_access_key", "hush", "refused the credentials"),
    ];
    for (pointer, value, want) in wrong {
        let mut options: Value = serde_json::from_str(&options).unwrap();
        *options.pointer_mut(pointer).unwrap() = value.into();
        let why = check(options.to_string()).await.expect_err(value);
        assert!(why.contains(want) && !why.contains("hush"), "{why}");
    }
}
