//! The log's refusals in the caller's words. What is wrong with the log itself goes to our log, not to callers.

use forebay_avro::violation::{Segment, Violation};
use forebay_broker::{LogError, OutsideLimit, ProduceError, Side};

use super::{Code, ErrorItem, Problem};
use crate::address::rfc3339_ms;

/// What a caller is told of an event without a key.
pub(crate) const NO_KEY: &str = "The event has no key, and its topic wants one.";

/// Where the disk is stands in our log only.
const NO_ROOM: &str = "The log's disk is almost full: who runs this service must make room, then records are taken \
                       again.";

/// What a caller is told of an event whose timestamp its topic does not take.
pub(crate) const OUT_OF_RANGE: &str = "The event's timestamp is too far from now for its topic.";

/// The place and the limit, and what to do about it.
pub(crate) fn out_of_range(outside: &OutsideLimit) -> Violation {
    let OutsideLimit { topic, timestamp_ms, side, limit_ms } = outside;
    let (time, setting, from_now) = (rfc3339_ms(*timestamp_ms), side.setting(), side.words());
    let (than, first) = match side {
        Side::Before => ("earlier", ""),
        Side::After => ("later", "mend the sender's clock, "),
    };
    let msg = format!(
        "{time} is over {limit_ms} ms {from_now} now, and this topic takes none {than} ({setting}): {first}raise that \
         setting, or set topics.{topic}.record_timestamp: receipt"
    );
    let path = vec![Segment::Name("timestamp".into())];
    Violation { path, msg, kind: "timestamp_out_of_range", expected: None, got: None }
}

/// A question that the log did not answer.
pub(crate) fn log_problem(error: LogError) -> Problem {
    match error {
        LogError::UnknownTopic(topic) => Problem::new(
            Code::UnknownTopic,
            format!(
                "The topic {topic:?} does not exist. Create it with POST /api/v1/topics, `forebay topics create {topic}`, or \
                 `topics:` in forebay.yaml."
            ),
        ),
        LogError::OffsetOutOfRange { .. } => {
            Problem::new(Code::LogUnavailable, "The topic changed while it was read: ask again.")
        }
        LogError::Unavailable(reason) => {
            tracing::warn!(reason, "The log can't be used now.");
            Problem::new(Code::LogUnavailable, "The log can't be used now.")
        }
        LogError::NoRoom(_) => Problem::new(Code::LogUnavailable, NO_ROOM),
        LogError::Unknown(reason) => {
            tracing::warn!(reason, "The log did not answer in time.");
            Problem::new(Code::DeliveryUnknown, "The log did not answer in time: it may be done or not.")
        }
        LogError::Closed => Problem::new(Code::Draining, "The service is shutting down."),
        error @ (LogError::Denied(_) | LogError::Fatal(_)) => {
            tracing::error!(%error, "The log can't be used until this is mended.");
            Problem::new(Code::LogUnavailable, "The log can't be used now.")
        }
        // Nothing of a request leads there.
        error @ (LogError::TopicExists(_)
        | LogError::Invalid(_)
        | LogError::GroupNotEmpty(_)
        | LogError::ConsumerEnded(_)) => {
            tracing::error!(%error, "The log was asked for something impossible.");
            Problem::new(Code::Internal, "The log was asked for something impossible.")
        }
    }
}

/// A topic that a caller wants, and that was not made.
pub(crate) fn not_created(error: LogError) -> Problem {
    match error {
        LogError::TopicExists(name) => Problem::new(Code::TopicExists, format!("The topic {name:?} exists already.")),
        LogError::Invalid(reason) => {
            Problem::new(Code::RequestValidationFailed, "The topic can't be created as asked.")
                .with(vec![ErrorItem::body("value_error", reason)])
        }
        error => log_problem(error),
    }
}

/// A topic that was to be made for its first event, of which nothing is stored.
pub(crate) fn no_topic(topic: &str, error: LogError) -> Problem {
    match error {
        LogError::Invalid(reason) => {
            let detail =
                format!("The topic {topic:?} does not exist, and can't be created for its first event: {reason}.");
            Problem::new(Code::UnknownTopic, detail)
        }
        LogError::Unknown(reason) => {
            tracing::warn!(topic, reason, "A topic is not there yet.");
            Problem::new(Code::LogUnavailable, "The topic is being made: send it again; nothing was stored.")
        }
        error => log_problem(error),
    }
}

/// A record that was not stored, or maybe not. The reason is for [`note`].
pub(crate) fn produce_problem(error: ProduceError) -> Problem {
    match error {
        ProduceError::QueueFull => Problem::new(Code::QueueFull, "The producer's queue is full: try again shortly."),
        ProduceError::UnknownTopic(topic) => {
            Problem::new(Code::UnknownTopic, format!("The topic {topic:?} does not exist any more."))
        }
        ProduceError::KeyRequired(_) => Problem::new(Code::KeyRequired, NO_KEY),
        ProduceError::Timestamp(outside) => Problem::new(Code::TimestampOutOfRange, OUT_OF_RANGE)
            .with(vec![ErrorItem::violation(out_of_range(&outside), &[])]),
        ProduceError::TooLarge { bytes, max } => {
            Problem::new(Code::EventTooLarge, format!("The record has {bytes} bytes, over the topic's limit of {max}."))
        }
        ProduceError::Invalid(reason) => Problem::new(Code::RequestValidationFailed, "The log refuses the record.")
            .with(vec![ErrorItem::body("value_error", reason)]),
        ProduceError::Unavailable(_) | ProduceError::Denied(_) => {
            Problem::new(Code::LogUnavailable, "The log can't take records now; nothing was stored.")
        }
        ProduceError::NoRoom(_) => Problem::new(Code::LogUnavailable, format!("{NO_ROOM} Nothing was stored.")),
        ProduceError::Unknown(_) => delivery_unknown(),
    }
}

/// The trouble of a dead letter is ours to mend, not that of the event's sender.
pub(crate) fn no_dead_letters() -> Problem {
    Problem::new(Code::LogUnavailable, "The dead letter topic can't be written now.")
}

/// What a caller is told who has no receipt.
pub(crate) fn delivery_unknown() -> Problem {
    Problem::new(Code::DeliveryUnknown, "No receipt came in time: the event may be stored or not.")
}

/// Tells our log what is wrong with the log, if that is why records have no receipts: once for a call. That there is no
/// room, the log has told itself, when it began.
pub(crate) fn note<'a>(topic: &str, errors: impl IntoIterator<Item = &'a ProduceError>) {
    let ours = |error: &&ProduceError| {
        matches!(error, ProduceError::Unavailable(_) | ProduceError::Denied(_) | ProduceError::Unknown(_))
    };
    let mut errors = errors.into_iter().filter(ours);
    let Some(error) = errors.next() else { return };
    let records = 1 + errors.count();
    match error {
        ProduceError::Denied(reason) => {
            tracing::error!(topic, records, reason, "The log takes no records until this is mended.");
        }
        error => tracing::warn!(topic, records, %error, "Records have no receipts."),
    }
}

#[cfg(test)]
mod tests {
    use forebay_broker::TopicPartition;

    use super::*;

    fn log_errors() -> [LogError; 12] {
        let why = || "why".to_owned();
        [
            LogError::UnknownTopic(why()),
            LogError::TopicExists(why()),
            LogError::OffsetOutOfRange { part: TopicPartition::new("t", 0), offset: 9, low: 0, high: 5 },
            LogError::GroupNotEmpty(why()),
            LogError::Invalid(why()),
            LogError::Unavailable(why()),
            LogError::NoRoom(why()),
            LogError::Denied(why()),
            LogError::Unknown(why()),
            LogError::ConsumerEnded(why()),
            LogError::Fatal(why()),
            LogError::Closed,
        ]
    }

    /// For each error: asking, making a topic, making one for an event.
    #[test]
    fn what_an_error_of_the_log_means_depends_on_what_was_asked() {
        use Code::*;
        let expected = [
            [UnknownTopic, UnknownTopic, UnknownTopic],
            [Internal, TopicExists, Internal],
            [LogUnavailable, LogUnavailable, LogUnavailable],
            [Internal, Internal, Internal],
            [Internal, RequestValidationFailed, UnknownTopic],
            [LogUnavailable, LogUnavailable, LogUnavailable],
            [LogUnavailable, LogUnavailable, LogUnavailable],
            [LogUnavailable, LogUnavailable, LogUnavailable],
            [DeliveryUnknown, DeliveryUnknown, LogUnavailable],
            [Internal, Internal, Internal],
            [LogUnavailable, LogUnavailable, LogUnavailable],
            [Draining, Draining, Draining],
        ];
        for (error, codes) in log_errors().into_iter().zip(expected) {
            let made = [log_problem(error.clone()), not_created(error.clone()), no_topic("t", error.clone())];
            assert_eq!(made.map(|problem| problem.code), codes, "{error}");
        }
    }

    fn outside(side: Side) -> OutsideLimit {
        OutsideLimit { topic: "t".to_owned(), timestamp_ms: 1_700_000_000_000, side, limit_ms: 5 }
    }

    #[test]
    fn an_untaken_timestamp_is_told_with_its_limit() {
        for (side, words) in [
            (
                Side::Before,
                "over 5 ms before now, and this topic takes none earlier (message.timestamp.before.max.ms): raise",
            ),
            (
                Side::After,
                "over 5 ms ahead of now, and this topic takes none later (message.timestamp.after.max.ms): mend",
            ),
        ] {
            let Violation { msg, .. } = out_of_range(&outside(side));
            assert!(msg.starts_with("2023-11-14T22:13:20.000Z is") && msg.contains(words), "{msg}");
            assert!(msg.ends_with("raise that setting, or set topics.t.record_timestamp: receipt"), "{msg}");
        }
    }

    #[test]
    fn callers_hear_what_they_can_mend_and_nothing_of_our_affairs() {
        let secret = || "broker-7.internal:9092 refuses user forebay".to_owned();
        let cases = [
            (ProduceError::QueueFull, Code::QueueFull),
            (ProduceError::UnknownTopic("t".to_owned()), Code::UnknownTopic),
            (ProduceError::KeyRequired("t".to_owned()), Code::KeyRequired),
            (ProduceError::Timestamp(outside(Side::After)), Code::TimestampOutOfRange),
            (ProduceError::TooLarge { bytes: 9, max: 5 }, Code::EventTooLarge),
            (ProduceError::Invalid("its time is out of range".to_owned()), Code::RequestValidationFailed),
            (ProduceError::Unavailable(secret()), Code::LogUnavailable),
            (ProduceError::NoRoom(secret()), Code::LogUnavailable),
            (ProduceError::Denied(secret()), Code::LogUnavailable),
            (ProduceError::Unknown(secret()), Code::DeliveryUnknown),
        ];
        for (error, code) in cases {
            let problem = produce_problem(error);
            assert_eq!(problem.code, code);
            let text = problem.document("/", "c", None, None);
            assert!(!text.contains("broker-7"), "{text}");
        }
        let ours = [LogError::Unavailable, LogError::NoRoom, LogError::Denied, LogError::Fatal];
        for error in ours.map(|error| error(secret())) {
            let text = log_problem(error).document("/", "c", None, None);
            assert!(!text.contains("broker-7"), "{text}");
        }
    }
}
