//! A node that clients reach by TLS alone or by SASL over TLS, with rights per user.

use std::{
    fmt::Write,
    path::{Path, PathBuf},
};

use super::{
    Kafka, free, installed,
    node::{self, Node},
    settings::{Listener, properties},
};
use crate::{Unavailable, certificates, ports};

/// Someone whom the cluster knows.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// `sasl.username`.
    pub name: &'static str,
    /// `sasl.password`.
    pub password: &'static str,
    /// `sasl.mechanism`.
    pub mechanism: &'static str,
    /// Whether everything is allowed; else nothing is.
    pub allowed: bool,
}

const fn user(name: &'static str, password: &'static str, mechanism: &'static str, allowed: bool) -> User {
    User { name, password, mechanism, allowed }
}

/// A cluster of one node with users. Dropping it ends it.
pub struct Secured {
    /// The cluster; its own `brokers()` ask for nothing and allow everything.
    pub kafka: Kafka,
    /// `host:port` for `security.protocol=sasl_ssl`.
    pub sasl_ssl: String,
    /// `host:port` for `security.protocol=ssl`; everything is allowed.
    pub ssl: String,
    /// Certificate, as PEM, of the authority that signed the node's: `ssl.ca.location`.
    pub ca: PathBuf,
}

impl Secured {
    /// May do everything, by SCRAM-SHA-512.
    pub const SCRAM_512: User = user("alice", "alice-secret", "SCRAM-SHA-512", true);
    /// May do everything, by SCRAM-SHA-256.
    pub const SCRAM_256: User = user("dora", "dora-secret", "SCRAM-SHA-256", true);
    /// May do everything, by PLAIN.
    pub const PLAIN: User = user("carol", "carol-secret", "PLAIN", true);
    /// Is known, and may do nothing.
    pub const DENIED: User = user("bob", "bob-secret", "SCRAM-SHA-512", false);

    const USERS: [User; 4] = [Self::SCRAM_512, Self::SCRAM_256, Self::PLAIN, Self::DENIED];

    pub(super) fn start() -> Result<Self, Unavailable> {
        installed()?;
        Ok(Self::start_node()?)
    }

    fn start_node() -> anyhow::Result<Self> {
        let cluster = [free(1)?];
        let listeners = [listener("SASL_SSL", ports::free()?), listener("SSL", ports::free()?)];
        let users: Vec<_> = Self::USERS.iter().filter_map(scram).collect();
        let text = |home: &Path| properties(&cluster[0], &cluster, &listeners, home) + &security(home);
        let mut node = Node::formatted(&node::random_id(), &users, text)?;
        certificates::make(node.home())?;
        node.launch()?;
        node.ready()?;
        let ca = node.home().join(certificates::AUTHORITY);
        let [sasl_ssl, ssl] = listeners.map(|listener| listener.advertised);
        let brokers = format!("127.0.0.1:{}", cluster[0].plaintext);
        Ok(Self { kafka: Kafka { nodes: vec![node], brokers }, sasl_ssl, ssl, ca })
    }
}

/// By name: librdkafka compares certificates with names, never with addresses.
fn listener(protocol: &'static str, port: u16) -> Listener {
    Listener { name: protocol, protocol, port, advertised: format!("localhost:{port}") }
}

fn scram(user: &User) -> Option<String> {
    let User { name, password, mechanism, .. } = user;
    mechanism.starts_with("SCRAM").then(|| format!("{mechanism}=[name={name},password={password}]"))
}

fn security(home: &Path) -> String {
    let mut text = String::from(
        "sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN\n\
         ssl.keystore.type=PEM\nssl.truststore.type=PEM\n\
         authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         allow.everyone.if.no.acl.found=false\n",
    );
    let home = home.display();
    let (chain, authority) = (certificates::KEY_AND_CHAIN, certificates::AUTHORITY);
    let _ = writeln!(text, "ssl.keystore.location={home}/{chain}\nssl.truststore.location={home}/{authority}");
    let module = "org.apache.kafka.common.security";
    for scram in ["scram-sha-512", "scram-sha-256"] {
        let _ =
            writeln!(text, "listener.name.sasl_ssl.{scram}.sasl.jaas.config={module}.scram.ScramLoginModule required;");
    }
    let User { name, password, .. } = Secured::PLAIN;
    let plain = format!("{module}.plain.PlainLoginModule required user_{name}=\"{password}\";");
    let _ = writeln!(text, "listener.name.sasl_ssl.plain.sasl.jaas.config={plain}");
    let allowed = Secured::USERS.iter().filter(|user| user.allowed).map(|user| format!(";User:{}", user.name));
    let _ = writeln!(text, "super.users=User:ANONYMOUS{}", allowed.collect::<String>());
    text
}
