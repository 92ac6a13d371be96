//! Names of topics: which are possible, and which may be written over HTTP.

/// Longest topic name, in bytes.
pub const TOPIC_BYTES: usize = 249;

/// `[A-Za-z0-9._-]{1,249}`, not `.`, `..` or `history`; else what is wrong.
pub fn check_topic(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > TOPIC_BYTES {
        return Err(format!("a topic name has 1 to {TOPIC_BYTES} characters, this one has {}", name.len()));
    }
    if let Some(bad) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))) {
        return Err(format!("a topic name holds letters, digits, '.', '_' and '-' only, not {bad:?}"));
    }
    match name {
        "." | ".." | "history" => Err(format!("{name:?} is reserved: choose another name")),
        _ => Ok(()),
    }
}

/// Whether callers may write to it: not `__*`, not `replay.*`, and no topic that `dlq_template` can name.
pub fn is_writable(topic: &str, dlq_template: &str) -> bool {
    !forebay_broker::is_internal(topic) && !forebay_broker::dead_letter::topic::can_be(topic, dlq_template)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_names() {
        for good in ["a", "A.b_c-9", &"x".repeat(249)] {
            assert_eq!(check_topic(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "history", "a/b", "ä", "a b", "a\n", &"x".repeat(250)] {
            assert!(check_topic(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn writable_topics() {
        let cases = [
            ("flights", "events.dlq", true),
            ("events.dlq", "events.dlq", false),
            ("__state", "events.dlq", false),
            ("replay.lake", "events.dlq", false),
            ("flights-dlq", "{topic}-dlq", false),
            ("-dlq", "{topic}-dlq", true),
            ("flights-dlq-2", "{topic}-dlq", true),
            ("dlq.lake.flights", "dlq.{connector}.{topic}", false),
            ("dlq.lake.", "dlq.{connector}.{topic}", true),
        ];
        for (topic, template, writable) in cases {
            assert_eq!(is_writable(topic, template), writable, "{topic} under {template}");
        }
    }
}
