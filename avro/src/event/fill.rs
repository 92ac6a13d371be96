//! The value of an event, put together from what was read and what the service knows.

use std::borrow::Cow;

use super::{
    layout::{Layout, Metadata, Slot, Source, Subject},
    reader::EventReader,
};
use crate::{
    encode::{Done, Span, Step, datetime, wire},
    json::{self, Found},
    plan::FieldPlan,
    schema::TimeUnit,
};

impl<'p, 'a> EventReader<'_, 'p, 'a> {
    /// Completes the value that begins at `start` of the output. `event_id` is the one sent or the one made.
    pub(super) fn complete(&mut self, start: usize, event_id: &str) -> Done {
        match self.layout {
            Layout::Envelope { sources, .. } => self.envelope(sources, start, event_id),
            Layout::Plain { fills } => self.plain(fills, start, event_id),
        }
    }

    /// Shapes E and T: field by field from its source.
    fn envelope(&mut self, sources: &[Source], start: usize, event_id: &str) -> Done {
        self.tail.clear();
        self.tail.extend_from_slice(&self.pass.out[start..]);
        self.pass.out.truncate(start);
        for (source, field) in sources.iter().zip(&self.record.fields) {
            let copied = match source {
                Source::Payload(slot) => self.copy(slot, self.parts.payload_span, start),
                // The branch was named when it was read.
                Source::Metadata(..) => self.copy(&Slot::default(), self.parts.metadata_span, start),
                _ => false,
            };
            if !copied && !self.put(source, event_id)? {
                self.without(source, field)?;
            }
        }
        self.parts.metadata_in_value = self.layout.metadata().is_some();
        Ok(())
    }

    /// Copies what was encoded while reading.
    fn copy(&mut self, slot: &Slot, span: Option<Span>, start: usize) -> bool {
        let Some(span) = span else { return false };
        if let Some(branch) = slot.value {
            wire::count(branch, &mut self.pass.out);
        }
        self.pass.out.extend_from_slice(&self.tail[span.start - start..span.end - start]);
        true
    }

    /// An envelope's field that this event does not fill.
    fn without(&mut self, source: &Source, field: &'p FieldPlan) -> Done {
        match (source.null(), &field.default, source) {
            // Every event has these; the lack was noted where they should stand.
            (_, _, Source::Payload(_) | Source::EventType(_) | Source::Timestamp(..)) => {}
            (Some(null), ..) => wire::count(null, &mut self.pass.out),
            (None, Some(default), _) => self.pass.out.extend_from_slice(default),
            (None, None, Source::Metadata(slot, form @ (Metadata::TextMap | Metadata::Text))) => {
                if let Some(branch) = slot.value {
                    wire::count(branch, &mut self.pass.out);
                }
                match form {
                    Metadata::Text => wire::bytes(b"{}", &mut self.pass.out),
                    _ => self.pass.out.push(0),
                }
            }
            _ => return self.nothing_for(field),
        }
        Ok(())
    }

    /// A field without null branch and default that nothing in this event fills.
    fn nothing_for(&mut self, field: &'p FieldPlan) -> Done {
        let depth = self.pass.faults.path.len();
        if let "user_id" | "device_id" = &*field.name {
            self.pass.faults.path.push(Step::Field("payload"));
        }
        self.pass.faults.path.push(Step::Field(&field.name));
        let name = &field.name;
        let msg = || format!("the schema's field {name:?} needs a value here: it takes no null and has no default");
        self.pass.faults.note("missing", msg)?;
        self.pass.faults.path.truncate(depth);
        Ok(())
    }

    /// Shape R: what the payload lacks and the Event has, then defaults and order.
    fn plain(&mut self, fills: &[(usize, Source)], start: usize, event_id: &str) -> Done {
        let Some(mut open) = self.parts.open else { return Ok(()) };
        for (index, source) in fills {
            if !self.pass.span(open, *index).is_absent() {
                continue;
            }
            let from = self.pass.out.len();
            let span = match source {
                Source::Metadata(..) => self.parts.metadata_span,
                // If the Event lacks it, that was noted where it should stand.
                _ => {
                    self.put(source, event_id)?;
                    Some(Span { start: from, end: self.pass.out.len() })
                }
            };
            if let Some(span) = span {
                self.parts.metadata_in_value |= matches!(source, Source::Metadata(..));
                self.pass.set_span(open, *index, span);
                open.unordered(start);
            }
        }
        if self.parts.metadata_span.is_some_and(|span| span.start < span.end) {
            // Its bytes lie before or behind the payload's, used or not.
            open.unordered(start);
        }
        self.pass.faults.path.push(Step::Field("payload"));
        self.pass.defaults(self.record, open)?;
        self.pass.faults.path.pop();
        self.pass.arrange(self.record, open);
        Ok(())
    }

    /// Appends what a source gives; false, and nothing appended, if it gives nothing.
    fn put(&mut self, source: &Source, event_id: &str) -> Done<bool> {
        let received = i128::from(self.context.received_at_ms) * 1_000_000;
        match source {
            Source::EventId(slot) => Ok(self.put_text(slot, Some(event_id))),
            Source::EventUuid => self.put_uuid(event_id),
            Source::EventType(slot) => {
                let text = self.parts.event_type.map(|text| text.decode());
                Ok(self.put_text(slot, text.as_deref()))
            }
            Source::Timestamp(slot, unit) => match self.parts.timestamp {
                Some(nanos) => self.put_time(slot, nanos, *unit),
                None => Ok(false),
            },
            Source::TimestampText(slot) => {
                let text = self.parts.timestamp.map(datetime::format_utc);
                Ok(self.put_text(slot, text.as_deref()))
            }
            Source::Subject(slot, subject) => {
                let text = self.subject(*subject);
                Ok(self.put_text(slot, text.as_deref()))
            }
            Source::CorrelationId(slot) => {
                let own = self.in_metadata("/correlation_id").filter(|id| is_correlation_id(id));
                let context = self.context.correlation_id;
                Ok(self.put_text(slot, Some(own.as_deref().unwrap_or(context))))
            }
            Source::Tenant(slot) => Ok(self.put_text(slot, self.context.tenant)),
            Source::ReceivedAt(slot, unit) => self.put_time(slot, received, *unit),
            Source::Payload(_) | Source::Metadata(..) | Source::Default => Ok(false),
        }
    }

    fn put_text(&mut self, slot: &Slot, text: Option<&str>) -> bool {
        let Some(text) = text else { return false };
        if let Some(branch) = slot.value {
            wire::count(branch, &mut self.pass.out);
        }
        wire::bytes(text.as_bytes(), &mut self.pass.out);
        true
    }

    /// An `event_id` whose field has the logical type `uuid`.
    fn put_uuid(&mut self, event_id: &str) -> Done<bool> {
        if !event_id.is_empty() && wire::parse_uuid(event_id).is_none() {
            self.pass.faults.path.push(Step::Field("event_id"));
            self.pass.faults.note("uuid_parsing", || "the schema asks for a uuid here".into())?;
            self.pass.faults.path.pop();
        }
        wire::bytes(event_id.as_bytes(), &mut self.pass.out);
        Ok(true)
    }

    /// A time in the schema's unit; finer digits are cut towards the past.
    fn put_time(&mut self, slot: &Slot, nanos: i128, unit: TimeUnit) -> Done<bool> {
        if let Some(branch) = slot.value {
            wire::count(branch, &mut self.pass.out);
        }
        match i64::try_from(nanos.div_euclid(datetime::unit_nanos(unit))) {
            Ok(value) => wire::long(value, &mut self.pass.out),
            Err(_) => {
                self.pass.faults.path.push(Step::Field("timestamp"));
                let msg = || format!("in {} it is beyond 64 bits", datetime::unit_name(unit));
                self.pass.faults.note("datetime_parsing", msg)?;
                self.pass.faults.path.pop();
            }
        }
        Ok(true)
    }

    /// Whose event it is: from the payload, else from the metadata.
    fn subject(&self, subject: Subject) -> Option<Cow<'a, str>> {
        let (at, pointer) = match subject {
            Subject::User => (0, "/user_id"),
            Subject::Device => (1, "/device_id"),
        };
        let payload = match (self.layout, self.parts.subjects[at]) {
            (_, Some(raw)) => json::find(raw, ""),
            (Layout::Envelope { payload: super::layout::Payload::Typed(_), .. }, None) => {
                json::find(self.parts.payload?, pointer)
            }
            _ => None,
        };
        payload.and_then(as_text).or_else(|| self.in_metadata(pointer))
    }

    fn in_metadata(&self, pointer: &str) -> Option<Cow<'a, str>> {
        json::find(self.parts.metadata?, pointer).and_then(as_text)
    }
}

/// A string as it is, an integer as decimal text.
fn as_text(found: Found<'_>) -> Option<Cow<'_, str>> {
    match found {
        Found::String(text) => Some(text),
        Found::Integer(text) => Some(text.into()),
        _ => None,
    }
}

/// `[A-Za-z0-9._:-]{1,128}`.
fn is_correlation_id(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b':' | b'-'))
}

impl Source {
    /// The branch that says: no value.
    fn null(&self) -> Option<usize> {
        match self {
            Self::EventId(slot)
            | Self::EventType(slot)
            | Self::Timestamp(slot, _)
            | Self::TimestampText(slot)
            | Self::Payload(slot)
            | Self::Subject(slot, _)
            | Self::Metadata(slot, _)
            | Self::CorrelationId(slot)
            | Self::Tenant(slot)
            | Self::ReceivedAt(slot, _) => slot.null,
            Self::EventUuid | Self::Default => None,
        }
    }
}
