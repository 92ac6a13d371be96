//! Log lines: a sentence plus fields, to stderr, as text for people or JSON for machines.

use std::io;

use forebay_sink::sinks::s3::QUIET_LOGS;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{config::LogFormat, exit::Failure};

/// The log's storage engine tells its own steps at `info`, which are no steps of ours.
const QUIET_MODULES: &str = "fjall=warn,lsm_tree=warn";

/// What `log.level` may say alone.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Checks a level or a list of `module=level`.
pub fn filter(level: &str) -> Result<EnvFilter, String> {
    // A word alone would be taken for the name of a module, and everything else would fall silent.
    let known = |word: &str| word.contains('=') || LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    if let Some(word) = level.split(',').map(str::trim).find(|word| !known(word)) {
        return Err(format!("{word:?} is no log level; use error, warn, info, debug or trace, or module=level"));
    }
    let directives = if ["info", "warn"].iter().any(|quiet| quiet.eq_ignore_ascii_case(level)) {
        format!("{level},{QUIET_MODULES},{QUIET_LOGS}")
    } else {
        level.to_owned()
    };
    EnvFilter::builder().parse(directives).map_err(|error| {
        format!("{level:?} is no log level ({error}); use error, warn, info, debug or trace, or module=level")
    })
}

/// Starts logging for the rest of the process.
pub fn start(level: &str, format: LogFormat) -> Result<(), Failure> {
    let filter = filter(level).map_err(|text| Failure::usage(format!("log.level: {text}")))?;
    let builder = fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text { color } => builder.with_ansi(color).with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    started.map_err(Failure::error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_level_is_refused() {
        for level in ["info", "WARN", "off", "warn,forebay_sink=debug", "forebay_api=trace, error"] {
            assert!(filter(level).is_ok(), "{level}");
        }
        for level in ["inof", "", "warn,loud", "forebay_sink=inof", "info,"] {
            assert!(filter(level).is_err(), "{level}");
        }
    }
}
