//! NDJSON in: lines of a file or of stdin, gathered into batches. Knows no HTTP.

use std::io::{self, BufRead, BufReader, Read};

use serde_json::value::RawValue;
use uuid::Uuid;

/// Events in one batch.
pub const BATCH_EVENTS: usize = 500;
/// Bytes of one batch, below the API's default limit of a body.
const BATCH_BYTES: usize = 4 << 20;
/// Longest line: an event of 1 MiB, which is the API's default limit, with room to be refused by it in its words.
pub const MAX_LINE_BYTES: usize = 2 << 20;

const READ_BYTES: usize = 256 << 10;

/// A line that is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// From 1, empty lines counted.
    pub number: u64,
    /// An event as JSON.
    pub event: String,
}

/// A line that can't be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// From 1.
    pub number: u64,
    /// Why.
    pub reason: String,
}

/// What was read at a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// To be sent, in order.
    pub lines: Vec<Line>,
    /// Refused already.
    pub bad: Vec<BadLine>,
    /// Bytes of the input that were read up to its end.
    pub read_bytes: u64,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.bad.is_empty()
    }
}

/// Reads batches.
#[derive(Debug)]
pub struct Batches<R> {
    input: BufReader<R>,
    /// The input may keep us waiting: a batch is handed out before the next read, full or not.
    slow: bool,
    number: u64,
    bytes: u64,
    wrap: Option<String>,
}

impl<R: Read> Batches<R> {
    /// `slow`: whether reading may wait for someone, as with a pipe. `wrap`: lines are payloads, and this is the
    /// `event_type` of the events made of them.
    pub fn new(input: R, slow: bool, wrap: Option<String>) -> Self {
        Self { input: BufReader::with_capacity(READ_BYTES, input), slow, number: 0, bytes: 0, wrap }
    }

    /// The next batch; `None` at the end.
    pub fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while batch.lines.len() + batch.bad.len() < BATCH_EVENTS && bytes < BATCH_BYTES {
            if self.slow && !batch.is_empty() && !self.input.buffer().contains(&b'\n') {
                break;
            }
            let Some(text) = self.next_line()? else { break };
            match text.and_then(|text| self.event(text)) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    bytes += event.len();
                    batch.lines.push(Line { number: self.number, event });
                }
                Err(reason) => batch.bad.push(BadLine { number: self.number, reason }),
            }
        }
        batch.read_bytes = self.bytes;
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// One line without its end; an error inside is about this line only.
    fn next_line(&mut self) -> io::Result<Option<Result<String, String>>> {
        let mut line = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        let read = (&mut self.input).take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read as u64;
        if read > MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            self.bytes += skip_line(&mut self.input)?;
            return Ok(Some(Err(format!("the line has more than {MAX_LINE_BYTES} bytes"))));
        }
        Ok(Some(
            String::from_utf8(line).map_err(|error| {
                format!("the line is no UTF-8: byte {} is wrong", error.utf8_error().valid_up_to() + 1)
            }),
        ))
    }

    /// The event that a line stands for; `None` for an empty line. A line must be exactly one JSON value: the batch is
    /// put together from texts.
    fn event(&self, line: String) -> Result<Option<String>, String> {
        let line = line.trim_matches(['\n', '\r', ' ', '\t', '\u{feff}']);
        if line.is_empty() {
            return Ok(None);
        }
        if let Err(error) = serde_json::from_str::<&RawValue>(line) {
            let error = error.to_string();
            let words = error.split(" at line ").next().unwrap_or(&error);
            let place =
                error.rsplit_once("column ").map_or(String::new(), |(_, column)| format!(" at column {column}"));
            return Err(format!("the line is no JSON: {words}{place}"));
        }
        let Some(event_type) = &self.wrap else { return Ok(Some(line.to_owned())) };
        let (id, now) = (Uuid::now_v7(), jiff::Timestamp::now());
        let event_type = serde_json::Value::from(event_type.as_str());
        Ok(Some(format!(r#"{{"event_id":"{id}","timestamp":"{now:.3}","event_type":{event_type},"payload":{line}}}"#)))
    }
}

/// Reads past the end of the line, holding nothing of it.
fn skip_line(input: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = input.fill_buf()?;
        let (used, done) = match buffer.iter().position(|b| *b == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        input.consume(used);
        skipped += used as u64;
        if done {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], wrap: Option<&str>) -> Vec<Batch> {
        let mut batches = Batches::new(text, false, wrap.map(str::to_owned));
        std::iter::from_fn(|| batches.next_batch().unwrap()).collect()
    }

    #[test]
    fn numbers_lines_and_tells_bad_ones_apart() {
        let text = b"{\"a\":1}\n\n  \r\n{\"a\":2}\r\n{\"a\":\n{\"a\":3},{\"a\":4}\n\xff\n{\"a\":5}";
        let [batch] = &all(text, None)[..] else { panic!("one batch") };
        let lines: Vec<_> = batch.lines.iter().map(|l| (l.number, l.event.as_str())).collect();
        assert_eq!(lines, [(1, "{\"a\":1}"), (4, "{\"a\":2}"), (8, "{\"a\":5}")]);
        let bad: Vec<_> = batch.bad.iter().map(|b| b.number).collect();
        assert_eq!(bad, [5, 6, 7]);
        assert!(batch.bad[0].reason.contains("EOF while parsing") && batch.bad[0].reason.ends_with("column 5"));
        assert!(batch.bad[1].reason.contains("trailing characters at column 8"), "{:?}", batch.bad);
        assert!(batch.bad[2].reason.contains("byte 1 is wrong"), "{:?}", batch.bad);
    }

    #[test]
    fn batches_hold_500_lines() {
        let text = "{}\n".repeat(1_001);
        let sizes: Vec<_> = all(text.as_bytes(), None).iter().map(|b| b.lines.len()).collect();
        assert_eq!(sizes, [500, 500, 1]);
        assert_eq!(all(b"", None), []);
        assert_eq!(all(b"\n\n", None), []);
    }

    #[test]
    fn a_slow_input_is_not_waited_for() {
        let mut batches = Batches::new(Trickle(vec!["{}\n{}\n{", "}\n"].into_iter()), true, None);
        let sizes: Vec<_> = std::iter::from_fn(|| batches.next_batch().unwrap()).map(|b| b.lines.len()).collect();
        assert_eq!(sizes, [2, 1]);
    }

    struct Trickle(std::vec::IntoIter<&'static str>);

    impl Read for Trickle {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some(text) = self.0.next() else { return Ok(0) };
            buffer[..text.len()].copy_from_slice(text.as_bytes());
            Ok(text.len())
        }
    }

    #[test]
    fn a_line_has_a_limit() {
        for (extra, ok) in [(-1, true), (0, true), (1, false)] {
            let digits = (MAX_LINE_BYTES as i64 + extra) as usize;
            let text = format!("{}\n{{}}\n", "1".repeat(digits));
            let [batch] = &all(text.as_bytes(), None)[..] else { panic!("one batch") };
            assert_eq!((batch.bad.len(), batch.lines.len()), if ok { (0, 2) } else { (1, 1) }, "{extra}");
            assert_eq!(batch.lines.last().map(|l| l.number), Some(2));
        }
    }

    #[test]
    fn wraps_payloads() {
        let [batch] = &all(b"{\"v\":1.50}\n", Some("sen\"sors"))[..] else { panic!("one batch") };
        let event: serde_json::Value = serde_json::from_str(&batch.lines[0].event).unwrap();
        assert_eq!(event["event_type"], "sen\"sors");
        assert_eq!(Uuid::parse_str(event["event_id"].as_str().unwrap()).unwrap().get_version_num(), 7);
        assert!(event["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(batch.lines[0].event.ends_with(r#""payload":{"v":1.50}}"#), "the payload is passed on as it stands");
    }
}
