//! Records: members in any order, each encoded as it is met, then put into schema order only if they were not.

use super::{Done, Pass, Step, Stop};
use crate::{
    json::cursor::{Kind, Text},
    json::keys::Level,
    plan::RecordPlan,
    schema::NodeId,
};

/// Where a field's bytes lie in the output; `ABSENT` if it was not met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub start: usize,
    pub end: usize,
}

impl Span {
    pub(crate) const ABSENT: Self = Self { start: usize::MAX, end: usize::MAX };

    pub(crate) fn is_absent(self) -> bool {
        self == Self::ABSENT
    }
}

/// A record whose members were read, its fields perhaps out of order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OpenRecord {
    /// Its fields' first span.
    base: usize,
    /// Its first byte in the output.
    start: usize,
    /// If all came in schema order without gaps: how many. Then only defaults are to be added.
    ordered: Option<usize>,
}

impl OpenRecord {
    /// Its fields lie anywhere from `start` on, among bytes that are no field's.
    pub(crate) fn unordered(&mut self, start: usize) {
        self.start = start;
        self.ordered = None;
    }
}

impl<'p, 'a> Pass<'p, 'a> {
    pub(super) fn record(&mut self, id: NodeId, record: &'p RecordPlan) -> Done {
        if self.kind()? != Kind::Object {
            return self.wrong(id, "dict_type", "");
        }
        if let Some(open) = self.members(record)? {
            self.defaults(record, open)?;
            self.arrange(record, open);
        }
        Ok(())
    }

    /// Reads the members of the object at the cursor; `None` if it lies too deep. Ends with [`Pass::arrange`].
    pub(crate) fn members(&mut self, record: &'p RecordPlan) -> Done<Option<OpenRecord>> {
        if !self.enter()? {
            return Ok(None);
        }
        let (base, start) = (self.spans.len(), self.out.len());
        self.spans.resize(base + record.fields.len(), Span::ABSENT);
        let mut level = self.keys_level();
        let (mut first, mut next, mut ordered) = (true, 0, true);
        loop {
            // Most senders keep the schema's order.
            let guess = record.fields.get(next).and_then(|field| self.cursor.guessed_member(&mut first, &field.name));
            let (key, index) = match guess {
                Some(key) => (key, next),
                None => {
                    let Some(key) = self.member(&mut first)? else { break };
                    let Some(index) = record.names.get(&key.decode()) else {
                        self.unknown(record, key, &mut level)?;
                        continue;
                    };
                    (key, index)
                }
            };
            if !self.spans[base + index].is_absent() {
                self.duplicate(key)?;
                continue;
            }
            let from = self.out.len();
            self.field(record, index, Step::Key(key))?;
            self.spans[base + index] = Span { start: from, end: self.out.len() };
            ordered &= index == next;
            next = index + 1;
        }
        self.close_keys(level);
        self.leave();
        Ok(Some(OpenRecord { base, start, ordered: ordered.then_some(next) }))
    }

    fn field(&mut self, record: &'p RecordPlan, index: usize, step: Step<'p, 'a>) -> Done {
        let field = &record.fields[index];
        let sensitive = self.faults.sensitive;
        self.faults.sensitive |= field.sensitive;
        self.faults.path.push(step);
        self.value(field.node)?;
        self.faults.path.pop();
        self.faults.sensitive = sensitive;
        Ok(())
    }

    fn unknown(&mut self, record: &'p RecordPlan, key: Text<'a>, level: &mut Level<'a>) -> Done {
        if !self.new_key(level, &key)? {
            return Ok(());
        }
        self.faults.path.push(Step::Key(key));
        if self.options.ignore_unknown {
            self.ignored = self.ignored.saturating_add(1);
        } else {
            let sensitive = self.faults.sensitive;
            self.faults.note("extra_forbidden", || unknown_member(record, &key.decode(), sensitive))?;
        }
        self.check()?;
        self.faults.path.pop();
        Ok(())
    }

    /// Notes every field that is absent and has no default.
    pub(crate) fn defaults(&mut self, record: &'p RecordPlan, open: OpenRecord) -> Done {
        if open.ordered == Some(record.fields.len()) {
            return Ok(());
        }
        for (index, field) in record.fields.iter().enumerate() {
            if field.default.is_none() && self.span(open, index).is_absent() {
                self.missing(&field.name, field.node)?;
            }
        }
        Ok(())
    }

    /// Notes a field that is absent.
    pub(crate) fn missing(&mut self, name: &'p str, node: NodeId) -> Done {
        if self.faults.probing {
            return Err(Stop::Mismatch);
        }
        let expected = super::faults::describe(&self.plan.schema, node);
        self.faults.path.push(Step::Field(name));
        let mark = self.faults.mark();
        let msg = format!("required field {name:?} is missing; expected {expected}");
        self.faults.insert(mark, "missing", |_| (msg, Some(expected), None));
        self.faults.path.pop();
        Ok(())
    }

    /// Where a field of an open record lies.
    pub(crate) fn span(&self, open: OpenRecord, index: usize) -> Span {
        self.spans.get(open.base + index).copied().unwrap_or(Span::ABSENT)
    }

    /// States where a field of an open record lies whose bytes came from elsewhere; see [`OpenRecord::unordered`].
    pub(crate) fn set_span(&mut self, open: OpenRecord, index: usize, span: Span) {
        if let Some(slot) = self.spans.get_mut(open.base + index) {
            *slot = span;
        }
    }

    /// Puts the fields of a record into schema order, with defaults for the absent ones, and closes it.
    pub(crate) fn arrange(&mut self, record: &'p RecordPlan, open: OpenRecord) {
        match open.ordered {
            Some(met) => {
                for field in record.fields.get(met..).unwrap_or_default() {
                    self.out.extend_from_slice(field.default.as_deref().unwrap_or_default());
                }
            }
            None => self.permute(record, open),
        }
        self.spans.truncate(open.base);
    }

    fn permute(&mut self, record: &'p RecordPlan, open: OpenRecord) {
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.out[open.start..]);
        self.out.truncate(open.start);
        for (field, span) in record.fields.iter().zip(&self.spans[open.base..]) {
            let bytes = if span.is_absent() {
                field.default.as_deref().unwrap_or_default()
            } else {
                &self.scratch[span.start - open.start..span.end - open.start]
            };
            self.out.extend_from_slice(bytes);
        }
    }

    /// How many spans are in use; for going back.
    pub(super) fn spans_len(&self) -> usize {
        self.spans.len()
    }

    pub(super) fn truncate_spans(&mut self, len: usize) {
        self.spans.truncate(len);
    }
}

fn unknown_member(record: &RecordPlan, name: &str, sensitive: bool) -> String {
    let full_name = &record.full_name;
    if sensitive || name.chars().count() > 64 {
        return format!("record {full_name} has no such field; remove it");
    }
    match record.names.nearest(name) {
        Some(near) => format!("record {full_name} has no field {name:?}; did you mean {near:?}?"),
        None => format!("record {full_name} has no field {name:?}; remove it or add it to the schema"),
    }
}
