//! `forebay up`: the whole system in one process, from the lock to the drain.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use forebay_api::{Deps, Listeners};
use forebay_broker::{Log, LogError, config::BrokerUrl};
use serde::Serialize;
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    args,
    client::Client,
    config::Config,
    context::Context,
    deliver::{self, Running},
    exit::{Failure, Outcome},
    lock::{self, Attempt, Lock},
    parts::{self, Parts},
    signals, ui,
};

/// How long connectors may take to write out what is open, in a drain of at most 10 s.
const DELIVER_WITHIN: Duration = Duration::from_secs(9);
/// Between two looks at whether the log is sound.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the verb.
pub async fn run(args: &args::Up, context: &Context) -> Outcome {
    let config = &context.config;
    let mut lock = match Lock::attempt(&config.data_dir)? {
        Attempt::Ours(lock) => lock,
        Attempt::Held(holder) => return Err(lock::refused(&config.data_dir, holder.as_ref())),
    };
    let asked = signals::listen()?;
    let mut system = System::start(args, config).await?;
    let ready = tokio::select! {
        ready = parts::ready(&system.client, &mut system.served) => ready,
        () = asked.cancelled() => Ok(()),
    };
    let ended = match ready {
        Ok(()) if !asked.is_cancelled() => {
            lock.tell(Some(system.client.base().to_owned()))?;
            greet(context, system.client.base(), system.management)?;
            until_asked(&asked, &mut system.served, &*system.parts.log).await
        }
        other => other,
    };
    let drained = system.drain().await;
    ended.and(drained)
}

/// Everything that runs.
struct System {
    parts: Parts,
    running: Running,
    shutdown: CancellationToken,
    served: JoinHandle<Outcome>,
    client: Client,
    management: Option<SocketAddr>,
}

impl System {
    /// Binds, opens, starts; in this order, so that a taken port costs nothing.
    async fn start(args: &args::Up, config: &Config) -> Result<Self, Failure> {
        let mut settings = config.api.clone();
        settings.allow_anonymous |= args.allow_anonymous;
        if ui::at_terminal() {
            // A person waits, and no load balancer that must see the service go.
            settings.drain.ready_wait = Duration::ZERO;
        }
        let listeners = Listeners::bind(&settings).await.map_err(parts::not_served)?;
        let address = listeners.api.local_addr().map_err(Failure::error)?;
        let management = listeners.management.as_ref().and_then(|l| l.local_addr().ok());
        let client = Client::new(&format!("http://{}", reachable(address)))?;
        let parts = parts::open(config).await?;
        let metrics = prometheus::Registry::new();
        let running = Running::start(config, &parts, &metrics)?;
        let deps = Deps {
            log: parts.log.clone(),
            registry: parts.registry.clone(),
            connectors: Some(Arc::new(running.clone())),
            metrics,
        };
        let shutdown = CancellationToken::new();
        let serving = forebay_api::serve(settings, listeners, deps, shutdown.clone());
        let served = tokio::spawn(async move { serving.await.map_err(parts::not_served).and_then(told_if_cut) });
        Ok(Self { parts, running, shutdown, served, client, management })
    }

    /// Ends everything within 10 s: the API and the connectors together, then the log.
    async fn drain(self) -> Outcome {
        let started = Instant::now();
        tracing::info!("Draining: requests in flight are answered, batches are flushed.");
        self.shutdown.cancel();
        let served = async {
            // A service that ended by itself has told so already.
            if self.served.is_finished() { Ok(()) } else { self.served.await.map_err(Failure::error)? }
        };
        let (served, delivered) = tokio::join!(served, self.running.drain(DELIVER_WITHIN));
        let closed = self.parts.log.close().await.map_err(Failure::error);
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "Everything is drained and closed.");
        served.and(delivered).and(closed)
    }
}

/// What is told when everything is ready.
#[derive(Serialize)]
struct Ready<'a> {
    api: &'a str,
    management: Option<String>,
    registry: String,
    lake: Vec<String>,
}

/// The five lines of a system that is ready.
fn greet(context: &Context, url: &str, management: Option<SocketAddr>) -> Outcome {
    let management = management.map(|address| format!("http://{}", reachable(address)));
    let health = management.as_deref().unwrap_or(url);
    let BrokerUrl::Local(log) = &context.config.broker.url;
    let registry = format!("embedded, in {}", log.display());
    let lake: Vec<_> =
        context.config.connectors.iter().map(|c| format!("{}: {}", c.name, deliver::describe(c))).collect();
    let event = r#"{"event_id":"1","timestamp":"2024-05-01T12:00:00Z","event_type":"hello","payload":{"n":1}}"#;
    let facts = [
        ("API", format!("{url}/api/v1/events/{{topic}}")),
        ("health", format!("{health}/readyz, metrics {health}/metrics")),
        ("registry", format!("{registry}; see `forebay schemas list`")),
        ("lake", if lake.is_empty() { "no connector is configured".to_owned() } else { lake.join("; ") }),
        ("publish", format!("curl {url}/api/v1/events/demo -H content-type:application/json -d '{event}'")),
    ];
    context.output.one(&Ready { api: url, management, registry, lake }, &facts)
}

/// Waits until someone asks for the end, or a part ends by itself.
async fn until_asked(asked: &CancellationToken, served: &mut JoinHandle<Outcome>, log: &dyn Log) -> Outcome {
    tokio::select! {
        () = asked.cancelled() => Ok(()),
        reason = broken(log) => Err(Failure::error(format!("{reason}; start again: the log recovers what it had acknowledged"))),
        ended = served => match ended.map_err(Failure::error)? {
            Ok(()) => Err(Failure::error("the API ended by itself")),
            Err(failure) => Err(failure),
        },
    }
}

/// Resolves with the reason when the log is broken beyond retry.
async fn broken(log: &dyn Log) -> LogError {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Err(error @ (LogError::Fatal(_) | LogError::Closed)) = log.health().await {
            return error;
        }
    }
}

fn told_if_cut(drained: forebay_api::Drained) -> Outcome {
    match drained.requests_cut {
        0 => Ok(()),
        n => Err(Failure::error(format!("{n} requests were cut before they had their answer"))),
    }
}

/// The address that this machine reaches a listener by.
fn reachable(address: SocketAddr) -> SocketAddr {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}
