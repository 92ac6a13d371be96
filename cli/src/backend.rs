//! Which API a verb speaks to: the one that was named, that of the `forebay up` on the same data directory, or one that
//! the verb serves to itself, over the log that it opens.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use forebay_api::{Deps, Listeners};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Target,
    client::Client,
    context::Context,
    deliver::Resting,
    exit::{Failure, Outcome},
    lock::{self, Attempt, Holder, Lock},
    parts::{self, Parts},
};

/// What the verb will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Look, create, register: what the configuration names is neither made nor changed on the way.
    Manage,
    /// Publish: topics and schemas of the configuration are set up first, as `forebay up` does.
    Publish,
}

/// An API to speak to.
#[derive(Debug)]
pub struct Backend {
    client: Client,
    own: Option<Own>,
}

/// The API that this process serves to itself, on a free port of the loopback interface.
struct Own {
    shutdown: CancellationToken,
    served: JoinHandle<Outcome>,
    parts: Parts,
    // Last: others may come when everything above is gone.
    _lock: Option<Lock>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Own")
    }
}

/// Finds or serves the API.
pub async fn open(target: &Target, context: &Context, purpose: Purpose) -> Result<Backend, Failure> {
    if let Some(url) = &target.api {
        return Ok(Backend { client: Client::new(url)?, own: None });
    }
    let data_dir = &context.config.data_dir;
    let shared = !context.config.keeps_state();
    if shared && !data_dir.exists() {
        return serve(context, purpose, None).await;
    }
    match Lock::attempt_patiently(data_dir).await? {
        Attempt::Held(Some(Holder { api: Some(api), .. })) => Ok(Backend { client: Client::new(&api)?, own: None }),
        Attempt::Ours(lock) if shared => {
            drop(lock);
            serve(context, purpose, None).await
        }
        Attempt::Held(_) if shared => serve(context, purpose, None).await,
        Attempt::Held(holder) => Err(lock::refused(data_dir, holder.as_ref())),
        Attempt::Ours(lock) => serve(context, purpose, Some(lock)).await,
    }
}

/// Serves over log and registry; `lock` if they keep state in the data directory.
async fn serve(context: &Context, purpose: Purpose, lock: Option<Lock>) -> Result<Backend, Failure> {
    let mut settings = context.config.api.clone();
    settings.management_listen = None;
    settings.drain.ready_wait = Duration::ZERO;
    if purpose == Purpose::Manage {
        settings.prepare = false;
        settings.topics_auto_create = false;
    }
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.map_err(Failure::error)?;
    let address = listener.local_addr().map_err(Failure::error)?;
    let parts = parts::open(&context.config).await?;
    let deps = Deps {
        log: parts.log.clone(),
        registry: parts.registry.clone(),
        embedded: None,
        connectors: Some(Arc::new(Resting::new(&context.config, parts.log.clone()))),
        metrics: prometheus::Registry::new(),
    };
    let shutdown = CancellationToken::new();
    let listeners = Listeners { api: Some(listener), registry: None, management: None };
    let serving = forebay_api::serve(settings, listeners, deps, shutdown.clone());
    let served = tokio::spawn(async move { serving.await.map(drop).map_err(parts::not_served) });
    let client = Client::new(&format!("http://{address}"))?;
    let mut own = Own { shutdown, served, parts, _lock: lock };
    parts::ready(&client, &mut own.served, &*own.parts.log).await?;
    Ok(Backend { client, own: Some(own) })
}

impl Backend {
    /// The API.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Ends what was started for this verb.
    pub async fn close(self) -> Outcome {
        let Some(own) = self.own else { return Ok(()) };
        own.shutdown.cancel();
        let served = own.served.await.map_err(Failure::error)?;
        own.parts.log.close().await.map_err(Failure::error)?;
        served
    }
}
