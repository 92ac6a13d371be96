//! Every component, real: it starts, answers a request, and is gone when it is dropped or its owner is killed.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use forebay_components::{
    Apicurio, Kafka, Moto, Proxy, S3, Secured, Stream, Toxic, Toxiproxy, User, http, python, require,
};
use serde_json::Value;

fn address(url: &str) -> &str {
    url.strip_prefix("http://").unwrap().split('/').next().unwrap()
}

fn listens(address: &str) -> bool {
    TcpStream::connect(address).is_ok()
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_kafka(address: &str) -> std::io::Result<bool> {
    is_kafka_within(address, Duration::from_secs(30))
}

/// Whether a node answers ApiVersions, version 0, without an error.
fn is_kafka_within(address: &str, limit: Duration) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(limit))?;
    // Length, API key 18, version 0, correlation id 7, no client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff])?;
    let mut answer = [0; 10];
    stream.read_exact(&mut answer)?;
    Ok(answer[4..] == [0, 0, 0, 7, 0, 0])
}

#[test]
fn kafka_of_one_node() {
    let kafka = require!(Kafka::single());
    let address = kafka.brokers().to_owned();
    assert!(is_kafka(&address).unwrap());
    drop(kafka);
    assert!(!listens(&address));
}

#[test]
fn kafka_is_shared_within_a_process() {
    let first = require!(Kafka::shared());
    let second = require!(Kafka::shared());
    assert!(std::ptr::eq(first, second));
    assert!(is_kafka(first.brokers().split(',').next().unwrap()).unwrap());
}

#[test]
fn kafka_of_three_nodes_of_which_one_ends_hangs_and_returns() {
    let mut kafka = require!(Kafka::three());
    let brokers: Vec<_> = kafka.brokers().split(',').map(str::to_owned).collect();
    assert_eq!(brokers.len(), 3);
    assert!(brokers.iter().all(|address| is_kafka(address).unwrap()));

    kafka.kill(2).unwrap();
    assert!(!listens(&brokers[1]));
    assert!(kafka.kill(2).is_err(), "it does not run");
    kafka.start(2).unwrap();
    assert!(is_kafka(&brokers[1]).unwrap());

    kafka.stop(3).unwrap();
    assert!(is_kafka_within(&brokers[2], Duration::from_secs(1)).is_err(), "a stopped node answers nothing");
    kafka.cont(3).unwrap();
    eventually("the node answers again", || is_kafka(&brokers[2]).unwrap_or(false));
    assert!(kafka.kill(4).is_err(), "there is no such node");
}

/// Topics as confluent-kafka sees them, or its error.
fn topics(python: &Path, brokers: &str, protocol: &str, ca: &Path, user: Option<User>) -> Result<String, String> {
    const SCRIPT: &str = "\
import json, os, sys
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, NewTopic
def failed(error):
    if error.code() == KafkaError._AUTHENTICATION:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
admin = AdminClient(json.loads(sys.argv[1]) | {'error_cb': failed})
created = admin.create_topics([NewTopic('seen', 1, 1)], request_timeout=30)['seen']
while not created.done():
    admin.poll(0.1)
try:
    created.result()
except Exception as error:
    if 'TOPIC_ALREADY_EXISTS' not in str(error): sys.exit(str(error))
print(','.join(admin.list_topics(timeout=30).topics))
";
    let mut settings = serde_json::json!({
        "bootstrap.servers": brokers, "security.protocol": protocol, "ssl.ca.location": ca,
    });
    if let Some(user) = user {
        settings["sasl.mechanism"] = user.mechanism.into();
        settings["sasl.username"] = user.name.into();
        settings["sasl.password"] = user.password.into();
    }
    let output = Command::new(python).args(["-c", SCRIPT, &settings.to_string()]).output().unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn kafka_with_users_and_tls() {
    let python = require!(python());
    let secured = require!(Kafka::secured());
    let by = |user| topics(&python, &secured.sasl_ssl, "sasl_ssl", &secured.ca, Some(user));
    for user in [Secured::SCRAM_512, Secured::SCRAM_256, Secured::PLAIN] {
        assert_eq!(by(user).as_deref(), Ok("seen"), "{user:?}");
    }
    let denied = by(Secured::DENIED).unwrap_err();
    assert!(denied.contains("AUTHORIZATION_FAILED"), "{denied}");
    let wrong = by(User { password: "wrong", ..Secured::SCRAM_512 }).unwrap_err();
    assert!(wrong.contains("SASL authentication error: Authentication failed"), "{wrong}");
    assert_eq!(topics(&python, &secured.ssl, "ssl", &secured.ca, None).as_deref(), Ok("seen"));
    assert!(is_kafka(secured.kafka.brokers()).unwrap());
}

#[test]
fn s3_keeps_its_objects_over_a_kill() {
    let mut s3 = require!(S3::start());
    let address = address(&s3.endpoint).to_owned();
    let answer = http::request("GET", &address, &format!("/{}", s3.bucket), "").unwrap();
    assert_eq!((answer.status, answer.body.contains("<Code>AccessDenied</Code>")), (403, true), "{answer:?}");
    let object = s3.root().unwrap().join(&s3.bucket).join("object");
    fs::write(&object, "kept").unwrap();

    s3.kill().unwrap();
    assert!(!listens(&address));
    s3.restart().unwrap();
    assert!(listens(&address));
    assert!(object.exists());
    drop(s3);
    assert!(!listens(&address));
    assert!(!object.exists());
}

/// Writes an object twice under `If-None-Match: *` with boto3; what the second answer was.
fn write_twice(python: &Path, endpoint: &str, bucket: &str) -> String {
    const SCRIPT: &str = "\
import boto3, sys
endpoint, bucket = sys.argv[1:]
s3 = boto3.client('s3', endpoint_url=endpoint, region_name='us-east-1',
                  aws_access_key_id='forebay', aws_secret_access_key='forebay-secret')
s3.put_object(Bucket=bucket, Key='a/b', Body=b'first', IfNoneMatch='*')
try:
    s3.put_object(Bucket=bucket, Key='a/b', Body=b'second', IfNoneMatch='*')
except s3.exceptions.ClientError as error:
    print(error.response['ResponseMetadata']['HTTPStatusCode'], end=' ')
print(s3.get_object(Bucket=bucket, Key='a/b')['Body'].read().decode())
";
    let output = Command::new(python).args(["-c", SCRIPT, endpoint, bucket]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn both_s3_servers_refuse_the_second_writer() {
    let python = require!(python());
    let s3 = require!(S3::start());
    assert_eq!(write_twice(&python, &s3.endpoint, &s3.bucket), "412 first\n");
    let moto = require!(Moto::start());
    assert_eq!(write_twice(&python, &moto.endpoint, &moto.bucket), "412 first\n");
    let address = address(&moto.endpoint).to_owned();
    drop(moto);
    assert!(!listens(&address));
}

#[test]
fn apicurio_registers_a_schema() {
    let registry = require!(Apicurio::start());
    let (address, path) = (address(&registry.url), "/apis/ccompat/v7/subjects/seen-value/versions");
    // A server under load may close a connection unanswered; the same schema once more is the same version.
    let deadline = Instant::now() + Duration::from_secs(60);
    let answer = loop {
        match http::request("POST", address, path, r#"{"schema": "\"string\""}"#) {
            Ok(answer) => break answer,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    assert_eq!((answer.status, answer.body.contains("\"id\"")), (200, true), "{answer:?}");
    let address = address.to_owned();
    drop(registry);
    assert!(!listens(&address));
}

fn answers(proxy: &Proxy) -> bool {
    http::request("GET", &proxy.address, "/", "").is_ok()
}

#[test]
fn toxiproxy_delays_cuts_and_refuses() {
    let toxiproxy = require!(Toxiproxy::start());
    let s3 = require!(S3::start());
    let proxy = toxiproxy.proxy(address(&s3.endpoint)).unwrap();
    assert!(answers(&proxy));

    proxy.add("late", Toxic::Latency(Duration::from_millis(300)), Stream::Downstream).unwrap();
    let start = Instant::now();
    assert!(answers(&proxy));
    assert!(start.elapsed() >= Duration::from_millis(300));
    proxy.remove("late").unwrap();
    assert!(proxy.remove("late").is_err(), "there is no such toxic");

    for (name, toxic) in [("cut", Toxic::Reset(Duration::ZERO)), ("hang", Toxic::Timeout(Duration::from_millis(100)))] {
        proxy.add(name, toxic, Stream::Downstream).unwrap();
        assert!(!answers(&proxy), "{name}");
        proxy.remove(name).unwrap();
        assert!(answers(&proxy), "after {name}");
    }
    proxy.enable(false).unwrap();
    assert!(!answers(&proxy));
    proxy.enable(true).unwrap();
    assert!(answers(&proxy));
    drop(toxiproxy);
    assert!(!listens(&proxy.address));
}

#[test]
fn kafka_behind_a_proxy() {
    let toxiproxy = require!(Toxiproxy::start());
    let (kafka, proxy) = require!(Kafka::behind(&toxiproxy));
    assert_eq!(kafka.brokers(), proxy.address);
    assert!(is_kafka(kafka.brokers()).unwrap());
    proxy.enable(false).unwrap();
    assert!(is_kafka(kafka.brokers()).is_err());
}

/// The binary that holds components, and where they are.
fn holder(temporary: &Path, names: &[&str]) -> (Child, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-components"));
    command.args(names).env("TMPDIR", temporary).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

#[test]
fn components_end_with_an_owner_that_is_killed() {
    drop(require!(S3::start()));
    require!(Kafka::shared());
    let temporary = tempfile::tempdir().unwrap();
    let (mut owner, places) = holder(temporary.path(), &["s3", "kafka"]);
    let s3 = address(places["s3"]["endpoint"].as_str().unwrap());
    let kafka = places["kafka"]["brokers"].as_str().unwrap();
    assert!(listens(s3) && listens(kafka));
    assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 2);

    owner.kill().unwrap();
    owner.wait().unwrap();
    eventually("both are gone", || !listens(s3) && !listens(kafka));
    eventually("their folders are gone", || fs::read_dir(temporary.path()).unwrap().next().is_none());
}

#[test]
fn a_component_that_is_missing_or_fails_says_so() {
    let temporary = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay-components"));
    command.arg("s3").env("FOREBAY_COMPONENTS", temporary.path());
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("bin/versitygw is not in") && text.contains("make components"), "{text}");

    fs::create_dir(temporary.path().join("bin")).unwrap();
    fs::write(temporary.path().join("bin/versitygw"), "no program\n").unwrap();
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("versitygw ended with exit status: 126") && text.contains("Permission denied"), "{text}");
}

/// This test program, running the one test that needs nothing but S3, without any component installed.
fn without_components(require: &str) -> (bool, String) {
    let empty = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "s3_keeps_its_objects_over_a_kill"]);
    command.env("FOREBAY_COMPONENTS", empty.path()).env("FOREBAY_TEST_REQUIRE", require).env_remove("FOREBAY_TEST_S3");
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

#[test]
fn a_test_without_its_component_skips_aloud_or_fails() {
    let (passed, text) = without_components("");
    assert!(passed && text.contains("skipped: bin/versitygw is not in"), "{text}");
    let (passed, text) = without_components("all");
    assert!(!passed && text.contains("bin/versitygw is not in") && text.contains("make components"), "{text}");
}
