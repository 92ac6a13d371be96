//! The parts of a running system, opened in their order: the log, then the registry, which lives in it or elsewhere.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use forebay_api::ServeError;
use forebay_avro::registry::{Embedded, Registry, RegistryError, RegistryStore, Remote, config::RegistrySettings};
use forebay_broker::{Log, LogError, local::registry_store};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    client::Client,
    config::Config,
    exit::{Failure, Outcome},
};

/// How long a service may take to be ready. Recovery of the log is over by then; topics and schemas are set up.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Between two questions whether it is; doubled each time.
const POLL: Duration = Duration::from_millis(20);
const POLL_MOST: Duration = Duration::from_secs(1);

/// What the API and the connectors work with.
#[derive(Clone)]
pub struct Parts {
    /// Where records are.
    pub log: Arc<dyn Log>,
    /// Where schemas are.
    pub registry: Arc<dyn Registry>,
    /// The same, if it is the embedded one.
    pub embedded: Option<Embedded>,
}

/// A registry, and the same once more if it is the embedded one.
pub type OpenRegistry = (Arc<dyn Registry>, Option<Embedded>);

/// Opens the log and the registry.
pub async fn open(config: &Config) -> Result<Parts, Failure> {
    let opened = forebay_broker::open(&config.broker, config.producer).await.map_err(not_opened)?;
    let (registry, embedded) = registry(config, opened.registry_store).await?;
    Ok(Parts { log: opened.log, registry, embedded })
}

/// Opens the registry: the embedded one in its log, or beside a log that has no place for it. One that is elsewhere
/// need not answer yet.
pub async fn registry(config: &Config, store: Option<Arc<dyn RegistryStore>>) -> Result<OpenRegistry, Failure> {
    let (settings, dir) = (config.registry.clone(), config.registry_dir());
    tokio::task::spawn_blocking(move || opened(&settings, store, &dir)).await.map_err(Failure::error)?
}

fn opened(
    settings: &RegistrySettings,
    store: Option<Arc<dyn RegistryStore>>,
    dir: &Path,
) -> Result<OpenRegistry, Failure> {
    let told = |error| match error {
        RegistryError::Invalid(text) => Failure::usage(text),
        error => Failure::error(error),
    };
    Ok(match settings {
        RegistrySettings::Embedded { .. } => {
            let store = store.map_or_else(|| registry_store(dir).map_err(not_opened), Ok)?;
            let embedded = Embedded::open(store).map_err(told)?;
            (Arc::new(embedded.clone()), Some(embedded))
        }
        RegistrySettings::Remote(remote) => (Arc::new(Remote::open(remote).map_err(told)?), None),
    })
}

/// Waits until the service says that it is ready, or ends because it can't be. A log without room for records is no
/// reason to end: what it has can be delivered and read, which also makes room.
pub async fn ready(client: &Client, served: &mut JoinHandle<Outcome>, log: &dyn Log) -> Outcome {
    let deadline = Instant::now() + READY_WITHIN;
    let mut pause = POLL;
    loop {
        if served.is_finished() {
            served.await.map_err(Failure::error)??;
            return Err(Failure::error("the API ended before it was ready"));
        }
        let answer = client.send(reqwest::Method::GET, &["readyz"], &[], None).await;
        match answer {
            Ok(answer) if answer.is_ok() || has_no_room(log).await => return Ok(()),
            Ok(answer) if Instant::now() >= deadline => return Err(answer.failure()),
            Err(failure) if Instant::now() >= deadline => return Err(failure),
            _ => tokio::time::sleep(pause).await,
        }
        pause = (pause * 2).min(POLL_MOST);
    }
}

async fn has_no_room(log: &dyn Log) -> bool {
    matches!(log.health().await, Err(LogError::NoRoom(_)))
}

/// Why the log is not open.
pub fn not_opened(error: LogError) -> Failure {
    match error {
        LogError::Invalid(text) => Failure::usage(text),
        error => Failure::error(error),
    }
}

/// Why the API does not serve.
pub fn not_served(error: ServeError) -> Failure {
    match error {
        ServeError::NotLoopback { .. } => Failure::usage(error),
        ServeError::Bind { key, address, source } => {
            let workers = if key == "api.management_listen" { of_workers(address) } else { String::new() };
            Failure::error(format!(
                "can't listen on {address}: {source}; end what listens there, or set {key} to another address{workers}"
            ))
        }
        error => Failure::error(error),
    }
}

/// Workers of the same configuration listen there too, and one that came first has the address.
fn of_workers(mut taken: SocketAddr) -> String {
    let own = taken;
    taken.set_port(taken.port().checked_add(1).unwrap_or(1024));
    format!(
        ". A `forebay sink` that was started first may have it: with `management_listen: ${{MANAGEMENT_LISTEN:-{own}}}` \
         below `api:` a worker is given another one by `MANAGEMENT_LISTEN={taken} forebay sink`"
    )
}
