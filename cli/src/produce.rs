//! `forebay produce`: lines of events to the API, in batches, with every refusal told by its line.

use std::{collections::VecDeque, fs::File, io::Read, path::Path, time::Duration};

use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    args,
    backend::{self, Backend, Purpose},
    context::Context,
    exit::{Exit, Failure, Outcome},
    lines::{Batch, Batches, Line},
    receipts::{self, Verdict},
    signals,
    ui::progress::Progress,
};

/// Batches read ahead of the one that is being sent.
const READ_AHEAD: usize = 2;
/// Times that events are sent again, without any of them getting through, before the verb gives up.
const TRIES: u32 = 10;
/// Wait before an event is sent again, if the API names none; doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Tally {
    accepted: u64,
    refused: u64,
    /// No answer told whether they are stored.
    unknown: u64,
}

impl Tally {
    fn events(&self) -> u64 {
        self.accepted + self.refused + self.unknown
    }
}

#[derive(Serialize)]
struct Summary<'a> {
    topic: &'a str,
    #[serde(flatten)]
    tally: Tally,
    seconds: f64,
}

/// Runs the verb.
pub async fn run(args: &args::Produce, context: &Context) -> Outcome {
    let (input, bytes) = open(&args.file)?;
    let backend = backend::open(&args.target, context, Purpose::Publish).await?;
    let asked = signals::listen()?;
    let started = Instant::now();
    let mut sender =
        Sender { backend: &backend, topic: &args.topic, progress: Progress::events(bytes), tally: Tally::default() };
    let wrap = args.payload.then(|| args.topic.clone());
    let sent = sender.all(read_ahead(Batches::new(input, bytes.is_none(), wrap)), &asked).await;
    sender.progress.finish();
    let tally = sender.tally;
    let closed = backend.close().await;
    if sent.is_ok() || tally.events() > 0 {
        summary(context, &args.topic, tally, started.elapsed())?;
    }
    sent.and(closed)?;
    match tally {
        Tally { refused: 0, unknown: 0, .. } => Ok(()),
        Tally { refused, unknown: 0, .. } => {
            Err(Failure::new(Exit::SomeFailed, format!("{refused} of {} lines were refused", tally.events())))
        }
        Tally { refused, unknown, .. } => Err(Failure::new(
            Exit::SomeFailed,
            format!(
                "{refused} of {} lines were refused, and {unknown} have no receipt: look before you send them again",
                tally.events()
            ),
        )),
    }
}

fn summary(context: &Context, topic: &str, tally: Tally, took: Duration) -> Outcome {
    let seconds = took.as_secs_f64();
    let Tally { accepted, refused, unknown } = tally;
    let rate = accepted as f64 / seconds.max(0.001);
    let unknown = if unknown > 0 { format!(", {unknown} unknown") } else { String::new() };
    let sentence =
        format!("{topic}: {accepted} accepted, {refused} refused{unknown} in {seconds:.1} s ({rate:.0} events/s)");
    context.output.said(&Summary { topic, tally, seconds }, &sentence)
}

/// The input, and its size if it is a file.
fn open(path: &Path) -> Result<(Box<dyn Read + Send>, Option<u64>), Failure> {
    if path == Path::new("-") {
        return Ok((Box::new(std::io::stdin()), None));
    }
    let told = |error: std::io::Error| Failure::error(format!("can't read {}: {error}", path.display()));
    let file = File::open(path).map_err(told)?;
    let metadata = file.metadata().map_err(told)?;
    // A named pipe keeps us waiting as stdin does.
    let bytes = metadata.is_file().then_some(metadata.len());
    Ok((Box::new(file), bytes))
}

/// Reads on a thread of its own, which a blocked read may hold until the process ends.
fn read_ahead(mut batches: Batches<Box<dyn Read + Send>>) -> mpsc::Receiver<std::io::Result<Batch>> {
    let (sender, receiver) = mpsc::channel(READ_AHEAD);
    std::thread::spawn(move || {
        while let Some(batch) = batches.next_batch().transpose() {
            let failed = batch.is_err();
            if sender.blocking_send(batch).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

struct Sender<'a> {
    backend: &'a Backend,
    topic: &'a str,
    progress: Progress,
    tally: Tally,
}

impl Sender<'_> {
    async fn all(&mut self, mut batches: mpsc::Receiver<std::io::Result<Batch>>, asked: &CancellationToken) -> Outcome {
        let mut last = 0;
        loop {
            let batch = tokio::select! {
                biased;
                () = asked.cancelled() => {
                    return Err(Failure::new(Exit::SomeFailed, format!("interrupted: nothing after line {last} was sent")));
                }
                batch = batches.recv() => batch,
            };
            let Some(batch) = batch else { return Ok(()) };
            let batch = batch.map_err(|error| Failure::error(format!("can't read on after line {last}: {error}")))?;
            let numbers = batch.lines.iter().map(|l| l.number).chain(batch.bad.iter().map(|b| b.number));
            last = numbers.max().unwrap_or(last);
            for bad in &batch.bad {
                self.refused(bad.number, std::slice::from_ref(&bad.reason));
            }
            self.send(batch.lines).await?;
            self.progress.set(self.tally.events(), self.tally.refused, batch.read_bytes);
        }
    }

    /// Sends lines until each one has its answer. What the API refuses as a whole is halved until the culprit stands
    /// alone.
    async fn send(&mut self, lines: Vec<Line>) -> Outcome {
        let mut parts = VecDeque::from([lines]);
        let (mut tries, mut wait) = (0, FIRST_WAIT);
        while let Some(mut part) = parts.pop_front() {
            if part.is_empty() {
                continue;
            }
            let answer = self.backend.client().post(&["api", "v1", "events", self.topic, "batch"], body(&part)).await?;
            let verdict = receipts::judge(&answer, &part)?;
            let Verdict::Judged(judged) = verdict else {
                let half = part.split_off(part.len() / 2);
                parts.push_front(half);
                parts.push_front(part);
                continue;
            };
            self.take(&judged);
            if judged.again.is_empty() {
                continue;
            }
            if judged.again.len() < part.len() {
                (tries, wait) = (0, FIRST_WAIT);
            }
            tries += 1;
            if tries > TRIES {
                return Err(Failure::error(format!(
                    "gave up at line {} after {TRIES} tries: {}",
                    first(&judged.again),
                    judged.why
                )));
            }
            tokio::time::sleep(answer.retry_after.unwrap_or(wait).min(LONGEST_WAIT)).await;
            wait = (wait * 2).min(LONGEST_WAIT);
            parts.push_front(judged.again);
        }
        Ok(())
    }

    fn take(&mut self, judged: &receipts::Judged) {
        self.tally.accepted += judged.accepted;
        for (number, reasons) in &judged.refused {
            self.refused(*number, reasons);
        }
        for number in &judged.unknown {
            self.tally.unknown += 1;
            self.progress.note(&format!("line {number}: no receipt came, it may or may not be stored"));
        }
    }

    fn refused(&mut self, number: u64, reasons: &[String]) {
        self.tally.refused += 1;
        self.progress.note(&format!("line {number}: {}", reasons.join("\n  ")));
    }
}

fn first(lines: &[Line]) -> u64 {
    lines.first().map_or(0, |line| line.number)
}

/// The body of a batch: a bare array.
fn body(lines: &[Line]) -> String {
    let mut body = String::with_capacity(lines.iter().map(|l| l.event.len() + 1).sum::<usize>() + 2);
    body.push('[');
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            body.push(',');
        }
        body.push_str(&line.event);
    }
    body.push(']');
    body
}
