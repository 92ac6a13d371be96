//! What every verb is given: the configuration, and where results go.

use crate::{
    args::Global,
    config::{self, Config, LogFormat},
    exit::Failure,
    logs,
    ui::Output,
};

/// Level of log lines of verbs that end by themselves: their results matter, not their steps.
const QUIET: &str = "warn";

/// Given to every verb.
#[derive(Clone, Debug)]
pub struct Context {
    /// `forebay.yaml`, resolved.
    pub config: Config,
    /// Where results go.
    pub output: Output,
}

impl Context {
    /// Reads the configuration and starts logging. `daemon`: the verb runs until it is stopped, and logs its steps.
    pub fn new(global: &Global, daemon: bool) -> Result<Self, Failure> {
        let config = config::load(global.config.as_deref())?;
        let (level, format) = match (daemon, config.log_format) {
            (true, format) => (config.log_level.as_str(), format),
            (false, LogFormat::Json) => (QUIET, LogFormat::Text { color: false }),
            (false, format) => (QUIET, format),
        };
        logs::start(level, format)?;
        Ok(Self { config, output: Output { format: global.format() } })
    }
}
