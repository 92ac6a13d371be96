//! Reads the lake and the log directly, for the audit.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use forebay_broker::{
    Log, TopicPartition,
    config::{BrokerOptions, ProducerOptions},
    local::{LocalLog, LocalSettings},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    audit::{Evidence, Seen},
    load::{TOPIC, hash},
};

/// Parquet files below a folder, sorted by path.
///
/// # Errors
/// A folder can't be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    if dir.exists() {
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.is_dir() {
                found.extend(files(&path)?);
            } else if path.extension().is_some_and(|e| e == "parquet") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Batches of one file.
///
/// # Errors
/// It is no whole Parquet file.
pub fn read(file: &Path) -> Result<Vec<RecordBatch>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(file)?)?.build()?;
    Ok(reader.collect::<Result<_, _>>()?)
}

/// Adds what lake and log of a system hold of the audited topic. The system must not run.
///
/// # Errors
/// The log can't be opened or read.
pub async fn gather(dir: &Path, evidence: &mut Evidence) -> Result<()> {
    gather_rows(&dir.join("data/lake"), evidence)?;
    let place = dir.join("data/log");
    let broker =
        BrokerOptions { url: Some(format!("local://{}", place.display())), ..Default::default() }.settings()?;
    let producer = ProducerOptions::default().settings(&broker.url)?;
    let log = LocalLog::open(LocalSettings::new(place, &broker, producer))?;
    gather_records(&*log, evidence).await?;
    log.close().await?;
    Ok(())
}

/// Adds the rows of the audited topic below a lake's folder.
///
/// # Errors
/// A folder can't be read.
pub fn gather_rows(lake: &Path, evidence: &mut Evidence) -> Result<()> {
    for file in files(&lake.join(TOPIC))? {
        match read(&file).and_then(|batches| batches.iter().try_for_each(|batch| rows(batch, &mut evidence.in_lake))) {
            Ok(()) => (),
            Err(error) => evidence.torn.push(format!("{}: {error}", file.display())),
        }
    }
    Ok(())
}

/// Adds the records of the audited topic, and what the connector `lake` has committed of it.
///
/// # Errors
/// The log can't be read.
pub async fn gather_records(log: &dyn Log, evidence: &mut Evidence) -> Result<()> {
    let partitions = log.topic(TOPIC).await?.partitions;
    for partition in 0..partitions {
        records(log, partition, &mut evidence.in_topic).await?;
    }
    let parts: Vec<_> = (0..partitions).map(|partition| TopicPartition::new(TOPIC, partition)).collect();
    let committed = log.committed("connect-lake", &parts).await?;
    evidence.committed =
        committed.into_iter().map(|(part, committed)| (part.partition, committed.offset)).collect::<BTreeMap<_, _>>();
    Ok(())
}

fn rows(batch: &RecordBatch, seen: &mut Vec<Seen>) -> Result<()> {
    let column = |name: &str| batch.column_by_name(name).with_context(|| format!("no column {name}"));
    let (producer, seq) = (column("producer")?.as_primitive::<Int32Type>(), column("seq")?.as_primitive::<Int64Type>());
    let (pad, sha256) = (column("pad")?.as_string::<i32>(), column("sha256")?.as_string::<i32>());
    let partition = column("_partition")?.as_primitive::<Int32Type>();
    let offset = column("_offset")?.as_primitive::<Int64Type>();
    for row in 0..batch.num_rows() {
        let event = (producer.value(row).cast_unsigned(), seq.value(row).cast_unsigned());
        seen.push(Seen {
            place: (partition.value(row), offset.value(row)),
            event,
            intact: hash(event.0, event.1, pad.value(row)) == sha256.value(row),
        });
    }
    Ok(())
}

async fn records(log: &dyn Log, partition: i32, seen: &mut Vec<Seen>) -> Result<()> {
    let part = TopicPartition::new(TOPIC, partition);
    let marks = log.watermarks(&part).await?;
    let mut next = marks.low;
    while next < marks.high {
        let records = log.read(&part, next, 10_000, 16 << 20).await?;
        next = records.last().context("the log ends before its high watermark")?.offset + 1;
        for record in records {
            let value = record.value.context("a record without value")?;
            let (event, intact) = datum(value.get(5..).context("a value without frame")?).context("no datum")?;
            seen.push(Seen { place: (partition, record.offset), event, intact });
        }
    }
    Ok(())
}

/// The audited record, read by hand: two numbers and two strings.
fn datum(mut bytes: &[u8]) -> Option<((u32, u64), bool)> {
    let producer = u32::try_from(long(&mut bytes)?).ok()?;
    let seq = u64::try_from(long(&mut bytes)?).ok()?;
    let (pad, sha256) = (string(&mut bytes)?, string(&mut bytes)?);
    let intact = bytes.is_empty() && hash(producer, seq, pad) == sha256;
    Some(((producer, seq), intact))
}

fn long(bytes: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value >> 1).cast_signed() ^ -((value & 1).cast_signed()));
        }
    }
    None
}

fn string<'a>(bytes: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(long(bytes)?).ok()?;
    let (text, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    std::str::from_utf8(text).ok()
}
