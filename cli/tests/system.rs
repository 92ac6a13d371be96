//! The whole system from outside: `up` with the verbs beside it, and the verbs without it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use std::{fmt::Write as _, process::Stdio};

use rustix::process::Signal;
use support::{Place, Ran, Running, event, get, status, until};

#[test]
fn events_go_in_and_come_out_as_parquet() {
    let place = Place::new();
    let up = place.up();
    let lines = (0..1200).fold(String::new(), |mut text, n| {
        writeln!(text, "{}", event(n)).unwrap();
        text
    });
    place.write("events.ndjson", &lines);
    let summary = place.run(&["produce", "hello", "events.ndjson", "--json"]).exits(0).json();
    assert_eq!((&summary["accepted"], &summary["refused"]), (&1200.into(), &0.into()));

    let shown = place.run(&["tail", "hello", "-n", "3", "--json"]).exits(0).json();
    assert_eq!(shown.as_array().unwrap().len(), 3, "{shown}");
    assert!(shown[0]["event_id"].as_str().unwrap().starts_with('e'), "{shown}");

    until("the lake to hold all", || {
        let status = place.run(&["connectors", "show", "lake", "--json"]).exits(0).json();
        assert_eq!(status["state"], "running", "{status:#}");
        (status["rows"] == 1200 && status["lag"] == 0).then_some(())
    });
    let topic = place.run(&["topics", "show", "hello", "--json"]).exits(0).json();
    let written: i64 =
        topic["watermarks"].as_array().unwrap().iter().map(|w| w["high_watermark"].as_i64().unwrap()).sum();
    assert_eq!(written, 1200);
    assert!(place.run(&["schemas", "list"]).exits(0).stdout.contains("hello-value"));
    assert!(!place.lake(".parquet").is_empty());
    up.stop().exits(0);
}

#[test]
fn the_drain_flushes() {
    let place = Place::with("connectors: {lake: {batch: {max_age_ms: 3600000}}}\n");
    let up = place.up();
    place.run_with(&["produce", "hello"], &format!("{}\n", event(1))).exits(0);
    until("the lake to have read it", || {
        let metrics = get(&up.url, "/metrics");
        let age = metrics
            .lines()
            .find_map(|l| l.strip_prefix("forebay_sink_oldest_uncommitted_seconds{connector=\"lake\"} "))?;
        (age.parse::<f64>().unwrap() > 0.0).then_some(())
    });
    let status = place.run(&["connectors", "show", "lake", "--json"]).exits(0).json();
    assert_eq!(status["lag"], 1, "{status:#}");
    assert_eq!(place.lake(".parquet").len(), 0);
    up.stop().exits(0);
    let files = place.lake(".parquet");
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(files[0].starts_with("hello/partition="), "{files:?}");
}

#[test]
fn a_second_up_learns_who_was_first() {
    let place = Place::new();
    let up = place.up();
    let ran = place.run(&["up"]).exits(5);
    assert!(ran.stderr.contains(&up.url) && ran.stderr.contains(&up.child.id().to_string()), "{ran:#?}");
    assert!(place.run(&["check"]).exits(0).stdout.contains(&up.url));
    up.stop().exits(0);
    // The lock goes with its process.
    place.run(&["topics", "list"]).exits(0);
}

#[test]
fn an_api_alone_takes_what_a_later_up_delivers() {
    let place = Place::new();
    let api = place.serve("api");
    place.run_with(&["produce", "hello"], &format!("{}\n{}\n", event(1), event(2))).exits(0);
    let status = place.run(&["connectors", "show", "lake", "--json"]).exits(0).json();
    assert_eq!((&status["state"], &status["lag"]), (&"stopped".into(), &2.into()), "{status:#}");
    for figure in ["rows", "bytes", "dead_letters"] {
        assert!(status.get(figure).is_some_and(|value| value.is_null()), "{figure} is not known here: {status:#}");
    }
    for args in [["connectors", "list"].as_slice(), &["connectors", "show", "lake"]] {
        let ran = place.run(args).exits(0);
        assert!(ran.stderr.contains("- : rows and dead letters are counted while `forebay up` delivers"), "{ran:#?}");
        assert!(ran.stdout.contains("  -  "), "{ran:#?}");
    }
    api.stop().exits(0);
    assert!(place.lake(".parquet").is_empty());
    let told = Running::start(place.command(&["api"]));
    until("the lines of a service that is ready", || told.line().contains("nothing is delivered").then_some(()));
    told.stop().exits(0);
    let up = place.up();
    until("the lake to hold both", || (!place.lake(".parquet").is_empty()).then_some(()));
    up.stop().exits(0);
}

#[test]
fn a_sink_alone_is_refused_where_one_process_holds_the_log() {
    let place = Place::new();
    let ran = place.run(&["sink"]).exits(2);
    assert!(ran.stderr.contains("`forebay up`") && ran.stderr.contains("kafka://host:port"), "{ran:#?}");
    assert!(!place.path("forebay-data").exists());
    let place = Place::with("broker: {url: \"kafka://127.0.0.1:9\"}\n");
    let ran = place.run(&["sink"]).exits(2);
    assert!(ran.stderr.contains("registry: {url: \"http://"), "{ran:#?}");
    let elsewhere = "broker: {url: \"kafka://127.0.0.1:9\"}\nregistry: {url: \"http://127.0.0.1:9\"}\n";
    let place = Place::with(&format!("{elsewhere}connectors: {{}}\n"));
    let ran = place.run(&["sink"]).exits(2);
    assert!(ran.stderr.contains("`connectors:` is empty"), "{ran:#?}");
}

#[test]
fn a_taken_port_is_named_with_its_key_and_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let doors = ["api: {listen", "api: {management_listen", "registry: {listen"];
    for (verb, key) in ["up", "api"].into_iter().flat_map(|verb| doors.map(|door| (verb, door))) {
        let place = Place::bare();
        let door =
            |at: &str| format!("{at}: {}", if at == key { address.to_string() } else { "127.0.0.1:0".to_owned() });
        let [api, management, registry] = doors.map(door);
        let management = management.trim_start_matches("api: {");
        place.write("forebay.yaml", &format!("{api}, {management}}}\n{registry}}}\n"));
        let ran = place.run(&[verb]).exits(1);
        let key = key.replace(": {", ".");
        let says = [format!("can't listen on {address}"), format!("set {key} to another address")];
        assert!(says.iter().all(|part| ran.stderr.contains(part)), "{verb}, {key}: {ran:#?}");
        let next = format!("MANAGEMENT_LISTEN=127.0.0.1:{} forebay sink", u32::from(address.port()) + 1);
        assert_eq!(ran.stderr.contains(&next), key == "api.management_listen", "{verb}, {key}: {ran:#?}");
        assert_eq!(ran.stdout, "", "nothing is said to be ready");
    }
}

#[test]
fn verbs_open_the_log_when_nobody_else_has_it() {
    let place = Place::with("topics: {sensors: {partitions: 2, key: /payload/device_id}}\n");
    let ran = place.run_with(&["produce", "sensors", "--payload"], "{\"device_id\":\"d1\",\"value\":1.50}\n").exits(0);
    assert!(ran.stdout.starts_with("sensors: 1 accepted, 0 refused"), "{ran:#?}");
    let event = place.run(&["tail", "sensors", "--format", "ndjson"]).exits(0).json();
    assert_eq!((&event["event_type"], &event["key"]), (&"sensors".into(), &"d1".into()), "{event:#}");
    let topics = place.run(&["topics", "list", "--format", "ndjson"]).exits(0).stdout;
    assert!(topics.contains(r#""name":"sensors""#) && topics.contains(r#""partitions":2"#), "{topics}");
    let status = place.run(&["connectors", "show", "lake", "--json"]).exits(0).json();
    assert_eq!((&status["state"], &status["lag"]), (&"stopped".into(), &1.into()), "{status:#}");
    assert!(place.run(&["connectors", "check"]).exits(0).stdout.contains("will be made"));
    let table = place.run(&["tail", "sensors"]).exits(0).stdout;
    assert!(table.contains("  d1  sensors  {\"device_id\":\"d1\",\"value\":1.50}"), "{table}");
}

#[test]
fn refused_lines_are_told_with_every_reason() {
    let place = Place::new();
    place.write(
        "flight.avsc",
        r#"{"type":"record","name":"Flight","fields":[{"name":"carrier","type":{"type":"enum","name":"C","symbols":["UA","AA"]}},
            {"name":"delay","type":"int"}]}"#,
    );
    place.run(&["schemas", "register", "flights-value", "flight.avsc"]).exits(0);
    let head = r#""event_id":"1","timestamp":"2024-05-01T12:00:00Z","event_type":"f""#;
    let input = format!(
        "{{{head},\"payload\":{{\"carrier\":\"UA\",\"delay\":1}}}}\n\n{{{head},\"payload\":{{\"carrier\":\"UB\",\"delay\":\"x\"}}}}\n{{{head}\n{{{head},\"payload\":{{\"carrier\":\"AA\",\"delay\":2}}}}\n"
    );
    let up = place.up();
    let ran = place.run_with(&["produce", "flights", "-", "--json"], &input).exits(4);
    let summary = ran.json();
    assert_eq!((&summary["accepted"], &summary["refused"]), (&2.into(), &2.into()), "{ran:#?}");
    for part in ["line 3: ", "/payload/carrier: ", "/payload/delay: ", "line 4: the line is no JSON"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    up.stop().exits(0);
}

#[test]
fn a_followed_topic_shows_what_arrives() {
    let place = Place::new();
    let up = place.up();
    place.run_with(&["produce", "hello"], &format!("{}\n{}\n", event(1), event(2))).exits(0);
    let tail = Running::start(place.command(&["tail", "hello", "-n", "1", "-f", "--format", "ndjson"]));
    assert!(tail.line().contains("\"event_id\":\"e"));
    place.run_with(&["produce", "hello"], &format!("{}\n", event(3))).exits(0);
    assert!(tail.line().contains("\"event_id\":\"e3\""));
    tail.signal(Signal::INT);
    tail.ended().exits(0);
    up.stop().exits(0);
}

#[test]
fn leaving_loopback_needs_a_word() {
    let place = Place::bare();
    let (api, registry) = ("{listen: 0.0.0.0:0, management_listen: 127.0.0.1:0}", "{listen: 127.0.0.1:0}");
    place.write("forebay.yaml", &format!("api: {api}\nregistry: {registry}\n"));
    let ran = place.run(&["up"]).exits(2);
    assert!(ran.stderr.contains("api.listen") && ran.stderr.contains("--allow-anonymous"), "{ran:#?}");
    let up = Running::start(place.command(&["up", "--allow-anonymous", "--format", "ndjson"]));
    let ready = up.line();
    assert!(ready.contains("http://127.0.0.1:"), "{ready}");
    up.stop().exits(0);
}

#[test]
fn ctrl_c_drains_and_a_second_one_ends_at_once() {
    let place = Place::new();
    let up = place.up();
    up.signal(Signal::INT);
    up.ended().exits(0);
    let up = place.up();
    // Without a terminal the service waits 2 s for its readiness to be seen: time for the second signal.
    up.signal(Signal::INT);
    until("the drain to show", || (status(&up.url, "/readyz") == 503).then_some(()));
    up.signal(Signal::INT);
    let ran = up.ended().exits(130);
    assert!(ran.stderr.contains("ended at once"), "{ran:#?}");
}

#[test]
fn produce_reads_a_slow_pipe_line_by_line_and_ends_by_ctrl_c() {
    use std::io::Write as _;

    let place = Place::new();
    let up = place.up();
    let mut command = place.command(&["produce", "hello"]);
    command.stdin(Stdio::piped());
    let mut produce = Running::start(command);
    let mut stdin = produce.child.stdin.take().unwrap();
    writeln!(stdin, "{}", event(1)).unwrap();
    until("the event, while the pipe is open", || (place.run(&["tail", "hello"]).code == 0).then_some(()));
    produce.signal(Signal::INT);
    let ran = produce.ended().exits(4);
    assert!(ran.stderr.contains("interrupted: nothing after line 1 was sent"), "{ran:#?}");
    assert!(ran.stdout.contains("hello: 1 accepted"), "{ran:#?}");
    drop(stdin);
    up.stop().exits(0);
}

#[test]
fn a_service_that_nobody_hears_still_drains() {
    let full = || Stdio::from(std::fs::File::options().write(true).open("/dev/full").unwrap());
    for stdout in [Stdio::piped(), full()] {
        let place = Place::new();
        let mut up = place.command(&["up"]).stdout(stdout).spawn().unwrap();
        // As `| head` does.
        drop(up.stdout.take());
        let ran = Ran::from(up.wait_with_output().unwrap()).exits(1);
        for part in ["can't write the result", "Everything is drained and closed"] {
            assert!(ran.stderr.contains(part), "{part}: {ran:#?}");
        }
    }
}
