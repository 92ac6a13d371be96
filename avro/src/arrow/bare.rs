//! Columns without the metadata that arrow-avro gives to fields: it repeats the schema, under our inner names.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray},
    datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef},
    error::ArrowError,
};

/// The schema, bare at every level.
pub(super) fn schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(fields(schema.fields())))
}

fn fields(fields: &Fields) -> Fields {
    fields.iter().map(field).collect()
}

fn field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), data_type(field.data_type()), field.is_nullable()))
}

fn data_type(of: &DataType) -> DataType {
    match of {
        DataType::Struct(inner) => DataType::Struct(fields(inner)),
        DataType::List(items) => DataType::List(field(items)),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        plain => plain.clone(),
    }
}

/// The array under its bare type; values are shared, not copied.
pub(super) fn array(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    Ok(match to {
        DataType::Struct(fields) => Arc::new(record(array.as_struct(), fields)?),
        DataType::List(items) => {
            let (_, offsets, values, nulls) = array.as_list::<i32>().clone().into_parts();
            Arc::new(ListArray::try_new(items.clone(), offsets, self::array(&values, items.data_type())?, nulls)?)
        }
        DataType::Map(entries, sorted) => {
            let (_, offsets, values, nulls, _) = array.as_map().clone().into_parts();
            let DataType::Struct(fields) = entries.data_type() else { return Ok(array.clone()) };
            let values = record(&values, fields)?;
            Arc::new(MapArray::try_new(entries.clone(), offsets, values, nulls, *sorted)?)
        }
        _ => array.clone(),
    })
}

fn record(record: &StructArray, fields: &Fields) -> Result<StructArray, ArrowError> {
    let (_, columns, nulls) = record.clone().into_parts();
    let columns = columns.iter().zip(fields).map(|(column, field)| array(column, field.data_type()));
    StructArray::try_new(fields.clone(), columns.collect::<Result<_, _>>()?, nulls)
}
