//! Before the first request: topics and schemas of the configuration are set up, or the start fails with the reason.

use forebay_avro::registry::Registry;
use forebay_broker::{Log, LogError, TopicInfo, dead_letter};

use crate::{
    config::{Settings, TopicSettings},
    schema_files::SchemaFiles,
    server::ServeError,
    topics::topic_spec,
};

/// Creates or grows the configured topics, registers their schema files, and makes sure of the DLQ topic.
pub(crate) async fn prepare(
    settings: &Settings,
    log: &dyn Log,
    registry: &dyn Registry,
    files: &SchemaFiles,
) -> Result<(), ServeError> {
    for (name, topic) in &settings.topics {
        let failed = |reason: String| ServeError::Topic { topic: name.clone(), reason };
        ensure_topic(name, topic, log).await.map_err(failed)?;
        files.prepare(topic, registry).await.map_err(failed)?;
    }
    if settings.dlq.topic.contains('{') {
        return Ok(()); // made when the first dead letter names it
    }
    let failed = |error: LogError| ServeError::Topic { topic: settings.dlq.topic.clone(), reason: error.to_string() };
    dead_letter::topic::ensure(log, &settings.dlq.topic).await.map_err(failed)
}

async fn ensure_topic(name: &str, settings: &TopicSettings, log: &dyn Log) -> Result<(), String> {
    match log.topic(name).await {
        Ok(actual) => grow(name, settings, &actual, log).await,
        Err(LogError::UnknownTopic(_)) => match log.create_topic(&topic_spec(name, settings)).await {
            Ok(_) | Err(LogError::TopicExists(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

async fn grow(name: &str, settings: &TopicSettings, actual: &TopicInfo, log: &dyn Log) -> Result<(), String> {
    let Some(wanted) = settings.partitions else { return Ok(()) };
    match wanted.cmp(&actual.partitions) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => Err(format!(
            "partitions: {wanted} is below the {} that the topic has, and partitions can't be taken away: set {} or more",
            actual.partitions, actual.partitions
        )),
        std::cmp::Ordering::Greater => {
            tracing::info!(topic = name, from = actual.partitions, to = wanted, "Growing the topic.");
            log.grow_topic(name, wanted).await.map(drop).map_err(|error| error.to_string())
        }
    }
}
