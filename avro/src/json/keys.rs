//! Finds members that an object names twice, without allocating for small objects.

use std::{borrow::Cow, collections::HashSet};

use super::cursor::Text;

/// Objects up to this many members are searched one by one; larger ones get a hash set, so that no object costs
/// quadratic time.
const LINEAR: usize = 16;

/// The keys met so far of all open objects, innermost last.
#[derive(Debug, Default)]
pub(crate) struct Keys<'a> {
    met: Vec<Cow<'a, str>>,
}

/// One open object.
#[derive(Debug)]
pub(crate) struct Level<'a> {
    start: usize,
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Keys<'a> {
    /// An object begins.
    pub(crate) fn level(&self) -> Level<'a> {
        Level { start: self.met.len(), many: None }
    }

    /// Notes a key; false if the object has it already.
    pub(crate) fn insert(&mut self, level: &mut Level<'a>, key: &Text<'a>) -> bool {
        let key = key.decode();
        if let Some(many) = &mut level.many {
            return many.insert(key);
        }
        let met = self.met.get(level.start..).unwrap_or_default();
        if met.contains(&key) {
            return false;
        }
        if met.len() == LINEAR {
            level.many = Some(self.met.drain(level.start..).chain([key]).collect());
        } else {
            self.met.push(key);
        }
        true
    }

    /// The object ends.
    pub(crate) fn close(&mut self, level: Level<'a>) {
        self.met.truncate(level.start);
    }

    /// For going back: as many keys as there were.
    pub(crate) fn len(&self) -> usize {
        self.met.len()
    }

    /// Goes back to an earlier [`Keys::len`].
    pub(crate) fn truncate(&mut self, len: usize) {
        self.met.truncate(len);
    }
}
