//! What does an event cost the service, from the socket to the receipt?
//!
//! A child process serves the API over a log; this process sends prepared bodies over keep-alive connections and waits
//! for each answer. The figure is the child's CPU time over the events that the log holds afterwards.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod client;
mod server;

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use forebay_bench::{cpu, result::Run};

const ROUNDS: usize = 7;
const CONNECTIONS: usize = 32;

/// Name, log, events a request, requests a round.
const VARIANTS: &[(&str, &str, usize, usize)] = &[
    ("local, 1 a request", "local", 1, 10_000),
    ("local, 100 a request", "local", 100, 3_000),
    ("memory, 1 a request", "memory", 1, 10_000),
    ("memory, 100 a request", "memory", 100, 3_000),
    ("memory, 100 a request (null test)", "memory", 100, 3_000),
];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [verb, log] if verb == "serve" => server::serve(log),
        [] => measure(),
        _ => anyhow::bail!("usage: bench-ingest"),
    }
}

fn measure() -> Result<()> {
    let setting = format!(
        "Closed loop over {CONNECTIONS} connections on loopback, keyed events of 10 fields (about 340 bytes), {ROUNDS} rounds in turn, a new service and log each; `local` fsyncs every commit group; `memory` is the simulated log of the tests, which is built for faults, not for speed, and dear for small requests."
    );
    let mut run = Run::new("ingest", "make bench", &setting);
    for round in 0..ROUNDS {
        let mut order: Vec<_> = VARIANTS.iter().collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for (name, log, size, requests) in order {
            let (cost, memory) = round_of(log, *size, *requests).with_context(|| format!("{name}, round {round}"))?;
            eprintln!("round {}/{ROUNDS}, {name}: {cost:.2} µs an event", round + 1);
            run.rounds.entry((*name).into()).or_default().push(cost);
            run.memory_mib.insert((*name).into(), memory);
        }
    }
    run.finish(&[
        ("local, 1 a request", "local, 100 a request"),
        ("memory, 1 a request", "memory, 100 a request"),
        ("memory, 100 a request (null test)", "memory, 100 a request"),
    ]);
    run.null_test("memory, 100 a request (null test) / memory, 100 a request");
    println!("{}", run.save()?.display());
    Ok(())
}

/// CPU microseconds an event, and resident memory (now, peak) in MiB.
fn round_of(log: &str, size: usize, requests: usize) -> Result<(f64, (u64, u64))> {
    let mut service = Service::start(log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let warm = requests / 10;
    runtime.block_on(client::send(service.port, CONNECTIONS, size, warm))?;
    let before = cpu::process(service.child.id())?;
    runtime.block_on(client::send(service.port, CONNECTIONS, size, requests))?;
    let spent = cpu::process(service.child.id())? - before;
    let memory = cpu::memory(service.child.id())?;
    let (sent, stored) = ((warm + requests) * size, service.count()?);
    ensure!(sent as u64 == stored, "{sent} events were acknowledged, the log holds {stored}");
    service.stop()?;
    Ok((spent.as_secs_f64() * 1e6 / (requests * size) as f64, (memory.0 >> 20, memory.1 >> 20)))
}

/// The child; killed if this process gives up.
struct Service {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    port: u16,
}

impl Service {
    fn start(log: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", log])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("no stdin")?;
        let output = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut service = Self { child, input, output, port: 0 };
        service.port = service.line()?.parse()?;
        Ok(service)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Records in the log, over all partitions.
    fn count(&mut self) -> Result<u64> {
        writeln!(self.input, "count")?;
        Ok(self.line()?.parse()?)
    }

    fn stop(&mut self) -> Result<()> {
        writeln!(self.input, "stop")?;
        ensure!(self.child.wait()?.success(), "the service failed");
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Already ended after `stop`; then there is nothing to kill.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
