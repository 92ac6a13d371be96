//! The S3 store against a scripted service: the whole table of answers, and what each becomes.

#![allow(clippy::unwrap_used)]

mod fake;

use std::{io::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use fake::{Fake, Fault, Headers, fault, late, refusal};
use forebay_sink::{
    config::Conditional,
    sinks::{
        SinkError,
        dir::DirStore,
        memory::MemoryStore,
        s3::S3Store,
        store::{Content, Metadata, ObjectStore, Put},
    },
};

const KEY: &str = "t/partition=0/t+0+00000000000000000000+1.parquet";
const MIB: u64 = 1 << 20;

fn ours() -> Metadata {
    let pairs = [("forebay-connector", "c"), ("forebay-end", "9"), ("forebay-topic-id", "")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
}

/// As it comes back: a value that is empty is not kept.
fn kept() -> Metadata {
    ours().into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn small() -> Content {
    Content::Memory(Bytes::from_static(b"rows"))
}

fn large(len: u64) -> Content {
    let bytes: Vec<u8> = (0..len).map(|n| (n % 253) as u8).collect();
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    Content::File(Arc::new(file), len)
}

async fn put(store: &S3Store, content: &Content) -> Result<Put, SinkError> {
    store.put_if_absent(KEY, content, &ours()).await
}

fn words(result: Result<Put, SinkError>) -> String {
    match result {
        Err(SinkError::Retry { why, .. }) => why,
        other => panic!("{other:?}"),
    }
}

const AUTO: Conditional = Conditional::Auto;

#[tokio::test]
async fn an_object_is_created_once_with_its_metadata() {
    let fake = Fake::start().await;
    let store = fake.store("{}", AUTO);
    assert_eq!(store.describe(), "s3://lake/raw");
    assert_eq!(put(&store, &small()).await.unwrap(), Put::Created);
    assert_eq!(put(&store, &Content::Memory("other".into())).await.unwrap(), Put::Exists(Some(kept())));
    assert_eq!(fake.calls(), ["put*", "put*", "head"]);
    let objects = fake.objects();
    let (bytes, metadata) = &objects[&format!("raw/{KEY}")];
    assert_eq!((bytes.as_slice(), metadata), (&b"rows"[..], &kept()));
    assert_eq!(objects.len(), 1, "the probe is gone");
    assert_eq!(fake.uploads(), 0);
}

#[tokio::test]
async fn every_store_tells_alike_what_is_there() {
    const OTHER: &str = "t/other";
    let fake = Fake::start().await;
    fake.plant(&format!("raw/{OTHER}"), Metadata::new());
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("t")).unwrap();
    std::fs::write(dir.path().join(OTHER), "theirs").unwrap();
    let memory = MemoryStore::default();
    memory.plant(OTHER, "theirs".into(), Metadata::new());
    let directory = DirStore::new(dir.path().to_owned(), "", "c", None);
    let stores: [&dyn ObjectStore; 3] = [&fake.store("{}", AUTO), &directory, &memory];
    for store in stores {
        let name = store.describe();
        assert_eq!(store.metadata(KEY).await.unwrap(), None, "{name}: nothing");
        assert_eq!(store.metadata(OTHER).await.unwrap(), None, "{name}: someone else's");
        assert_eq!(store.put_if_absent(OTHER, &small(), &kept()).await.unwrap(), Put::Exists(None), "{name}");
        assert_eq!(store.put_if_absent(KEY, &small(), &kept()).await.unwrap(), Put::Created, "{name}");
        assert_eq!(store.metadata(KEY).await.unwrap(), Some(kept()), "{name}: ours");
        assert_eq!(store.put_if_absent(KEY, &small(), &kept()).await.unwrap(), Put::Exists(Some(kept())), "{name}");
    }
}

#[tokio::test]
async fn answers_that_are_branches_of_the_protocol() {
    let lost = Fault { call: "put", answer: refusal(500, "InternalError", "we failed"), applied: true };
    let cases: &[(&str, Vec<Fault>, &[&str])] = &[
        ("409: again", vec![fault("put", 409, "ConditionalRequestConflict")], &["put*", "put*"]),
        (
            "412, and gone when looked at: again",
            vec![fault("put", 412, "PreconditionFailed")],
            &["put*", "head", "put*"],
        ),
        ("412 without a body", vec![fault("put", 412, "")], &["put*", "head", "put*"]),
    ];
    for (name, faults, calls) in cases {
        let fake = Fake::start().await;
        fake.script(faults.clone());
        assert_eq!(put(&fake.store("{}", AUTO), &small()).await.unwrap(), Put::Created, "{name}");
        assert_eq!(fake.calls(), *calls, "{name}");
    }
    for lost in [lost, late("put")] {
        let fake = Fake::start().await;
        let store = fake.store(r#"{"timeout_ms":1500}"#, AUTO);
        fake.script([lost]);
        words(put(&store, &small()).await);
        assert_eq!(put(&store, &small()).await.unwrap(), Put::Exists(Some(kept())), "it is our own");
    }
}

#[tokio::test]
async fn a_writer_that_is_always_in_the_way_is_left_to_the_task() {
    let fake = Fake::start().await;
    fake.script((0..10).map(|_| fault("put", 409, "ConditionalRequestConflict")));
    assert!(words(put(&fake.store("{}", AUTO), &small()).await).contains("another writer is in the way"));
}

#[tokio::test]
async fn faults_say_what_to_do_and_are_tried_again() {
    let cases = [
        (503, "SlowDown", "asks for fewer requests"),
        (429, "", "asks for fewer requests"),
        (500, "InternalError", "failed (500 InternalError scripted)"),
        (403, "AccessDenied", "the credentials lack a right"),
        (401, "", "the credentials lack a right"),
        (403, "InvalidAccessKeyId", "refused the credentials"),
        (403, "SignatureDoesNotMatch", "refused the credentials"),
        (400, "ExpiredToken", "the credentials have expired"),
        (403, "RequestTimeTooSkewed", "clock"),
        (404, "NoSuchBucket", "the bucket lake does not exist"),
        (400, "InvalidRequest", "(400 InvalidRequest scripted)"),
    ];
    let fake = Fake::start().await;
    let store = fake.store("{}", AUTO);
    for (status, code, want) in cases {
        fake.script([fault("put", status, code)]);
        let why = words(put(&store, &small()).await);
        assert!(why.contains(want) && why.contains(KEY), "{status} {code}: {why}");
    }
    let answer = refusal(503, "SlowDown", "").insert_header("retry-after", "7");
    fake.script([Fault { call: "put", answer, applied: false }]);
    let Err(SinkError::Retry { after, .. }) = put(&store, &small()).await else { panic!() };
    assert_eq!(after, Some(Duration::from_secs(7)));
    assert_eq!(put(&store, &small()).await.unwrap(), Put::Created);
}

#[tokio::test]
async fn settings_that_no_retry_makes_right_stop() {
    let redirect = refusal(301, "PermanentRedirect", "elsewhere").insert_header("x-amz-bucket-region", "eu-west-3");
    let cases = [
        (redirect, "WRONG_REGION", "set s3.region: eu-west-3"),
        (refusal(400, "AuthorizationHeaderMalformed", ""), "WRONG_REGION", "set s3.region"),
        (refusal(400, "InvalidBucketName", ""), "BAD_BUCKET", "correct the connector's url"),
        (refusal(400, "KeyTooLongError", ""), "PATH_INVALID", "shorten"),
    ];
    let fake = Fake::start().await;
    let store = fake.store("{}", AUTO);
    for (answer, want, words) in cases {
        fake.script([Fault { call: "put", answer, applied: false }]);
        let Err(SinkError::Stop { code, advice }) = put(&store, &small()).await else { panic!("{want}") };
        assert_eq!(code, want);
        assert!(advice.contains(words), "{advice}");
    }
}

#[tokio::test]
async fn a_service_that_does_not_know_the_header_is_looked_at_before_each_write() {
    for headers in [Headers::Ignored, Headers::Refused(501), Headers::Refused(400)] {
        let fake = Fake::start().await;
        fake.headers(headers);
        let store = fake.store(r#"{"single_put_bytes":4}"#, AUTO);
        assert_eq!(put(&store, &small()).await.unwrap(), Put::Created);
        assert_eq!(put(&store, &small()).await.unwrap(), Put::Exists(Some(kept())));
        assert_eq!(fake.calls(), ["head", "put", "head"]);
        assert_eq!((fake.objects().len(), fake.uploads()), (1, 0), "nothing is left of the probe");
        let strict = fake.store("{}", Conditional::Require);
        for refused in [put(&strict, &small()).await.map(drop), strict.check().await] {
            let Err(SinkError::Stop { code, advice }) = refused else { panic!("{refused:?}") };
            assert_eq!(code, "NO_CONDITIONAL_WRITES");
            assert!(advice.contains("does not obey conditional writes"), "{advice}");
        }
        store.check().await.unwrap();
    }
}

#[tokio::test]
async fn one_answer_takes_the_condition_from_no_later_write() {
    let fake = Fake::start().await;
    let store = fake.store("{}", AUTO);
    let refusals = [
        (refusal(501, "NotImplemented", "not here"), true),
        (refusal(400, "InvalidArgument", "If-None-Match is not known"), true),
        (refusal(400, "InvalidRequest", "this is not supported"), false),
    ];
    for (n, (answer, is_about_it)) in refusals.into_iter().enumerate() {
        let key = format!("t/{n}");
        let put = async || store.put_if_absent(&key, &small(), &ours()).await;
        fake.script([Fault { call: "put", answer: answer.clone(), applied: false }]);
        if !is_about_it {
            assert!(words(put().await).contains("not supported"));
        }
        assert_eq!(put().await.unwrap(), Put::Created);
        assert_eq!(fake.calls(), ["put*", "put*"], "tried out again, and obeyed");
        // Whatever else the service refuses, that is said, and tried again.
        let other = format!("u/{n}");
        fake.script((0..2).map(|_| Fault { call: "put", answer: answer.clone(), applied: false }));
        let why = words(store.put_if_absent(&other, &small(), &ours()).await);
        assert!(why.contains(&other) && !why.contains("another writer"), "{why}");
        let _ = store.put_if_absent("u", &small(), &ours()).await;
        assert!(fake.calls().iter().all(|call| call == "put*" || call == "head"));
    }
}

#[tokio::test]
async fn one_that_stops_knowing_the_header_is_put_to_plainly() {
    for status in [501, 400] {
        let fake = Fake::start().await;
        let (store, strict) = (fake.store("{}", AUTO), fake.store("{}", Conditional::Require));
        for (store, key) in [(&store, "t/0"), (&strict, "t/1")] {
            assert_eq!(store.put_if_absent(key, &small(), &ours()).await.unwrap(), Put::Created);
        }
        fake.headers(Headers::Refused(status));
        fake.calls();
        assert_eq!(put(&store, &small()).await.unwrap(), Put::Created);
        assert_eq!(fake.calls(), ["put*", "head", "put"]);
        fake.script([fault("put", 501, "NotImplemented")]);
        let other = store.put_if_absent("t/other", &small(), &ours()).await;
        assert!(words(other).contains("s3.checksum"), "a plain put that is refused has another reason");
        let refused = strict.put_if_absent("t/2", &small(), &ours()).await;
        assert!(matches!(refused, Err(SinkError::Stop { code: "NO_CONDITIONAL_WRITES", .. })), "{refused:?}");
    }
}

#[tokio::test]
async fn off_tries_nothing_out() {
    let fake = Fake::start().await;
    let store = fake.store("{}", Conditional::Off);
    store.check().await.unwrap();
    assert_eq!(put(&store, &small()).await.unwrap(), Put::Created);
    assert_eq!(fake.calls(), ["list", "head", "put"]);
}

#[tokio::test]
async fn large_objects_go_in_parts_and_read_back_equal() {
    let fake = Fake::start().await;
    let store = fake.store(r#"{"part_bytes":5242880,"single_put_bytes":1048576}"#, AUTO);
    let content = large(12 * MIB + 5);
    assert_eq!(put(&store, &content).await.unwrap(), Put::Created);
    assert_eq!(fake.calls(), ["head", "create", "part", "part", "part", "complete*"]);
    let mut want = Vec::new();
    content.copy_to(&mut want).unwrap();
    let objects = fake.objects();
    let (bytes, metadata) = &objects[&format!("raw/{KEY}")];
    assert!(*bytes == want, "{} of {} bytes", bytes.len(), want.len());
    assert_eq!(*metadata, kept());
    assert_eq!(put(&store, &content).await.unwrap(), Put::Exists(Some(kept())));
    assert_eq!(fake.calls(), ["head"], "it is not uploaded only to hear that it is there");
}

/// Two parts whose end is refused, and all of it again.
fn again(calls: &[&'static str]) -> Vec<&'static str> {
    [&["head", "create", "part", "part"], calls, &["head", "create", "part", "part", "complete*"]].concat()
}

#[tokio::test]
async fn answers_to_uploads_in_parts() {
    let cases = [
        (
            "409: from the beginning",
            fault("complete", 409, "ConditionalRequestConflict"),
            again(&["complete*", "abort"]),
        ),
        ("no such upload, no object", fault("complete", 404, "NoSuchUpload"), again(&["complete*", "head"])),
        (
            "412, and gone when looked at",
            fault("complete", 412, "PreconditionFailed"),
            again(&["complete*", "abort", "head"]),
        ),
        (
            "a part fails once",
            fault("part", 500, "InternalError"),
            vec!["head", "create", "part", "part", "part", "complete*"],
        ),
    ];
    for (name, fault, calls) in cases {
        let fake = Fake::start().await;
        let store = fake.store(r#"{"part_bytes":5242880,"single_put_bytes":1048576}"#, AUTO);
        fake.script([fault]);
        assert_eq!(put(&store, &large(6 * MIB)).await.unwrap(), Put::Created, "{name}");
        assert_eq!(fake.calls(), calls, "{name}");
    }
}

#[tokio::test]
async fn an_upload_whose_end_was_lost_is_found() {
    let gone = Fault { call: "complete", answer: refusal(404, "NoSuchUpload", "gone"), applied: true };
    let fake = Fake::start().await;
    let store = fake.store(r#"{"single_put_bytes":1}"#, AUTO);
    fake.script([gone]);
    assert_eq!(put(&store, &small()).await.unwrap(), Put::Exists(Some(kept())));
    let fake = Fake::start().await;
    let store = fake.store(r#"{"single_put_bytes":1,"timeout_ms":1500}"#, AUTO);
    fake.script([late("complete")]);
    words(put(&store, &small()).await);
    assert_eq!(put(&store, &small()).await.unwrap(), Put::Exists(Some(kept())));
    assert_eq!(fake.uploads(), 0);
}

#[tokio::test]
async fn a_failed_upload_is_dropped() {
    let fake = Fake::start().await;
    let store = fake.store(r#"{"single_put_bytes":1}"#, AUTO);
    fake.script([fault("complete", 503, "SlowDown")]);
    words(put(&store, &small()).await);
    fake.script((0..4).map(|_| fault("part", 500, "InternalError")));
    words(put(&store, &small()).await);
    fake.script([fault("part", 403, "AccessDenied")]);
    words(put(&store, &small()).await);
    assert_eq!((fake.uploads(), fake.objects().len()), (0, 0));
}

#[tokio::test]
async fn old_uploads_below_the_topic_are_dropped() {
    let fake = Fake::start().await;
    fake.plant_upload("old", "raw/t/partition=0/x", "2001-01-01T00:00:00Z");
    fake.plant_upload("new", "raw/t/partition=0/y", "2999-01-01T00:00:00Z");
    fake.store("{}", AUTO).tidy("t").await;
    assert_eq!(fake.uploads(), 1);
    assert_eq!(fake.calls(), ["uploads", "abort"]);
}

#[tokio::test]
async fn old_uploads_behind_the_first_page_are_dropped_too() {
    let fake = Fake::start().await;
    fake.page(2);
    for n in 0..5 {
        // Two ids of one key: a page may end between them.
        fake.plant_upload(&format!("id{n}"), &format!("raw/t/partition=0/x{}", n / 2), "2001-01-01T00:00:00Z");
    }
    fake.plant_upload("new", "raw/t/partition=0/a", "2999-01-01T00:00:00Z");
    fake.store("{}", AUTO).tidy("t").await;
    assert_eq!(fake.uploads(), 1);
    assert_eq!(fake.calls().iter().filter(|call| *call == "uploads").count(), 3);
}

#[tokio::test]
async fn a_time_out_names_the_settings_that_a_slow_link_needs() {
    let fake = Fake::start().await;
    let store = fake.store(r#"{"timeout_ms":200,"single_put_bytes":1}"#, AUTO);
    put(&store, &small()).await.unwrap();
    let slow = |_| Fault { answer: refusal(200, "", "").set_delay(Duration::from_secs(5)), ..fault("part", 200, "") };
    fake.script((0..4).map(slow));
    let other = store.put_if_absent("t/other", &small(), &ours()).await;
    let why = words(other);
    assert!(why.contains("200 ms") && why.contains("s3.timeout_ms") && why.contains("s3.part_bytes"), "{why}");
}

#[tokio::test]
async fn listing_goes_through_all_pages() {
    let fake = Fake::start().await;
    fake.page(2);
    for n in 0..5 {
        fake.plant(&format!("raw/t/partition=0/t+0+{n}+1.parquet"), kept());
    }
    for other in
        ["raw/t/partition=1/t+1+0+1.parquet", "raw/tt/t+0+0+1.parquet", "raw/_forebay/c/t/topic.json", "t/t+0+"]
    {
        fake.plant(other, kept());
    }
    let store = fake.store("{}", AUTO);
    let found = store.list("t", "t+0+").await.unwrap();
    let want: Vec<_> = (0..5).map(|n| format!("t/partition=0/t+0+{n}+1.parquet")).collect();
    assert_eq!(found, want);
    assert_eq!(store.metadata(&want[0]).await.unwrap(), Some(kept()));
    assert_eq!(store.metadata("t/none").await.unwrap(), None);
}

#[tokio::test]
async fn control_files_are_objects_below_the_connectors_name() {
    let fake = Fake::start().await;
    let store = fake.store("{}", AUTO);
    assert_eq!(store.control("cfg-1.json").await.unwrap(), None);
    for (text, replace, want) in [("a", false, "a"), ("b", false, "a"), ("c", true, "c")] {
        store.put_control("cfg-1.json", text, replace).await.unwrap();
        assert_eq!(store.control("cfg-1.json").await.unwrap().as_deref(), Some(want));
    }
    let keys: Vec<_> = fake.objects().into_keys().collect();
    assert_eq!(keys, ["raw/_forebay/c/cfg-1.json"]);
    fake.script([Fault {
        call: "get",
        answer: wiremock::ResponseTemplate::new(200).set_body_bytes(vec![b'x'; 2 << 20]),
        applied: false,
    }]);
    assert!(store.control("cfg-1.json").await.is_err(), "a control file is small");
}

#[tokio::test]
async fn a_check_says_in_a_sentence_what_is_wrong_and_leaves_nothing() {
    let fake = Fake::start().await;
    let store = fake.store("{}", AUTO);
    store.check().await.unwrap();
    assert!(fake.objects().is_empty() && fake.uploads() == 0);
    let cases = [
        (fault("list", 404, "NoSuchBucket"), "the bucket lake does not exist"),
        (fault("list", 403, "AccessDenied"), "the credentials lack a right"),
        (fault("list", 403, "SignatureDoesNotMatch"), "refused the credentials"),
    ];
    for (fault, want) in cases {
        fake.script([fault]);
        let why = store.check().await.unwrap_err().to_string();
        assert!(why.contains(want), "{why}");
        assert!(!why.contains("secret\""), "{why}");
    }
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut fake = fake;
    fake.url = format!("http://{nobody}");
    let why = fake.store("{}", AUTO).check().await.unwrap_err().to_string();
    assert!(why.contains(&format!("http://{nobody} did not answer")), "{why}");
}
