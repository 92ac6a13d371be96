//! `forebay check`: what was understood, and what of it can be reached, in sentences.

use std::path::Path;

use forebay_avro::{event::EventEncoder, schema::Schema};
use serde::Serialize;

use crate::{
    args::Target,
    backend::{self, Backend, Purpose},
    config::Config,
    context::Context,
    deliver,
    exit::{Failure, Outcome},
    greet,
    lock::{Attempt, Holder, Lock},
    parts, schemas, topics,
    ui::Row,
};

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    ok: bool,
    says: String,
}

impl Row for Finding {
    const TITLES: &'static [&'static str] = &["what", "ok", "says"];

    fn cells(&self) -> Vec<String> {
        vec![self.what.clone(), if self.ok { "yes" } else { "NO" }.to_owned(), self.says.clone()]
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, what: impl Into<String>, found: Result<String, String>) {
        self.0.push(Finding { what: what.into(), ok: found.is_ok(), says: found.unwrap_or_else(|why| why) });
    }
}

/// Runs the verb.
pub async fn run(context: &Context) -> Outcome {
    let config = &context.config;
    let mut findings = Findings::default();
    findings.add("configuration", Ok(understood(config)));
    let found = writable(&config.data_dir);
    let usable = found.is_ok();
    findings.add("data_dir", found);
    let holder = if usable { holder(&config.data_dir, &mut findings)? } else { None };
    if holder.is_none() {
        listeners(config, &mut findings).await;
    }
    let mut encodable = Vec::new();
    for (name, topic) in &config.api.topics {
        if let Some(file) = &topic.schema_file {
            match schema(file) {
                Ok(text) => encodable.push((name.as_str(), topic.subject.as_str(), file.as_path(), text)),
                Err(why) => findings.add(format!("topics.{name}.schema_file"), Err(why)),
            }
        }
    }
    if usable {
        against_the_log(context, &encodable, &mut findings).await;
    }
    for connector in &config.connectors {
        let probed = deliver::probe(connector, config).await.map_err(|failure| failure.text);
        let found = probed.map(|says| format!("{}; {says}", deliver::describe(connector)));
        findings.add(format!("connectors.{}", connector.name), found);
    }
    context.output.rows(&findings.0)?;
    match findings.0.iter().filter(|f| !f.ok).count() {
        0 => Ok(()),
        1 => Err(Failure::error("one thing stands in the way of `forebay up`")),
        n => Err(Failure::error(format!("{n} things stand in the way of `forebay up`"))),
    }
}

fn understood(config: &Config) -> String {
    let file = match &config.file {
        Some(file) => format!("{} was read", file.display()),
        None => format!("there is no {}: everything has its default", crate::config::DEFAULT_FILE),
    };
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let topics = count(config.api.topics.len(), "configured topic");
    let connectors = count(config.connectors.len(), "connector");
    format!("{file}; the log is {}; {topics}, {connectors}", greet::log(config))
}

/// Whether the directory, or the nearest one above it that exists, can be written. Leaves nothing behind.
pub fn writable(dir: &Path) -> Result<String, String> {
    let there = dir.ancestors().find(|d| d.exists()).unwrap_or(Path::new("/"));
    let probe = there.join(format!(".forebay-check-{}", std::process::id()));
    let tried = std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe));
    match tried {
        Err(error) => {
            Err(format!("{} can't be written: {error}; choose another place or fix its rights", there.display()))
        }
        Ok(()) if there == dir => Ok(format!("{} can be written", dir.display())),
        Ok(()) => Ok(format!("{} will be made", dir.display())),
    }
}

/// The API of a running `forebay up`. A directory that does not exist is held by nobody, and is not made.
fn holder(dir: &Path, findings: &mut Findings) -> Result<Option<Holder>, Failure> {
    if !dir.exists() {
        return Ok(None);
    }
    match Lock::attempt(dir)? {
        Attempt::Ours(_) => Ok(None),
        Attempt::Held(Some(Holder { pid, api: Some(api) })) => {
            findings.add("running", Ok(format!("process {pid} runs on this data_dir, its API is {api}")));
            Ok(Some(Holder { pid, api: Some(api) }))
        }
        Attempt::Held(holder) => {
            let who = holder.as_ref().map_or_else(|| "another process".to_owned(), |h| format!("process {}", h.pid));
            findings.add("running", Err(format!("{who} has the data_dir to itself: wait for it, or stop it")));
            Ok(holder)
        }
    }
}

async fn listeners(config: &Config, findings: &mut Findings) {
    let bound = forebay_api::Listeners::bind(&config.api).await.map_err(|error| parts::not_served(error).text);
    let others = [config.api.registry_listen, config.api.management_listen];
    let others: String = others.into_iter().flatten().map(|address| format!(", {address}")).collect();
    findings.add("listeners", bound.map(|_| format!("{}{others}: free", config.api.listen)));
}

/// A schema that can be parsed and encoded, as text.
fn schema(file: &Path) -> Result<String, String> {
    let text = schemas::read(file).map_err(|failure| failure.text)?;
    let schema = Schema::parse(&text, &[]).map_err(|error| format!("{}: {error}", file.display()))?;
    EventEncoder::compile(&schema, 1).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text)
}

/// What only the log and its registry can tell: partitions that can't shrink, schemas that must be compatible.
async fn against_the_log(context: &Context, encodable: &[(&str, &str, &Path, String)], findings: &mut Findings) {
    let config = &context.config;
    let fresh = !config.data_dir.exists();
    if fresh {
        for (name, _, file, _) in encodable {
            findings.add(format!("topics.{name}.schema_file"), Ok(format!("{} is sound, and new", file.display())));
        }
        return;
    }
    let backend = match backend::open(&Target { api: None }, context, Purpose::Manage).await {
        Ok(backend) => backend,
        Err(failure) => return findings.add("log", Err(failure.text)),
    };
    partitions(&backend, config, findings).await;
    for (name, subject, file, text) in encodable {
        let found = match schemas::dry_run(backend.client(), subject, text).await {
            Ok(dry) if dry.compatible => Ok(format!("{} fits the versions of {subject}", file.display())),
            Ok(dry) => Err(format!("{} does not fit {subject}: {}", file.display(), dry.differences.join("; "))),
            Err(failure) => Err(failure.text),
        };
        findings.add(format!("topics.{name}.schema_file"), found);
    }
    if let Err(failure) = backend.close().await {
        findings.add("log", Err(failure.text));
    }
}

async fn partitions(backend: &Backend, config: &Config, findings: &mut Findings) {
    let there = match topics::all(backend.client()).await {
        Ok(topics) => topics,
        Err(failure) => return findings.add("log", Err(failure.text)),
    };
    findings.add("log", Ok(format!("it opens, and holds {} topics", there.len())));
    for topic in there {
        let Some(wanted) = config.api.topics.get(&topic.name).and_then(|t| t.partitions) else { continue };
        let (what, has) = (format!("topics.{}.partitions", topic.name), topic.partitions);
        if wanted < has {
            let why = format!("{wanted} are configured, but it has {has}, and partitions never go: set {has} or more");
            findings.add(what, Err(why));
        } else if wanted > has {
            findings.add(what, Ok(format!("it has {has} and will grow to {wanted}")));
        }
    }
}
