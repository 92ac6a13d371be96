//! What a person or a script sees: results on stdout in the format asked for, everything else on stderr.

pub mod progress;
pub mod table;

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::{Failure, Outcome};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON document a line.
    Ndjson,
}

/// Something that can stand as a line of a table.
pub trait Row: Serialize {
    /// Column titles.
    const TITLES: &'static [&'static str];
    /// One cell a title.
    fn cells(&self) -> Vec<String>;
}

/// Where results go.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// How.
    pub format: Format,
}

impl Output {
    /// Many results. As JSON: one array.
    pub fn rows<R: Row>(self, rows: &[R]) -> Outcome {
        match self.format {
            Format::Table if rows.is_empty() => Ok(()),
            Format::Table => self.line(&table::columns(R::TITLES, rows.iter().map(Row::cells))),
            Format::Json => self.line(&pretty(&rows)?),
            Format::Ndjson => rows.iter().try_for_each(|row| self.line(&compact(row)?)),
        }
    }

    /// One result; a table shows `facts`, a name and a value each.
    pub fn one<T: Serialize>(self, value: &T, facts: &[(&str, String)]) -> Outcome {
        self.line(&self.text_of_one(value, facts)?)
    }

    /// The same from a process that must not end where it stands: that nobody reads on is for it to know.
    pub fn one_of_a_service<T: Serialize>(self, value: &T, facts: &[(&str, String)]) -> Outcome {
        write_line(&self.text_of_one(value, facts)?).map_err(not_written)
    }

    fn text_of_one<T: Serialize>(self, value: &T, facts: &[(&str, String)]) -> Result<String, Failure> {
        match self.format {
            Format::Table => Ok(table::facts(facts)),
            Format::Json => pretty(value),
            Format::Ndjson => compact(value),
        }
    }

    /// One result that is a sentence for people.
    pub fn said<T: Serialize>(self, value: &T, sentence: &str) -> Outcome {
        match self.format {
            Format::Table => self.line(sentence),
            Format::Json => self.line(&pretty(value)?),
            Format::Ndjson => self.line(&compact(value)?),
        }
    }

    /// One line on stdout. A reader that went away (`| head`) ends the command in silence.
    pub fn line(self, text: &str) -> Outcome {
        match write_line(text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
            written => written.map_err(not_written),
        }
    }
}

fn write_line(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush())
}

fn not_written(error: io::Error) -> Failure {
    Failure::error(format!("can't write the result: {error}"))
}

/// A line on stderr: a hint, a refused event, an error. Nobody reads it if stderr is closed, and that is no error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether a person sits at the keyboard.
pub fn at_terminal() -> bool {
    io::stdin().is_terminal()
}

fn pretty<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map_err(Failure::error)
}

fn compact<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::error)
}
