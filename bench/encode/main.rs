//! Is the compiled encoder worth having? One event's JSON to Avro bytes, against the generic road through a value tree.
//!
//! Both sides start from the same payload text and end with the same bytes, which is checked first. One thread; CPU time.
#![allow(clippy::print_stdout)]

use std::hint::black_box;

use anyhow::{Context, Result, ensure};
use apache_avro::{types::Value, writer::datum::GenericDatumWriter};
use forebay_avro::{
    encode::EncodeOptions,
    event::{EventContext, EventEncoder, EventOptions},
    plan::Plan,
    schema::Schema,
};
use forebay_bench::{cpu, result::Run, sample};

const EVENTS: u64 = 20_000;
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let sides = Sides::new()?;
    sides.check_equal()?;
    let mut run =
        Run::new("encode", "make bench", &format!("{EVENTS} payloads of 10 fields a round, {ROUNDS} rounds in turn."));
    for round in 0..ROUNDS {
        let mut order = ["value tree", "plan", "plan (null test)", "event in a batch of 100"];
        if round % 2 == 1 {
            order.reverse();
        }
        for variant in order {
            let cost = sides.time(variant)?;
            run.rounds.entry(variant.into()).or_default().push(cost);
        }
    }
    run.finish(&[("value tree", "plan"), ("plan (null test)", "plan")]);
    run.null_test("plan (null test) / plan");
    println!("{}", run.save()?.display());
    Ok(())
}

struct Sides {
    payloads: Vec<String>,
    bodies: Vec<String>,
    plan: Plan,
    encoder: EventEncoder,
    generic: apache_avro::Schema,
}

impl Sides {
    fn new() -> Result<Self> {
        let schema = Schema::parse(sample::SCHEMA, &[])?;
        let bodies = (0..EVENTS / 100).map(|b| {
            let events: Vec<_> = (b * 100..(b + 1) * 100).map(sample::event).collect();
            format!("{{\"events\":[{}]}}", events.join(","))
        });
        Ok(Self {
            payloads: (0..EVENTS).map(sample::payload).collect(),
            bodies: bodies.collect(),
            plan: Plan::compile(&schema)?,
            encoder: EventEncoder::compile(&schema, 1)?,
            generic: apache_avro::Schema::parse_str(sample::SCHEMA)?,
        })
    }

    fn check_equal(&self) -> Result<()> {
        for payload in self.payloads.iter().take(100) {
            ensure!(self.by_plan(payload)? == self.by_value_tree(payload)?, "the two sides differ on {payload}");
        }
        Ok(())
    }

    fn by_plan(&self, payload: &str) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(256);
        self.plan.encode(payload, &EncodeOptions::default(), &mut out)?;
        Ok(out)
    }

    fn by_value_tree(&self, payload: &str) -> Result<Vec<u8>> {
        let json: serde_json::Value = serde_json::from_str(payload)?;
        let value = Value::try_from(json)?.resolve(&self.generic)?;
        Ok(GenericDatumWriter::builder(&self.generic).build()?.write_value_to_vec(value)?)
    }

    /// CPU microseconds an event.
    fn time(&self, variant: &str) -> Result<f64> {
        let start = cpu::this_thread()?;
        match variant {
            "value tree" => self.payloads.iter().try_for_each(|p| self.by_value_tree(p).map(|v| drop(black_box(v))))?,
            "event in a batch of 100" => self.bodies.iter().try_for_each(|body| self.batch(body))?,
            _ => self.payloads.iter().try_for_each(|p| self.by_plan(p).map(|v| drop(black_box(v))))?,
        }
        Ok((cpu::this_thread()? - start).as_secs_f64() * 1e6 / EVENTS as f64)
    }

    fn batch(&self, body: &str) -> Result<()> {
        let context = EventContext { received_at_ms: 0, correlation_id: "bench", tenant: None };
        let batch = self.encoder.batch(body, &EventOptions::default(), &context).ok().context("a batch was refused")?;
        ensure!(black_box(batch).items.len() == 100, "a batch lost events");
        Ok(())
    }
}
