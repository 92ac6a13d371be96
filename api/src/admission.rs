//! Admission: how many bodies, and how many bytes of them, are held at a time. A refusal is immediate; nobody waits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Bodies of unknown size reserve in steps of this many bytes (fixed).
pub(crate) const STEP_BYTES: usize = 64 << 10;

/// Counters of what is held, with their limits.
#[derive(Debug)]
pub(crate) struct Admission {
    bytes: AtomicUsize,
    requests: AtomicUsize,
    max_bytes: usize,
    max_requests: usize,
}

/// No room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

fn take(counter: &AtomicUsize, n: usize, max: usize) -> Result<(), Full> {
    let fits = |held: usize| held.checked_add(n).filter(|&sum| sum <= max);
    counter.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).map(drop).map_err(|_| Full)
}

impl Admission {
    pub(crate) fn new(max_bytes: usize, max_requests: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), requests: AtomicUsize::new(0), max_bytes, max_requests })
    }

    /// Lets a request in with its first `bytes`.
    pub(crate) fn admit(self: &Arc<Self>, bytes: usize) -> Result<Permit, Full> {
        take(&self.requests, 1, self.max_requests)?;
        let mut permit = Permit { admission: self.clone(), bytes: 0 };
        permit.grow_by(bytes)?;
        Ok(permit)
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Requests held now.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }
}

/// A request's share; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    admission: Arc<Admission>,
    bytes: usize,
}

impl Permit {
    fn grow_by(&mut self, bytes: usize) -> Result<(), Full> {
        take(&self.admission.bytes, bytes, self.admission.max_bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Makes sure that `bytes` in all are reserved, by whole steps.
    pub(crate) fn cover(&mut self, bytes: usize) -> Result<(), Full> {
        match bytes.checked_sub(self.bytes) {
            None | Some(0) => Ok(()),
            Some(missing) => self.grow_by(missing.div_ceil(STEP_BYTES).saturating_mul(STEP_BYTES)),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.admission.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_limit_and_beyond() {
        let admission = Admission::new(3 * STEP_BYTES, 2);
        let first = admission.admit(3 * STEP_BYTES - 1).unwrap();
        assert!(admission.admit(2).is_err());
        assert_eq!(admission.requests(), 1, "a refused request holds nothing");
        let second = admission.admit(1).unwrap();
        assert!(admission.admit(0).is_err(), "a third request");
        drop((first, second));
        assert_eq!((admission.bytes(), admission.requests()), (0, 0));
    }

    #[test]
    fn grows_by_steps_and_gives_all_back() {
        let admission = Admission::new(3 * STEP_BYTES, 9);
        let mut permit = admission.admit(STEP_BYTES).unwrap();
        permit.cover(STEP_BYTES).unwrap();
        assert_eq!(admission.bytes(), STEP_BYTES);
        permit.cover(STEP_BYTES + 1).unwrap();
        assert_eq!(admission.bytes(), 2 * STEP_BYTES);
        permit.cover(3 * STEP_BYTES).unwrap();
        assert_eq!(permit.cover(3 * STEP_BYTES + 1), Err(Full));
        drop(permit);
        assert_eq!(admission.bytes(), 0);
    }
}
