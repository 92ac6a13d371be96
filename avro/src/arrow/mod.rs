//! Avro datums to Arrow record batches, by arrow-avro, over a schema *lowered* to what Arrow and Parquet can hold.
//!
//! Lowering is decided once, when a schema is compiled. What has no column type (a union of several types, recursion,
//! `duration`, `null`, an empty record, decimals of more than 76 digits,
//! fixed values over 1 KiB, types nested deeper than 32) becomes a column of JSON text, as
//! [`crate::decode`] writes it; nothing is left out. A schema that needs none of it is decoded from its bytes as they
//! stand; for another one each datum is first rewritten to the lowered schema.

mod bare;
mod lower;
mod transcode;

use std::sync::Arc;

use arrow::{array::RecordBatch, datatypes::SchemaRef, error::ArrowError};
use arrow_avro::{
    reader::{Decoder, DecoderMode, ReaderBuilder},
    schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore},
};

use crate::schema::Schema;
use lower::Lowered;

/// How values of a schema become columns. Compile once per schema, share.
#[derive(Clone, Debug)]
pub struct ArrowPlan {
    schema: Schema,
    lowered: Arc<Lowered>,
    /// The lowered schema as Avro text, its types inline and renamed.
    text: String,
    arrow: SchemaRef,
}

/// Why a schema can't become columns, or a batch not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ArrowPlanError(String);

impl From<ArrowError> for ArrowPlanError {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}

/// Rows of one schema, gathered into batches.
pub struct ArrowDecoder {
    plan: ArrowPlan,
    decoder: Decoder,
    batch_rows: usize,
    scratch: Vec<u8>,
}

/// What became of some datums.
#[derive(Debug)]
pub struct Decoded {
    /// The rows that could be decoded, in order; `None` if there is none.
    pub batch: Option<RecordBatch>,
    /// Index and reason of each datum that could not.
    pub rejected: Vec<(usize, String)>,
}

impl ArrowPlan {
    /// Decides the columns. A top-level type that is no record becomes the one column `value`.
    ///
    /// # Errors
    /// The Arrow side refuses the lowered schema; this is a defect, not the user's fault.
    pub fn compile(schema: &Schema) -> Result<Self, ArrowPlanError> {
        let (lowered, text) = lower::lower(schema);
        let arrow = bare::schema(&decoder(&text, 1)?.schema());
        Ok(Self { schema: schema.clone(), lowered: Arc::new(lowered), text, arrow })
    }

    /// The columns.
    pub fn arrow_schema(&self) -> SchemaRef {
        self.arrow.clone()
    }

    /// A decoder for batches of at most `batch_rows` rows.
    ///
    /// # Errors
    /// As [`ArrowPlan::compile`].
    pub fn decoder(&self, batch_rows: usize) -> Result<ArrowDecoder, ArrowPlanError> {
        let decoder = decoder(&self.text, batch_rows)?;
        Ok(ArrowDecoder { plan: self.clone(), decoder, batch_rows, scratch: Vec::new() })
    }
}

fn decoder(text: &str, batch_rows: usize) -> Result<Decoder, ArrowError> {
    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    let fingerprint = Fingerprint::Id(1);
    store.set(fingerprint, AvroSchema::new(text.to_owned()))?;
    ReaderBuilder::new()
        .with_batch_size(batch_rows)
        .with_writer_schema_store(store)
        .with_active_fingerprint(fingerprint)
        .with_decoder_mode(DecoderMode::UnframedDatum)
        .build_decoder()
}

impl ArrowDecoder {
    /// Decodes at most `batch_rows` datums, each of which has passed [`crate::walk::walk`] with the plan's schema.
    ///
    /// One bad datum poisons arrow-avro's decoder; then each datum is tried alone, and the good ones are decoded again.
    ///
    /// # Errors
    /// More datums than `batch_rows`, or a fault of the decoder itself.
    pub fn decode(&mut self, datums: &[&[u8]]) -> Result<Decoded, ArrowPlanError> {
        if datums.len() > self.batch_rows {
            return Err(ArrowPlanError(format!("{} datums for a batch of {}", datums.len(), self.batch_rows)));
        }
        if let Ok(batch) = self.batch(datums) {
            return Ok(Decoded { batch, rejected: Vec::new() });
        }
        let (mut good, mut rejected) = (Vec::with_capacity(datums.len()), Vec::new());
        for (index, datum) in datums.iter().enumerate() {
            self.renew()?;
            match self.batch(&[datum]) {
                Ok(_) => good.push(*datum),
                Err(error) => rejected.push((index, error.0)),
            }
        }
        self.renew()?;
        Ok(Decoded { batch: self.batch(&good)?, rejected })
    }

    fn renew(&mut self) -> Result<(), ArrowPlanError> {
        self.decoder = decoder(&self.plan.text, self.batch_rows)?;
        Ok(())
    }

    fn batch(&mut self, datums: &[&[u8]]) -> Result<Option<RecordBatch>, ArrowPlanError> {
        for datum in datums {
            let datum = if *self.plan.lowered == Lowered::Copy {
                datum
            } else {
                self.scratch.clear();
                transcode::transcode(&self.plan.schema, &self.plan.lowered, datum, &mut self.scratch)
                    .map_err(|error| ArrowPlanError(error.to_string()))?;
                self.scratch.as_slice()
            };
            let used = self.decoder.decode(datum).map_err(|error| ArrowPlanError(error.to_string()))?;
            if used != datum.len() {
                return Err(ArrowPlanError(format!("{} of {} bytes were decoded", used, datum.len())));
            }
        }
        let Some(batch) = self.decoder.flush().map_err(|error| ArrowPlanError(error.to_string()))? else {
            return Ok(None);
        };
        let columns = batch.columns().iter().zip(self.plan.arrow.fields());
        let columns = columns.map(|(column, field)| bare::array(column, field.data_type()));
        Ok(Some(RecordBatch::try_new(self.plan.arrow.clone(), columns.collect::<Result<_, _>>()?)?))
    }
}

#[cfg(test)]
mod tests;
