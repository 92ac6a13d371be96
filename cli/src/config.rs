//! `forebay.yaml` and the environment: read here, and nowhere else in the workspace.
//!
//! A file is read in four steps: YAML with `${NAME}` filled in ([`node`]), keys checked and nested ([`keys`]), options
//! as written ([`options`]), settings with defaults and absolute paths ([`settings`]).

mod keys;
mod nearest;
mod node;
mod options;
mod reference;
mod settings;

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use serde::Deserialize;

pub use options::{FileOptions, json_schema};
pub use reference::markdown;
pub use settings::{Config, LogFormat};

use self::node::{Node, Problem};
use crate::exit::Failure;

/// The file that is read from the working directory if no other is named.
pub const DEFAULT_FILE: &str = "forebay.yaml";
/// Largest configuration file.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Reads the configuration: the file given, else `$FOREBAY_CONFIG`, else `./forebay.yaml` if there is one, else only
/// defaults.
pub fn load(given: Option<&Path>) -> Result<Config, Failure> {
    let variable = || std::env::var_os("FOREBAY_CONFIG").filter(|file| !file.is_empty()).map(PathBuf::from);
    let present = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
    let file = given.map(Path::to_owned).or_else(variable).or_else(present);
    let text = match &file {
        Some(file) => read(file)?,
        None => String::new(),
    };
    parse(&text, file.as_deref(), variables()).map_err(|problem| complaint(file.as_deref(), &problem))
}

/// Turns the text of a file into settings. Pure, but for the working directory that relative paths start from.
fn parse(text: &str, file: Option<&Path>, variables: HashMap<String, String>) -> Result<Config, Problem> {
    let mut node = Node::parse(text, variables)?;
    keys::settle(&mut node, &json_schema())?;
    let options = FileOptions::deserialize(&node)?;
    settings::resolve(options, file).map_err(|(key, text)| Problem { line: node.line_of(&key), path: vec![key], text })
}

#[cfg(test)]
impl Config {
    /// The configuration of a text.
    pub fn of(text: &str) -> Self {
        parse(text, None, HashMap::new()).unwrap_or_else(|problem| panic!("{problem}"))
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let told =
        |error: std::io::Error| Failure::usage(format!("can't read the configuration {}: {error}", file.display()));
    let bytes = std::fs::metadata(file).map_err(told)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(Failure::usage(format!("{} has {bytes} bytes, over {MAX_FILE_BYTES}", file.display())));
    }
    std::fs::read_to_string(file).map_err(told)
}

fn complaint(file: Option<&Path>, problem: &Problem) -> Failure {
    let file = file.map_or_else(|| "configuration".to_owned(), |f| f.display().to_string());
    match problem.line {
        Some(line) => Failure::usage(format!("{file}:{line}: {problem}")),
        None => Failure::usage(format!("{file}: {problem}")),
    }
}

/// The environment, for `${NAME}`. A variable that is no UTF-8 counts as unset.
fn variables() -> HashMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Arms the crash point that `FOREBAY_CRASH=point:nth` names: the process aborts at its nth pass of it.
#[cfg(feature = "failpoints")]
pub fn arm_crash_point() -> Result<(), Failure> {
    use std::sync::atomic::{AtomicU64, Ordering};

    let Ok(spec) = std::env::var("FOREBAY_CRASH") else { return Ok(()) };
    let parsed =
        spec.rsplit_once(':').and_then(|(point, nth)| Some((point, nth.parse::<u64>().ok().filter(|n| *n > 0)?)));
    let Some((point, nth)) = parsed else {
        return Err(Failure::usage(format!("FOREBAY_CRASH={spec}: expected point:nth, e.g. dir.linked:1")));
    };
    let passes = AtomicU64::new(0);
    fail::cfg_callback(point, move || {
        if passes.fetch_add(1, Ordering::SeqCst) + 1 == nth {
            std::process::abort();
        }
    })
    .map_err(|error| Failure::usage(format!("FOREBAY_CRASH={spec}: {error}")))
}

#[cfg(test)]
mod tests;
