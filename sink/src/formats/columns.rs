//! The columns about the record: `_topic _partition _offset _timestamp _key _headers`.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryArray, Int32Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray,
        TimestampMillisecondArray,
    },
    buffer::OffsetBuffer,
    datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit},
    error::ArrowError,
};
use forebay_broker::TopicPartition;

use crate::sinks::Row;

/// Their names, in order.
pub const NAMES: [&str; 6] = ["_topic", "_partition", "_offset", "_timestamp", "_key", "_headers"];

fn header_fields() -> Fields {
    vec![Field::new("name", DataType::Utf8, false), Field::new("value", DataType::Binary, true)].into()
}

fn header_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Struct(header_fields()), false))
}

fn fields() -> [Field; 6] {
    let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let types =
        [DataType::Utf8, DataType::Int32, DataType::Int64, utc, DataType::Binary, DataType::List(header_item())];
    let mut types = types.into_iter();
    NAMES.map(|name| Field::new(name, types.next().unwrap_or(DataType::Null), name == "_key"))
}

/// The value's columns and then these.
pub fn extend_schema(value: &Schema) -> SchemaRef {
    let own = value.fields().iter().map(|field| field.as_ref().clone());
    Arc::new(Schema::new(own.chain(fields()).collect::<Vec<_>>()))
}

/// Appends the columns to a batch of the rows' values.
pub fn extend(
    batch: &RecordBatch,
    schema: &SchemaRef,
    part: &TopicPartition,
    rows: &[&Row],
) -> Result<RecordBatch, ArrowError> {
    let times = rows.iter().map(|row| row.timestamp_ms);
    let more: [ArrayRef; 6] = [
        Arc::new(StringArray::from_iter_values(rows.iter().map(|_| &*part.topic))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| part.partition))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset))),
        Arc::new(TimestampMillisecondArray::from_iter_values(times).with_timezone("UTC")),
        Arc::new(rows.iter().map(|row| row.key.as_deref()).collect::<BinaryArray>()),
        Arc::new(headers(rows)?),
    ];
    RecordBatch::try_new(Arc::clone(schema), batch.columns().iter().cloned().chain(more).collect())
}

fn headers(rows: &[&Row]) -> Result<ListArray, ArrowError> {
    let all = || rows.iter().flat_map(|row| &row.headers.0);
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(all().map(|(name, _)| &**name)));
    let values: ArrayRef = Arc::new(all().map(|(_, value)| value.as_deref()).collect::<BinaryArray>());
    let entries = StructArray::try_new(header_fields(), vec![names, values], None)?;
    let lengths = OffsetBuffer::from_lengths(rows.iter().map(|row| row.headers.0.len()));
    ListArray::try_new(header_item(), lengths, Arc::new(entries), None)
}
