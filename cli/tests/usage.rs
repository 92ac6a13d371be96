//! The command line and the configuration from outside: help, exit codes, complaints.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

mod support;

use support::{Place, event};

const VERBS: &[&[&str]] = &[
    &[],
    &["up"],
    &["api"],
    &["sink"],
    &["check"],
    &["topics"],
    &["topics", "list"],
    &["topics", "show"],
    &["topics", "create"],
    &["schemas"],
    &["schemas", "list"],
    &["schemas", "show"],
    &["schemas", "register"],
    &["schemas", "check"],
    &["produce"],
    &["tail"],
    &["connectors"],
    &["connectors", "list"],
    &["connectors", "show"],
    &["connectors", "check"],
    &["completions"],
];

#[test]
fn every_verb_has_help_with_examples_and_the_common_options() {
    let place = Place::bare();
    for verb in VERBS {
        let ran = place.run(&[verb, &["--help"][..]].concat()).exits(0);
        for part in ["Usage: forebay", "Examples:\n", "--config <FILE>", "--format <FORMAT>", "--json"] {
            assert!(ran.stdout.contains(part), "{verb:?} lacks {part:?}: {}", ran.stdout);
        }
    }
    assert!(place.run(&["--version"]).exits(0).stdout.starts_with("forebay 0."));
}

#[test]
fn completions_exist_for_each_shell() {
    let place = Place::bare();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(place.run(&["completions", shell]).exits(0).stdout.contains("connectors"), "{shell}");
    }
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_is() {
    let place = Place::new();
    place.write("broken.ndjson", &format!("{}\nnot json\n", event(1)));
    place.run(&["topics", "create", "there"]).exits(0);
    for (args, code, says) in [
        (&["topics", "list"][..], 0, ""),
        (&["tail", "there", "--api", "http://127.0.0.1:9"], 1, "is `forebay up` running there?"),
        (&["produce", "there", "missing.ndjson"], 1, "can't read missing.ndjson"),
        (&["dance"], 2, "unrecognized subcommand"),
        (&["topics", "create", "x", "--partitions", "0"], 2, "0 is not in 1..=10000"),
        (&["topics", "list", "--json", "--format", "table"], 2, "cannot be used with"),
        (&["tail", "there", "-f", "--json"], 2, "use --format ndjson"),
        (&["tail", "there", "--api", "https://h"], 2, "expected http://host:port"),
        (&["-c", "nowhere.yaml", "check"], 2, "can't read the configuration nowhere.yaml"),
        (&["topics", "show", "nope"], 3, "nope"),
        (&["schemas", "show", "nope"], 3, "nope"),
        (&["connectors", "show", "nope"], 3, "onnector"),
        (&["connectors", "check", "nope"], 3, "there is: lake"),
        (&["tail", "there"], 3, "has no events yet"),
        (&["produce", "there", "broken.ndjson"], 4, "line 2: "),
        (&["topics", "create", "there"], 5, "exists already"),
    ] {
        let ran = place.run(args).exits(code);
        assert!(ran.stderr.contains(says), "{args:?}: {ran:#?}");
    }
}

#[test]
fn configurations_are_refused_with_line_and_fix() {
    for (text, says) in [
        ("producer:\n  linger: 5\n", "forebay.yaml:2: unknown key \"linger\" under producer"),
        (
            "producer:\n  queue_byte: 5\n",
            "forebay.yaml:2: unknown key \"queue_byte\" under producer; did you mean queue_bytes?",
        ),
        (
            "connectors:\n  lake:\n    batch:\n      max_age: 5\n",
            "forebay.yaml:4: unknown key \"max_age\" under connectors.lake.batch; did you mean max_age_ms?",
        ),
        (
            "data_dir: \"${HOME}/x\"\n",
            "forebay.yaml:1: data_dir: the value still holds \"${\"; variables are read in unquoted values only: remove the quotes",
        ),
        ("data_dir: ${FOREBAY_TEST_NOT_SET}\n", "forebay.yaml:1: "),
        ("api:\n  timeout_ms: 5\n", "forebay.yaml:2: api.timeout_ms: 5 is outside 100 to 30000"),
        ("connectors:\n  lake:\n    tasks_max: 0\n", "forebay.yaml:3: connectors.lake.tasks_max: "),
        ("sink:\n  memory_bytes: 1\n", "forebay.yaml:2: sink.memory_bytes: "),
        ("broker: {url: kafka://h}\n", "forebay.yaml:1: broker.url: \"h\" is no broker: write HOST:PORT"),
    ] {
        let place = Place::bare();
        place.write("forebay.yaml", text);
        let ran = place.run(&["check"]).exits(2);
        assert!(ran.stderr.contains(says), "{text:?}: {}", ran.stderr);
        assert!(!place.path("forebay-data").exists());
    }
}

#[test]
fn the_configuration_is_found_and_filled_in_from_the_environment() {
    let place = Place::bare();
    place.write("other.yaml", "data_dir: ${WHERE:-unset}\n");
    let mut command = place.command(&["check", "--format", "ndjson"]);
    let ran: support::Ran =
        command.env("FOREBAY_CONFIG", "other.yaml").env("WHERE", "./from-env").output().unwrap().into();
    assert!(ran.stdout.contains("other.yaml was read") && ran.stdout.contains("/from-env"), "{ran:#?}");
    let ran = place.run(&["check", "-c", "other.yaml", "--format", "ndjson"]);
    assert!(ran.stdout.contains("/unset/log"), "{ran:#?}");
}

#[test]
fn the_schema_for_editors_is_json() {
    let ran = Place::bare().run(&["config", "schema"]).exits(0);
    assert_eq!(ran.json()["title"], "forebay.yaml");
}
