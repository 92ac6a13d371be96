//! Settings of a topic that is there.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::time::Instant;

use super::{Admin, LOOK_AGAIN, not_arrived};
use crate::{
    LogError, TopicInfo,
    kafka::{
        client::{ASK_TIMEOUT, refused},
        native,
    },
    topic,
};

impl Admin {
    /// Sets these settings and no others, and waits until they can be seen.
    pub async fn set(&self, name: &str, config: &BTreeMap<String, String>) -> Result<TopicInfo, LogError> {
        topic::check_name(name).map_err(|_| LogError::UnknownTopic(name.to_owned()))?;
        let (topic, changes) = (name.to_owned(), config.clone());
        self.blocking(move |admin| {
            native::set_topic(admin.inner(), &topic, &changes, ASK_TIMEOUT).map_err(|why| {
                match (why.0, refused(&why)) {
                    (Code::UnknownTopicOrPartition, _) => LogError::UnknownTopic(topic),
                    // Without an answer it may be done.
                    (
                        Code::OperationTimedOut | Code::RequestTimedOut | Code::BrokerTransportFailure,
                        LogError::Unavailable(why),
                    ) => LogError::Unknown(why),
                    (_, refusal) => refusal,
                }
            })
        })
        .await?;
        let deadline = Instant::now() + ASK_TIMEOUT;
        loop {
            let mut info = self.info(name).await?;
            // Who may not see settings is told of none, not even of the cluster's.
            let hidden = info.compacted.is_none() && info.timestamps.is_none();
            if hidden || config.iter().all(|(name, value)| info.config.get(name) == Some(value)) {
                info.config.extend(config.clone());
                return Ok(info);
            }
            if Instant::now() >= deadline {
                return Err(not_arrived(name));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
