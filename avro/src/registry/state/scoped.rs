//! A setting of the whole registry that a subject may have for itself.

use std::collections::HashMap;

/// One value for all, and values of single subjects.
#[derive(Debug)]
pub(super) struct Scoped<T> {
    global: Option<T>,
    subjects: HashMap<String, T>,
}

impl<T> Default for Scoped<T> {
    fn default() -> Self {
        Self { global: None, subjects: HashMap::new() }
    }
}

impl<T: Copy + Default> Scoped<T> {
    /// What was set for just this scope.
    pub(super) fn own(&self, subject: Option<&str>) -> Option<T> {
        match subject {
            None => self.global,
            Some(subject) => self.subjects.get(subject).copied(),
        }
    }

    /// What holds for it: its own value, else the global one, else the default.
    pub(super) fn in_force(&self, subject: Option<&str>) -> T {
        self.own(subject).or(self.global).unwrap_or_default()
    }

    /// How many subjects have one of their own.
    pub(super) fn count(&self) -> usize {
        self.subjects.len()
    }

    pub(super) fn set(&mut self, subject: Option<String>, value: T) {
        match subject {
            None => self.global = Some(value),
            Some(subject) => drop(self.subjects.insert(subject, value)),
        }
    }

    pub(super) fn remove(&mut self, subject: Option<&str>) {
        match subject {
            None => self.global = None,
            Some(subject) => drop(self.subjects.remove(subject)),
        }
    }
}
