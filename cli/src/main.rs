//! The `forebay` command: parses, calls the parts, prints. Its verbs are files of the same name; `up`, `api` and `sink`
//! are one, `serve`.

mod args;
mod backend;
mod check;
mod client;
mod config;
mod connectors;
mod context;
mod deliver;
mod exit;
mod greet;
mod lines;
mod lock;
mod logs;
mod parts;
mod produce;
mod receipts;
mod role;
mod schemas;
mod serve;
mod signals;
mod tail;
mod topics;
mod ui;
mod workspace;

use std::{process::ExitCode, time::Duration};

use clap::{CommandFactory, Parser};

use crate::{
    args::{Args, ConfigVerb, Global, Verb},
    context::Context,
    exit::{Failure, Outcome},
    role::Role,
    ui::Output,
};

/// How long the end waits for calls that block (fixed). All that counts is closed by then; what is left are questions
/// to a cluster that does not answer, whose own time-outs are longer than anybody waits for a prompt.
const LEFT_BEHIND: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let args = Args::parse();
    // One provider for every TLS client, chosen here; it can only be there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            ui::note(&format!("forebay: {failure}"));
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(Args { global, verb }: &Args) -> Outcome {
    match verb {
        Verb::Completions { shell } => completions(*shell),
        Verb::Config { verb: ConfigVerb::Schema } => {
            Output { format: ui::Format::Json }.said(&config::json_schema(), "")
        }
        Verb::Config { verb: ConfigVerb::Reference } => {
            Output { format: ui::Format::Table }.line(config::markdown(&config::json_schema()).trim_end())
        }
        verb => on_runtime(global, verb),
    }
}

fn on_runtime(global: &Global, verb: &Verb) -> Outcome {
    #[cfg(feature = "failpoints")]
    config::arm_crash_point()?;
    let context = Context::new(global, matches!(verb, Verb::Up(_) | Verb::Api(_) | Verb::Sink(_)))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::error)?;
    let ended = runtime.block_on(async {
        match verb {
            Verb::Up(args) => Box::pin(serve::run(Role::Up, args, &context)).await,
            Verb::Api(args) => Box::pin(serve::run(Role::Api, args, &context)).await,
            Verb::Sink(args) => Box::pin(serve::run(Role::Sink, args, &context)).await,
            Verb::Check => Box::pin(check::run(&context)).await,
            Verb::Topics(args) => topics::run(args, &context).await,
            Verb::Schemas(args) => schemas::run(args, &context).await,
            Verb::Produce(args) => produce::run(args, &context).await,
            Verb::Tail(args) => tail::run(args, &context).await,
            Verb::Connectors(args) => connectors::run(args, &context).await,
            Verb::Completions { .. } | Verb::Config { .. } => Ok(()),
        }
    });
    runtime.shutdown_timeout(LEFT_BEHIND);
    ended
}

fn completions(shell: clap_complete::Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "forebay", &mut script);
    Output { format: ui::Format::Table }.line(String::from_utf8_lossy(&script).trim_end())
}
