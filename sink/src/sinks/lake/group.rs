//! A group of the lake: one open file per folder and schema id, then the same files closed, and their upload.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use forebay_broker::{
    Offset, TopicPartition,
    dead_letter::{Reason, Stage},
};
use futures_util::{StreamExt, stream};

use super::{
    super::{
        Added, Group, GroupSpec, Row, Sealed, SinkError, Written,
        store::{Content, Metadata, ObjectStore, Put},
    },
    Inner, Refused, Shape, conflict,
    keys::{Verdict, judge, key, names},
    marks::Marks,
};
use crate::{crash_point, dlq::Rejection, formats::parquet::ParquetFile};

/// Schema ids a group may hold: old and new schema interleaved must not cut a file per record.
const MAX_SCHEMAS: usize = 4;
/// Files written at once, after the first.
const UPLOADS: usize = 8;
/// After so many failures a pass over the files begins no further ones: the store is away, or wants to be left alone.
const MAX_FAILURES: usize = 8;

const COMPONENT: &str = "forebay.sink.lake";

pub struct LakeGroup {
    lake: Arc<Inner>,
    shape: Arc<Shape>,
    spec: GroupSpec,
    files: BTreeMap<FileId, Open>,
    /// The file of the group's first row is written first and alone.
    anchor: Option<FileId>,
}

type FileId = (String, u32);

struct Open {
    file: ParquetFile,
    marks: Marks,
}

impl Open {
    fn append(&mut self, part: &TopicPartition, rows: &[&Row]) -> Result<Vec<(usize, Rejection)>, SinkError> {
        let rejected = self.file.append(part, rows)?;
        let bad: BTreeSet<usize> = rejected.iter().map(|(index, _)| *index).collect();
        let good: Vec<&Row> = rows.iter().enumerate().filter(|(n, _)| !bad.contains(n)).map(|(_, row)| *row).collect();
        self.marks.take(&good);
        Ok(rejected)
    }
}

impl LakeGroup {
    pub fn new(lake: Arc<Inner>, shape: Arc<Shape>, spec: GroupSpec) -> Self {
        Self { lake, shape, spec, files: BTreeMap::new(), anchor: None }
    }

    /// The file of a row, or why it can have none.
    fn place(&self, row: &Row) -> Result<FileId, Rejection> {
        let folder = self.shape.partitioner.folder(self.spec.part.partition, row.timestamp_ms).ok_or_else(|| {
            let message = format!("The record's timestamp {} ms is outside the calendar.", row.timestamp_ms);
            reject(Reason::PathInvalid, message, row)
        })?;
        Ok((folder, row.schema_id))
    }

    fn file(&mut self, id: &FileId, row: &Row) -> Result<Result<&mut Open, Rejection>, SinkError> {
        if !self.files.contains_key(id) {
            let plan = match self.plan(id, row) {
                Ok(plan) => plan,
                Err(rejection) => return Ok(Err(rejection)),
            };
            let file = ParquetFile::new(&plan, self.shape.metadata_columns, &self.lake.spill)?;
            self.files.insert(id.clone(), Open { file, marks: Marks::default() });
        }
        self.files.get_mut(id).map(Ok).ok_or_else(|| SinkError::retry("the file is gone"))
    }

    /// How to write rows of this schema into a file of this name.
    fn plan(&self, id: &FileId, row: &Row) -> Result<Arc<forebay_avro::arrow::ArrowPlan>, Rejection> {
        let length = key(&self.spec.part, &id.0, self.spec.start, id.1).len();
        let longest = self.lake.store.max_key_bytes();
        if length > longest {
            let message = format!(
                "The key has {length} bytes, over {longest}: shorten the url's prefix, topics.dir or the topic."
            );
            return Err(reject(Reason::PathInvalid, message, row));
        }
        let clash = if self.shape.metadata_columns { conflict(&row.schema) } else { None };
        let plan = match clash {
            Some(why) => Err(Refused::ColumnConflict(why)),
            None => self.lake.plan(row.schema_id, &row.schema),
        };
        plan.map_err(|refused| {
            let (reason, why) = match refused {
                Refused::Unsupported(why) => (Reason::SchemaIncompatible, why),
                Refused::ColumnConflict(why) => (Reason::ColumnConflict, why),
            };
            reject(reason, why, row)
        })
    }

    fn metadata(&self, end: Offset, schema_id: u32, open: &Open) -> Metadata {
        let topic_id = self.spec.topic_id.as_deref().unwrap_or_default();
        let pairs = [
            (names::VERSION, "1".to_owned()),
            (names::CONNECTOR, self.lake.connector.clone()),
            (names::CLUSTER_ID, self.spec.cluster_id.to_string()),
            (names::TOPIC_ID, topic_id.to_owned()),
            (names::START, self.spec.start.to_string()),
            (names::END, end.to_string()),
            (names::COUNT, open.file.rows().to_string()),
            (names::SCHEMA_ID, schema_id.to_string()),
            (names::CFG, self.spec.cfg.clone()),
            (names::GROUP_FILES, self.files.len().to_string()),
            (names::MARKS, open.marks.to_string()),
        ];
        pairs.map(|(name, value)| (name.to_owned(), value)).into()
    }
}

fn reject(reason: Reason, message: String, row: &Row) -> Rejection {
    Rejection::new(reason, Stage::TaskPut, COMPONENT, message).of_schema(row.schema_id)
}

impl Group for LakeGroup {
    fn add(&mut self, rows: &[Row]) -> Result<Added, SinkError> {
        let mut added = Added::default();
        let mut by_file: BTreeMap<FileId, Vec<(usize, &Row)>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            match self.place(row) {
                Ok(id) => by_file.entry(id).or_default().push((index, row)),
                Err(why) => added.rejected.push((index, why)),
            }
        }
        let part = self.spec.part.clone();
        let mut first: Option<(usize, FileId)> = None;
        for (id, indexed) in by_file {
            let Some((_, sample)) = indexed.first() else { continue };
            let rejected = match self.file(&id, sample)? {
                Ok(open) => open.append(&part, &indexed.iter().map(|(_, row)| *row).collect::<Vec<_>>())?,
                Err(why) => (0..indexed.len()).map(|index| (index, why.clone())).collect(),
            };
            let bad: BTreeSet<usize> = rejected.iter().map(|(index, _)| *index).collect();
            let taken = indexed.iter().enumerate().find(|(n, _)| !bad.contains(n)).map(|(_, (index, _))| *index);
            if let Some(index) = taken.filter(|index| first.as_ref().is_none_or(|(at, _)| index < at)) {
                first = Some((index, id));
            }
            let positions = rejected.into_iter().filter_map(|(n, why)| indexed.get(n).map(|(index, _)| (*index, why)));
            added.rejected.extend(positions);
        }
        if self.anchor.is_none() {
            self.anchor = first.map(|(_, id)| id);
        }
        added.rejected.sort_by_key(|(index, _)| *index);
        self.files.retain(|_, open| open.file.rows() > 0);
        Ok(added)
    }

    fn is_full_for(&self, schema_ids: &BTreeSet<u32>) -> bool {
        let mut ids: BTreeSet<u32> = self.files.keys().map(|(_, id)| *id).collect();
        ids.extend(schema_ids);
        ids.len() > MAX_SCHEMAS
    }

    fn rows(&self) -> u64 {
        self.files.values().map(|open| open.file.rows()).sum()
    }

    fn bytes(&self) -> usize {
        self.files.values().map(|open| open.file.bytes()).sum()
    }

    fn memory(&self) -> usize {
        self.files.values().map(|open| open.file.memory()).sum()
    }

    fn files(&self) -> usize {
        self.files.len()
    }

    fn seal(mut self: Box<Self>, end: Offset) -> Result<Box<dyn Sealed>, SinkError> {
        let metadata: Vec<Metadata> = self.files.iter().map(|((_, id), open)| self.metadata(end, *id, open)).collect();
        let mut sealed = SealedLake { store: Arc::clone(&self.lake.store), rows: self.rows(), objects: Vec::new() };
        for ((id, open), metadata) in std::mem::take(&mut self.files).into_iter().zip(metadata) {
            let footer = metadata.iter().map(|(name, value)| (name.replacen('-', ".", 1), value.clone())).collect();
            let object = Object {
                key: key(&self.spec.part, &id.0, self.spec.start, id.1),
                content: open.file.finish(&footer)?,
                metadata,
                done: AtomicBool::new(false),
            };
            if self.anchor.as_ref() == Some(&id) {
                sealed.objects.insert(0, object);
            } else {
                sealed.objects.push(object);
            }
        }
        Ok(Box::new(sealed))
    }
}

struct SealedLake {
    store: Arc<dyn ObjectStore>,
    rows: u64,
    /// The anchor first.
    objects: Vec<Object>,
}

struct Object {
    key: String,
    content: Content,
    metadata: Metadata,
    /// It is in the store: a later pass leaves it alone.
    done: AtomicBool,
}

impl SealedLake {
    async fn put(&self, object: &Object, is_anchor: bool) -> Result<(), SinkError> {
        if !object.done.load(Ordering::Acquire) {
            self.put_now(object, is_anchor).await?;
            object.done.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// One pass over all but the anchor. What is under way is finished even if others fail.
    async fn put_others(&self, others: &[Object]) -> Result<(), SinkError> {
        let failures = AtomicUsize::new(0);
        let puts: Vec<_> = others.iter().map(|object| self.put_unless(&failures, object)).collect();
        let ends: Vec<_> = stream::iter(puts).buffer_unordered(UPLOADS).collect().await;
        let errors = ends.into_iter().filter_map(Result::err);
        // What no retry mends is told first.
        errors.min_by_key(|error| matches!(error, SinkError::Retry { .. })).map_or(Ok(()), Err)
    }

    /// Puts a file, unless too many failed in this pass.
    async fn put_unless(&self, failures: &AtomicUsize, object: &Object) -> Result<(), SinkError> {
        if failures.load(Ordering::Relaxed) >= MAX_FAILURES {
            return Ok(());
        }
        let put = self.put(object, false).await;
        failures.fetch_add(usize::from(put.is_err()), Ordering::Relaxed);
        put
    }

    async fn put_now(&self, object: &Object, is_anchor: bool) -> Result<(), SinkError> {
        crash_point!("s3.before_put");
        let (key, begun) = (&object.key, !is_anchor);
        let put = self.store.put_if_absent(key, &object.content, &object.metadata).await;
        crash_point!("s3.after_put");
        let put = put.map_err(|error| match error {
            SinkError::Stop { code: code @ "PATH_INVALID", advice } => SinkError::NameRefused { code, advice, begun },
            error => error,
        })?;
        let Put::Exists(theirs) = put else { return Ok(()) };
        match judge(&object.metadata, theirs.as_ref()) {
            Verdict::Same => Ok(()),
            Verdict::OtherEnd(end) if is_anchor => {
                let cfg = object.metadata.get(names::CFG).cloned().unwrap_or_default();
                Err(SinkError::OtherEnd { end, cfg })
            }
            Verdict::OtherEnd(_) | Verdict::Ours => {
                Err(SinkError::Fenced { why: format!("{key} holds another reading of the same offsets"), begun })
            }
            Verdict::Rewound(offset) => Err(SinkError::Rewound(format!(
                "{key} in the lake holds another record of offset {offset} than the topic does"
            ))),
            Verdict::Others => {
                let what = format!("{key} was written by another connector, or from another log or topic");
                Err(refused("KEY_TAKEN", &what, begun))
            }
            Verdict::Foreign => {
                Err(refused("FOREIGN_OBJECT", &format!("{key} exists and is not of this connector"), begun))
            }
        }
    }
}

/// A name that is taken. A group that is begun is finished where it is: another place would have its rows twice.
fn refused(code: &'static str, what: &str, begun: bool) -> SinkError {
    let place = if begun { "" } else { "give this connector its own topics.dir, or " };
    SinkError::NameRefused { code, advice: format!("{what}: {place}move it away."), begun }
}

#[async_trait]
impl Sealed for SealedLake {
    fn rows(&self) -> u64 {
        self.rows
    }

    fn files(&self) -> usize {
        self.objects.len()
    }

    fn memory(&self) -> usize {
        self.objects.iter().map(|object| object.content.memory()).sum()
    }

    async fn write(&self) -> Result<Written, SinkError> {
        let Some((anchor, others)) = self.objects.split_first() else { return Ok(Written::default()) };
        self.put(anchor, true).await?;
        if !others.is_empty() {
            crash_point!("s3.between_files");
        }
        self.put_others(others).await?;
        Ok(Written { file_bytes: self.objects.iter().map(|object| object.content.len()).collect() })
    }
}
