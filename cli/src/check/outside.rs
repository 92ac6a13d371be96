//! The log and the registry: opened here where that is possible, else asked of the process that has them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use forebay_avro::registry::{Registry, RegistryStore};
use forebay_broker::{
    Log, Side, TimestampLimits, TopicInfo,
    dead_letter::topic::{PARTITIONS, can_be, compaction_advice, counts_from_failure, timestamp_advice},
    kafka::batch_advice,
};

use super::{ANSWER_WITHIN, Findings, Place, SchemaFile, count, within};
use crate::{client::Client, config::Config, lock::Holder, parts, schemas, topics};

/// For the log to open: a cluster's first answer takes its time, and its reason is worth waiting for.
const OPEN_WITHIN: Duration = Duration::from_secs(25);

/// A part, as far as it can be asked.
enum Source<T: ?Sized> {
    /// Opened here.
    Ours(Arc<T>),
    /// In another process, which answers for it.
    Theirs(Client),
    /// Not there yet: nothing to compare with.
    New,
    /// Out of reach, which a finding says already.
    Away,
}

/// Compares the configuration with what log and registry hold.
pub(super) async fn look(config: &Config, place: Place, files: &[SchemaFile<'_>]) -> Findings {
    let mut findings = Findings::default();
    let (log, store) = log(config, &place, &mut findings).await;
    if let Some(there) = held_topics(&log, config, &mut findings).await {
        partitions(config, &there, &mut findings);
        differences(config, &there, &mut findings);
        findings.add("dlq.topic", Ok(dead_letters(&config.dlq.topic, &there)));
    }
    let registry = registry(config, &place, store, &mut findings).await;
    subjects(&registry, config, &mut findings).await;
    for file in files {
        findings.add(format!("topics.{}.schema_file", file.topic), fits(&registry, file).await);
    }
    if let Source::Ours(log) = log {
        // What was open for a look; there is nothing to lose.
        let _ = log.close().await;
    }
    findings
}

type Store = Option<Arc<dyn RegistryStore>>;

async fn log(config: &Config, place: &Place, findings: &mut Findings) -> (Source<dyn Log>, Store) {
    if let Some(dir) = config.local_log() {
        match place {
            Place::Ours { .. } if dir.exists() => {}
            Place::Ours { .. } | Place::Fresh => {
                findings.add("broker", Ok(format!("the embedded log will be made, in {}", dir.display())));
                return (Source::New, None);
            }
            place => return (theirs(place), None),
        }
    }
    let opening = async { forebay_broker::open(&config.broker, config.producer).await.map_err(|e| e.to_string()) };
    match within(OPEN_WITHIN, "the log", opening).await {
        Ok(opened) => (Source::Ours(opened.log), opened.registry_store),
        Err(why) => {
            findings.add("broker", Err(why));
            (Source::Away, None)
        }
    }
}

fn theirs<T: ?Sized>(place: &Place) -> Source<T> {
    match place {
        Place::Theirs(Holder { api: Some(api), .. }) => Client::new(api).map_or(Source::Away, Source::Theirs),
        _ => Source::Away,
    }
}

/// A topic that is there.
struct Held {
    partitions: i32,
    /// Settings by Kafka's names.
    config: BTreeMap<String, String>,
    /// The log would keep dead letters in it by the age of their events.
    keeps_by_event: bool,
    /// The log takes no record of it without a key.
    compacted: bool,
    /// The log takes no record of it with a timestamp outside of these.
    timestamps: TimestampLimits,
    /// What to do about its size limit.
    batches: Option<String>,
}

/// Topics by name, if the log can tell; says where the log is.
async fn held_topics(
    log: &Source<dyn Log>,
    config: &Config,
    findings: &mut Findings,
) -> Option<BTreeMap<String, Held>> {
    let found = match log {
        Source::New => return Some(BTreeMap::new()),
        Source::Away => return None,
        Source::Ours(log) => within(ANSWER_WITHIN, "the log", told(&**log, config)).await,
        Source::Theirs(client) => {
            let topics = topics::all(client).await.map_err(|failure| failure.text);
            // Only an embedded log is in another process: it keeps records by when they were stored, and compacts none.
            let held = |topic: topics::Topic| {
                let (partitions, config) = (topic.partitions, topic.config);
                let timestamps = TimestampLimits::NONE;
                let (keeps_by_event, compacted) = (false, false);
                (topic.name, Held { partitions, config, keeps_by_event, compacted, timestamps, batches: None })
            };
            let topics = topics.map(|all| all.into_iter().map(held).collect::<BTreeMap<_, _>>());
            topics.map(|topics| ("the running process answers for it".to_owned(), topics))
        }
    };
    match found {
        Ok((says, topics)) => {
            let holds = format!("{} is reached: {says}; it holds {}", config.broker.url, count(topics.len(), "topic"));
            findings.add("broker", Ok(holds));
            Some(topics)
        }
        Err(why) => {
            findings.add("broker", Err(why));
            None
        }
    }
}

async fn told(log: &dyn Log, config: &Config) -> Result<(String, BTreeMap<String, Held>), String> {
    let brokers = log.brokers().await.map_err(|error| error.to_string())?;
    let topics = log.topics().await.map_err(|error| error.to_string())?;
    let cluster = log.cluster_id();
    let says = match brokers.as_slice() {
        [] => format!("log {cluster}"),
        brokers => format!("cluster {cluster}, {}: {}", count(brokers.len(), "broker"), brokers.join(", ")),
    };
    let held = |topic: &TopicInfo| {
        // Without brokers it is an embedded log.
        let keeps_by_event = !brokers.is_empty() && !counts_from_failure(topic);
        let batches = (!brokers.is_empty()).then(|| batch_advice(topic, &config.broker.librdkafka.0)).flatten();
        let (config, compacted) = (topic.config.clone(), topic.compacted == Some(true));
        let timestamps = topic.timestamps.unwrap_or(TimestampLimits::NONE);
        Held { partitions: topic.partitions, config, keeps_by_event, compacted, timestamps, batches }
    };
    Ok((says, topics.iter().map(|topic| (topic.name.to_string(), held(topic))).collect()))
}

/// Configured topics: partitions only ever grow.
fn partitions(config: &Config, there: &BTreeMap<String, Held>, findings: &mut Findings) {
    for (name, settings) in &config.api.topics {
        let wanted = settings.partitions;
        let found = match (there.get(name).map(|held| held.partitions), wanted) {
            (None, wanted) => {
                let dead_letters = can_be(name, &config.dlq.topic);
                let default = if dead_letters { PARTITIONS } else { forebay_api::config::DEFAULT_PARTITIONS };
                let wanted = wanted.unwrap_or(default);
                Ok(format!("it will be made, with {wanted} partitions"))
            }
            (Some(has), None) => Ok(format!("it has {has}")),
            (Some(has), Some(wanted)) if wanted < has => {
                Err(format!("{wanted} are configured, but it has {has}, and partitions never go: set {has} or more"))
            }
            (Some(has), Some(wanted)) if wanted > has => Ok(format!("it has {has} and will grow to {wanted}")),
            (Some(has), Some(_)) => Ok(format!("it has {has}, as configured")),
        };
        findings.add(format!("topics.{name}.partitions"), found);
        if there.get(name).is_some_and(|held| held.compacted) {
            let says = "the topic is compacted: events without a key are refused with 422 key_required";
            findings.add(format!("topics.{name}.key"), Ok(says.to_owned()));
        }
        if settings.record_timestamp == forebay_api::config::RecordTimestamp::Event
            && let Some(says) = there.get(name).and_then(|held| untaken(held.timestamps))
        {
            findings.add(format!("topics.{name}.record_timestamp"), Ok(says));
        }
        if let Some(advice) = there.get(name).and_then(|held| held.batches.as_ref()) {
            findings.add(format!("topics.{name}.batches"), Ok(format!("WARNING: {advice}")));
        }
    }
}

/// Which events a topic refuses whose records bear their timestamps.
fn untaken(limits: TimestampLimits) -> Option<String> {
    let sides = [(limits.before_ms, Side::Before), (limits.after_ms, Side::After)];
    let far = sides
        .into_iter()
        .filter(|(limit_ms, _)| *limit_ms != i64::MAX)
        .map(|(limit_ms, side)| format!("over {limit_ms} ms {} now ({})", side.words(), side.setting()));
    let far: Vec<String> = far.collect();
    let refused = "are refused with 422 timestamp_out_of_range";
    (!far.is_empty()).then(|| format!("events {} {refused}", far.join(" or ")))
}

/// Settings of configured topics that the next start will change.
fn differences(config: &Config, there: &BTreeMap<String, Held>, findings: &mut Findings) {
    for (name, settings) in &config.api.topics {
        let Some(held) = there.get(name) else { continue };
        for (setting, wanted) in settings.log_config() {
            let has = held.config.get(&setting);
            if has != Some(&wanted) {
                let has = has.map_or("the log's default", String::as_str);
                let says =
                    format!("{setting} is {has}, the configuration says {wanted}: the next start of the API sets it");
                findings.add(format!("topics.{name}.{}", setting.replace('.', "_")), Ok(says));
            }
        }
    }
}

/// Where dead letters go. A topic that would lose those of old events early is no hindrance, but worth a sentence.
fn dead_letters(template: &str, there: &BTreeMap<String, Held>) -> String {
    let mut says = match there.get(template) {
        _ if template.contains('{') => format!("{template}: each is made for its first dead letter"),
        Some(held) => format!("{template} is there, with {} partitions", held.partitions),
        None => format!("{template} will be made"),
    };
    let ours = there.iter().filter(|(name, held)| held.keeps_by_event && can_be(name, template));
    for (name, _) in ours {
        let mend = timestamp_advice(name);
        says.push_str(&format!(
            "; WARNING: {name} keeps dead letters by the age of their events, so those of old events leave early. {mend}"
        ));
    }
    for (name, _) in there.iter().filter(|(name, held)| held.compacted && can_be(name, template)) {
        says.push_str(&format!("; WARNING: {}", compaction_advice(name)));
    }
    says
}

async fn registry(config: &Config, place: &Place, store: Store, findings: &mut Findings) -> Source<dyn Registry> {
    if config.registry_is_embedded() {
        match place {
            Place::Ours { .. } if !config.registry_dir().exists() => return Source::New,
            Place::Ours { .. } if config.local_log().is_some() && store.is_none() => return Source::Away,
            Place::Ours { .. } => {}
            Place::Fresh => return Source::New,
            place => return theirs(place),
        }
    }
    match parts::registry(config, store).await {
        Ok((registry, _)) => Source::Ours(registry),
        Err(failure) => {
            findings.add("registry", Err(failure.text));
            Source::Away
        }
    }
}

/// How many subjects there are, and what new versions have to keep to.
async fn subjects(registry: &Source<dyn Registry>, config: &Config, findings: &mut Findings) {
    let at = crate::greet::registry(config);
    let found = match registry {
        Source::Away => return,
        Source::New => Ok("the embedded registry will be made".to_owned()),
        Source::Ours(registry) => within(ANSWER_WITHIN, "the registry", holds(&**registry)).await,
        Source::Theirs(client) => match schemas::subjects(client).await {
            Ok(subjects) => Ok(format!("the running process answers for it, {}", count(subjects.len(), "subject"))),
            Err(failure) => Err(failure.text),
        },
    };
    findings.add("registry", found.map(|says| format!("{at}: {says}")));
}

async fn holds(registry: &dyn Registry) -> Result<String, String> {
    let subjects = registry.subjects().await.map_err(|error| error.to_string())?;
    let level = registry.compatibility(None).await.map_err(|error| error.to_string())?;
    Ok(format!("{}, new versions have to be {level} compatible", count(subjects.len(), "subject")))
}

async fn fits(registry: &Source<dyn Registry>, file: &SchemaFile<'_>) -> Result<String, String> {
    let (path, subject) = (file.path.display(), file.subject);
    let differences = match registry {
        Source::Away => return Ok(format!("{path} is sound; the registry could not be asked about {subject}")),
        Source::New => return Ok(format!("{path} is sound, and new")),
        Source::Ours(registry) => {
            let asked = async { registry.check(subject, &file.text, &[]).await.map_err(|error| error.to_string()) };
            within(ANSWER_WITHIN, "the registry", asked).await?
        }
        Source::Theirs(client) => {
            schemas::dry_run(client, subject, &file.text).await.map_err(|failure| failure.text)?.differences
        }
    };
    if differences.is_empty() {
        return Ok(format!("{path} fits the versions of {subject}"));
    }
    Err(format!("{path} does not fit {subject}: {}", differences.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(keeps_by_event: bool, compacted: bool) -> Held {
        let timestamps = TimestampLimits::NONE;
        Held { partitions: 6, config: BTreeMap::new(), keeps_by_event, compacted, timestamps, batches: None }
    }

    #[test]
    fn a_topic_that_loses_dead_letters_early_is_told_of() {
        let there: BTreeMap<_, _> = [("events.dlq", false), ("a-dlq", true), ("b-dlq", false), ("flights", true)]
            .map(|(name, keeps_by_event)| (name.to_owned(), held(keeps_by_event, false)))
            .into();
        assert_eq!(dead_letters("events.dlq", &there), "events.dlq is there, with 6 partitions");
        let says = dead_letters("{topic}-dlq", &there);
        assert!(says.contains("--entity-name a-dlq --add-config message.timestamp.type=LogAppendTime"), "{says}");
        assert!(!says.contains("b-dlq") && !says.contains("flights"), "{says}");
        assert_eq!(dead_letters("other", &there), "other will be made");
    }

    #[test]
    fn a_compacted_topic_for_dead_letters_is_told_of() {
        let there: BTreeMap<_, _> = [("a-dlq", true), ("b-dlq", false), ("flights", true)]
            .map(|(name, compacted)| (name.to_owned(), held(false, compacted)))
            .into();
        let says = dead_letters("{topic}-dlq", &there);
        assert!(says.contains("--entity-name a-dlq --add-config cleanup.policy=delete"), "{says}");
        assert!(!says.contains("b-dlq") && !says.contains("flights"), "{says}");
    }
}
