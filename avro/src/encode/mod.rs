//! The one pass: JSON text to Avro bytes along a plan, noting every place that breaks the schema.
//!
//! Nothing is built between text and bytes. A value is read once, save where a union has several branches that could
//! hold it: those are tried in turn, within a budget.

mod check;
mod container;
pub(crate) mod datetime;
mod decimal;
pub(crate) mod faults;
mod record;
mod scalar;
mod union;
pub(crate) mod wire;

use crate::{
    json::{
        self,
        cursor::{Cursor, Kind, Number, Syntax, Text},
        keys::{Keys, Level},
    },
    plan::{Plan, PlanNode},
    schema::NodeId,
    violation::Violation,
};
pub(crate) use faults::{Faults, Step};
pub(crate) use record::{OpenRecord, Span};
use union::Rereads;

/// How to read values.
#[derive(Clone, Copy, Debug)]
pub struct EncodeOptions {
    /// Members that the schema lacks are counted and skipped instead of refused.
    pub ignore_unknown: bool,
    /// Deepest nesting, the value being level 1; more than 64 counts as 64.
    pub json_depth: usize,
    /// Longest number literal in characters.
    pub number_chars: usize,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        Self { ignore_unknown: false, json_depth: MAX_DEPTH, number_chars: 1024 }
    }
}

/// Nesting that no option can raise: it bounds the recursion.
pub const MAX_DEPTH: usize = 64;

/// Why a value was not encoded.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Not JSON.
    #[error("no JSON: line {line}, column {column}: {msg}")]
    Malformed {
        /// 1-based.
        line: usize,
        /// 1-based, in characters.
        column: usize,
        /// What was expected there.
        msg: String,
    },
    /// At least one place, at most 100 and then one `too_many_errors`.
    #[error("{}", .0.first().map_or_else(String::new, |first| format!("{}: {}", first.pointer(), first.msg)))]
    Violations(Vec<Violation>),
}

/// Why reading stops before the end of a value.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The text is no JSON.
    Syntax(Syntax),
    /// A branch that was tried does not fit.
    Mismatch,
}

impl From<Syntax> for Stop {
    fn from(error: Syntax) -> Self {
        Self::Syntax(error)
    }
}

/// `Ok` means: read to its end, whether or not it fits. What does not fit stands in [`Faults`].
pub(crate) type Done<T = ()> = Result<T, Stop>;

/// The state of a pass. Its buffers serve all events of a batch.
pub(crate) struct Pass<'p, 'a> {
    pub plan: &'p Plan,
    pub cursor: Cursor<'a>,
    pub options: EncodeOptions,
    pub faults: Faults<'p, 'a>,
    /// Encoded bytes; those of a refused value are garbage, for the caller to cut off.
    pub out: Vec<u8>,
    /// Members skipped under `ignore_unknown`.
    pub ignored: u32,
    /// Open containers.
    pub depth: usize,
    keys: Keys<'a>,
    /// Where the fields of the open records lie in `out`, innermost last.
    spans: Vec<Span>,
    /// For putting fields into order.
    scratch: Vec<u8>,
    /// For strings with escapes.
    unescaped: String,
    rereads: Rereads,
}

impl<'p, 'a> Pass<'p, 'a> {
    pub(crate) fn new(plan: &'p Plan, text: &'a str, options: EncodeOptions) -> Self {
        let options = EncodeOptions { json_depth: options.json_depth.min(MAX_DEPTH), ..options };
        Self {
            plan,
            cursor: Cursor::new(text),
            options,
            faults: Faults::default(),
            out: Vec::new(),
            ignored: 0,
            depth: 0,
            keys: Keys::default(),
            spans: Vec::new(),
            scratch: Vec::new(),
            unescaped: String::new(),
            rereads: Rereads::default(),
        }
    }

    /// Starts on the next event of a batch, whatever became of the last.
    pub(crate) fn begin(&mut self) {
        self.depth = 0;
        self.ignored = 0;
        self.keys.truncate(0);
        self.spans.clear();
        self.rereads.begin(self.cursor.pos());
    }

    /// Reads one value of the type `id`.
    pub(crate) fn value(&mut self, id: NodeId) -> Done {
        let plan = self.plan;
        match plan.node(id) {
            PlanNode::Null => self.null(id),
            PlanNode::Boolean => self.boolean(id),
            PlanNode::Int => self.int(id),
            PlanNode::Long => self.long(id),
            PlanNode::Float => self.float(id),
            PlanNode::Double => self.double(id),
            PlanNode::String => self.string(id),
            PlanNode::Bytes => self.bytes(id),
            PlanNode::Fixed(size) => self.fixed(id, *size),
            PlanNode::Enum(symbols) => self.symbol(id, symbols),
            PlanNode::UuidString => self.uuid(id, false),
            PlanNode::UuidFixed => self.uuid(id, true),
            PlanNode::Date => self.date(id),
            PlanNode::Time(unit) => self.time(id, *unit),
            PlanNode::Timestamp(unit) => self.timestamp(id, *unit, false),
            PlanNode::LocalTimestamp(unit) => self.timestamp(id, *unit, true),
            PlanNode::Decimal { precision, scale, size } => self.decimal(id, *precision, *scale, *size),
            PlanNode::Array(items) => self.array(id, *items),
            PlanNode::Map(values) => self.map(id, *values),
            PlanNode::Record(record) => self.record(id, record),
            PlanNode::Union(union) => self.union(union),
        }
    }

    /// Enters the object or array at the cursor; false if it lies too deep, then it was skipped and noted.
    pub(crate) fn enter(&mut self) -> Done<bool> {
        if self.depth >= self.options.json_depth {
            let limit = self.options.json_depth;
            self.faults.note("json_depth", || format!("nested deeper than {limit} levels; flatten it"))?;
            self.cursor.skip()?;
            return Ok(false);
        }
        self.depth += 1;
        self.cursor.open();
        Ok(true)
    }

    /// Leaves the container that [`Pass::enter`] entered.
    pub(crate) fn leave(&mut self) {
        self.depth -= 1;
    }

    /// The next member's key, past its colon. A key that is no Unicode text is noted.
    pub(crate) fn member(&mut self, first: &mut bool) -> Done<Option<Text<'a>>> {
        let key = self.cursor.member(first)?;
        if let Some(key) = key.filter(|key| key.lone_surrogate) {
            self.faults.path.push(Step::Key(key));
            self.lone_surrogate()?;
            self.faults.path.pop();
        }
        Ok(key)
    }

    /// Begins to look for keys that an object names twice.
    pub(crate) fn keys_level(&self) -> Level<'a> {
        self.keys.level()
    }

    /// Whether a key is new in its object. If not, that is noted and its value skipped.
    pub(crate) fn new_key(&mut self, level: &mut Level<'a>, key: &Text<'a>) -> Done<bool> {
        if self.keys.insert(level, key) {
            return Ok(true);
        }
        self.duplicate(*key)?;
        Ok(false)
    }

    /// Ends what [`Pass::keys_level`] began.
    pub(crate) fn close_keys(&mut self, level: Level<'a>) {
        self.keys.close(level);
    }

    /// Notes a member that its object has already, and skips its value.
    pub(crate) fn duplicate(&mut self, key: Text<'a>) -> Done {
        self.faults.path.push(Step::Key(key));
        self.faults.note("duplicate_key", || "this member stands twice in its object; keep one".into())?;
        self.check()?;
        self.faults.path.pop();
        Ok(())
    }

    /// A number of bearable length; a longer one is noted.
    pub(crate) fn number(&mut self) -> Done<Option<Number<'a>>> {
        let number = self.cursor.number()?;
        Ok(self.bearable(number.raw)?.then_some(number))
    }

    /// Whether digits are few enough to convert; noted if not.
    pub(crate) fn bearable(&mut self, digits: &str) -> Done<bool> {
        let (len, limit) = (digits.len(), self.options.number_chars);
        if len > limit {
            self.faults
                .note("number_too_long", || format!("a number of {len} characters; at most {limit} are read"))?;
        }
        Ok(len <= limit)
    }

    pub(crate) fn lone_surrogate(&mut self) -> Done {
        self.faults.note("string_unicode", || {
            "the string holds half of a surrogate pair (\\ud800 to \\udfff), which is no character; \
             write both halves or leave it out"
                .into()
        })
    }

    /// The value at the cursor does not fit the type `id`: notes what was expected and what came, and steps over it.
    /// `hint` says how to mend it, if that is known.
    pub(crate) fn wrong(&mut self, id: NodeId, kind: &'static str, hint: &str) -> Done {
        if self.faults.probing {
            return Err(Stop::Mismatch);
        }
        self.cursor.space();
        let start = self.cursor.pos();
        let mark = self.faults.mark();
        self.check()?;
        let raw = &self.cursor.text()[start..self.cursor.pos()];
        self.refuse(id, kind, raw, hint, mark);
        Ok(())
    }

    /// The same for a value `raw` that was read already.
    pub(crate) fn wrong_raw(&mut self, id: NodeId, kind: &'static str, raw: &str, hint: &str) -> Done {
        if self.faults.probing {
            return Err(Stop::Mismatch);
        }
        let mark = self.faults.mark();
        self.refuse(id, kind, raw, hint, mark);
        Ok(())
    }

    fn refuse(&mut self, id: NodeId, kind: &'static str, raw: &str, hint: &str, mark: usize) {
        let schema = &self.plan.schema;
        self.faults.insert(mark, kind, |sensitive| faults::mismatch(schema, id, raw, hint, sensitive));
    }

    /// The kind of the value that comes next.
    pub(crate) fn kind(&mut self) -> Done<Kind> {
        Ok(self.cursor.kind()?)
    }
}

/// [`Plan::encode`].
pub(crate) fn plain(plan: &Plan, text: &str, options: &EncodeOptions, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let mut pass = Pass::new(plan, text, *options);
    pass.out = std::mem::take(out);
    let done = pass.value(plan.schema.root()).and_then(|()| Ok(pass.cursor.end()?));
    let violations = pass.faults.take();
    *out = pass.out;
    let error = match done {
        Ok(()) if violations.is_empty() => return Ok(()),
        Err(Stop::Syntax(error)) => {
            let (line, column) = json::place(text, error.at);
            EncodeError::Malformed { line, column, msg: json::explain(text, &error) }
        }
        _ => EncodeError::Violations(violations),
    };
    out.truncate(start);
    Err(error)
}
