//! `forebay check`: what was understood, and what of it can be reached, in sentences. Everything is looked at, each thing
//! within its time, whatever the others came to; nothing is changed.

mod outside;
mod place;

use std::{future::Future, path::Path, time::Duration};

use forebay_avro::{event::EventEncoder, schema::Schema};
use serde::Serialize;

use self::place::Place;
pub use self::place::writable;
use crate::{
    config::Config,
    context::Context,
    deliver,
    exit::{Failure, Outcome},
    schemas,
    ui::Row,
};

/// For one answer from elsewhere.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
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
    /// Notes a sentence, or what is wrong and what to do. True if it is well.
    fn add(&mut self, what: impl Into<String>, found: Result<String, String>) -> bool {
        let ok = found.is_ok();
        self.0.push(Finding { what: what.into(), ok, says: found.unwrap_or_else(|why| why) });
        ok
    }
}

/// A schema file of the configuration that can be parsed and encoded.
struct SchemaFile<'c> {
    topic: &'c str,
    subject: &'c str,
    path: &'c Path,
    text: String,
}

/// Runs the verb.
pub async fn run(context: &Context) -> Outcome {
    let config = &context.config;
    let mut findings = Findings::default();
    findings.add("configuration", Ok(understood(config)));
    let place = place::look(config, &mut findings).await?;
    let files = schema_files(config, &mut findings);
    let (reached, delivered) = tokio::join!(outside::look(config, place, &files), destinations(config));
    findings.0.extend(reached.0);
    findings.0.extend(delivered.0);
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
    let topics = count(config.api.topics.len(), "configured topic");
    let connectors = count(config.connectors.len(), "connector");
    format!("{file}; the log is {}; {topics}, {connectors}", config.broker.url)
}

fn schema_files<'c>(config: &'c Config, findings: &mut Findings) -> Vec<SchemaFile<'c>> {
    let mut sound = Vec::new();
    for (topic, settings) in &config.api.topics {
        let Some(path) = settings.schema_file.as_deref() else { continue };
        match encodable(path) {
            Ok(text) => sound.push(SchemaFile { topic, subject: &settings.subject, path, text }),
            Err(why) => {
                findings.add(format!("topics.{topic}.schema_file"), Err(why));
            }
        }
    }
    sound
}

/// The text of a schema that can be parsed and encoded.
fn encodable(file: &Path) -> Result<String, String> {
    let text = schemas::read(file).map_err(|failure| failure.text)?;
    let schema = Schema::parse(&text, &[]).map_err(|error| format!("{}: {error}", file.display()))?;
    EventEncoder::compile(&schema, 1).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(text)
}

/// Whether each connector can write where it should, all asked at once.
async fn destinations(config: &Config) -> Findings {
    let mut probes = Vec::new();
    for connector in &config.connectors {
        let (connector, config) = (connector.clone(), config.clone());
        probes.push(tokio::spawn(async move {
            let probed = async { deliver::probe(&connector, &config).await.map_err(|failure| failure.text) };
            let found = within(ANSWER_WITHIN, "its destination", probed).await;
            (connector.name.clone(), found.map(|says| format!("{}; {says}", deliver::describe(&connector))))
        }));
    }
    let mut findings = Findings::default();
    for probe in probes {
        // A probe that panicked was told by the runtime.
        let Ok((name, found)) = probe.await else { continue };
        findings.add(format!("connectors.{name}"), found);
    }
    findings
}

/// The answer, or that none came in time.
async fn within<T>(limit: Duration, whose: &str, answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late =
        || format!("{whose} did not answer within {} s: is it running, and the way to it open?", limit.as_secs());
    tokio::time::timeout(limit, answer).await.unwrap_or_else(|_| Err(late()))
}

fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}
