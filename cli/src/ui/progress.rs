//! Progress of long work, on stderr, and only if a person looks at it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is drawn anew while nothing happens.
const TICK: Duration = Duration::from_millis(200);

/// A line that counts events. `bytes`: the size of the input, if it is known; then it shows how much is done.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Starts the line.
    pub fn events(bytes: Option<u64>) -> Self {
        let (bar, template) = match bytes {
            Some(bytes) => (ProgressBar::new(bytes), "{bar:24} {percent:>3} %  {msg}  {elapsed}, {eta} to go"),
            None => (ProgressBar::new_spinner(), "{spinner} {msg}  {elapsed}"),
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(TICK);
        Self { bar }
    }

    /// `events` handled so far, `refused` of them not stored, `bytes` of the input read.
    pub fn set(&self, events: u64, refused: u64, bytes: u64) {
        let per_second = events as f64 / self.bar.elapsed().as_secs_f64().max(0.001);
        self.bar.set_position(bytes);
        self.bar.set_message(format!("{events} events, {refused} refused, {per_second:.0}/s"));
    }

    /// Writes a line above it.
    pub fn note(&self, text: &str) {
        self.bar.suspend(|| super::note(text));
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
