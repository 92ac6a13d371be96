use std::path::{Path, PathBuf};

use forebay_broker::config::BrokerUrl;

use super::*;

fn read(text: &str) -> Result<Config, Problem> {
    let variables = HashMap::from([("DATA".to_owned(), "/srv/data".to_owned())]);
    parse(text, Some(Path::new("/etc/forebay/forebay.yaml")), variables)
}

fn log_dir(config: &Config) -> PathBuf {
    match &config.broker.url {
        BrokerUrl::Local(dir) => dir.clone(),
        BrokerUrl::Kafka(servers) => panic!("{servers} is no directory"),
    }
}

#[test]
fn the_page_for_production_shows_keys_that_exist() {
    let page = include_str!("../../../docs/production.md");
    let block = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let variables = ["KAFKA_PASSWORD", "REGISTRY_TOKEN"].map(|name| (name.to_owned(), "secret".to_owned()));
    let config = parse(block, None, variables.into()).unwrap();
    assert!(config.local_log().is_none() && !config.registry_is_embedded());
}

#[test]
fn nothing_is_needed() {
    let config = parse("", None, HashMap::new()).unwrap();
    let here = std::env::current_dir().unwrap();
    assert_eq!(config.data_dir, here.join("forebay-data"));
    assert_eq!(log_dir(&config), here.join("forebay-data/log"));
    assert_eq!(config.api.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.log_level, "info");
}

#[test]
fn relative_paths_start_from_the_file() {
    let config = read("data_dir: ./d\ntopics: {t: {schema_file: s/t.avsc}}\n").unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/forebay/d"));
    assert_eq!(log_dir(&config), Path::new("/etc/forebay/d/log"));
    assert_eq!(config.api.topics["t"].schema_file.as_deref(), Some(Path::new("/etc/forebay/s/t.avsc")));
    let config = read("data_dir: ${DATA}\nbroker.url: local://./elsewhere\n").unwrap();
    assert_eq!(config.data_dir, Path::new("/srv/data"));
    assert_eq!(log_dir(&config), Path::new("/etc/forebay/elsewhere"));
}

#[test]
fn each_crate_refuses_in_its_words_and_the_line_is_found() {
    for (text, line, says) in [
        ("api:\n  listen: nowhere\n", 2, "api.listen: write an IP address and a port, such as 127.0.0.1:8080"),
        ("a: 1\na: 2\n", 2, "duplicate mapping key: a"),
        ("data_dir: ${UNSET}\n", 1, "the environment variable UNSET is not set: set it, or give a default"),
        (
            "connectors:\n  a:\n    topics: [x]\n  b:\n    topics: [y, x]\n",
            4,
            "connectors.b: a delivers the same topics to the same place, file:///etc/forebay/forebay-data/lake",
        ),
        (
            "connectors:\n  a:\n    topics: [\"*\", events.dlq]\n",
            3,
            "connectors.a.topics: events.dlq takes the connector's own dead letters",
        ),
        ("[]\n", 1, "expected a mapping, got a list"),
        ("log:\n  level: inof\n", 2, "log.level: \"inof\" is no log level"),
        ("api:\n  timeout_ms: 1\n", 2, "api.timeout_ms: 1 is outside 100 to 30000"),
        ("topics:\n  a.b:\n    partitions: 0\n", 3, "topics.a.b.partitions: 0 is outside 1 to 10000"),
        ("topics:\n  \"a b\": {}\n", 2, "topics.a b: a topic name holds letters"),
        ("broker:\n\n  url: kafka://h\n", 3, "broker.url: \"h\" is no broker: write HOST:PORT"),
        ("dlq.topic: a b\n", 1, "dlq.topic: "),
        ("log.level: loud=loud=\n", 1, "log.level: "),
        ("log:\n  format: xml\n", 2, "log.format: \"xml\" is none of auto, text, json"),
        ("producer:\n  linger: 1\n", 2, "unknown key \"linger\" under producer"),
        ("registry:\n  url: file:///x\n", 2, "registry.url: URL 1 is none"),
        ("registry:\n  url: http://r\n  auth: {}\n", 3, "registry.auth: it is empty"),
        ("listen: 127.0.0.1:1\n", 1, "did you mean api.listen?"),
    ] {
        let problem = read(text).expect_err(text);
        assert!(problem.to_string().contains(says), "{text:?}: {problem}");
        assert_eq!(problem.line, Some(line), "{text:?}: {problem}");
    }
}

#[test]
fn complaints_name_file_and_line() {
    let problem = read("zzz: 1\n").unwrap_err();
    let failure = complaint(Some(Path::new("a.yaml")), &problem);
    assert!(failure.text.starts_with("a.yaml:1: unknown key \"zzz\"; known here: "), "{failure}");
    assert_eq!(failure.exit, crate::exit::Exit::Usage);
}

/// Editors read the file in `docs`; `forebay config schema > docs/forebay.schema.json` writes it anew.
#[test]
fn the_schema_for_editors_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/forebay.schema.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let written: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(written == json_schema(), "run: forebay config schema > docs/forebay.schema.json");
}

/// `forebay config reference > docs/configuration.md` writes it anew.
#[test]
fn the_page_of_all_keys_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text == markdown(&json_schema()), "run: forebay config reference > docs/configuration.md");
}

#[test]
fn every_option_says_what_it_is() {
    fn walk(schema: &serde_json::Value, path: &str) {
        for (name, property) in schema.get("properties").and_then(|p| p.as_object()).into_iter().flatten() {
            assert!(property.get("description").is_some(), "{path}{name} has no description");
        }
    }
    let schema = json_schema();
    walk(&schema, "");
    for (name, definition) in schema["$defs"].as_object().unwrap() {
        walk(definition, &format!("{name}."));
    }
}

#[test]
fn editors_take_dotted_keys() {
    let schema = json_schema();
    assert!(schema["patternProperties"].as_object().unwrap().keys().any(|p| p.contains("producer")), "{schema:#}");
    let pattern = schema["$defs"]["ConnectorOptions"]["patternProperties"].as_object().unwrap().keys().next().unwrap();
    assert!(pattern.contains("batch") && pattern.ends_with(r"\..+"), "{pattern}");
}
