//! The command line: every verb with its options, and an example of each.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueHint};
use clap_complete::Shell;

use crate::ui::Format;

/// Events over HTTP, checked against their Avro schema, kept in a partitioned log, delivered exactly once as Parquet.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, arg_required_else_help = true, disable_help_subcommand = true)]
#[command(after_help = "\
Examples:
  forebay up                                   start everything, with no configuration at all
  forebay produce flights flights.ndjson       publish a file of events
  forebay tail flights -f                      watch them arrive
  forebay connectors show lake                 see how far the lake is

Exit codes: 0 ok, 1 error, 2 usage or configuration, 3 nothing matched, 4 some failed,
5 refused by a guard, 130 second Ctrl-C.
Results go to stdout, everything else to stderr.")]
pub struct Args {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// Options of every verb.
#[derive(Clone, Debug, ClapArgs)]
pub struct Global {
    /// Configuration file [default: $FOREBAY_CONFIG, else ./forebay.yaml if it exists, else none]
    #[arg(short, long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
    /// The same as --format json
    #[arg(long, global = true, conflicts_with = "format")]
    pub json: bool,
}

impl Global {
    /// The format asked for.
    pub fn format(&self) -> Format {
        if self.json { Format::Json } else { self.format }
    }
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run the whole system in this process: the API, the log and the connectors
    #[command(after_help = "\
Examples:
  forebay up                          data in ./forebay-data, API on http://127.0.0.1:8080
  forebay up -c production.yaml       with a configuration
  forebay up --allow-anonymous        needed to listen beyond this machine

Ctrl-C or SIGTERM drains: requests in flight are answered and batches are flushed, in at most 10 s. A second one
ends at once.")]
    Up(Serve),
    /// Take events over HTTP, and deliver none
    #[command(after_help = "\
Examples:
  forebay api -c forebay.yaml         beside any number of `forebay sink`, on one forebay.yaml

It holds topics and schemas of the configuration, as `forebay up` does. On local:// nothing delivers meanwhile: there
one process can open the log.")]
    Api(Serve),
    /// Deliver what is in the log: run the connectors, and take no events
    #[command(after_help = "\
Examples:
  forebay sink -c forebay.yaml        as often as you like: the workers share the partitions

Needs kafka:// and registry.url. Health, metrics and connectors are shown on api.management_listen, or on the next free
port; it is printed. Ctrl-C or SIGTERM writes out what is open, in at most 10 s.")]
    Sink(Serve),
    /// Explain the configuration, and what of it can be reached
    #[command(after_help = "\
Examples:
  forebay check
  forebay check -c production.yaml --json

Exit 0: `forebay up`, `api` and `sink` would start. 1: something is in its way. 2: the configuration is wrong.")]
    Check,
    /// List, show and create topics
    #[command(after_help = "\
Examples:
  forebay topics list
  forebay topics show flights
  forebay topics create flights --partitions 8")]
    Topics(Topics),
    /// List, show, register and check Avro schemas
    #[command(after_help = "\
Examples:
  forebay schemas list
  forebay schemas show flights-value
  forebay schemas check flights-value flight.avsc
  forebay schemas register flights-value flight.avsc")]
    Schemas(Schemas),
    /// Publish events from a file or from stdin: NDJSON, one event a line
    #[command(after_help = "\
Examples:
  forebay produce flights flights.ndjson
  zcat orders.ndjson.gz | forebay produce orders
  echo '{\"device_id\":\"d1\",\"value\":3.5}' | forebay produce sensors --payload

An event: {\"event_id\":\"…\",\"timestamp\":\"2024-05-01T12:00:00Z\",\"event_type\":\"…\",\"payload\":{…}}. With --payload a
line is the payload alone, and the rest is made for it: a new UUIDv7, the time now, the topic as event_type.
Refused lines go to stderr with their number and every reason; then the exit code is 4.")]
    Produce(Produce),
    /// Show the last events of a topic, and follow it
    #[command(after_help = "\
Examples:
  forebay tail flights
  forebay tail flights -n 100 --format ndjson
  forebay tail flights -f
  forebay tail events.dlq             dead letters: why each is one, and where it stood; --json has all headers")]
    Tail(Tail),
    /// List, show, check, pause, resume and restart connectors
    #[command(after_help = "\
Examples:
  forebay connectors list
  forebay connectors show lake
  forebay connectors resume lake
  forebay connectors check lake")]
    Connectors(Connectors),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples:
  forebay completions bash > ~/.local/share/bash-completion/completions/forebay
  forebay completions zsh > ~/.zfunc/_forebay
  forebay completions fish > ~/.config/fish/completions/forebay.fish")]
    Completions {
        /// For which shell
        shell: Shell,
    },
    /// Print what editors need to know of forebay.yaml
    #[command(hide = true, after_help = "Examples:\n  forebay config schema > docs/forebay.schema.json")]
    Config {
        /// What of it
        #[command(subcommand)]
        verb: ConfigVerb,
    },
}

/// Verbs on the configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// The JSON Schema of forebay.yaml
    #[command(after_help = "Examples:\n  forebay config schema > docs/forebay.schema.json")]
    Schema,
    /// The page of all keys
    #[command(after_help = "Examples:\n  forebay config reference > docs/configuration.md")]
    Reference,
}

/// `up`, `api`, `sink`.
#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// Listen beyond loopback although callers show no credential
    #[arg(long)]
    pub allow_anonymous: bool,
}

/// Which API a verb speaks to.
#[derive(Clone, Debug, ClapArgs)]
pub struct Target {
    /// Speak to this API, e.g. http://127.0.0.1:8080 [default: that of the `forebay up` or `forebay api` on the same
    /// data_dir, else the log is opened by the verb itself]
    #[arg(long, global = true, value_name = "URL", value_hint = ValueHint::Url)]
    pub api: Option<String>,
}

/// `topics`.
#[derive(Debug, ClapArgs)]
pub struct Topics {
    /// Where.
    #[command(flatten)]
    pub target: Target,
    /// What.
    #[command(subcommand)]
    pub verb: TopicsVerb,
}

/// Verbs on topics.
#[derive(Debug, Subcommand)]
pub enum TopicsVerb {
    /// All topics
    #[command(after_help = "Examples:\n  forebay topics list\n  forebay topics list --format ndjson")]
    List,
    /// One topic, with its partitions
    #[command(after_help = "Examples:\n  forebay topics show flights")]
    Show {
        /// Its name
        topic: String,
    },
    /// Create a topic
    #[command(after_help = "\
Examples:
  forebay topics create flights
  forebay topics create flights --partitions 8 --set retention.ms=604800000")]
    Create {
        /// Its name: letters, digits, '.', '_' and '-'
        topic: String,
        /// How many partitions [default: topics.<t>.partitions of the configuration, else 4]
        #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(i32).range(1..=10_000))]
        partitions: Option<i32>,
        /// A setting by Kafka's name, e.g. retention.ms=604800000; may be given more than once
        #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
        settings: Vec<(String, String)>,
    },
}

/// `schemas`.
#[derive(Debug, ClapArgs)]
pub struct Schemas {
    /// Where.
    #[command(flatten)]
    pub target: Target,
    /// What.
    #[command(subcommand)]
    pub verb: SchemasVerb,
}

/// Verbs on schemas.
#[derive(Debug, Subcommand)]
pub enum SchemasVerb {
    /// All subjects
    #[command(after_help = "Examples:\n  forebay schemas list")]
    List,
    /// The schema of a subject
    #[command(
        after_help = "Examples:\n  forebay schemas show flights-value\n  forebay schemas show flights-value --version 2"
    )]
    Show {
        /// The subject, `<topic>-value` unless configured
        subject: String,
        /// Which version [default: the latest]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
        version: Option<u32>,
    },
    /// Register a schema as the next version of a subject
    #[command(after_help = "Examples:\n  forebay schemas register flights-value flight.avsc")]
    Register {
        /// The subject
        subject: String,
        /// Avro schema in JSON; - for stdin
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Say whether a schema could be registered, and if not, every reason
    #[command(after_help = "Examples:\n  forebay schemas check flights-value flight.avsc")]
    Check {
        /// The subject
        subject: String,
        /// Avro schema in JSON; - for stdin
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
}

/// `produce`.
#[derive(Debug, ClapArgs)]
pub struct Produce {
    /// Where.
    #[command(flatten)]
    pub target: Target,
    /// The topic
    pub topic: String,
    /// NDJSON file; - for stdin
    #[arg(default_value = "-", value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Each line is a payload alone, not an event
    #[arg(long)]
    pub payload: bool,
}

/// `tail`.
#[derive(Debug, ClapArgs)]
pub struct Tail {
    /// Where.
    #[command(flatten)]
    pub target: Target,
    /// The topic
    pub topic: String,
    /// How many of the newest events
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10)]
    #[arg(value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub lines: u32,
    /// Go on with what arrives, until Ctrl-C
    #[arg(short, long)]
    pub follow: bool,
}

/// `connectors`.
#[derive(Debug, ClapArgs)]
pub struct Connectors {
    /// Where.
    #[command(flatten)]
    pub target: Target,
    /// What.
    #[command(subcommand)]
    pub verb: ConnectorsVerb,
}

/// Verbs on connectors.
#[derive(Debug, Subcommand)]
pub enum ConnectorsVerb {
    /// All connectors
    #[command(after_help = "Examples:\n  forebay connectors list")]
    List,
    /// One connector, with its partitions
    #[command(after_help = "Examples:\n  forebay connectors show lake\n  forebay connectors show lake --json")]
    Show {
        /// Its name
        name: String,
    },
    /// Write out what is open, then read nothing until `resume`
    #[command(after_help = "\
Examples:
  forebay connectors pause lake
  forebay connectors pause lake --api http://127.0.0.1:9090    a `forebay sink`, by its management URL

The pause is not kept: when its process starts anew, the connector runs. Of several workers each is told by itself.")]
    Pause {
        /// Its name
        name: String,
    },
    /// Go on after a pause, also after one that the connector made itself (BAD_RATE)
    #[command(after_help = "\
Examples:
  forebay connectors resume lake
  forebay connectors resume lake --api http://127.0.0.1:9090   a `forebay sink`, by its management URL

Of several workers each is told by itself.")]
    Resume {
        /// Its name
        name: String,
    },
    /// Start failed tasks again, once what they say is done; tasks that run go on undisturbed
    #[command(after_help = "\
Examples:
  forebay connectors show lake                                 says why a task failed, and what to do
  forebay connectors restart lake
  forebay connectors restart lake --api http://127.0.0.1:9090  a `forebay sink`, by its management URL

A changed forebay.yaml takes effect when the process starts anew. Of several workers each is told by itself.")]
    Restart {
        /// Its name
        name: String,
    },
    /// Whether the configuration of a connector holds, and its destination can be written
    #[command(after_help = "Examples:\n  forebay connectors check\n  forebay connectors check lake")]
    Check {
        /// Its name [default: all]
        name: Option<String>,
    },
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::{Command, CommandFactory};

    use super::*;

    #[test]
    fn the_tree_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples_and_no_option_reads_the_environment() {
        fn walk(command: &Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("forebay "), "`{}` has no example", command.get_name());
            for subcommand in command.get_subcommands() {
                walk(subcommand);
            }
        }
        walk(&Args::command());
    }
}
