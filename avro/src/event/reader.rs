//! One event: its members in any order, each checked as it is met.

use super::{
    EventContext, EventOptions,
    layout::{Layout, Metadata, Payload, Slot},
};
use crate::{
    encode::{Done, OpenRecord, Pass, Span, Step, datetime, faults, wire},
    json::{
        self,
        cursor::{Kind, Text},
    },
    plan::{Names, RecordPlan},
};

/// Most characters of an `event_id`, printable ASCII.
const EVENT_ID_CHARS: usize = 128;
/// Most characters of an `event_type`.
const EVENT_TYPE_CHARS: usize = 256;

/// What an event said, after reading it.
#[derive(Debug, Default)]
pub(super) struct Parts<'a> {
    pub event_id: Option<Text<'a>>,
    pub event_type: Option<Text<'a>>,
    /// Nanoseconds since the epoch.
    pub timestamp: Option<i128>,
    pub payload: Option<&'a str>,
    /// The encoded payload in the output.
    pub payload_span: Option<Span>,
    /// Shape R: the payload's fields.
    pub open: Option<OpenRecord>,
    /// `/payload/user_id` and `/payload/device_id`, where the text of the payload was read for them.
    pub subjects: [Option<&'a str>; 2],
    pub metadata: Option<&'a str>,
    /// Encoded metadata in the output.
    pub metadata_span: Option<Span>,
    /// Whether the value holds the metadata.
    pub metadata_in_value: bool,
    /// Which of the five members were met.
    met: [bool; 5],
}

/// The members of an event; their positions are the indexes of `met`.
pub(super) const MEMBERS: [&str; 5] = ["event_id", "timestamp", "event_type", "payload", "metadata"];

/// Reads one event.
pub(super) struct EventReader<'r, 'p, 'a> {
    pub pass: &'r mut Pass<'p, 'a>,
    pub layout: &'p Layout,
    /// The record at the root.
    pub record: &'p RecordPlan,
    /// The names in [`MEMBERS`].
    pub members: &'p Names,
    pub options: &'r EventOptions,
    pub context: &'r EventContext<'r>,
    pub parts: Parts<'a>,
    /// Text that was made compact.
    pub compact: &'r mut String,
    /// Parts of a value on their way to their places.
    pub tail: &'r mut Vec<u8>,
}

impl<'a> EventReader<'_, '_, 'a> {
    /// Reads the event at the cursor. Its parts lie in the output, to be put together by `fill`.
    pub(super) fn read(&mut self) -> Done {
        if self.pass.kind()? != Kind::Object {
            self.pass.faults.note("dict_type", || "an event is a JSON object".into())?;
            return self.pass.check();
        }
        if !self.pass.enter()? {
            return Ok(());
        }
        let mut level = self.pass.keys_level();
        let (mut first, mut next) = (true, 0);
        loop {
            let guess = MEMBERS.get(next).and_then(|name| self.pass.cursor.guessed_member(&mut first, name));
            let (key, at) = match guess {
                Some(key) => (key, Some(next)),
                None => match self.pass.member(&mut first)? {
                    Some(key) => (key, MEMBERS.iter().position(|&name| name == &*key.decode())),
                    None => break,
                },
            };
            match at {
                Some(at) if self.parts.met[at] => self.pass.duplicate(key)?,
                Some(at) => self.known(at)?,
                None if self.pass.new_key(&mut level, &key)? => self.unknown(key)?,
                None => {}
            }
            next = at.map_or(next, |at| at + 1);
        }
        self.pass.close_keys(level);
        self.pass.leave();
        self.absent()
    }

    /// Whether the event has no id and the topic asks to make one.
    pub(super) fn generates_event_id(&self) -> bool {
        self.options.generate_event_id && !self.parts.met[0]
    }

    fn known(&mut self, at: usize) -> Done {
        self.parts.met[at] = true;
        self.pass.faults.path.push(Step::Field(MEMBERS[at]));
        match at {
            0 => self.parts.event_id = self.short_text(EVENT_ID_CHARS, true)?,
            1 => self.timestamp()?,
            2 => self.parts.event_type = self.short_text(EVENT_TYPE_CHARS, false)?,
            3 => self.payload()?,
            _ => self.metadata()?,
        }
        self.pass.faults.path.pop();
        Ok(())
    }

    fn unknown(&mut self, key: Text<'a>) -> Done {
        let near = |name: &str| self.members.nearest(name).map(|near| format!("; did you mean {near:?}?"));
        let name = key.decode();
        let near = near(&name).unwrap_or_default();
        self.pass.faults.path.push(Step::Key(key));
        let msg = || format!("an event has no such member: move it into payload or metadata{near}");
        self.pass.faults.note("extra_forbidden", msg)?;
        self.pass.check()?;
        self.pass.faults.path.pop();
        Ok(())
    }

    /// Notes what an event must have and this one lacks.
    fn absent(&mut self) -> Done {
        let made = [self.options.generate_event_id, self.options.generate_timestamp, false, false, true];
        for (at, name) in MEMBERS.into_iter().enumerate() {
            if !self.parts.met[at] && !made[at] {
                self.pass.faults.path.push(Step::Field(name));
                self.pass.faults.note("missing", || format!("an event must have the member {name:?}"))?;
                self.pass.faults.path.pop();
            }
        }
        if !self.parts.met[1] && self.options.generate_timestamp {
            self.parts.timestamp = Some(i128::from(self.context.received_at_ms) * 1_000_000);
        }
        Ok(())
    }

    /// `event_id` or `event_type`.
    fn short_text(&mut self, most: usize, ascii: bool) -> Done<Option<Text<'a>>> {
        if self.pass.kind()? != Kind::String {
            self.wrong("string_type", "string")?;
            return Ok(None);
        }
        let from = self.pass.cursor.pos();
        let text = self.pass.cursor.string()?;
        if text.lone_surrogate {
            self.pass.lone_surrogate()?;
            return Ok(None);
        }
        let decoded = text.decode();
        let chars = if decoded.len() <= most { decoded.len() } else { decoded.chars().count() };
        let kind = match chars {
            0 => "string_too_short",
            _ if chars > most => "string_too_long",
            _ if ascii && !decoded.bytes().all(|b| (b' '..=b'~').contains(&b)) => "string_pattern_mismatch",
            _ => return Ok(Some(text)),
        };
        let expected = format!("1 to {most} {}characters", if ascii { "printable ASCII " } else { "" });
        let what = if kind == "string_pattern_mismatch" { "others".into() } else { chars.to_string() };
        let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
        self.refuse(self.pass.faults.mark(), kind, &expected, raw, format!("expected {expected}, got {what}"));
        Ok(None)
    }

    fn timestamp(&mut self) -> Done {
        const KIND: &str = "datetime_parsing";
        const EXPECTED: &str = "an RFC 3339 string such as 2026-01-31T12:00:00.000Z";
        if self.pass.kind()? != Kind::String {
            return self.wrong(KIND, EXPECTED);
        }
        let from = self.pass.cursor.pos();
        match datetime::parse_datetime(&self.pass.cursor.string()?.decode()) {
            Ok(written) => self.parts.timestamp = Some(written.utc_nanos()),
            Err(reason) => {
                let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
                self.refuse(self.pass.faults.mark(), KIND, EXPECTED, raw, format!("expected {EXPECTED}; {reason}"));
            }
        }
        Ok(())
    }

    /// Notes that another JSON type was expected, and steps over the value.
    fn wrong(&mut self, kind: &'static str, expected: &str) -> Done {
        self.pass.cursor.space();
        let (from, mark) = (self.pass.cursor.pos(), self.pass.faults.mark());
        self.pass.check()?;
        let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
        let msg = format!("expected {expected}, got {}", faults::json_type(raw));
        self.refuse(mark, kind, expected, raw, msg);
        Ok(())
    }

    /// Notes what is wrong with the value `raw`, before what was noted since `mark`.
    fn refuse(&mut self, mark: usize, kind: &'static str, expected: &str, raw: &str, msg: String) {
        let words = |sensitive| (msg, Some(expected.to_owned()), Some(faults::got(raw, sensitive)));
        self.pass.faults.insert(mark, kind, words);
    }

    fn payload(&mut self) -> Done {
        if self.pass.kind()? != Kind::Object {
            return self.wrong("dict_type", "object");
        }
        let (from, out, blanks) = (self.pass.cursor.pos(), self.pass.out.len(), self.pass.cursor.blanks());
        match self.layout {
            Layout::Plain { .. } => self.parts.open = self.pass.members(self.record)?,
            Layout::Envelope { payload: Payload::Typed(node), .. } => self.pass.value(*node)?,
            Layout::Envelope { payload: Payload::Text, .. } => self.payload_text()?,
        }
        let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
        if let Layout::Envelope { payload: Payload::Text, .. } = self.layout {
            self.put_compact(raw, blanks);
        }
        self.parts.payload = Some(raw);
        self.parts.payload_span = Some(Span { start: out, end: self.pass.out.len() });
        Ok(())
    }

    /// Checks a payload that is kept as text, and notes whose it is in the same pass.
    fn payload_text(&mut self) -> Done {
        if !self.layout.wants_subject() {
            return self.pass.check();
        }
        if !self.pass.enter()? {
            return Ok(());
        }
        let mut level = self.pass.keys_level();
        let mut first = true;
        while let Some(key) = self.pass.member(&mut first)? {
            if !self.pass.new_key(&mut level, &key)? {
                continue;
            }
            self.pass.cursor.space();
            let from = self.pass.cursor.pos();
            self.pass.faults.path.push(Step::Key(key));
            self.pass.check()?;
            self.pass.faults.path.pop();
            let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
            match &*key.decode() {
                "user_id" => self.parts.subjects[0] = Some(raw),
                "device_id" => self.parts.subjects[1] = Some(raw),
                _ => {}
            }
        }
        self.pass.close_keys(level);
        self.pass.leave();
        Ok(())
    }

    /// Writes checked JSON as text without whitespace; `blanks` is what the cursor had met before it.
    fn put_compact(&mut self, raw: &str, blanks: usize) {
        if self.pass.cursor.blanks() == blanks {
            return wire::bytes(raw.as_bytes(), &mut self.pass.out);
        }
        self.compact.clear();
        json::compact(raw, self.compact);
        wire::bytes(self.compact.as_bytes(), &mut self.pass.out);
    }

    fn metadata(&mut self) -> Done {
        match self.pass.kind()? {
            Kind::Null => return Ok(self.pass.cursor.null()?),
            Kind::Object => {}
            _ => return self.wrong("dict_type", "object or null"),
        }
        let (from, out) = (self.pass.cursor.pos(), self.pass.out.len());
        match self.layout.metadata() {
            Some((slot, form)) => self.metadata_in_value(slot, form)?,
            None => self.pass.check()?,
        }
        let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
        self.parts.metadata = Some(raw);
        self.parts.metadata_span = Some(Span { start: out, end: self.pass.out.len() });
        let limit = self.options.metadata_bytes;
        if raw.len() > limit {
            self.compact.clear();
            json::compact(raw, self.compact);
            let bytes = self.compact.len();
            if bytes > limit {
                let msg = || {
                    format!(
                        "metadata is {bytes} bytes of JSON; at most {limit} are taken, so move the bulk into payload"
                    )
                };
                self.pass.faults.note("metadata_too_large", msg)?;
            }
        }
        Ok(())
    }

    fn metadata_in_value(&mut self, slot: Slot, form: Metadata) -> Done {
        if let Some(branch) = slot.value {
            wire::count(branch, &mut self.pass.out);
        }
        match form {
            Metadata::Typed(node) => self.pass.value(node),
            Metadata::TextMap => self.text_map(),
            Metadata::Text => {
                let (from, blanks) = (self.pass.cursor.pos(), self.pass.cursor.blanks());
                self.pass.check()?;
                let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
                self.put_compact(raw, blanks);
                Ok(())
            }
        }
    }

    /// A map of strings: scalars as text, nested values as JSON text.
    fn text_map(&mut self) -> Done {
        if !self.pass.enter()? {
            return Ok(());
        }
        let start = self.pass.open_block();
        let mut level = self.pass.keys_level();
        let (mut first, mut count) = (true, 0);
        while let Some(key) = self.pass.member(&mut first)? {
            if !self.pass.new_key(&mut level, &key)? {
                continue;
            }
            self.pass.put_text(&key);
            self.pass.faults.path.push(Step::Key(key));
            self.text_value()?;
            self.pass.faults.path.pop();
            count += 1;
        }
        self.pass.close_keys(level);
        self.pass.close_block(start, count);
        self.pass.leave();
        Ok(())
    }

    fn text_value(&mut self) -> Done {
        if self.pass.kind()? == Kind::String {
            let text = self.pass.cursor.string()?;
            if text.lone_surrogate {
                return self.pass.lone_surrogate();
            }
            self.pass.put_text(&text);
            return Ok(());
        }
        let (from, blanks) = (self.pass.cursor.pos(), self.pass.cursor.blanks());
        self.pass.check()?;
        let raw = &self.pass.cursor.text()[from..self.pass.cursor.pos()];
        self.put_compact(raw, blanks);
        Ok(())
    }
}
