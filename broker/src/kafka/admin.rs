//! Topics and identities: questions to the cluster, off the runtime's threads.

mod set;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigEntry, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    error::{KafkaError, RDKafkaErrorCode},
    metadata::{Metadata, MetadataBroker},
};
use tokio::time::Instant;

use super::{
    client::{ASK_TIMEOUT, Context, refused, unavailable},
    native::{self, TopicDescription},
};
use crate::{LogError, TimestampLimits, TopicInfo, TopicPartition, TopicSpec, topic};

/// Replicas of a topic, where the cluster has so many brokers.
const REPLICAS: i32 = 3;
/// The setting that says what becomes of old records.
const CLEANUP: &str = "cleanup.policy";
/// How often the cluster is asked whether a change has arrived.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the cluster tells of topics.
#[derive(Default)]
pub(super) struct Found {
    /// Sorted by name.
    pub infos: Vec<TopicInfo>,
    /// Those of which it tells nothing, with its reason.
    pub hidden: BTreeMap<String, LogError>,
    /// Ids of the brokers that their partitions are assigned to.
    pub holders: BTreeSet<i32>,
}

/// A topic's settings.
#[derive(Default)]
struct Config {
    /// Its own, by name.
    given: BTreeMap<String, String>,
    /// See [`TopicInfo::compacted`].
    compacted: Option<bool>,
    /// See [`TopicInfo::timestamps`].
    timestamps: Option<TimestampLimits>,
}

impl Config {
    fn of(entries: Vec<ConfigEntry>) -> Self {
        let value = |name: &str| entries.iter().find(|entry| entry.name == name)?.value.as_deref();
        let (compacted, timestamps) = (value(CLEANUP).map(compacts), TimestampLimits::of(value));
        let given = entries.into_iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        Self { given: given.filter_map(|entry| Some((entry.name, entry.value?))).collect(), compacted, timestamps }
    }
}

/// `cleanup.policy` is a list.
fn compacts(policy: &str) -> bool {
    policy.split(',').any(|word| word.trim() == "compact")
}

/// Asks the cluster. Cheap to clone.
#[derive(Clone)]
pub(super) struct Admin(Arc<AdminClient<Context>>);

impl Admin {
    pub fn new(client: AdminClient<Context>) -> Self {
        Self(Arc::new(client))
    }

    /// Runs a call that waits where it may.
    pub async fn blocking<T: Send + 'static>(
        &self,
        call: impl FnOnce(&AdminClient<Context>) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let admin = Arc::clone(&self.0);
        match tokio::task::spawn_blocking(move || call(&admin)).await {
            Ok(result) => result,
            Err(error) => Err(LogError::Unavailable(format!("a question to the cluster was cut off: {error}"))),
        }
    }

    /// The cluster's id; [`LogError::Unavailable`] if no broker tells it in time.
    pub async fn cluster_id(&self, wait: Duration) -> Result<String, LogError> {
        self.blocking(move |admin| {
            // The metadata says why, if nobody answers.
            admin.inner().fetch_metadata(Some(""), wait).map_err(|error| unavailable(&error))?;
            let told = admin.inner().fetch_cluster_id(wait);
            told.ok_or_else(|| LogError::Unavailable("no broker told the cluster's id".to_owned()))
        })
        .await
    }

    /// Whether any broker answers.
    pub async fn ping(&self, wait: Duration) -> Result<(), LogError> {
        let ask = move |admin: &AdminClient<Context>| admin.inner().fetch_metadata(Some(""), wait).map(drop);
        self.blocking(move |admin| ask(admin).map_err(|error| unavailable(&error))).await
    }

    /// Passes on what the client says of itself: nobody else polls it.
    pub fn drain(&self) {
        native::drain(self.0.inner());
    }

    async fn metadata(&self) -> Result<Metadata, LogError> {
        self.blocking(|admin| admin.inner().fetch_metadata(None, ASK_TIMEOUT).map_err(|error| unavailable(&error)))
            .await
    }

    /// Addresses of the brokers.
    pub async fn brokers(&self) -> Result<Vec<String>, LogError> {
        let address = |broker: &MetadataBroker| format!("{}:{}", broker.host(), broker.port());
        Ok(self.metadata().await?.brokers().iter().map(address).collect())
    }

    /// Names of all topics.
    pub async fn names(&self) -> Result<Vec<String>, LogError> {
        Ok(self.metadata().await?.topics().iter().map(|topic| topic.name().to_owned()).collect())
    }

    async fn describe(&self, names: Vec<String>) -> Result<Vec<TopicDescription>, LogError> {
        self.blocking(move |admin| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            native::describe_topics(admin.inner(), &names, ASK_TIMEOUT).map_err(|why| refused(&why))
        })
        .await
    }

    /// Settings of topics, by name.
    async fn configs(&self, names: &[String]) -> Result<BTreeMap<String, Config>, LogError> {
        let specs: Vec<_> = names.iter().map(|name| ResourceSpecifier::Topic(name)).collect();
        let options = AdminOptions::new().request_timeout(Some(ASK_TIMEOUT));
        let answers = self.0.describe_configs(&specs, &options).await.map_err(|error| unavailable(&error))?;
        let mut all = BTreeMap::new();
        // In the order asked. A topic that went meanwhile, or whose settings we may not see, has none to tell.
        for (name, answer) in names.iter().zip(answers) {
            let Ok(resource) = answer else { continue };
            all.insert(name.clone(), Config::of(resource.entries));
        }
        Ok(all)
    }

    /// What is to be known of topics of these names. Those that do not exist are left out.
    pub async fn look_up(&self, names: Vec<String>) -> Result<Found, LogError> {
        let mut found = Found::default();
        if names.is_empty() {
            return Ok(found);
        }
        let mut configs = self.configs(&names).await?;
        for TopicDescription { name, id, partitions, holders, error } in self.describe(names).await? {
            found.holders.extend(holders);
            match error {
                None => {
                    let Config { given, compacted, timestamps } = configs.remove(&name).unwrap_or_default();
                    found.infos.push(TopicInfo {
                        config: given,
                        compacted,
                        timestamps,
                        partitions: i32::try_from(partitions).unwrap_or(i32::MAX),
                        id: id.map(Into::into),
                        name: name.into(),
                    });
                }
                Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::InvalidTopic) => {}
                Some(code) => {
                    found.hidden.insert(name, refused(&(code, String::new())));
                }
            }
        }
        found.infos.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    /// The topics of these names that there are and that can be seen.
    pub async fn infos(&self, names: Vec<String>) -> Result<Vec<TopicInfo>, LogError> {
        Ok(self.look_up(names).await?.infos)
    }

    /// One topic.
    pub async fn info(&self, name: &str) -> Result<TopicInfo, LogError> {
        let unknown = || LogError::UnknownTopic(name.to_owned());
        topic::check_name(name).map_err(|_| unknown())?;
        let Found { mut infos, hidden, .. } = self.look_up(vec![name.to_owned()]).await?;
        infos.pop().ok_or_else(|| hidden.into_values().next().unwrap_or_else(unknown))
    }

    /// A topic's identity.
    pub async fn topic_id(&self, name: &str) -> Result<Option<Arc<str>>, LogError> {
        let unknown = || LogError::UnknownTopic(name.to_owned());
        topic::check_name(name).map_err(|_| unknown())?;
        let told = self.describe(vec![name.to_owned()]).await?.pop().ok_or_else(unknown)?;
        match told.error {
            None => Ok(told.id.map(Into::into)),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Err(unknown()),
            Some(code) => Err(refused(&(code, String::new()))),
        }
    }

    /// Creates a topic with three replicas, or as many as there are brokers, and waits until it can be used.
    pub async fn create(&self, spec: &TopicSpec) -> Result<TopicInfo, LogError> {
        topic::check_name(&spec.name)?;
        topic::check_partitions(spec.partitions)?;
        let brokers = i32::try_from(self.metadata().await?.brokers().len()).unwrap_or(REPLICAS);
        let mut new = NewTopic::new(&spec.name, spec.partitions, TopicReplication::Fixed(brokers.clamp(1, REPLICAS)));
        for (name, value) in &spec.config {
            new = new.set(name, value);
        }
        let made = self.0.create_topics([&new], &self.options()).await.map_err(|error| unanswered(&error))?;
        if let Some(Err((_, code))) = made.into_iter().next() {
            return Err(match code {
                RDKafkaErrorCode::TopicAlreadyExists => LogError::TopicExists(spec.name.clone()),
                RDKafkaErrorCode::InvalidConfig => LogError::Invalid(format!(
                    "the Kafka cluster knows no such topic setting, or not this value: {:?}",
                    spec.config
                )),
                code => not_changed(code),
            });
        }
        let mut info = self.until_partitions(&spec.name, spec.partitions).await?;
        // Settings reach the brokers one after the other too.
        info.config.extend(spec.config.clone());
        if let Some(policy) = spec.config.get(CLEANUP) {
            info.compacted = Some(compacts(policy));
        }
        info.timestamps = TimestampLimits::of(|name| spec.config.get(name).map(String::as_str)).or(info.timestamps);
        Ok(info)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(ASK_TIMEOUT)).operation_timeout(Some(ASK_TIMEOUT))
    }

    /// Waits until a topic has so many partitions, each with a leader. Brokers learn of it one after the other, and any of
    /// them may be asked.
    async fn until_partitions(&self, name: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        self.until(name, |metadata, name| {
            let topic = metadata.topics().iter().find(|topic| topic.name() == name);
            topic.is_some_and(|topic| topic.partitions().iter().all(|part| part.leader() >= 0))
        })
        .await?;
        let deadline = Instant::now() + ASK_TIMEOUT;
        loop {
            match self.info(name).await {
                Ok(info) if info.partitions >= partitions => return Ok(info),
                Err(error) if !matches!(error, LogError::UnknownTopic(_)) => return Err(error),
                _ if Instant::now() >= deadline => return Err(not_arrived(name)),
                _ => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn until(&self, name: &str, arrived: impl Fn(&Metadata, &str) -> bool) -> Result<(), LogError> {
        let deadline = Instant::now() + ASK_TIMEOUT;
        while !arrived(&self.metadata().await?, name) {
            if Instant::now() >= deadline {
                return Err(not_arrived(name));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// Deletes a topic, and waits until it is gone.
    pub async fn delete(&self, name: &str) -> Result<(), LogError> {
        topic::check_name(name).map_err(|_| LogError::UnknownTopic(name.to_owned()))?;
        let gone = self.0.delete_topics(&[name], &self.options()).await.map_err(|error| unanswered(&error))?;
        match gone.into_iter().next() {
            Some(Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))) => Err(LogError::UnknownTopic(name.to_owned())),
            Some(Err((_, code))) => Err(not_changed(code)),
            _ => self.until(name, |metadata, name| metadata.topics().iter().all(|topic| topic.name() != name)).await,
        }
    }

    /// Raises the number of partitions.
    pub async fn grow(&self, name: &str, partitions: i32) -> Result<TopicInfo, LogError> {
        topic::check_partitions(partitions)?;
        let now = self.info(name).await?;
        if partitions < now.partitions {
            return Err(LogError::Invalid(format!(
                "topic {name} has {} partitions already: their number can't fall",
                now.partitions
            )));
        }
        if partitions > now.partitions {
            let more = NewPartitions::new(name, usize::try_from(partitions).unwrap_or(1));
            let grown = self.0.create_partitions([&more], &self.options()).await.map_err(|error| unanswered(&error))?;
            if let Some(Err((_, code))) = grown.into_iter().next() {
                return Err(not_changed(code));
            }
        }
        self.until_partitions(name, partitions).await
    }

    /// First and next offset.
    pub async fn bounds(&self, part: TopicPartition) -> Result<(i64, i64), LogError> {
        self.blocking(move |admin| {
            let asked = admin.inner().fetch_watermarks(&part.topic, part.partition, ASK_TIMEOUT);
            asked.map_err(|error| match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownTopicOrPartition
                    | RDKafkaErrorCode::UnknownTopic
                    | RDKafkaErrorCode::UnknownPartition,
                ) => LogError::UnknownTopic(part.topic.to_string()),
                _ => unavailable(&error),
            })
        })
        .await
    }
}

fn not_arrived(topic: &str) -> LogError {
    LogError::Unknown(format!("the change of topic {topic} has not reached all brokers yet"))
}

/// A change that a broker did not make, or was still at when its time was up.
fn not_changed(code: RDKafkaErrorCode) -> LogError {
    match refused(&(code, String::new())) {
        LogError::Unavailable(why) if code == RDKafkaErrorCode::RequestTimedOut => LogError::Unknown(why),
        refusal => refusal,
    }
}

/// A change that the cluster was asked for, without its answer.
fn unanswered(error: &KafkaError) -> LogError {
    match unavailable(error) {
        LogError::Unavailable(why) => LogError::Unknown(why),
        refusal => refusal,
    }
}
