//! toxiproxy: stands between a client and a server and delays, cuts or refuses.

use std::{ffi::OsString, time::Duration};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    Unavailable, http, install, ports,
    process::{self, Process},
};

const READY: Duration = Duration::from_secs(30);

/// The server that runs the proxies. Dropping it ends them all.
pub struct Toxiproxy {
    address: String,
    _process: Process,
    _home: TempDir,
}

/// One proxy of a [`Toxiproxy`].
pub struct Proxy {
    /// `host:port` that clients use instead of the upstream's.
    pub address: String,
    name: String,
    server: String,
}

/// What a proxy does to its connections. The source is toxiproxy's README.
#[derive(Debug, Clone, Copy)]
pub enum Toxic {
    /// Every chunk comes so much later.
    Latency(Duration),
    /// Connections are reset after so long.
    Reset(Duration),
    /// Nothing passes, and connections are closed after so long; zero: never.
    Timeout(Duration),
}

/// Whose bytes a toxic is for.
#[derive(Debug, Clone, Copy)]
pub enum Stream {
    /// Those of the client.
    Upstream,
    /// Those of the server.
    Downstream,
}

impl Toxiproxy {
    /// Starts the server, without proxies.
    ///
    /// # Errors
    /// It isn't installed, or it does not start.
    pub fn start() -> Result<Self, Unavailable> {
        let program = install::part("bin/toxiproxy-server")?;
        Ok(Self::start_at(ports::free()?, program.into())?)
    }

    fn start_at(port: u16, program: OsString) -> Result<Self> {
        let address = format!("127.0.0.1:{port}");
        let home = process::home("toxiproxy")?;
        let mut command = vec![program];
        command.extend(["-host", "127.0.0.1", "-port", &port.to_string()].map(OsString::from));
        let mut process = Process::start("toxiproxy", home.path(), &command)?;
        process.wait_until(READY, |_| http::request("GET", &address, "/version", "").is_ok())?;
        Ok(Self { address, _process: process, _home: home })
    }

    /// Adds a proxy for `upstream`, a `host:port` at which a server need not listen yet.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn proxy(&self, upstream: &str) -> Result<Proxy> {
        let address = format!("127.0.0.1:{}", ports::free()?);
        let name = address.replace(':', "-");
        let body = json!({"name": name, "listen": address, "upstream": upstream, "enabled": true});
        call("POST", &self.address, "/proxies", &body)?;
        Ok(Proxy { address, name, server: self.address.clone() })
    }
}

impl Proxy {
    /// Adds a toxic under a name of the caller's.
    ///
    /// # Errors
    /// The server refuses it, as it does a name that is taken.
    pub fn add(&self, name: &str, toxic: Toxic, stream: Stream) -> Result<()> {
        let (kind, key, duration) = match toxic {
            Toxic::Latency(by) => ("latency", "latency", by),
            Toxic::Reset(after) => ("reset_peer", "timeout", after),
            Toxic::Timeout(after) => ("timeout", "timeout", after),
        };
        let stream = match stream {
            Stream::Upstream => "upstream",
            Stream::Downstream => "downstream",
        };
        let milliseconds = u64::try_from(duration.as_millis())?;
        let body = json!({"name": name, "type": kind, "stream": stream, "attributes": {key: milliseconds}});
        self.call("POST", "/toxics", &body)
    }

    /// Removes a toxic.
    ///
    /// # Errors
    /// There is none of this name.
    pub fn remove(&self, name: &str) -> Result<()> {
        self.call("DELETE", &format!("/toxics/{name}"), &Value::Null)
    }

    /// Refuses connections and cuts those there are, or (`true`) listens again.
    ///
    /// # Errors
    /// The server refuses it.
    pub fn enable(&self, enabled: bool) -> Result<()> {
        self.call("POST", "", &json!({"enabled": enabled}))
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<()> {
        call(method, &self.server, &format!("/proxies/{}{path}", self.name), body)
    }
}

fn call(method: &str, address: &str, path: &str, body: &Value) -> Result<()> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = http::request(method, address, path, &body).context("toxiproxy does not answer")?;
    if !(200..300).contains(&answer.status) {
        bail!("toxiproxy answered {} to {method} {path}: {}", answer.status, answer.body);
    }
    Ok(())
}
