//! Dead letters of events that were refused, for callers who asked for them.

use std::sync::Arc;

use bytes::Bytes;
use forebay_broker::{
    Headers, NewRecord, TimestampType,
    dead_letter::{self, DeadLetter, Origin, Reason, Stage},
};

use super::check::Why;

/// What all dead letters of a request have in common.
pub(super) struct DeadLetters {
    /// The topic that the events were for.
    pub topic: Arc<str>,
    /// Where the dead letters go.
    pub dlq_topic: Arc<str>,
    /// Of this request alone.
    pub request_id: Arc<str>,
    /// What they keep of the request.
    pub headers: Headers,
    /// Schema that refused them, if it is registered.
    pub schema_id: Option<u32>,
    /// Its subject.
    pub subject: Arc<str>,
    /// Time of receipt.
    pub received_at_ms: i64,
}

impl DeadLetters {
    /// The dead letter of the event of this index.
    pub(super) fn record(
        &self,
        index: usize,
        event_id: Option<&str>,
        json: &str,
        key: Option<Bytes>,
        why: &Why,
    ) -> NewRecord {
        let (message, errors) = match why {
            Why::Places(_, violations) => (
                violations.first().map(|v| format!("At {}: {}", v.pointer(), v.msg)).unwrap_or_default(),
                violations.iter().map(dead_letter::ErrorItem::from).collect(),
            ),
            Why::Problem(problem) => (problem.detail.to_string(), Vec::new()),
        };
        let letter = DeadLetter {
            origin: Origin::Http { topic: self.topic.clone(), request_id: self.request_id.clone(), index },
            connector: dead_letter::HTTP_CONNECTOR.into(),
            task: None,
            stage: Stage::ValueConverter,
            reason: Reason::ValidationFailed,
            component: "forebay.api.publish",
            message,
            causes: Vec::new(),
            errors,
            schema_id: self.schema_id,
            subject: Some(self.subject.to_string()),
            reader_schema_id: None,
            destination: None,
            timestamp_ms: self.received_at_ms,
            timestamp_type: TimestampType::Create,
            failed_at_ms: self.received_at_ms,
            tries: 1,
        };
        let mut original = self.headers.clone();
        if let Some(event_id) = event_id {
            original.push("event_id", Bytes::copy_from_slice(event_id.as_bytes()));
        }
        NewRecord {
            topic: self.dlq_topic.clone(),
            partition: None,
            key,
            value: Some(Bytes::copy_from_slice(json.as_bytes())),
            headers: letter.headers(&original),
            timestamp_ms: Some(self.received_at_ms),
        }
    }
}
