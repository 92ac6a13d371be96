//! Unions: untagged values first, branch by branch, then `{"<branch full name>": value}`.

use super::{Done, Pass, Step, Stop, faults, wire};
use crate::{json::cursor::Kind, plan::UnionPlan};

/// How often the unions of one event may read its bytes again. Unions within unions could otherwise ask for time that
/// doubles with every level.
const REREADS: usize = 32;
/// The same for very short events, in bytes.
const FREE_REREADS: usize = 4 << 10;

/// What trials have cost since the event began.
#[derive(Debug, Default)]
pub(crate) struct Rereads {
    event_start: usize,
    /// The furthest byte reached.
    reach: usize,
    spent: usize,
}

impl Rereads {
    /// A new event begins.
    pub(crate) fn begin(&mut self, at: usize) {
        *self = Self { event_start: at, reach: at, spent: 0 };
    }

    /// The bytes between will be read again.
    fn pay(&mut self, from: usize, to: usize) {
        self.reach = self.reach.max(to);
        self.spent = self.spent.saturating_add(to.saturating_sub(from) + 1);
    }

    fn exhausted(&self) -> bool {
        self.spent > FREE_REREADS + REREADS * (self.reach - self.event_start)
    }
}

/// All that a trial may change.
struct Before {
    at: usize,
    out: usize,
    keys: usize,
    spans: usize,
    path: usize,
    depth: usize,
    ignored: u32,
    sensitive: bool,
    probing: bool,
}

impl<'p> Pass<'p, '_> {
    pub(super) fn union(&mut self, union: &'p UnionPlan) -> Done {
        let kind = self.kind()?;
        let tagged = if kind == Kind::Object { self.tag(union)? } else { None };
        match union.candidates(kind) {
            [only] if tagged.is_none() => self.sole(union, *only),
            candidates => self.several(union, candidates, tagged),
        }
    }

    /// The one branch for this kind of value: no need to try, its faults are the union's.
    fn sole(&mut self, union: &'p UnionPlan, branch: u32) -> Done {
        self.cursor.space();
        let (start, mark) = (self.cursor.pos(), self.faults.mark());
        self.branch(union, branch)?;
        if self.faults.mark() > mark {
            self.no_match(union, start, mark);
        }
        Ok(())
    }

    fn several(&mut self, union: &'p UnionPlan, candidates: &[u32], tagged: Option<u32>) -> Done {
        self.cursor.space();
        let start = self.cursor.pos();
        // Dropping members is the last resort: a branch that fits whole, or a tag, comes first.
        let ignore = std::mem::replace(&mut self.options.ignore_unknown, false);
        let whole = self.first_fit(union, candidates);
        self.options.ignore_unknown = ignore;
        if whole? {
            return Ok(());
        }
        if let Some(branch) = tagged {
            let mark = self.faults.mark();
            self.tagged(union, branch)?;
            if self.faults.mark() > mark {
                self.no_match(union, start, mark);
            }
            return Ok(());
        }
        if ignore && self.first_fit(union, candidates)? {
            return Ok(());
        }
        self.none_fits(union, candidates, start)
    }

    /// Encodes the first branch that fits whole; false, and nothing done, if there is none.
    fn first_fit(&mut self, union: &'p UnionPlan, candidates: &[u32]) -> Done<bool> {
        for &branch in candidates {
            if self.rereads.exhausted() {
                break;
            }
            let before = self.before();
            self.faults.probing = true;
            let done = self.branch(union, branch);
            self.faults.probing = before.probing;
            match done {
                Ok(()) => return Ok(true),
                Err(Stop::Mismatch) => self.back(&before),
                Err(syntax) => return Err(syntax),
            }
        }
        Ok(false)
    }

    fn none_fits(&mut self, union: &'p UnionPlan, candidates: &[u32], start: usize) -> Done {
        if self.faults.probing {
            return Err(Stop::Mismatch);
        }
        let mark = self.faults.mark();
        match self.closest(union, candidates)? {
            Some(branch) if !self.rereads.exhausted() => self.branch(union, branch)?,
            _ => self.check()?,
        }
        self.no_match(union, start, mark);
        Ok(())
    }

    /// The branch whose faults say most: the only one, or the record that knows most of the object's members.
    fn closest(&mut self, union: &'p UnionPlan, candidates: &[u32]) -> Done<Option<u32>> {
        if let [only] = candidates {
            return Ok(Some(*only));
        }
        if self.kind()? != Kind::Object || self.rereads.exhausted() {
            return Ok(None);
        }
        let mut known = vec![0_usize; candidates.len()];
        let mut ahead = self.cursor;
        ahead.open();
        let mut first = true;
        while let Some(key) = ahead.member(&mut first)? {
            for (count, branch) in known.iter_mut().zip(candidates) {
                let record = self.plan.record(union.branches[*branch as usize]);
                *count += usize::from(record.is_some_and(|record| record.names.get(&key.decode()).is_some()));
            }
            ahead.skip()?;
        }
        self.rereads.pay(self.cursor.pos(), ahead.pos());
        let best = known.iter().zip(candidates).max_by_key(|(count, branch)| (**count, std::cmp::Reverse(**branch)));
        Ok(best.filter(|(count, _)| **count > 0).map(|(_, branch)| *branch))
    }

    fn branch(&mut self, union: &'p UnionPlan, branch: u32) -> Done {
        wire::count(branch as usize, &mut self.out);
        self.value(union.branches[branch as usize])
    }

    /// The branch that the first key of the object at the cursor names.
    fn tag(&self, union: &UnionPlan) -> Done<Option<u32>> {
        let mut ahead = self.cursor;
        ahead.open();
        let Some(key) = ahead.member(&mut true)? else { return Ok(None) };
        let key = key.decode();
        let at = union.tags.iter().position(|tag| **tag == *key);
        Ok(at.and_then(|at| u32::try_from(at).ok()))
    }

    /// `{"<branch full name>": value}`.
    fn tagged(&mut self, union: &'p UnionPlan, branch: u32) -> Done {
        if !self.enter()? {
            return Ok(());
        }
        let mut level = self.keys_level();
        let mut first = true;
        while let Some(key) = self.member(&mut first)? {
            let tag = *key.decode() == *union.tags[branch as usize];
            if !self.new_key(&mut level, &key)? {
                continue;
            }
            self.faults.path.push(Step::Key(key));
            if tag {
                self.branch(union, branch)?;
            } else {
                self.faults
                    .note("extra_forbidden", || "an object that names a union's branch has one member".into())?;
                self.check()?;
            }
            self.faults.path.pop();
        }
        self.close_keys(level);
        self.leave();
        Ok(())
    }

    /// Notes, before the faults since `mark`, that the value from `start` to here fits no branch.
    fn no_match(&mut self, union: &UnionPlan, start: usize, mark: usize) {
        let raw = &self.cursor.text()[start..self.cursor.pos()];
        let schema = &self.plan.schema;
        let tags: Vec<&str> = union.tags.iter().take(8).map(|tag| &**tag).collect();
        let choice = union.branches.len() > 2 || union.candidates(Kind::Object).len() > 1;
        let named = choice && raw.starts_with('{');
        let exhausted = self.rereads.exhausted();
        self.faults.insert(mark, "union_no_match", |sensitive| {
            let hint = if exhausted {
                "there are too many ways to read the unions here; name each branch: {\"<branch>\": value}".to_owned()
            } else if named {
                format!("a branch can be named: {{\"<branch>\": value}} with one of {}", tags.join(", "))
            } else {
                String::new()
            };
            faults::union_mismatch(schema, &union.branches, raw, &hint, sensitive)
        });
    }

    fn before(&self) -> Before {
        Before {
            at: self.cursor.pos(),
            out: self.out.len(),
            keys: self.keys.len(),
            spans: self.spans_len(),
            path: self.faults.path.len(),
            depth: self.depth,
            ignored: self.ignored,
            sensitive: self.faults.sensitive,
            probing: self.faults.probing,
        }
    }

    /// Goes back to before a trial, and pays for it.
    fn back(&mut self, before: &Before) {
        self.rereads.pay(before.at, self.cursor.pos());
        self.cursor.seek(before.at);
        self.out.truncate(before.out);
        self.keys.truncate(before.keys);
        self.truncate_spans(before.spans);
        self.faults.path.truncate(before.path);
        self.depth = before.depth;
        self.ignored = before.ignored;
        self.faults.sensitive = before.sensitive;
    }
}
