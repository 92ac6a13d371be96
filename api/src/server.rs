//! Listen, serve, drain.

use std::{
    convert::Infallible,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use axum::{Router, body::Body};
use forebay_avro::registry::{Embedded, Registry};
use forebay_broker::Log;
use http::{Request, Version};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    answer::Guarded,
    config::{HYPER_HEADER_BYTES, HYPER_HEADER_COUNT, Limits, Settings},
    conn::{Conn, ConnTimeouts},
    control::ConnectorControl,
    io::Io,
    layers::{self, Door},
    prepare::prepare,
    routes,
    state::{App, Phase},
};

/// Ports looked at for a management listener whose own is taken (fixed): as many processes of one machine.
const NEXT_PORTS: u16 = 100;
/// Pause after a failed accept (fixed).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Builder = auto::Builder<TokioExecutor>;

/// What the service works with.
#[derive(Clone)]
pub struct Deps {
    /// Where records go.
    pub log: Arc<dyn Log>,
    /// Where schemas come from.
    pub registry: Arc<dyn Registry>,
    /// The embedded registry, if it is to be served to others: see [`Listeners::registry`].
    pub embedded: Option<Embedded>,
    /// The connectors of this process, if it runs any.
    pub connectors: Option<Arc<dyn ConnectorControl>>,
    /// Where metrics are registered and read from.
    pub metrics: prometheus::Registry,
}

/// Bound sockets.
#[derive(Debug)]
pub struct Listeners {
    /// Takes events; `None` in a process that only delivers.
    pub api: Option<TcpListener>,
    /// Serves the embedded registry; `None` where schemas come from elsewhere.
    pub registry: Option<TcpListener>,
    /// `/livez`, `/readyz`, `/metrics`, and the connectors.
    pub management: Option<TcpListener>,
}

/// How a drain ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Requests that had no answer when their time was up.
    pub requests_cut: usize,
}

/// Why the service did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A listener leaves loopback although nobody has to show a credential.
    #[error(
        "{key}: {address} is not a loopback address, and callers show no credential: listen on 127.0.0.1, or allow it with --allow-anonymous (api.allow_anonymous: true)"
    )]
    NotLoopback {
        /// Option.
        key: &'static str,
        /// Its address.
        address: std::net::SocketAddr,
    },
    /// An address can't be bound.
    #[error("{key}: can't listen on {address}: {source}")]
    Bind {
        /// Option.
        key: &'static str,
        /// Its address.
        address: std::net::SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A topic of the configuration can't be set up.
    #[error("topics.{topic}: {reason}")]
    Topic {
        /// Topic.
        topic: String,
        /// What is wrong, and what would do.
        reason: String,
    },
    /// The service can't be built; the text says why.
    #[error("{0}")]
    Internal(String),
}

impl Listeners {
    /// Binds the addresses of the settings. Refuses any that is not loopback unless `allow_anonymous`.
    pub async fn bind(settings: &Settings) -> Result<Self, ServeError> {
        let api = bind("api.listen", settings.listen, settings.allow_anonymous).await?;
        let registry = match settings.registry_listen {
            Some(address) => Some(bind("registry.listen", address, settings.allow_anonymous).await?),
            None => None,
        };
        let management = match settings.management_listen {
            Some(address) => Some(bind("api.management_listen", address, settings.allow_anonymous).await?),
            None => None,
        };
        Ok(Self { api: Some(api), registry, management })
    }

    /// Binds the management listener alone, for a process that takes no events. Where its port is taken, the next free
    /// one is used: several such processes may share a machine and a configuration.
    pub async fn bind_management(settings: &Settings) -> Result<Self, ServeError> {
        let Some(mut address) = settings.management_listen else {
            return Ok(Self { api: None, registry: None, management: None });
        };
        let first = address.port();
        loop {
            match bind("api.management_listen", address, settings.allow_anonymous).await {
                Ok(listener) => {
                    if address.port() != first {
                        tracing::info!(
                            %address,
                            "The address of api.management_listen is taken: health, metrics and connectors are served on the next free port."
                        );
                    }
                    return Ok(Self { api: None, registry: None, management: Some(listener) });
                }
                Err(ServeError::Bind { source, .. })
                    if source.kind() == std::io::ErrorKind::AddrInUse
                        && address.port() < first.saturating_add(NEXT_PORTS) =>
                {
                    address.set_port(address.port().saturating_add(1));
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn bind(key: &'static str, address: std::net::SocketAddr, anywhere: bool) -> Result<TcpListener, ServeError> {
    if !anywhere && !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { key, address });
    }
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { key, address, source })
}

/// Serves until `shutdown` is cancelled, then drains. Topics and schemas of the settings are set up first, if they ask
/// for it.
///
/// The log is neither flushed nor closed: that is its owner's part, after the drain.
///
/// # Errors
/// What keeps the service from starting. Once it serves, it serves until `shutdown`.
pub async fn serve(
    settings: Settings,
    listeners: Listeners,
    deps: Deps,
    shutdown: CancellationToken,
) -> Result<Drained, ServeError> {
    let app = App::new(settings, deps).map_err(|error| ServeError::Internal(error.to_string()))?;
    if app.settings.prepare {
        let Deps { log, registry, .. } = &app.deps;
        prepare(&app.settings, &**log, &**registry, app.publisher.schema_files()).await?;
    }
    let app = Arc::new(app);
    let (stop_accepting, cut) = (CancellationToken::new(), CancellationToken::new());
    let tasks = TaskTracker::new();
    let accept = |door, listener, router| Acceptor {
        app: app.clone(),
        door,
        listener,
        router,
        connections: Arc::new(Semaphore::new(app.settings.limits.connections)),
        tasks: tasks.clone(),
        close: stop_accepting.clone(),
        cut: cut.clone(),
    };
    let api = listeners.api.map(|listener| accept(Door::Api, listener, routes::api(app.clone())));
    let api_loop = api.map(|api| tokio::spawn(api.run()));
    let registry_loop = listeners.registry.zip(app.deps.embedded.clone()).map(|(listener, embedded)| {
        tokio::spawn(accept(Door::Registry, listener, routes::registry::router(app.clone(), embedded)).run())
    });
    let management_loop = listeners.management.map(|listener| {
        let management = Acceptor {
            close: cut.clone(),        // answers until the end of the drain,
            tasks: TaskTracker::new(), // which does not wait for it
            ..accept(Door::Management, listener, routes::management(app.clone()))
        };
        tokio::spawn(management.run())
    });
    shutdown.cancelled().await;
    let drained = drain(&app, &stop_accepting, &cut, &tasks).await;
    for task in [api_loop, registry_loop, management_loop].into_iter().flatten() {
        // The loops end with their tokens; a panic in one was logged by the runtime and changes nothing now.
        let _ = task.await;
    }
    Ok(drained)
}

/// Not ready, then no new connections and requests, then what is in flight may finish, then it is cut.
async fn drain(app: &App, stop: &CancellationToken, cut: &CancellationToken, tasks: &TaskTracker) -> Drained {
    let pace = app.settings.drain;
    let began = Instant::now();
    app.enter(Phase::Draining);
    tracing::info!(in_flight = app.in_flight.load(Ordering::Acquire), "Draining: not ready any more, still serving.");
    tokio::time::sleep_until(began + pace.ready_wait).await;
    app.enter(Phase::Closing);
    stop.cancel();
    tasks.close();
    let finished = tokio::time::timeout_at(began + pace.finish_by, tasks.wait()).await.is_ok();
    let requests_cut = app.in_flight.load(Ordering::Acquire);
    if !finished && requests_cut > 0 {
        tracing::warn!(requests_cut, "Requests had no answer in time and are cut.");
    }
    cut.cancel();
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(requests_cut, took_ms, "Drained.");
    Drained { requests_cut }
}

/// One listener and its connections.
struct Acceptor {
    app: Arc<App>,
    door: Door,
    listener: TcpListener,
    router: Router,
    connections: Arc<Semaphore>,
    tasks: TaskTracker,
    /// No new connections; existing ones finish their request.
    close: CancellationToken,
    /// Connections end now.
    cut: CancellationToken,
}

impl Acceptor {
    async fn run(self) {
        let builder = builder(&self.app.settings.limits);
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = self.close.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => match self.connections.clone().try_acquire_owned() {
                    Ok(permit) => self.spawn(&builder, stream, permit),
                    Err(_) => tracing::debug!("Refused a connection over the limit of api.connections."),
                },
                Err(error) => {
                    // Most often the process is out of file descriptors; accepting again at once would spin.
                    tracing::warn!(%error, "A connection can't be accepted.");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn spawn(&self, builder: &Builder, stream: TcpStream, permit: OwnedSemaphorePermit) {
        // Answers are written whole; waiting to fill packets would only delay them.
        let _ = stream.set_nodelay(true);
        let limits = &self.app.settings.limits;
        let timeouts =
            ConnTimeouts { header: limits.header_timeout, idle: limits.idle_timeout, write: limits.body_timeout };
        let conn = Conn::new(timeouts);
        let service = service_fn({
            let (app, door, router, conn) = (self.app.clone(), self.door, self.router.clone(), conn.clone());
            move |request: Request<Incoming>| {
                let counted = (door != Door::Management).then(|| app.count());
                let guard = conn.request(request.version() == Version::HTTP_2);
                let (app, router) = (app.clone(), router.clone());
                async move {
                    let response = layers::handle(app, door, router, request.map(Body::new)).await;
                    Ok::<_, Infallible>(Guarded::answer(response, guard, counted))
                }
            }
        });
        let connection = builder.serve_connection(Io::new(stream, conn.clone()), service).into_owned();
        let (close, cut) = (self.close.clone(), self.cut.clone());
        self.tasks.spawn(async move {
            let _permit = permit;
            tokio::pin!(connection);
            let mut closing = false;
            loop {
                tokio::select! {
                    ended = connection.as_mut() => {
                        if let Err(error) = ended {
                            tracing::debug!(%error, "A connection ended with an error.");
                        }
                        return;
                    }
                    () = conn.expired() => return,
                    () = cut.cancelled() => return,
                    () = close.cancelled(), if !closing => {
                        closing = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
        });
    }
}

/// hyper's settings. Its limits stand above ours, so that the answer is ours; its header timer is off, since it can't
/// tell a slow request from an idle connection (`conn.rs` can).
fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .half_close(true)
        .max_headers(HYPER_HEADER_COUNT)
        .max_buf_size(HYPER_HEADER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.http2_streams)
        .max_header_list_size(u32::try_from(HYPER_HEADER_BYTES).unwrap_or(u32::MAX));
    builder
}
