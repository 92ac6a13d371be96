//! `forebay topics`: what the log holds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    args::{self, TopicsVerb},
    backend::{self, Purpose},
    client::Client,
    context::Context,
    exit::{Failure, Outcome},
    ui::{Row, table},
};

const PATH: [&str; 3] = ["api", "v1", "topics"];

/// A topic as the API tells it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Topic {
    /// Name.
    pub name: String,
    /// Identity: another one after delete and create.
    pub id: Option<String>,
    /// Number of partitions.
    pub partitions: i32,
    /// Settings by Kafka's names.
    #[serde(default)]
    pub config: BTreeMap<String, String>,
    /// Bounds of each partition, when one topic was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watermarks: Vec<Watermarks>,
}

/// Bounds of a partition.
#[derive(Debug, Deserialize, Serialize)]
pub struct Watermarks {
    /// From 0.
    pub partition: i32,
    /// First offset kept.
    pub low_watermark: i64,
    /// Next offset to be written.
    pub high_watermark: i64,
}

#[derive(Deserialize)]
struct Topics {
    topics: Vec<Topic>,
}

impl Row for Topic {
    const TITLES: &'static [&'static str] = &["topic", "partitions", "settings"];

    fn cells(&self) -> Vec<String> {
        vec![self.name.clone(), self.partitions.to_string(), settings(&self.config)]
    }
}

/// Runs the verb.
pub async fn run(args: &args::Topics, context: &Context) -> Outcome {
    let backend = backend::open(&args.target, context, Purpose::Manage).await?;
    let client = backend.client();
    let done = match &args.verb {
        TopicsVerb::List => list(client, context).await,
        TopicsVerb::Show { topic } => show(client, topic, context).await,
        TopicsVerb::Create { topic, partitions, settings } => {
            create(client, topic, *partitions, settings, context).await
        }
    };
    let closed = backend.close().await;
    done.and(closed)
}

async fn list(client: &Client, context: &Context) -> Outcome {
    context.output.rows(&all(client).await?)
}

/// All topics, sorted by name.
pub async fn all(client: &Client) -> Result<Vec<Topic>, Failure> {
    Ok(client.get::<Topics>(&PATH, &[]).await?.topics)
}

async fn show(client: &Client, name: &str, context: &Context) -> Outcome {
    let topic: Topic = client.get(&[PATH.as_slice(), &[name]].concat(), &[]).await?;
    let records: i64 = topic.watermarks.iter().map(|w| w.high_watermark - w.low_watermark).sum();
    let bounds = topic
        .watermarks
        .iter()
        .map(|w| vec![w.partition.to_string(), w.low_watermark.to_string(), w.high_watermark.to_string()]);
    let facts = [
        ("topic", topic.name.clone()),
        ("id", topic.id.clone().unwrap_or_else(|| "-".to_owned())),
        ("records", records.to_string()),
        ("settings", settings(&topic.config)),
        ("partitions", table::columns(&["partition", "from", "to"], bounds)),
    ];
    context.output.one(&topic, &facts)
}

async fn create(
    client: &Client,
    name: &str,
    partitions: Option<i32>,
    settings: &[(String, String)],
    context: &Context,
) -> Outcome {
    let configured = context.config.api.topics.get(name).and_then(|topic| topic.partitions);
    let config: BTreeMap<_, _> = settings.iter().cloned().collect();
    let body = json!({"name": name, "partitions": partitions.or(configured), "config": config});
    let topic: Topic = client.post(&PATH, body.to_string()).await?.json()?;
    context.output.said(&topic, &format!("created topic {name} with {} partitions", topic.partitions))
}

fn settings(config: &BTreeMap<String, String>) -> String {
    if config.is_empty() {
        return "-".to_owned();
    }
    config.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
