//! What a node's `server.properties` says.

use std::{fmt::Write, path::Path};

/// A node of a cluster, with the ports of its listeners.
#[derive(Debug, Clone)]
pub struct Ports {
    /// `node.id`, from 1.
    pub node: u32,
    pub plaintext: u16,
    pub controller: u16,
}

/// A listener besides PLAINTEXT and CONTROLLER.
#[derive(Debug, Clone)]
pub struct Listener {
    pub name: &'static str,
    pub protocol: &'static str,
    pub port: u16,
    /// What clients are told to connect to.
    pub advertised: String,
}

/// For tests: small, quick to end waiting, and strict where production is.
const COMMON: &str = "\
process.roles=broker,controller
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
auto.create.topics.enable=false
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=4194304
log.initial.task.delay.ms=300
log.retention.check.interval.ms=300
offsets.topic.num.partitions=4
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=200
group.consumer.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=500
controller.quorum.fetch.timeout.ms=1000
";

/// The settings of one node of `cluster`, whose data is in `home`; `listeners` are the further ones.
pub fn properties(node: &Ports, cluster: &[Ports], listeners: &[Listener], home: &Path) -> String {
    let mut text = String::from(COMMON);
    let mut set = |key: &str, value: String| {
        let _ = writeln!(text, "{key}={value}");
    };
    set("node.id", node.node.to_string());
    set("log.dirs", home.join("data").display().to_string());
    let voters = cluster.iter().map(|peer| format!("{}@127.0.0.1:{}", peer.node, peer.controller));
    set("controller.quorum.voters", voters.collect::<Vec<_>>().join(","));

    let own =
        [format!("PLAINTEXT://127.0.0.1:{}", node.plaintext), format!("CONTROLLER://127.0.0.1:{}", node.controller)];
    let bound = listeners.iter().map(|more| format!("{}://127.0.0.1:{}", more.name, more.port));
    set("listeners", own.iter().cloned().chain(bound).collect::<Vec<_>>().join(","));
    let told = listeners.iter().map(|more| format!("{}://{}", more.name, more.advertised));
    set("advertised.listeners", own.into_iter().chain(told).collect::<Vec<_>>().join(","));
    let protocols = ["CONTROLLER:PLAINTEXT".to_owned(), "PLAINTEXT:PLAINTEXT".to_owned()].into_iter();
    let more = listeners.iter().map(|more| format!("{}:{}", more.name, more.protocol));
    set("listener.security.protocol.map", protocols.chain(more).collect::<Vec<_>>().join(","));

    let (copies, in_sync) = if cluster.len() == 1 { (1, 1) } else { (3, 2) };
    set("default.replication.factor", copies.to_string());
    set("min.insync.replicas", in_sync.to_string());
    set("offsets.topic.replication.factor", copies.to_string());
    for topic in ["transaction.state.log", "share.coordinator.state.topic"] {
        set(&format!("{topic}.replication.factor"), copies.to_string());
        set(&format!("{topic}.min.isr"), in_sync.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_know_each_other_and_keep_two_copies_in_sync() {
        let cluster: Vec<_> = [(1, 10), (2, 20), (3, 30)]
            .map(|(node, port)| Ports { node, plaintext: port, controller: port + 1 })
            .to_vec();
        let text = properties(&cluster[1], &cluster, &[], Path::new("/home"));
        for line in [
            "node.id=2",
            "log.dirs=/home/data",
            "controller.quorum.voters=1@127.0.0.1:11,2@127.0.0.1:21,3@127.0.0.1:31",
            "listeners=PLAINTEXT://127.0.0.1:20,CONTROLLER://127.0.0.1:21",
            "min.insync.replicas=2",
            "offsets.topic.replication.factor=3",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn a_further_listener_is_told_as_it_is_reached() {
        let node = Ports { node: 1, plaintext: 10, controller: 11 };
        let proxied =
            Listener { name: "PROXIED", protocol: "PLAINTEXT", port: 12, advertised: "127.0.0.1:99".to_owned() };
        let text = properties(&node, std::slice::from_ref(&node), &[proxied], Path::new("/home"));
        assert!(
            text.contains("\nlisteners=PLAINTEXT://127.0.0.1:10,CONTROLLER://127.0.0.1:11,PROXIED://127.0.0.1:12\n")
        );
        assert!(text.contains(",PROXIED://127.0.0.1:99\n"));
        assert!(text.contains(",PROXIED:PLAINTEXT\n"));
        assert!(text.contains("\nmin.insync.replicas=1\n"));
    }
}
