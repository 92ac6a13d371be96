//! Dead letters: why a record could not be written, and the writer that sends it to its topic.

use forebay_broker::dead_letter::{ErrorItem, Reason, Stage};

pub mod writer;

/// Why a record can't be written. It is the record's fault: trying the same again would fail the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// Stable reason.
    pub reason: Reason,
    /// Where it failed.
    pub stage: Stage,
    /// Part that refused it, e.g. `forebay.converter.avro`.
    pub component: &'static str,
    /// One sentence without payload.
    pub message: String,
    /// The offending places, if known.
    pub errors: Vec<ErrorItem>,
    /// Writer schema's id, if it could be read.
    pub schema_id: Option<u32>,
    /// How often it was tried.
    pub tries: u32,
}

impl Rejection {
    /// One try, no places.
    pub fn new(reason: Reason, stage: Stage, component: &'static str, message: impl Into<String>) -> Self {
        Self { reason, stage, component, message: message.into(), errors: Vec::new(), schema_id: None, tries: 1 }
    }

    /// With the writer schema's id.
    pub fn of_schema(mut self, id: u32) -> Self {
        self.schema_id = Some(id);
        self
    }
}
