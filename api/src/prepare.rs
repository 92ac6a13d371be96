//! Before the first request: topics and schemas of the configuration are set up, or the start fails with the reason.

use forebay_avro::registry::Registry;
use forebay_broker::{Log, LogError, TopicInfo, TopicSpec, dead_letter};

use crate::{
    config::{Settings, TopicSettings},
    schema_files::SchemaFiles,
    server::ServeError,
    topics::topic_spec,
};

/// Creates the configured topics, or grows and sets those that are there; registers their schema files, and makes sure of the DLQ topic.
pub(crate) async fn prepare(
    settings: &Settings,
    log: &dyn Log,
    registry: &dyn Registry,
    files: &SchemaFiles,
) -> Result<(), ServeError> {
    for (name, topic) in &settings.topics {
        let failed = |reason: String| ServeError::Topic { topic: name.clone(), reason };
        ensure_topic(&spec(name, topic, settings), topic, log).await.map_err(failed)?;
        files.prepare(topic, registry).await.map_err(failed)?;
    }
    if settings.dlq.topic.contains('{') {
        return Ok(()); // made when the first dead letter names it
    }
    let failed = |error: LogError| ServeError::Topic { topic: settings.dlq.topic.clone(), reason: error.to_string() };
    dead_letter::topic::ensure(log, &settings.dlq.topic).await.map_err(failed)
}

/// A topic as it is to be made. One for dead letters is made as all of those are, but for what is configured.
fn spec(name: &str, topic: &TopicSettings, settings: &Settings) -> TopicSpec {
    let configured = topic_spec(name, topic);
    if !dead_letter::topic::can_be(name, &settings.dlq.topic) {
        return configured;
    }
    let mut spec = dead_letter::topic::spec(name, settings.record_bytes);
    spec.partitions = topic.partitions.unwrap_or(spec.partitions);
    spec.config.extend(configured.config);
    spec
}

async fn ensure_topic(spec: &TopicSpec, settings: &TopicSettings, log: &dyn Log) -> Result<(), String> {
    match log.topic(&spec.name).await {
        Ok(actual) => {
            grow(&spec.name, settings, &actual, log).await?;
            set(settings, &actual, log).await
        }
        Err(LogError::UnknownTopic(_)) => match log.create_topic(spec).await {
            Ok(_) | Err(LogError::TopicExists(_)) => Ok(()),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(error.to_string()),
    }
}

/// Sets what the configuration names and the topic has otherwise; its other settings are someone else's. Where a cluster
/// does not let us, an administrator has to: that is no reason to take no events.
async fn set(settings: &TopicSettings, actual: &TopicInfo, log: &dyn Log) -> Result<(), String> {
    let mut changes = settings.log_config();
    changes.retain(|name, value| actual.config.get(name) != Some(value));
    if changes.is_empty() {
        return Ok(());
    }
    let topic = &*actual.name;
    match log.set_topic(topic, &changes).await {
        Ok(_) => {
            for (setting, to) in &changes {
                let from = actual.config.get(setting).map_or("the log's default", String::as_str);
                tracing::info!(topic, setting, from, to, "Set the topic as configured.");
            }
            Ok(())
        }
        Err(LogError::Denied(why)) => {
            for (setting, value) in &changes {
                let command = format!(
                    "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}={value}"
                );
                tracing::warn!(
                    topic,
                    why,
                    command,
                    "The topic is not set as configured: an administrator has to do it."
                );
            }
            Ok(())
        }
        Err(error) => {
            let changes: Vec<_> = changes.iter().map(|(name, value)| format!("{name}={value}")).collect();
            Err(format!("{} could not be set: {error}", changes.join(", ")))
        }
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use forebay_broker::sim::{SimLog, SimSettings};
    use serde_json::{Value, json};

    use super::*;
    use crate::config::{ApiOptions, Surroundings};

    fn settings(topics: Value) -> Settings {
        let around = Surroundings {
            base: Path::new("."),
            local_log: true,
            record_bytes: 1_000_000,
            dlq_topic: "events.dlq",
            registry_listen: None,
        };
        Settings::resolve(&ApiOptions::default(), &serde_json::from_value(topics).unwrap(), around).unwrap()
    }

    async fn prepared(log: &SimLog, topics: Value) {
        let settings = settings(topics);
        for (name, topic) in &settings.topics {
            ensure_topic(&spec(name, topic, &settings), topic, log).await.unwrap();
        }
    }

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_topic_that_is_there_is_set_as_configured_and_no_further() {
        let log = SimLog::new(SimSettings::default());
        let config = of(&[("retention.ms", "1000"), ("max.message.bytes", "500")]);
        log.create_topic(&TopicSpec { name: "t".into(), partitions: 2, config }).await.unwrap();
        prepared(&log, json!({"t": {"retention_ms": -1}})).await;
        let expected = of(&[("retention.ms", "-1"), ("max.message.bytes", "500")]);
        assert_eq!(log.topic("t").await.unwrap().config, expected);
        prepared(&log, json!({"t": {}})).await;
        assert_eq!(log.topic("t").await.unwrap().config, expected, "what is not named is left alone");
    }

    #[tokio::test(start_paused = true)]
    async fn a_configured_topic_of_dead_letters_still_is_one() {
        let log = SimLog::new(SimSettings::default());
        prepared(&log, json!({"events.dlq": {"retention_ms": 86_400_000}})).await;
        let mut expected = dead_letter::topic::spec("events.dlq", 1_000_000);
        expected.config.insert("retention.ms".into(), "86400000".into());
        let made = log.topic("events.dlq").await.unwrap();
        assert_eq!((made.partitions, &made.config), (expected.partitions, &expected.config));
        prepared(&log, json!({"events.dlq": {"retention_ms": 1_000}})).await;
        assert_eq!(log.topic("events.dlq").await.unwrap().config["retention.ms"], "1000");
    }
}
