//! Apache Kafka: one node, three, one with users and TLS, or one behind a proxy.

mod node;
mod secured;
mod settings;

use std::{path::Path, sync::OnceLock};

use anyhow::{Context, anyhow};
use rustix::process::Signal;

pub use self::secured::{Secured, User};
use self::{
    node::Node,
    settings::{Listener, Ports, properties},
};
use crate::{Proxy, Toxiproxy, Unavailable, install, ports};

/// A cluster. Nodes are numbered from 1, as in Kafka's metadata.
pub struct Kafka {
    nodes: Vec<Node>,
    brokers: String,
}

impl Kafka {
    /// The cluster of this process, of one node: started by the first call, ended with the process. Or the one of
    /// `FOREBAY_TEST_KAFKA=host:port`. Tests keep apart by the names of their topics and groups.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn shared() -> Result<&'static Self, Unavailable> {
        static SHARED: OnceLock<Result<Kafka, Unavailable>> = OnceLock::new();
        let start = || match std::env::var("FOREBAY_TEST_KAFKA") {
            Ok(brokers) => Ok(Self { nodes: Vec::new(), brokers }),
            Err(_) => Self::single(),
        };
        SHARED.get_or_init(start).as_ref().map_err(Clone::clone)
    }

    /// Starts a cluster of one node.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn single() -> Result<Self, Unavailable> {
        Self::cluster(1, &[])
    }

    /// Starts a cluster of three nodes: three copies by default, two of them in sync.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn three() -> Result<Self, Unavailable> {
        Self::cluster(3, &[])
    }

    /// Starts a cluster of one node with users, and with TLS; see [`Secured`].
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn secured() -> Result<Secured, Unavailable> {
        Secured::start()
    }

    /// Starts a cluster of one node whose [`Kafka::brokers`] and metadata lead clients through a proxy.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn behind(toxiproxy: &Toxiproxy) -> Result<(Self, Proxy), Unavailable> {
        let port = ports::free()?;
        let proxy = toxiproxy.proxy(&format!("127.0.0.1:{port}"))?;
        let advertised = proxy.address.clone();
        let listener = Listener { name: "PROXIED", protocol: "PLAINTEXT", port, advertised };
        let mut kafka = Self::cluster(1, &[listener])?;
        kafka.brokers.clone_from(&proxy.address);
        Ok((kafka, proxy))
    }

    fn cluster(nodes: u32, listeners: &[Listener]) -> Result<Self, Unavailable> {
        installed()?;
        let cluster = (1..=nodes).map(free).collect::<anyhow::Result<Vec<_>>>()?;
        let id = node::random_id();
        let node = |ports: &Ports| {
            let text = |home: &Path| properties(ports, &cluster, listeners, home);
            let mut node = Node::new(&id, ports.node, text)?;
            node.launch()?;
            Ok(node)
        };
        let nodes = cluster.iter().map(node).collect::<anyhow::Result<Vec<_>>>()?;
        let brokers: Vec<_> = cluster.iter().map(|ports| format!("127.0.0.1:{}", ports.plaintext)).collect();
        let mut kafka = Self { nodes, brokers: brokers.join(",") };
        for node in &mut kafka.nodes {
            node.ready()?;
        }
        Ok(kafka)
    }

    /// What clients name as `bootstrap.servers`: `host:port`, of each node, joined by commas.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// kill -9 of a node.
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn kill(&mut self, node: u32) -> anyhow::Result<()> {
        self.node(node)?.kill()
    }

    /// SIGTERM of a node: it hands over what it leads, and ends.
    ///
    /// # Errors
    /// It doesn't run, does not end within 60 s, or isn't ours.
    pub fn terminate(&mut self, node: u32) -> anyhow::Result<()> {
        self.node(node)?.terminate()
    }

    /// Starts a node again after [`Kafka::kill`] or [`Kafka::terminate`], with its ports and data, and waits until it
    /// serves.
    ///
    /// # Errors
    /// It runs, does not start, or isn't ours.
    pub fn start(&mut self, node: u32) -> anyhow::Result<()> {
        let node = self.node(node)?;
        node.launch()?;
        node.ready()
    }

    /// SIGSTOP of a node: its connections stay open and nothing is answered.
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn stop(&mut self, node: u32) -> anyhow::Result<()> {
        self.node(node)?.signal(Signal::STOP)
    }

    /// SIGCONT of a node, after [`Kafka::stop`].
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn cont(&mut self, node: u32) -> anyhow::Result<()> {
        self.node(node)?.signal(Signal::CONT)
    }

    /// Process id of a node.
    ///
    /// # Errors
    /// It doesn't run, or isn't ours.
    pub fn pid(&mut self, node: u32) -> anyhow::Result<u32> {
        self.node(node)?.pid()
    }

    fn node(&mut self, node: u32) -> anyhow::Result<&mut Node> {
        let index = usize::try_from(node)?.checked_sub(1);
        let nodes = self.nodes.len();
        let found = index.and_then(|index| self.nodes.get_mut(index));
        found.with_context(|| anyhow!("node {node} is none of the {nodes} that were started here"))
    }
}

/// Whether all that a cluster needs is installed.
fn installed() -> Result<(), Unavailable> {
    for part in ["bin/java", "kafka/lib", "kafka/bootstrap.checkpoint"] {
        install::part(part)?;
    }
    Ok(())
}

fn free(node: u32) -> anyhow::Result<Ports> {
    Ok(Ports { node, plaintext: ports::free()?, controller: ports::free()? })
}
