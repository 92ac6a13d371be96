//! `forebay connectors`: what delivers records, how far it is, and what it is told to do.

use forebay_api::control::{ConnectorState, ConnectorStatus};
use reqwest::Method;
use serde::{Deserialize, Serialize};

use crate::{
    args::{self, ConnectorsVerb},
    backend::{self, Purpose},
    client::Client,
    context::Context,
    deliver,
    exit::{Exit, Failure, Outcome},
    ui::{self, Format, Row, table},
};

const PATH: [&str; 3] = ["api", "v1", "connectors"];

#[derive(Deserialize)]
struct Connectors {
    connectors: Vec<ConnectorStatus>,
}

impl Row for ConnectorStatus {
    const TITLES: &'static [&'static str] = &["connector", "state", "lag", "rows", "dead letters", "destination"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.name.clone(),
            self.state.word().to_owned(),
            lag(self),
            count(self.rows),
            count(self.dead_letters),
            self.destination.clone(),
        ]
    }
}

/// Runs the verb.
pub async fn run(args: &args::Connectors, context: &Context) -> Outcome {
    if let ConnectorsVerb::Check { name } = &args.verb {
        return check(name.as_deref(), context).await;
    }
    let backend = backend::open(&args.target, context, Purpose::Manage).await?;
    let done = match &args.verb {
        ConnectorsVerb::Show { name } => show(backend.client(), name, context).await,
        ConnectorsVerb::Pause { name } => order(backend.client(), name, "pause", context).await,
        ConnectorsVerb::Resume { name } => order(backend.client(), name, "resume", context).await,
        ConnectorsVerb::Restart { name } => order(backend.client(), name, "restart", context).await,
        _ => list(backend.client(), context).await,
    };
    let closed = backend.close().await;
    done.and(closed)
}

async fn list(client: &Client, context: &Context) -> Outcome {
    let connectors = client.get::<Connectors>(&PATH, &[]).await?.connectors;
    context.output.rows(&connectors)?;
    note_uncounted(&connectors, context);
    Ok(())
}

async fn show(client: &Client, name: &str, context: &Context) -> Outcome {
    let status: ConnectorStatus = client.get(&[PATH.as_slice(), &[name]].concat(), &[]).await?;
    let tasks = status.tasks.iter().map(|task| match (&task.code, &task.advice) {
        (Some(code), Some(advice)) => format!("{} {}: {code}: {advice}", task.task, task.state.word()),
        _ => format!("{} {}", task.task, task.state.word()),
    });
    let partitions = status.partitions.iter().map(|p| {
        let committed = p.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        vec![p.topic.clone(), p.partition.to_string(), committed, p.high_watermark.to_string(), p.lag.to_string()]
    });
    let facts = [
        ("connector", status.name.clone()),
        ("state", said(status.state).to_owned()),
        ("destination", status.destination.clone()),
        ("lag", lag(&status)),
        ("rows", rows(&status)),
        ("dead letters", status.dead_letters.map_or_else(|| "-".to_owned(), since_start)),
        ("last flush", status.last_flush.clone().unwrap_or_else(|| "-".to_owned())),
        ("tasks", tasks.collect::<Vec<_>>().join("\n")),
        ("partitions", table::columns(&["topic", "partition", "committed", "written", "lag"], partitions)),
    ];
    context.output.one(&status, &facts)?;
    note_uncounted(&[status], context);
    Ok(())
}

/// A connector that was told something.
#[derive(Serialize)]
struct Told<'a> {
    connector: &'a str,
    told: &'a str,
}

async fn order(client: &Client, name: &str, verb: &str, context: &Context) -> Outcome {
    let answer = client.send(Method::POST, &[PATH.as_slice(), &[name, verb]].concat(), &[], None).await?;
    if !answer.is_ok() {
        return Err(answer.failure());
    }
    let told = Told { connector: name, told: verb };
    context.output.said(&told, &format!("Told {name} to {verb}; `forebay connectors show {name}` says how it is."))
}

fn lag(status: &ConnectorStatus) -> String {
    status.lag.map_or_else(|| "unknown: the log can't tell now".to_owned(), |lag| lag.to_string())
}

fn count(counted: Option<u64>) -> String {
    counted.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

fn rows(status: &ConnectorStatus) -> String {
    match (status.rows, status.bytes) {
        (Some(rows), Some(bytes)) => since_start(format!("{rows} in {bytes} bytes")),
        _ => "-".to_owned(),
    }
}

fn since_start(count: impl std::fmt::Display) -> String {
    format!("{count} since it started")
}

/// What `-` stands for in a table: 0 would be wrong, as others may have delivered.
fn note_uncounted(connectors: &[ConnectorStatus], context: &Context) {
    if context.output.format != Format::Table {
        return;
    }
    match connectors.iter().find(|status| status.rows.is_none()).map(|status| status.state) {
        None => {}
        Some(ConnectorState::Stopped) => {
            ui::note("- : rows and dead letters are counted while `forebay up` delivers; nothing does so now.");
        }
        Some(_) => ui::note(
            "- : rows and dead letters are counted by each process that delivers, since it started. Ask a `forebay sink` \
             with --api and the management URL that it prints, or see forebay_sink_rows_total and \
             forebay_sink_dead_letters_total in its /metrics.",
        ),
    }
}

fn said(state: ConnectorState) -> &'static str {
    match state {
        ConnectorState::Unassigned => "unassigned: no topic to read yet",
        ConnectorState::Failed => "failed: a person must act, see tasks",
        ConnectorState::Stopped => "stopped: it runs in `forebay up`",
        ConnectorState::Unknown => {
            "unknown: not in this process; ask its `forebay sink` (--api with its management URL)"
        }
        state => state.word(),
    }
}

/// One connector whose destination was tried.
#[derive(Serialize)]
struct Tried {
    connector: String,
    ok: bool,
    says: String,
}

impl Row for Tried {
    const TITLES: &'static [&'static str] = &["connector", "ok", "says"];

    fn cells(&self) -> Vec<String> {
        vec![self.connector.clone(), if self.ok { "yes" } else { "no" }.to_owned(), self.says.clone()]
    }
}

async fn check(name: Option<&str>, context: &Context) -> Outcome {
    let config = &context.config;
    let chosen: Vec<_> = config.connectors.iter().filter(|c| name.is_none_or(|name| c.name == name)).collect();
    if chosen.is_empty() {
        let known: Vec<_> = config.connectors.iter().map(|c| c.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let what = name.map_or_else(|| "no connector".to_owned(), |name| format!("no connector {name:?}"));
        return Err(Failure::nothing(format!("{what} is configured; there is: {known}")));
    }
    let mut tried = Vec::new();
    for settings in chosen {
        let probed = deliver::probe(settings, config).await;
        let ok = probed.is_ok();
        let says = probed.unwrap_or_else(|failure| failure.text);
        tried.push(Tried { connector: settings.name.clone(), ok, says });
    }
    context.output.rows(&tried)?;
    match tried.iter().filter(|t| !t.ok).count() {
        0 => Ok(()),
        n if n == tried.len() => Err(Failure::error("no destination can be written")),
        n => Err(Failure::new(Exit::SomeFailed, format!("{n} of {} destinations can't be written", tried.len()))),
    }
}
