//! One Parquet file in the making: Avro datums to Arrow batches to pages. zstd level 1, row groups of 128 MiB.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{array::RecordBatch, datatypes::SchemaRef};
use forebay_avro::arrow::{ArrowDecoder, ArrowPlan, ArrowPlanError};
use forebay_broker::{
    TopicPartition,
    dead_letter::{Reason, Stage},
};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, ZstdLevel},
    errors::ParquetError,
    file::{metadata::KeyValue, properties::WriterProperties},
};

use super::{
    columns,
    spill::{Output, Pages, Spill},
};
use crate::{
    dlq::Rejection,
    sinks::{Row, SinkError, store::Content},
};

/// Extension of the file name.
pub const EXTENSION: &str = "parquet";
/// Encoded bytes of a row group.
const ROW_GROUP_BYTES: usize = 128 << 20;
/// Rows decoded at once: what one call of `add` brings.
const DECODE_ROWS: usize = 512;

const COMPONENT: &str = "forebay.format.parquet";

/// A file in the making.
pub struct ParquetFile {
    decoder: ArrowDecoder,
    writer: ArrowWriter<Output>,
    schema: SchemaRef,
    with_columns: bool,
    rows: u64,
}

impl ParquetFile {
    /// An empty file.
    pub fn new(plan: &ArrowPlan, with_columns: bool, spill: &Spill) -> Result<Self, SinkError> {
        let own = plan.arrow_schema();
        let schema = if with_columns { columns::extend_schema(&own) } else { own };
        let level = ZstdLevel::try_new(1).map_err(|error| fault(&error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(None)
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(concat!("forebay ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let options = ArrowWriterOptions::new()
            .with_properties(properties)
            .with_page_store_factory(Arc::new(Pages::new(spill.clone())));
        let output = Output::new(spill.clone());
        let writer = ArrowWriter::try_new_with_options(output, Arc::clone(&schema), options).map_err(|e| fault(&e))?;
        let decoder = plan.decoder(DECODE_ROWS).map_err(|error| defect(&error))?;
        Ok(Self { decoder, writer, schema, with_columns, rows: 0 })
    }

    /// Appends rows of its schema. Answers the indexes of those that can't be held, with why; the others are in.
    pub fn append(&mut self, part: &TopicPartition, rows: &[&Row]) -> Result<Vec<(usize, Rejection)>, SinkError> {
        let datums: Vec<&[u8]> = rows.iter().map(|row| &row.datum[..]).collect();
        let decoded = self.decoder.decode(&datums).map_err(|error| defect(&error))?;
        let bad: BTreeSet<usize> = decoded.rejected.iter().map(|(index, _)| *index).collect();
        let good: Vec<&Row> = rows.iter().enumerate().filter(|(n, _)| !bad.contains(n)).map(|(_, row)| *row).collect();
        if let Some(batch) = &decoded.batch {
            self.write(batch, part, &good)?;
        }
        let reject = |(index, why): (usize, String)| {
            let message = format!("The value does not fit its columns: {why}.");
            let why = Rejection::new(Reason::TypeMismatch, Stage::TaskPut, COMPONENT, message);
            (index, why.of_schema(rows.get(index).map_or(0, |row| row.schema_id)))
        };
        Ok(decoded.rejected.into_iter().map(reject).collect())
    }

    fn write(&mut self, batch: &RecordBatch, part: &TopicPartition, rows: &[&Row]) -> Result<(), SinkError> {
        if self.with_columns {
            let extended = columns::extend(batch, &self.schema, part, rows)
                .map_err(|error| SinkError::stop("ENCODE_FAILED", error.to_string()))?;
            self.writer.write(&extended).map_err(|error| fault(&error))?;
        } else {
            self.writer.write(batch).map_err(|error| fault(&error))?;
        }
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Rows in it.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Encoded bytes so far.
    pub fn bytes(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    /// Bytes in memory.
    pub fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().memory()
    }

    /// Writes the footer, with these keys and values.
    pub fn finish(mut self, footer: &BTreeMap<String, String>) -> Result<Content, SinkError> {
        for (key, value) in footer {
            self.writer.append_key_value_metadata(KeyValue::new(key.clone(), value.clone()));
        }
        Ok(self.writer.into_inner().map_err(|error| fault(&error))?.into_content())
    }
}

/// A fault of ours: no retry mends it, and it is no record's fault.
fn defect(error: &ArrowPlanError) -> SinkError {
    SinkError::stop("ENCODE_FAILED", format!("Rows could not be decoded: {error}"))
}

/// Only temporary files can fail here, and that passes; anything else no retry would mend.
fn fault(error: &ParquetError) -> SinkError {
    match error {
        ParquetError::External(_) => SinkError::retry(format!("writing a temporary file: {error}")),
        other => SinkError::stop("ENCODE_FAILED", format!("The Parquet writer failed: {other}")),
    }
}
