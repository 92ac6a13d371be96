//! `forebay tail`: the newest events of a topic, and what arrives after them, told apart by their offsets.

mod letter;

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use self::letter::{Letter, plain};
use crate::{
    args,
    backend::{self, Purpose},
    client::Client,
    context::Context,
    exit::{Failure, Outcome},
    signals,
    ui::{self, Format, table},
};

/// Between two looks.
const POLL: Duration = Duration::from_millis(500);
/// The most events that one look can show.
const MOST: u32 = 1000;

/// One page of the newest events, whose texts are passed on as they stand: no number of theirs is rounded.
#[derive(Debug, Deserialize)]
struct Page {
    events: Vec<Box<RawValue>>,
    high_watermarks: BTreeMap<String, i64>,
}

/// Where an event stands: all that is needed to count it, whatever else it holds.
#[derive(Debug, Deserialize)]
struct Place {
    partition: i32,
    offset: i64,
}

/// What is told of an event on one line.
#[derive(Debug, Deserialize)]
struct Line<'a> {
    partition: i32,
    offset: i64,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    event_type: String,
    /// Text, or `{"base64": …}` if it is none.
    key: Option<Value>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Runs the verb.
pub async fn run(args: &args::Tail, context: &Context) -> Outcome {
    let format = context.output.format;
    if args.follow && format == Format::Json {
        return Err(Failure::usage("-f never comes to the end of a JSON array: use --format ndjson"));
    }
    let backend = backend::open(&args.target, context, Purpose::Manage).await?;
    let shown = if args.follow {
        follow(backend.client(), args, context).await
    } else {
        once(backend.client(), args, context).await
    };
    let closed = backend.close().await;
    shown.and(closed)
}

async fn once(client: &Client, args: &args::Tail, context: &Context) -> Outcome {
    let mut events = page(client, &args.topic, args.lines).await?.events;
    events.reverse();
    if events.is_empty() && args.lines > 0 {
        return Err(Failure::nothing(format!("topic {} has no events yet", args.topic)));
    }
    match context.output.format {
        Format::Json => context.output.said(&events, ""),
        Format::Table => match events.iter().map(|event| Letter::read(event)).collect::<Option<Vec<_>>>() {
            Some(letters) if !letters.is_empty() => {
                context.output.line(&table::columns(&letter::TITLES, letters.iter().map(Letter::cells)))
            }
            _ => events.iter().try_for_each(|event| show(event, context)),
        },
        Format::Ndjson => events.iter().try_for_each(|event| show(event, context)),
    }
}

async fn follow(client: &Client, args: &args::Tail, context: &Context) -> Outcome {
    let asked = signals::listen()?;
    let first = page(client, &args.topic, args.lines).await?;
    let mut position = Position(first.high_watermarks);
    for event in first.events.iter().rev() {
        show(event, context)?;
    }
    loop {
        tokio::select! {
            () = asked.cancelled() => return Ok(()),
            () = tokio::time::sleep(POLL) => {}
        }
        let news = position.advance(page(client, &args.topic, MOST).await?);
        for gap in &news.missed {
            ui::note(&gap.to_string());
        }
        for event in &news.events {
            show(event, context)?;
        }
    }
}

async fn page(client: &Client, topic: &str, limit: u32) -> Result<Page, Failure> {
    // The API shows one at least; with -n 0 only its watermarks count.
    let query = [("limit", limit.max(1).to_string())];
    let mut page: Page = client.get(&["api", "v1", "events", topic, "latest"], &query).await?;
    page.events.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(page)
}

/// Next offset of each partition.
#[derive(Debug)]
struct Position(BTreeMap<String, i64>);

/// Offsets that were not shown.
#[derive(Debug, PartialEq, Eq)]
struct Missed {
    partition: String,
    records: i64,
    from: i64,
    to: i64,
}

impl std::fmt::Display for Missed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { partition, records, from, to } = self;
        write!(
            f,
            "missed {records} events of partition {partition} (offsets {from} to {to}): more come than can be shown"
        )
    }
}

#[derive(Debug)]
struct News {
    events: Vec<Box<RawValue>>,
    missed: Vec<Missed>,
}

impl Position {
    /// The events of a page (newest first) that were not shown yet, oldest first, and what stands between but is not on
    /// the page. Counts up to the page's watermarks; what came later is for the next page.
    fn advance(&mut self, page: Page) -> News {
        let mut fresh: BTreeMap<String, i64> = BTreeMap::new();
        let mut events = Vec::new();
        for event in page.events.into_iter().rev() {
            let Ok(Place { partition, offset }) = serde_json::from_str(event.get()) else { continue };
            let partition = partition.to_string();
            let next = self.0.get(&partition).copied().unwrap_or(0);
            let high = page.high_watermarks.get(&partition).copied().unwrap_or(0);
            if (next..high).contains(&offset) {
                *fresh.entry(partition).or_default() += 1;
                events.push(event);
            }
        }
        let mut missed = Vec::new();
        for (partition, high) in page.high_watermarks {
            let next = self.0.get(&partition).copied().unwrap_or(0);
            let records = high - next - fresh.get(&partition).copied().unwrap_or(0);
            if records > 0 {
                missed.push(Missed { partition: partition.clone(), records, from: next, to: high - 1 });
            }
            self.0.insert(partition, high.max(next));
        }
        News { events, missed }
    }
}

fn show(event: &RawValue, context: &Context) -> Outcome {
    match context.output.format {
        Format::Table => context.output.line(&sentence(event)),
        _ => context.output.line(event.get()),
    }
}

/// One line for a person: where, when, key, type, payload; of a dead letter, why it is one.
fn sentence(event: &RawValue) -> String {
    if let Some(letter) = Letter::read(event) {
        return letter.cells().join("  ");
    }
    let Ok(line) = serde_json::from_str::<Line<'_>>(event.get()) else { return plain(event.get()) };
    let Line { partition, offset, timestamp, event_type, .. } = &line;
    let told = match line.error {
        Some(error) => format!("{partition}:{offset}  undecodable: {error}"),
        None => {
            let key = match &line.key {
                None => "-".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(bytes) => bytes.to_string(),
            };
            let payload = line.payload.map_or("-", RawValue::get);
            format!("{partition}:{offset}  {timestamp}  {key}  {event_type}  {payload}")
        }
    };
    plain(&told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn page(events: &[(i64, i64)], high: &[(&str, i64)]) -> Page {
        Page {
            events: events.iter().map(|(p, o)| raw(&format!(r#"{{"partition":{p},"offset":{o}}}"#))).collect(),
            high_watermarks: high.iter().map(|(p, o)| ((*p).to_owned(), *o)).collect(),
        }
    }

    #[test]
    fn shows_each_event_once_and_counts_what_it_missed() {
        let mut position = Position(BTreeMap::from([("0".into(), 5), ("1".into(), 0)]));
        // Newest first; 0:7 came after the watermarks were taken.
        let news = position.advance(page(&[(0, 7), (0, 6), (0, 5), (0, 4)], &[("0", 7), ("1", 0)]));
        let offset = |event: &RawValue| serde_json::from_str::<Place>(event.get()).unwrap().offset;
        assert_eq!(news.events.iter().map(|event| offset(event)).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(news.missed, []);
        let news = position.advance(page(&[(1, 9), (1, 8), (0, 7)], &[("0", 8), ("1", 10)]));
        assert_eq!(news.events.len(), 3);
        assert_eq!(news.missed, [Missed { partition: "1".into(), records: 8, from: 0, to: 9 }]);
        let news = position.advance(page(&[(1, 9), (0, 7)], &[("0", 8), ("1", 10)]));
        assert_eq!((news.events.len(), news.missed.len()), (0, 0));
    }

    #[test]
    fn a_key_of_bytes_is_shown_and_not_missed() {
        let event =
            r#"{"partition":0,"offset":5,"timestamp":"t","key":{"base64":"/w=="},"event_type":"e","payload":1}"#;
        let page = Page { events: vec![raw(event)], high_watermarks: BTreeMap::from([("0".into(), 6)]) };
        let news = Position(BTreeMap::from([("0".into(), 5)])).advance(page);
        assert_eq!((news.events.len(), news.missed), (1, Vec::new()));
        assert_eq!(sentence(&news.events[0]), r#"0:5  t  {"base64":"/w=="}  e  1"#);
    }

    #[test]
    fn a_terminal_obeys_nothing_of_an_event() {
        let event = r#"{"partition":0,"offset":0,"timestamp":"t","key":"\u001b[2J","event_type":"\u001b]0;x\u0007","payload":"\u009b2J"}"#;
        let event = event.replace("\\u009b", "\u{9b}");
        assert_eq!(sentence(&raw(&event)), r#"0:0  t  \u{1b}[2J  \u{1b}]0;x\u{7}  "\u{9b}2J""#);
    }

    #[test]
    fn one_line_says_it() {
        let event = r#"{"partition":1,"offset":2,"timestamp":"t","key":null,"event_type":"e","payload":{"a": 1.50}}"#;
        assert_eq!(sentence(&raw(event)), r#"1:2  t  -  e  {"a": 1.50}"#);
        let event = r#"{"partition":1,"offset":2,"event":null,"error":{"code":"undecodable"}}"#;
        assert_eq!(sentence(&raw(event)), r#"1:2  undecodable: {"code":"undecodable"}"#);
        let letter = r#"{"partition":1,"offset":2,"event":null,"error":{"code":"undecodable"},"headers":{"forebay.v":"1",
            "__connect.errors.topic":"t","forebay.dedupe-key":"http/r/0","forebay.reason":"VALIDATION_FAILED"}}"#;
        assert_eq!(sentence(&raw(letter)), "1:2  -  -  -  VALIDATION_FAILED  t http/r/0  -");
    }
}
