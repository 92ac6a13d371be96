//! `forebay up`, `forebay api`, `forebay sink`: one way from the lock to the drain, with the parts that the role has.

use std::{sync::Arc, time::Duration};

use forebay_api::{ConnectorControl, Deps, Listeners};
use forebay_broker::{Log, LogError};
use tokio::{net::TcpListener, task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    args,
    client::Client,
    config::Config,
    context::Context,
    deliver::{Resting, Running},
    exit::{Failure, Outcome},
    greet::{self, Doors},
    lock::{self, Attempt, Lock},
    parts::{self, Parts},
    role::Role,
    signals, ui,
    workspace::Workspace,
};

/// How long connectors may take to write out what is open.
const DELIVER_WITHIN: Duration = Duration::from_secs(8);
/// From the signal until the log gives up what it could not finish. Of the 10 s that are promised, the process needs the
/// rest to end.
const CLOSE_BY: Duration = Duration::from_millis(8_500);
/// Between two looks at whether the log is sound.
const LOOK: Duration = Duration::from_secs(1);

/// Runs the verb.
pub async fn run(role: Role, args: &args::Serve, context: &Context) -> Outcome {
    let config = &context.config;
    role.allows(config)?;
    if config.registry_is_embedded() && config.local_log().is_none() {
        tracing::warn!(
            dir = %config.registry_dir().display(),
            "The schema registry is embedded in this process: others on this log need registry.url, and so does a second API."
        );
    }
    let mut lock = if role.takes_events() { Some(lock(config).await?) } else { None };
    let asked = signals::listen()?;
    let mut system = System::start(role, args, config).await?;
    let ready = tokio::select! {
        ready = parts::ready(&system.client, &mut system.served, &*system.parts.log) => ready,
        () = asked.cancelled() => Ok(()),
    };
    let ended = match ready {
        Ok(()) if !asked.is_cancelled() => {
            let told = lock.as_mut().map_or(Ok(()), |lock| lock.tell(system.doors.api.clone()));
            match told.and_then(|()| greet::greet(role, context, &system.doors)) {
                Ok(()) => until_asked(&asked, &mut system.served, &*system.parts.log).await,
                // It is ready and may have taken events already, so it is drained although it could not say so.
                untold => untold,
            }
        }
        other => other,
    };
    let drained = system.drain().await;
    ended.and(drained)
}

/// The data directory, for this process alone: verbs find the API by it, and embedded parts keep their state there.
async fn lock(config: &Config) -> Result<Lock, Failure> {
    match Lock::attempt_patiently(&config.data_dir).await? {
        Attempt::Ours(lock) => Ok(lock),
        Attempt::Held(holder) => Err(lock::refused(&config.data_dir, holder.as_ref())),
    }
}

/// Everything that runs.
struct System {
    parts: Parts,
    running: Option<Running>,
    shutdown: CancellationToken,
    served: JoinHandle<Outcome>,
    client: Client,
    doors: Doors,
    _workspace: Workspace,
}

impl System {
    /// Binds, opens, starts; in this order, so that a taken port costs nothing.
    async fn start(role: Role, args: &args::Serve, config: &Config) -> Result<Self, Failure> {
        let settings = settings(role, args, config);
        let listeners = if role.takes_events() {
            Listeners::bind(&settings).await
        } else {
            Listeners::bind_management(&settings).await
        };
        let listeners = listeners.map_err(parts::not_served)?;
        let doors = Doors {
            api: url(listeners.api.as_ref()),
            registry: url(listeners.registry.as_ref()),
            management: url(listeners.management.as_ref()),
        };
        let client = Client::new(doors.any().unwrap_or_default())?;
        let workspace = Workspace::take(&config.data_dir)?;
        let parts = parts::open(config).await?;
        let metrics = prometheus::Registry::new();
        let running = role.delivers().then(|| Running::start(config, &parts, workspace.dir(), &metrics)).transpose()?;
        let connectors: Arc<dyn ConnectorControl> = match &running {
            Some(running) => Arc::new(running.clone()),
            None => Arc::new(Resting::new(config, parts.log.clone())),
        };
        let deps = Deps {
            log: parts.log.clone(),
            registry: parts.registry.clone(),
            embedded: parts.embedded.clone(),
            connectors: Some(connectors),
            metrics,
        };
        let shutdown = CancellationToken::new();
        let serving = forebay_api::serve(settings, listeners, deps, shutdown.clone());
        let served = tokio::spawn(async move { serving.await.map_err(parts::not_served).and_then(told_if_cut) });
        Ok(Self { parts, running, shutdown, served, client, doors, _workspace: workspace })
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
        let delivered = async {
            match &self.running {
                Some(running) => running.drain(DELIVER_WITHIN).await,
                None => Ok(()),
            }
        };
        let (served, delivered) = tokio::join!(served, delivered);
        let left = CLOSE_BY.saturating_sub(started.elapsed());
        let closed = self.parts.log.close_within(left).await.map_err(Failure::error);
        tracing::info!(seconds = started.elapsed().as_secs_f64(), "Everything is drained and closed.");
        served.and(delivered).and(closed)
    }
}

/// The API's settings, as the role and the command line have them.
fn settings(role: Role, args: &args::Serve, config: &Config) -> forebay_api::Settings {
    let mut settings = config.api.clone();
    settings.allow_anonymous |= args.allow_anonymous;
    settings.prepare = role.takes_events();
    if ui::at_terminal() || !role.takes_events() {
        // No load balancer must see the service go: a person waits, or nobody sends it anything.
        settings.drain.ready_wait = Duration::ZERO;
    }
    settings
}

fn url(listener: Option<&TcpListener>) -> Option<String> {
    Some(greet::url(listener?.local_addr().ok()?))
}

/// Waits until someone asks for the end, or a part ends by itself.
async fn until_asked(asked: &CancellationToken, served: &mut JoinHandle<Outcome>, log: &dyn Log) -> Outcome {
    tokio::select! {
        () = asked.cancelled() => Ok(()),
        reason = broken(log) => Err(Failure::error(format!("{reason}; start again: the log recovers what it had acknowledged"))),
        ended = served => match ended.map_err(Failure::error)? {
            Ok(()) => Err(Failure::error("the service ended by itself")),
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
