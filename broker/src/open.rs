//! Opening the log that a configuration names.

use std::sync::Arc;

use crate::{Log, LogError, config, kafka, local};

/// A log that [`open`] opened, and where an embedded schema registry can keep its state in it.
pub struct Opened {
    /// The log.
    pub log: Arc<dyn Log>,
    /// For `forebay_avro::registry::Embedded`; a Kafka cluster has no such place.
    pub registry_store: Option<Arc<dyn forebay_avro::registry::RegistryStore>>,
}

/// Opens the log that the configuration names.
pub async fn open(broker: &config::BrokerSettings, producer: config::ProducerSettings) -> Result<Opened, LogError> {
    let dir = match &broker.url {
        config::BrokerUrl::Local(dir) => dir.clone(),
        config::BrokerUrl::Kafka(servers) => {
            let librdkafka = broker.librdkafka.0.clone();
            let settings = kafka::KafkaSettings { servers: servers.clone(), librdkafka, producer };
            return Ok(Opened { log: kafka::KafkaLog::open(settings).await?, registry_store: None });
        }
    };
    let settings = local::LocalSettings::new(dir, broker, producer);
    // Recovery reads the journal; that may take a while.
    let opened = tokio::task::spawn_blocking(|| local::LocalLog::open(settings)).await;
    let log = opened.map_err(|error| LogError::Fatal(format!("opening the log failed: {error}")))??;
    Ok(Opened { registry_store: Some(log.registry_store()), log })
}
