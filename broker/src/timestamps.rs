//! Which timestamps a topic takes. Pure. A Kafka cluster refuses records that are stamped too long before its clock, or
//! too far ahead of it, and with each the whole batch that it came in.

use std::time::{SystemTime, UNIX_EPOCH};

/// How far a cluster's clock may be from ours (fixed): what is outside a limit by no more than this is left to the cluster.
pub const CLOCK_SLACK_MS: i64 = 60_000;

/// How far from now a record's timestamp may be, ms; [`i64::MAX`]: any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampLimits {
    /// `message.timestamp.before.max.ms`.
    pub before_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_ms: i64,
}

/// A timestamp that its topic does not take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "topic {topic:?} takes no record with timestamp {timestamp_ms}, over {limit_ms} ms {} now ({})",
    .side.words(), .side.setting()
)]
pub struct OutsideLimit {
    /// The topic.
    pub topic: String,
    /// The record's timestamp, ms since the epoch.
    pub timestamp_ms: i64,
    /// The limit that it passes.
    pub side: Side,
    /// How far it may be from now on that side, ms.
    pub limit_ms: i64,
}

/// A side of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The past.
    Before,
    /// The future.
    After,
}

impl Side {
    /// Kafka's name of the limit on this side.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Before => "message.timestamp.before.max.ms",
            Self::After => "message.timestamp.after.max.ms",
        }
    }

    /// The side in words: "… now".
    pub fn words(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::After => "ahead of",
        }
    }
}

impl TimestampLimits {
    /// Every timestamp is taken.
    pub const NONE: Self = Self { before_ms: i64::MAX, after_ms: i64::MAX };
    /// Kafka's default since 4.0: an hour ahead.
    pub const DEFAULT: Self = Self { after_ms: 3_600_000, ..Self::NONE };

    /// By a topic's settings as they hold, its own or its cluster's; `None` where they may not be seen.
    pub(crate) fn of<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        if setting("message.timestamp.type")? == "LogAppendTime" {
            // The cluster stamps them itself.
            return Some(Self::NONE);
        }
        let ms = |name: &str| setting(name)?.parse().ok().filter(|ms| *ms != i64::MAX);
        // Kafka before 4.0 has one for both sides, for where neither is set.
        let both = ms("message.timestamp.difference.max.ms").unwrap_or(i64::MAX);
        let on = |side: Side| ms(side.setting()).unwrap_or(both);
        Some(Self { before_ms: on(Side::Before), after_ms: on(Side::After) })
    }

    /// The limit that a timestamp passes by our clock, if it does so by more than `slack_ms`.
    pub fn passed(self, topic: &str, timestamp_ms: i64, now_ms: i64, slack_ms: i64) -> Option<OutsideLimit> {
        let ahead = timestamp_ms.saturating_sub(now_ms);
        let (side, far, limit_ms) = match ahead < 0 {
            true => (Side::Before, ahead.saturating_neg(), self.before_ms),
            false => (Side::After, ahead, self.after_ms),
        };
        let outside = far > limit_ms.saturating_add(slack_ms);
        outside.then(|| OutsideLimit { topic: topic.to_owned(), timestamp_ms, side, limit_ms })
    }

    /// The limit that a timestamp passes whatever the cluster's clock says.
    pub fn surely_passed(self, topic: &str, timestamp_ms: i64, now_ms: i64) -> Option<OutsideLimit> {
        self.passed(topic, timestamp_ms, now_ms, CLOCK_SLACK_MS)
    }
}

/// Now, ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_passed_on_its_own_side_only() {
        let limits = TimestampLimits { before_ms: 1_000, after_ms: 200 };
        let now = 1_700_000_000_000;
        let table = [
            (limits, now, 0, None),
            (limits, now + 200, 0, None),
            (limits, now + 201, 0, Some((Side::After, 200))),
            (limits, now + 201, 1, None),
            (limits, now - 1_000, 0, None),
            (limits, now - 1_001, 0, Some((Side::Before, 1_000))),
            (limits, now - 1_001, 1, None),
            (limits, i64::MAX, 5, Some((Side::After, 200))),
            (limits, i64::MIN, 5, Some((Side::Before, 1_000))),
            (TimestampLimits::NONE, i64::MAX, 0, None),
            (TimestampLimits::NONE, i64::MIN, 0, None),
            (TimestampLimits::DEFAULT, now + 3_600_001, 0, Some((Side::After, 3_600_000))),
            (TimestampLimits::DEFAULT, i64::MIN, 0, None),
        ];
        for (limits, timestamp_ms, slack, expected) in table {
            let passed = limits.passed("t", timestamp_ms, now, slack);
            let found = passed.as_ref().map(|outside| (outside.side, outside.limit_ms));
            assert_eq!(found, expected, "{limits:?} {timestamp_ms} {slack}");
        }
    }

    #[test]
    fn settings_of_old_and_new_clusters() {
        let max = i64::MAX.to_string();
        let (before, after) = (Side::Before.setting(), Side::After.setting());
        let both = "message.timestamp.difference.max.ms";
        let table: [(&[(&str, &str)], _); 7] = [
            (
                &[("message.timestamp.type", "CreateTime"), (before, &max), (after, "3600000")],
                Some((i64::MAX, 3_600_000)),
            ),
            (
                &[("message.timestamp.type", "CreateTime"), (before, "5"), (after, &max), (both, &max)],
                Some((5, i64::MAX)),
            ),
            (&[("message.timestamp.type", "CreateTime"), (before, &max), (after, &max), (both, "7")], Some((7, 7))),
            (&[("message.timestamp.type", "CreateTime"), (before, "9"), (after, &max), (both, "7")], Some((9, 7))),
            (&[("message.timestamp.type", "CreateTime"), (both, "7")], Some((7, 7))),
            (&[("message.timestamp.type", "LogAppendTime"), (after, "7")], Some((i64::MAX, i64::MAX))),
            (&[], None),
        ];
        for (settings, expected) in table {
            let find = |name: &str| settings.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
            let limits = TimestampLimits::of(find).map(|limits| (limits.before_ms, limits.after_ms));
            assert_eq!(limits, expected, "{settings:?}");
        }
    }
}
