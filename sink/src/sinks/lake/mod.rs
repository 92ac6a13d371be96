//! The lake: Parquet files in a store of objects, exactly once by keys that follow from the group's start, conditional
//! creation, and metadata that tells a group's end.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use forebay_avro::{arrow::ArrowPlan, schema::Node, schema::Schema};
use forebay_broker::{Offset, TopicPartition};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use self::{
    group::LakeGroup,
    keys::{Owner, Stranger},
};
use super::{
    Claim, Group, GroupSpec, Resume, Sink, SinkError,
    store::{Metadata, ObjectStore},
};
use crate::{
    config::ConnectorSettings,
    formats::{columns, spill::Spill},
    intent::Intent,
    partitioner::segment,
};

mod group;
pub mod keys;
mod marks;
mod shape;

pub use self::shape::Shape;

/// Compiled schemas kept; beyond, all are compiled again.
const MAX_PLANS: usize = 10_000;

/// Objects looked at at once.
const LOOKS: usize = 8;
/// What crashes leave behind is looked for at claims, but not more often.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// See the module.
pub struct LakeSink(Arc<Inner>);

struct Inner {
    store: Arc<dyn ObjectStore>,
    connector: String,
    spill: Spill,
    cfg: String,
    shapes: Mutex<HashMap<String, Arc<Shape>>>,
    plans: Mutex<HashMap<u32, Result<Arc<ArrowPlan>, Refused>>>,
    /// The settings' control file is known to be there.
    kept: AtomicBool,
    /// When each topic was tidied.
    tidied: Mutex<HashMap<String, Instant>>,
}

/// A schema that can't be a Parquet file of this lake.
#[derive(Clone, Debug)]
enum Refused {
    Unsupported(String),
    ColumnConflict(String),
}

/// What is remembered of a topic, to notice when it was created anew.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Identity {
    cluster_id: String,
    topic_id: Option<String>,
    /// Those it had when the first of them was claimed; the others were added later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partitions: Option<i32>,
}

impl LakeSink {
    /// A lake over a store.
    pub fn new(settings: &ConnectorSettings, store: Arc<dyn ObjectStore>, tmp_dir: PathBuf) -> Self {
        let shape = Arc::new(Shape::of(settings));
        let cfg = shape.hash();
        Self(Arc::new(Inner {
            store,
            connector: settings.name.clone(),
            spill: Spill { dir: tmp_dir, threshold: settings.spill_bytes },
            shapes: Mutex::new(HashMap::from([(cfg.clone(), shape)])),
            cfg,
            plans: Mutex::default(),
            kept: AtomicBool::new(false),
            tidied: Mutex::default(),
        }))
    }
}

impl Inner {
    fn shapes(&self) -> MutexGuard<'_, HashMap<String, Arc<Shape>>> {
        self.shapes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn plan(&self, id: u32, schema: &Schema) -> Result<Arc<ArrowPlan>, Refused> {
        let mut plans = self.plans.lock().unwrap_or_else(PoisonError::into_inner);
        if plans.len() >= MAX_PLANS {
            plans.clear();
        }
        let compile = || ArrowPlan::compile(schema).map(Arc::new).map_err(|e| Refused::Unsupported(e.to_string()));
        plans.entry(id).or_insert_with(compile).clone()
    }

    /// The settings an intent was cut with: ours, or a predecessor's from its control file.
    async fn load_cfg(&self, cfg: &str) -> Result<bool, SinkError> {
        if self.shapes().contains_key(cfg) {
            return Ok(true);
        }
        let text = self.store.control(&cfg_file(cfg)).await?;
        let shape = text.and_then(|text| Shape::parse(&text)).filter(|shape| shape.hash() == cfg);
        let Some(shape) = shape else { return Ok(false) };
        self.shapes().insert(cfg.to_owned(), Arc::new(shape));
        Ok(true)
    }

    /// What is kept of a topic. Without it a topic created anew would go unnoticed: unreadable is not the same as absent.
    async fn identity(&self, topic: &str) -> Result<Option<Identity>, SinkError> {
        let file = identity_file(topic);
        let Some(text) = self.store.control(&file).await? else { return Ok(None) };
        serde_json::from_str(&text).map(Some).map_err(|error| {
            let advice = format!(
                "_forebay/{}/{file} keeps the identity of the log and the topic, and can't be read ({error}): restore \
                 it, or, if both are the same as ever, delete it.",
                self.connector
            );
            SinkError::stop("IDENTITY_UNREADABLE", advice)
        })
    }

    async fn guard_identity(&self, claim: &Claim) -> Result<Option<Resume>, SinkError> {
        let topic = &claim.part.topic;
        let Some(known) = self.identity(topic).await? else { return Ok(None) };
        if known.cluster_id != *claim.cluster_id {
            let advice = self.cluster_changed(claim, &known.cluster_id);
            return Ok(Some(Resume::Refuse { code: "CLUSTER_CHANGED", advice }));
        }
        match (known.topic_id.as_deref(), claim.topic_id.as_deref()) {
            (Some(was), Some(is)) if was != is => {
                Ok(Some(Resume::Refuse { code: "TOPIC_RECREATED", advice: self.topic_recreated(claim, was) }))
            }
            _ => Ok(None),
        }
    }

    fn cluster_changed(&self, claim: &Claim, was: &str) -> String {
        let Claim { part, cluster_id, .. } = claim;
        format!(
            "The lake was written from the log {was:?}, this is {cluster_id:?}, and the old files have the names of the \
             new ones: give the connector another topics.dir or prefix, or move {}/ and _forebay/{}/ away.",
            segment(&part.topic),
            self.connector
        )
    }

    fn topic_recreated(&self, claim: &Claim, was: &str) -> String {
        let topic = segment(&claim.part.topic);
        let is = claim.topic_id.as_deref().unwrap_or_default();
        format!(
            "The topic {} was deleted and created again (its id was {was}, now {is}). Its old files have the keys of \
             the new ones: move {topic}/ and _forebay/{}/{topic}/ away. The connector then delivers the new topic from \
             its first record on.",
            claim.part.topic, self.connector
        )
    }

    /// The objects of a partition, or of one of its groups.
    async fn keys(&self, part: &TopicPartition, start: Option<Offset>) -> Result<Vec<String>, SinkError> {
        self.store.list(&segment(&part.topic), &keys::name_prefix(part, start)).await
    }

    /// The group that has these objects. One of somebody else is a person's to judge.
    async fn group(&self, claim: &Claim, keys: &[String]) -> Result<Option<keys::Found>, SinkError> {
        let asked: Vec<_> = keys.iter().map(|key| self.store.metadata(key)).collect();
        let found: Vec<Option<Metadata>> = stream::iter(asked).buffer_unordered(LOOKS).try_collect().await?;
        let found: Vec<Metadata> = found.into_iter().map(Option::unwrap_or_default).collect();
        let owner =
            Owner { connector: &self.connector, cluster_id: &claim.cluster_id, topic_id: claim.topic_id.as_deref() };
        keys::group_of(owner, &found).map_err(|stranger| self.stranger(claim, keys, stranger))
    }

    fn stranger(&self, claim: &Claim, keys: &[String], stranger: Stranger) -> SinkError {
        let (part, key) = (&claim.part, keys.first().map(String::as_str).unwrap_or_default());
        match stranger {
            Stranger::Connector(other) => {
                let advice = format!(
                    "The connector {other:?} has delivered {part} here already ({key}): two on one place write their \
                     rows twice or stop each other. Give this connector its own topics.dir or prefix."
                );
                SinkError::stop("KEY_TAKEN", advice)
            }
            Stranger::Cluster(was) => SinkError::stop("CLUSTER_CHANGED", self.cluster_changed(claim, &was)),
            Stranger::Topic(was) => SinkError::stop("TOPIC_RECREATED", self.topic_recreated(claim, &was)),
            Stranger::Unknown => {
                let advice = format!(
                    "{key} exists, and nothing tells that it is of this connector, which would write {part} under such \
                     names: give this connector its own topics.dir, or move it away."
                );
                SinkError::stop("FOREIGN_OBJECT", advice)
            }
        }
    }

    /// The last group of a partition in the store; those before it are complete.
    async fn last_group(&self, claim: &Claim) -> Result<Option<keys::Found>, SinkError> {
        let keys = self.keys(&claim.part, None).await?;
        self.group(claim, &keys::last_group(&claim.part, &keys)).await
    }

    /// Has the store tidied below a topic, now and then, without waiting for it.
    fn tidy(&self, topic: &str) {
        let due = |at: &Instant| at.elapsed() >= TIDY_EVERY;
        let mut tidied = self.tidied.lock().unwrap_or_else(PoisonError::into_inner);
        if tidied.get(topic).is_none_or(due) {
            tidied.insert(topic.to_owned(), Instant::now());
            let (store, prefix) = (Arc::clone(&self.store), segment(topic));
            tokio::spawn(async move { store.tidy(&prefix).await });
        }
    }

    /// The records of an announced group are gone from the log: it must be in the store whole.
    async fn finish_without_records(&self, claim: &Claim, start: i64, intent: &Intent) -> Result<Resume, SinkError> {
        let keys = self.keys(&claim.part, Some(start)).await?;
        let found = self.group(claim, &keys).await?;
        if found.is_some_and(|group| group.end == intent.end && group.files == group.group_files) {
            return Ok(Resume::Done { end: intent.end });
        }
        let advice = format!(
            "A batch of {} from offset {start} to {} was begun, and the log has deleted its records before it was \
             finished: its rows can't be completed. Raise the topic's retention; on_offset_mismatch: earliest goes on \
             without them.",
            claim.part, intent.end
        );
        Ok(Resume::Refuse { code: "INTENT_RECORDS_GONE", advice })
    }

    /// Nothing is committed, or something by hand: what the store holds tells how far it was. Its last group is finished
    /// once more; those before it are complete.
    async fn recover(&self, claim: &Claim) -> Result<Resume, SinkError> {
        let last = self.last_group(claim).await?;
        if let Some(refused) = last.as_ref().and_then(|last| shorter(claim, last)) {
            return Ok(refused);
        }
        let next = last.as_ref().map_or(claim.low, |last| last.end + 1);
        match (last, claim.committed) {
            (_, Some(committed)) if committed > next => Ok(Resume::Skip { from: next }),
            (_, Some(committed)) if committed == next => Ok(Resume::FromLog),
            (None, _) => Ok(Resume::FromLog),
            (Some(last), _) => self.finish(claim, last).await,
        }
    }

    async fn finish(&self, claim: &Claim, last: keys::Found) -> Result<Resume, SinkError> {
        let intent = Intent { end: last.end, rows: last.rows, time_ms: 0, cfg: last.cfg };
        self.redo(claim, last.start, intent).await
    }

    async fn redo(&self, claim: &Claim, start: i64, intent: Intent) -> Result<Resume, SinkError> {
        if !self.load_cfg(&intent.cfg).await? {
            let advice = format!(
                "A batch of {} was begun with other settings ({}), and they are not in the lake's _forebay/{} any \
                 more: start the connector once with its former format, partitioner and topics.dir.",
                claim.part, intent.cfg, self.connector
            );
            return Ok(Resume::Refuse { code: "INTENT_CONFIG_UNKNOWN", advice });
        }
        if claim.low > start {
            return self.finish_without_records(claim, start, &intent).await;
        }
        Ok(Resume::Redo { start, intent })
    }
}

#[async_trait]
impl Sink for LakeSink {
    fn destination(&self) -> String {
        self.0.store.describe()
    }

    async fn check(&self) -> Result<(), SinkError> {
        self.0.store.check().await
    }

    async fn resume_from(&self, claim: &Claim) -> Result<Resume, SinkError> {
        if let Some(refused) = self.0.guard_identity(claim).await? {
            return Ok(refused);
        }
        self.0.tidy(&claim.part.topic);
        match (claim.committed, &claim.intent) {
            (None, _) => self.0.recover(claim).await,
            (Some(_), None) if claim.by_hand => self.0.recover(claim).await,
            (Some(start), Some(intent)) => self.0.redo(claim, start, intent.clone()).await,
            (Some(_), None) => Ok(Resume::FromLog),
        }
    }

    async fn rebase(&self, claim: &Claim) -> Result<Resume, SinkError> {
        match self.0.last_group(claim).await? {
            None => Ok(Resume::FromLog),
            Some(last) => match shorter(claim, &last) {
                Some(refused) => Ok(refused),
                // What was not written of it is gone.
                None if last.start < claim.low => Ok(Resume::Done { end: last.end }),
                None => self.0.finish(claim, last).await,
            },
        }
    }

    async fn adopt(&self, claim: &Claim, replace: bool) -> Result<bool, SinkError> {
        let topic = &claim.part.topic;
        let known = if replace { None } else { self.0.identity(topic).await? };
        let identity = Identity {
            cluster_id: claim.cluster_id.to_string(),
            topic_id: claim.topic_id.as_deref().map(ToOwned::to_owned),
            partitions: known.as_ref().map_or(claim.partitions, |known| known.partitions),
        };
        let then = |known: &Identity| known.partitions.unwrap_or(0);
        let added = known.as_ref().is_some_and(|known| claim.part.partition >= then(known));
        // An id that the log could not tell before is added; another one is never put in its place by itself.
        let adds = known.as_ref().is_some_and(|known| known.topic_id.is_none() && identity.topic_id.is_some());
        if known.is_some() && !adds {
            return Ok(added);
        }
        let text = serde_json::to_string(&identity).unwrap_or_default();
        self.0.store.put_control(&identity_file(topic), &text, replace || adds).await?;
        Ok(added)
    }

    fn cfg(&self) -> &str {
        &self.0.cfg
    }

    async fn keep_cfg(&self) -> Result<(), SinkError> {
        let shape = self.0.shapes().get(&self.0.cfg).cloned();
        let Some(shape) = shape.filter(|_| !self.0.kept.load(Ordering::Acquire)) else { return Ok(()) };
        self.0.store.put_control(&cfg_file(&self.0.cfg), &shape.canonical(), false).await?;
        self.0.kept.store(true, Ordering::Release);
        Ok(())
    }

    fn open(&self, spec: &GroupSpec) -> Result<Box<dyn Group>, SinkError> {
        let shape = self.0.shapes().get(&spec.cfg).cloned();
        let shape = shape.ok_or_else(|| {
            SinkError::stop("INTENT_CONFIG_UNKNOWN", format!("settings {} were not loaded", spec.cfg))
        })?;
        Ok(Box::new(LakeGroup::new(Arc::clone(&self.0), shape, spec.clone())))
    }
}

/// A log that ends before the lake has lost records: the next ones would be taken for those.
fn shorter(claim: &Claim, last: &keys::Found) -> Option<Resume> {
    if last.end < claim.high {
        return None;
    }
    let advice = format!(
        "The lake holds {} up to offset {}, but the topic ends at {}: it lost records that were delivered, and gives \
         their offsets to others. Give the connector another topics.dir, and set on_offset_mismatch: earliest, with \
         which all that the topic keeps is written there, or move its offset to the first record that is not in the \
         lake.",
        claim.part, last.end, claim.high
    );
    Some(Resume::Refuse { code: "OFFSET_ABOVE_END", advice })
}

fn cfg_file(cfg: &str) -> String {
    format!("cfg-{cfg}.json")
}

fn identity_file(topic: &str) -> String {
    format!("{}/topic.json", segment(topic))
}

/// Whether a value's columns clash with the columns about the record.
fn conflict(schema: &Schema) -> Option<String> {
    let Node::Record { fields, .. } = schema.node(schema.root()) else { return None };
    let clash = fields.iter().find(|field| columns::NAMES.contains(&&*field.name))?;
    Some(format!("The field {:?} has the name of a column about the record: set metadata.columns: false.", clash.name))
}
