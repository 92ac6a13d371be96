//! From records to rows: finds the writer schema, walks the value; failures carry their stage. Its only I/O is the
//! registry, and that apart from converting, so that a task never waits inside a batch.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use forebay_avro::{
    frame,
    registry::{Registry, RegistryError},
    schema::Schema,
    walk,
};
use forebay_broker::{
    Record,
    dead_letter::{Reason, Stage},
};
use tokio::time::Instant;

use crate::{dlq::Rejection, retry::Backoff, sinks::Row};

const COMPONENT: &str = "forebay.converter.avro";
/// The registry must deny an id so often before its records become dead letters …
const DENIALS: u32 = 5;
/// … with such pauses, hence over at least 15 s: an id may be a moment younger than the registry's answer.
const DENIAL_PAUSE: Duration = Duration::from_millis(3800);
/// A refused id is asked for again after this.
const REFUSED_FOR: Duration = Duration::from_secs(60);
/// Ids kept; beyond, all are forgotten and asked for again.
const MAX_KNOWN: usize = 10_000;

/// Converts records; shared by a connector's tasks.
pub struct Converter {
    registry: Arc<dyn Registry>,
    known: Mutex<HashMap<u32, Known>>,
    limits: walk::Limits,
}

#[derive(Clone)]
enum Known {
    Schema(Arc<Schema>),
    Refused { until: Instant, why: Rejection },
}

/// What became of a record.
#[derive(Debug)]
pub enum Converted {
    /// A row.
    Row(Row),
    /// No value: a tombstone.
    Null,
    /// It can't be read.
    Rejected(Rejection),
    /// Call [`Converter::look_up`] first, then convert again.
    NeedsSchema(u32),
}

impl Converter {
    /// Over a registry.
    pub fn new(registry: Arc<dyn Registry>) -> Self {
        Self { registry, known: Mutex::default(), limits: walk::Limits::default() }
    }

    /// Converts one record.
    pub fn convert(&self, record: &Record) -> Converted {
        let Some(value) = &record.value else { return Converted::Null };
        let (id, datum) = match frame::split(value) {
            Ok(parts) => parts,
            Err(error) => return Converted::Rejected(reject(Reason::DecodeFailed, error.to_string())),
        };
        let schema = match self.known(id) {
            Some(Known::Schema(schema)) => schema,
            Some(Known::Refused { until, why }) if Instant::now() < until => return Converted::Rejected(why),
            _ => return Converted::NeedsSchema(id),
        };
        if let Err(error) = walk::walk(&schema, datum, &self.limits) {
            let why = format!("The value is no Avro datum of schema {id}: {error}.");
            return Converted::Rejected(reject(Reason::DecodeFailed, why).of_schema(id));
        }
        Converted::Row(Row {
            offset: record.offset,
            key: record.key.clone(),
            headers: record.headers.clone(),
            timestamp_ms: record.timestamp_ms,
            schema_id: id,
            schema,
            datum: value.slice_ref(datum),
        })
    }

    fn known(&self, id: u32) -> Option<Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    fn learn(&self, id: u32, what: Known) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(id, what);
    }

    /// Records of this schema are no rows, for a while.
    fn refuse(&self, id: u32, reason: Reason, tries: u32, message: String) {
        let why = Rejection { tries, ..reject(reason, message).of_schema(id) };
        self.learn(id, Known::Refused { until: Instant::now() + REFUSED_FOR, why });
    }

    /// Asks the registry until it has answered: a registry that is away is waited for, for ever. `failed` hears of
    /// every failed try. A schema that is there and can't be used (no Avro, beyond the limits) is not waited for.
    pub async fn look_up(&self, id: u32, mut failed: impl FnMut(&RegistryError) + Send) {
        let mut backoff = Backoff::default();
        let mut denials = 0;
        loop {
            match self.registry.ask_by_id(id).await {
                Ok(registered) => {
                    return self.learn(id, Known::Schema(Arc::new(registered.schema.clone())));
                }
                Err(RegistryError::UnknownId(_)) => {
                    denials += 1;
                    if denials >= DENIALS {
                        let why = format!("The registry has no schema with id {id}.");
                        return self.refuse(id, Reason::SchemaNotFound, DENIALS, why);
                    }
                    tokio::time::sleep(DENIAL_PAUSE).await;
                }
                Err(RegistryError::Invalid(why)) => {
                    return self.refuse(id, Reason::DecodeFailed, 1, format!("Schema {id} can't be used: {why}."));
                }
                Err(error) => {
                    failed(&error);
                    tokio::time::sleep(backoff.next(None)).await;
                }
            }
        }
    }
}

fn reject(reason: Reason, message: String) -> Rejection {
    Rejection::new(reason, Stage::ValueConverter, COMPONENT, message)
}
