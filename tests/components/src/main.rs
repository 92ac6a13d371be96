//! Holds components for scripts: `forebay-components kafka s3` starts both, writes where they are to stdout as one line of JSON,
//! and ends them when it is ended.
#![allow(clippy::print_stderr)]

use std::{any::Any, env, io::Write, process::ExitCode};

use anyhow::{Result, bail};
use forebay_components::{Apicurio, Kafka, Moto, S3};
use serde_json::{Map, Value, json};

fn main() -> ExitCode {
    match hold(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay-components: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn hold(names: &[String]) -> Result<()> {
    let mut places = Map::new();
    let mut held: Vec<Box<dyn Any>> = Vec::new();
    for name in names {
        let (place, component) = start(name)?;
        places.insert(name.clone(), place);
        held.push(component);
    }
    writeln!(std::io::stdout(), "{}", Value::Object(places))?;
    loop {
        std::thread::park();
    }
}

fn start(name: &str) -> Result<(Value, Box<dyn Any>)> {
    Ok(match name {
        "kafka" => {
            let kafka = Kafka::single()?;
            (json!({"brokers": kafka.brokers()}), Box::new(kafka))
        }
        "s3" => {
            let s3 = S3::start()?;
            let place = json!({
                "endpoint": s3.endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key,
                "region": s3.region, "bucket": s3.bucket,
            });
            (place, Box::new(s3))
        }
        "moto" => {
            let moto = Moto::start()?;
            (json!({"endpoint": moto.endpoint, "bucket": moto.bucket}), Box::new(moto))
        }
        "registry" => {
            let registry = Apicurio::start()?;
            (json!({"url": registry.url}), Box::new(registry))
        }
        other => bail!("{other} is none of kafka, s3, moto, registry"),
    })
}
