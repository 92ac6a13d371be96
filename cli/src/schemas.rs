//! `forebay schemas`: subjects and their versions.

use std::{io::Read, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    args::{self, SchemasVerb},
    backend::{self, Purpose},
    client::Client,
    context::Context,
    exit::{Exit, Failure, Outcome},
    ui::Row,
};

const PATH: [&str; 3] = ["api", "v1", "schemas"];
/// Largest schema, as the registry has it.
const MAX_SCHEMA_BYTES: u64 = 1 << 20;

#[derive(Deserialize)]
struct Subjects {
    subjects: Vec<String>,
}

/// A version of a subject as the API tells it.
#[derive(Debug, Deserialize, Serialize)]
struct Version {
    subject: String,
    version: u32,
    id: u32,
    schema: String,
}

#[derive(Deserialize)]
struct Registered {
    id: u32,
    version: u32,
}

/// Whether a schema could be registered.
#[derive(Debug, Deserialize, Serialize)]
pub struct Dry {
    /// It could.
    pub compatible: bool,
    /// Why not.
    pub differences: Vec<String>,
}

impl Row for Version {
    const TITLES: &'static [&'static str] = &["subject", "version", "id"];

    fn cells(&self) -> Vec<String> {
        vec![self.subject.clone(), self.version.to_string(), self.id.to_string()]
    }
}

/// Runs the verb.
pub async fn run(args: &args::Schemas, context: &Context) -> Outcome {
    let text = match &args.verb {
        SchemasVerb::Register { file, .. } | SchemasVerb::Check { file, .. } => Some(read(file)?),
        SchemasVerb::List | SchemasVerb::Show { .. } => None,
    };
    let text = text.unwrap_or_default();
    let backend = backend::open(&args.target, context, Purpose::Manage).await?;
    let client = backend.client();
    let done = match &args.verb {
        SchemasVerb::List => list(client, context).await,
        SchemasVerb::Show { subject, version } => show(client, subject, *version, context).await,
        SchemasVerb::Register { subject, .. } => register(client, subject, &text, context).await,
        SchemasVerb::Check { subject, .. } => check(client, subject, &text, context).await,
    };
    let closed = backend.close().await;
    done.and(closed)
}

/// All subjects, sorted.
pub async fn subjects(client: &Client) -> Result<Vec<String>, Failure> {
    Ok(client.get::<Subjects>(&PATH, &[]).await?.subjects)
}

async fn list(client: &Client, context: &Context) -> Outcome {
    let mut versions = Vec::new();
    for subject in subjects(client).await? {
        versions.push(version(client, &subject, None).await?);
    }
    context.output.rows(&versions)
}

async fn version(client: &Client, subject: &str, version: Option<u32>) -> Result<Version, Failure> {
    let version = version.map_or_else(|| "latest".to_owned(), |v| v.to_string());
    client.get(&[PATH.as_slice(), &[subject, "versions", &version]].concat(), &[]).await
}

async fn show(client: &Client, subject: &str, number: Option<u32>, context: &Context) -> Outcome {
    let version = version(client, subject, number).await?;
    let pretty = serde_json::from_str::<serde_json::Value>(&version.schema)
        .and_then(|schema| serde_json::to_string_pretty(&schema))
        .unwrap_or_else(|_| version.schema.clone());
    context.output.said(&version, &pretty)
}

async fn register(client: &Client, subject: &str, text: &str, context: &Context) -> Outcome {
    let path = [PATH.as_slice(), &[subject, "versions"]].concat();
    let Registered { id, version } = client.post(&path, body(text)).await?.json()?;
    let value = json!({"subject": subject, "version": version, "id": id});
    context.output.said(&value, &format!("{subject} version {version} has id {id}"))
}

async fn check(client: &Client, subject: &str, text: &str, context: &Context) -> Outcome {
    let dry = dry_run(client, subject, text).await?;
    if dry.compatible {
        return context.output.said(&dry, &format!("the schema could be registered under {subject}"));
    }
    if context.output.format != crate::ui::Format::Table {
        context.output.said(&dry, "")?;
    }
    let reasons = dry.differences.join("\n  ");
    Err(Failure::new(Exit::Refused, format!("the schema could not be registered under {subject}:\n  {reasons}")))
}

/// Asks whether a schema could be registered.
pub async fn dry_run(client: &Client, subject: &str, text: &str) -> Result<Dry, Failure> {
    client.post(&[PATH.as_slice(), &[subject, "compatibility"]].concat(), body(text)).await?.json()
}

fn body(text: &str) -> String {
    json!({"schema": text}).to_string()
}

/// A schema from a file or from stdin.
pub fn read(path: &Path) -> Result<String, Failure> {
    let told = |error: std::io::Error| Failure::error(format!("can't read the schema {}: {error}", path.display()));
    let input: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path).map_err(told)?),
    };
    let mut text = String::new();
    input.take(MAX_SCHEMA_BYTES + 1).read_to_string(&mut text).map_err(told)?;
    if text.len() as u64 > MAX_SCHEMA_BYTES {
        return Err(Failure::error(format!("the schema {} has more than {MAX_SCHEMA_BYTES} bytes", path.display())));
    }
    Ok(text)
}
