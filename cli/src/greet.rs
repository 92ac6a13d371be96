//! What `up`, `api` and `sink` say when they are ready: where they listen, and where everything is.

use std::net::SocketAddr;

use forebay_avro::registry::config::RegistrySettings;
use forebay_broker::config::BrokerUrl;
use serde::Serialize;

use crate::{config::Config, context::Context, deliver, exit::Outcome, role::Role};

/// The event that a newcomer can publish at once.
const EVENT: &str = r#"{"event_id":"1","timestamp":"2024-05-01T12:00:00Z","event_type":"hello","payload":{"n":1}}"#;

/// Where a process can be reached.
#[derive(Clone, Debug, Default)]
pub struct Doors {
    /// Base URL for events.
    pub api: Option<String>,
    /// Base URL of the embedded registry.
    pub registry: Option<String>,
    /// Base URL for supervisors.
    pub management: Option<String>,
}

impl Doors {
    /// Where it can be asked how it is.
    pub fn any(&self) -> Option<&str> {
        self.api.as_deref().or(self.management.as_deref())
    }
}

/// What is told when everything is ready.
#[derive(Serialize)]
struct Ready<'a> {
    api: Option<&'a str>,
    docs: Option<String>,
    management: Option<&'a str>,
    log: String,
    registry: String,
    registry_url: Option<&'a str>,
    lake: Vec<String>,
}

/// Says that all is ready.
pub fn greet(role: Role, context: &Context, doors: &Doors) -> Outcome {
    let config = &context.config;
    let delivered: Vec<_> = config.connectors.iter().map(|c| format!("{}: {}", c.name, deliver::describe(c))).collect();
    let mut facts = Vec::new();
    if let Some(api) = &doors.api {
        facts.push(("API", format!("{api}/api/v1/events/{{topic}}")));
    }
    let docs = doors
        .api
        .as_deref()
        .map(|api| if config.api.docs { format!("{api}/docs/") } else { format!("{api}/openapi.json") });
    if let Some(docs) = &docs {
        facts.push(("docs", docs.clone()));
    }
    if let Some(health) = doors.management.as_deref().or(doors.any()) {
        facts.push(("health", format!("{health}/readyz, metrics {health}/metrics")));
        if !role.takes_events() {
            facts.push(("connectors", format!("{health}/api/v1/connectors")));
        }
    }
    facts.push(("registry", served(config, doors)));
    facts.push(("lake", lake(role, config, &delivered)));
    if let Some(api) = &doors.api {
        let create = if config.api.topics_auto_create { "" } else { "forebay topics create demo; " };
        let curl = format!("curl {api}/api/v1/events/demo -H content-type:application/json -d '{EVENT}'");
        facts.push(("publish", format!("{create}{curl}")));
    }
    let ready = Ready {
        api: doors.api.as_deref(),
        docs,
        management: doors.management.as_deref(),
        log: log(config),
        registry: registry(config),
        registry_url: doors.registry.as_deref(),
        lake: delivered,
    };
    context.output.one_of_a_service(&ready, &facts)
}

/// Where the log is.
pub fn log(config: &Config) -> String {
    match &config.broker.url {
        BrokerUrl::Local(dir) => format!("local, in {}", dir.display()),
        kafka @ BrokerUrl::Kafka(_) => kafka.to_string(),
    }
}

/// Where schemas are.
pub fn registry(config: &Config) -> String {
    match &config.registry {
        RegistrySettings::Remote(remote) => remote.to_string(),
        RegistrySettings::Embedded { .. } => format!("embedded, in {}", config.registry_dir().display()),
    }
}

/// Where schemas are, and where other programs find them.
fn served(config: &Config, doors: &Doors) -> String {
    match &doors.registry {
        Some(url) => format!("{url} ({})", registry(config)),
        None => registry(config),
    }
}

fn lake(role: Role, config: &Config, delivered: &[String]) -> String {
    match (role, config.local_log()) {
        (Role::Api, Some(_)) => {
            "nothing is delivered by this process, and no other can: on local:// only `forebay up` does".to_owned()
        }
        (Role::Api, None) => "delivered by `forebay sink`".to_owned(),
        _ if delivered.is_empty() => "no connector is configured".to_owned(),
        _ => delivered.join("; "),
    }
}

/// The URL that this machine reaches a listener by.
pub fn url(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{address}")
}
