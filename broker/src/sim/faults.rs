//! What may go wrong in a simulated log, by script or by chance from a seed.

use std::{collections::VecDeque, time::Duration};

/// What happens to a produce call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProduceFault {
    /// It goes well.
    None,
    /// The call is refused: queue full.
    QueueFull,
    /// The call is refused: unavailable.
    Refused,
    /// Taken, then every receipt says unavailable; certainly not stored.
    Failed,
    /// Stored, but every receipt says unknown.
    UnknownStored,
    /// Not stored, and every receipt says unknown.
    UnknownLost,
    /// Stored so much later. Calls behind it wait.
    Delayed(Duration),
}

/// What happens to a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitFault {
    /// It goes well.
    None,
    /// Certainly not stored.
    Refused,
    /// Not stored, and the answer is unknown.
    Lost,
    /// Stored, but the answer is unknown.
    Unknown,
    /// The answer is unknown at once; it is stored so much later, over whatever was committed meanwhile.
    Late(Duration),
    /// As if the partition had been reassigned; it is not.
    Fenced,
    /// Stored and answered so much later.
    Delayed(Duration),
}

/// Chances in 1/1000 per call, drawn from a seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chances {
    /// [`ProduceFault::Refused`].
    pub produce_refused: u32,
    /// [`ProduceFault::Failed`].
    pub produce_failed: u32,
    /// [`ProduceFault::UnknownStored`].
    pub produce_unknown_stored: u32,
    /// [`ProduceFault::UnknownLost`].
    pub produce_unknown_lost: u32,
    /// [`ProduceFault::Delayed`], by up to `max_delay`.
    pub produce_delayed: u32,
    /// [`CommitFault::Refused`].
    pub commit_refused: u32,
    /// [`CommitFault::Lost`].
    pub commit_lost: u32,
    /// [`CommitFault::Unknown`].
    pub commit_unknown: u32,
    /// [`CommitFault::Late`], by up to `max_delay`.
    pub commit_late: u32,
    /// [`CommitFault::Fenced`].
    pub commit_fenced: u32,
    /// [`CommitFault::Delayed`], by up to `max_delay`.
    pub commit_delayed: u32,
    /// A produced record leaves a gap of 1 to 3 offsets before it, as compaction and transactions do.
    pub gap: u32,
    /// Longest delay.
    pub max_delay: Duration,
}

/// The script comes first; where it is at its end, chance.
#[derive(Debug)]
pub(super) struct Faults {
    pub produce: VecDeque<ProduceFault>,
    pub commit: VecDeque<CommitFault>,
    pub chances: Chances,
    pub random: Random,
}

impl Faults {
    pub fn new(seed: u64) -> Self {
        let random = Random::new(seed);
        Self { produce: VecDeque::new(), commit: VecDeque::new(), chances: Chances::default(), random }
    }

    pub fn next_produce(&mut self) -> ProduceFault {
        if let Some(fault) = self.produce.pop_front() {
            return fault;
        }
        let c = self.chances;
        let delay = self.random.delay(c.max_delay);
        self.random
            .pick(&[
                (c.produce_refused, ProduceFault::Refused),
                (c.produce_failed, ProduceFault::Failed),
                (c.produce_unknown_stored, ProduceFault::UnknownStored),
                (c.produce_unknown_lost, ProduceFault::UnknownLost),
                (c.produce_delayed, ProduceFault::Delayed(delay)),
            ])
            .unwrap_or(ProduceFault::None)
    }

    pub fn next_commit(&mut self) -> CommitFault {
        if let Some(fault) = self.commit.pop_front() {
            return fault;
        }
        let c = self.chances;
        let delay = self.random.delay(c.max_delay);
        self.random
            .pick(&[
                (c.commit_refused, CommitFault::Refused),
                (c.commit_lost, CommitFault::Lost),
                (c.commit_unknown, CommitFault::Unknown),
                (c.commit_late, CommitFault::Late(delay)),
                (c.commit_fenced, CommitFault::Fenced),
                (c.commit_delayed, CommitFault::Delayed(delay)),
            ])
            .unwrap_or(CommitFault::None)
    }

    /// Offsets left out before the next record.
    pub fn next_gap(&mut self) -> i64 {
        match self.random.pick(&[(self.chances.gap, ())]) {
            Some(()) => 1 + self.random.below(3) as i64,
            None => 0,
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere for a seed.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next().checked_rem(n).unwrap_or(0)
    }

    fn delay(&mut self, max: Duration) -> Duration {
        Duration::from_micros(self.below(1 + max.as_micros().min(u128::from(u64::MAX) - 1) as u64))
    }

    /// At most one of the outcomes, each with its chance in 1/1000.
    fn pick<T: Copy>(&mut self, outcomes: &[(u32, T)]) -> Option<T> {
        let mut drawn = self.below(1_000) as i64;
        outcomes.iter().find_map(|&(chance, outcome)| {
            drawn -= i64::from(chance);
            (drawn < 0).then_some(outcome)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_story_and_the_script_comes_first() {
        let draw = |seed| {
            let mut faults = Faults::new(seed);
            faults.chances =
                Chances { commit_lost: 300, commit_late: 300, max_delay: Duration::from_secs(1), ..Default::default() };
            faults.commit.push_back(CommitFault::Fenced);
            (0..50).map(|_| faults.next_commit()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert_eq!(draw(3)[0], CommitFault::Fenced);
    }

    #[test]
    fn chances_are_met() {
        let mut faults = Faults::new(7);
        faults.chances.produce_failed = 250;
        let failed = (0..10_000).filter(|_| faults.next_produce() == ProduceFault::Failed).count();
        assert!((2_200..2_800).contains(&failed), "{failed}");
        faults.chances.produce_failed = 0;
        assert!((0..1_000).all(|_| faults.next_produce() == ProduceFault::None));
    }
}
