//! A dead letter for a person: where and why it failed, and where it stood. All its headers are in the JSON.

use std::collections::BTreeMap;

use forebay_broker::dead_letter::names;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

/// Titles of [`Letter::cells`].
pub const TITLES: [&str; 7] = ["at", "failed at", "connector", "stage", "reason", "from", "message"];

/// What of a record tells about a dead letter.
#[derive(Debug, Deserialize)]
pub struct Letter {
    partition: i32,
    offset: i64,
    /// Text, `{"base64": …}` or null.
    #[serde(default)]
    headers: BTreeMap<String, Value>,
}

impl Letter {
    /// `None`: the record is no dead letter.
    pub fn read(event: &RawValue) -> Option<Self> {
        let letter: Self = serde_json::from_str(event.get()).ok()?;
        [names::VERSION, names::TOPIC].iter().all(|name| letter.headers.contains_key(*name)).then_some(letter)
    }

    fn header(&self, name: &str) -> String {
        self.headers.get(name).and_then(Value::as_str).map_or_else(|| "-".to_owned(), plain)
    }

    /// One cell a title.
    pub fn cells(&self) -> Vec<String> {
        vec![
            format!("{}:{}", self.partition, self.offset),
            self.failed_at(),
            self.header(names::CONNECTOR),
            self.header(names::STAGE),
            self.header(names::REASON),
            self.origin(),
            self.header(names::MESSAGE),
        ]
    }

    fn failed_at(&self) -> String {
        let ms = self.header(names::FAILED_AT);
        let at = ms.parse().ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.map_or(ms, |at| format!("{at:.3}"))
    }

    /// `<topic> <partition>:<offset>`, or for an event that was refused at the API `<topic> http/<request id>/<index>`.
    fn origin(&self) -> String {
        let topic = self.header(names::TOPIC);
        if self.headers.contains_key(names::PARTITION) {
            return format!("{topic} {}:{}", self.header(names::PARTITION), self.header(names::OFFSET));
        }
        format!("{topic} {}", self.header(names::DEDUPE_KEY))
    }
}

/// Text of others, on one line and without what a terminal would obey.
pub fn plain(text: &str) -> String {
    let escaped = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use forebay_broker::{
        Headers, TimestampType, TopicPartition,
        dead_letter::{DeadLetter, Origin, Reason, Stage},
    };
    use serde_json::json;

    use super::*;

    fn cells(origin: Origin, connector: &str, message: &str) -> String {
        let letter = DeadLetter {
            origin,
            connector: connector.into(),
            task: None,
            stage: Stage::ValueConverter,
            reason: Reason::TypeMismatch,
            component: "forebay.converter.avro",
            message: message.to_owned(),
            causes: Vec::new(),
            errors: Vec::new(),
            schema_id: None,
            subject: None,
            reader_schema_id: None,
            destination: None,
            timestamp_ms: 0,
            timestamp_type: TimestampType::Create,
            failed_at_ms: 1_700_000_000_500,
            tries: 1,
        };
        let headers = letter.headers(&Headers::default()).0;
        let headers: BTreeMap<_, _> =
            headers.iter().map(|(name, value)| (&**name, value.as_ref().map(|v| String::from_utf8_lossy(v)))).collect();
        let event = json!({"event": null, "error": {}, "partition": 4, "offset": 12, "key": null, "headers": headers});
        Letter::read(&RawValue::from_string(event.to_string()).unwrap()).unwrap().cells().join("  ")
    }

    #[test]
    fn a_dead_letter_says_why_it_is_one_and_where_it_stood() {
        let cluster_id = Arc::from("c");
        let stood = Origin::Log { cluster_id, topic_id: None, part: TopicPartition::new("payments", 3), offset: 5512 };
        let head = "4:12  2023-11-14T22:13:20.500Z";
        assert_eq!(
            cells(stood, "lake", "No double.\n\u{1b}[2J"),
            format!("{head}  lake  VALUE_CONVERTER  TYPE_MISMATCH  payments 3:5512  No double.\\n\\u{{1b}}[2J")
        );
        let refused = Origin::Http { topic: "payments".into(), request_id: "r9".into(), index: 4 };
        assert_eq!(
            cells(refused, "http", "At /a: no."),
            format!("{head}  http  VALUE_CONVERTER  TYPE_MISMATCH  payments http/r9/4  At /a: no.")
        );
    }

    #[test]
    fn what_is_no_dead_letter_is_not_shown_as_one() {
        let mut bare = json!({"partition": 0, "offset": 1, "headers": {}});
        for header in [None, Some(names::VERSION)] {
            if let Some(name) = header {
                bare["headers"][name] = "1".into();
            }
            assert!(Letter::read(&RawValue::from_string(bare.to_string()).unwrap()).is_none(), "{bare}");
        }
        bare["headers"][names::TOPIC] = Value::Null;
        let letter = Letter::read(&RawValue::from_string(bare.to_string()).unwrap()).unwrap();
        assert_eq!(letter.cells().join(" "), "0:1 - - - - - - -", "damaged ones are shown all the same");
    }
}
