use arrow::array::{Array, AsArray};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};

use super::*;
use crate::{encode::EncodeOptions, plan::Plan, walk};

/// Encodes each JSON row, decodes to Arrow, writes and reads Parquet; the first column's values as text.
fn through_parquet(schema: &str, rows: &[&str]) -> Vec<String> {
    let schema = Schema::parse(schema, &[]).unwrap();
    let plan = Plan::compile(&schema).unwrap();
    let datums: Vec<Vec<u8>> = rows
        .iter()
        .map(|row| {
            let mut datum = Vec::new();
            plan.encode(row, &EncodeOptions::default(), &mut datum).unwrap();
            datum
        })
        .collect();
    column(&schema, &datums)
}

fn column(schema: &Schema, datums: &[Vec<u8>]) -> Vec<String> {
    let arrow = ArrowPlan::compile(schema).unwrap();
    let slices: Vec<&[u8]> = datums.iter().map(Vec::as_slice).collect();
    for datum in &slices {
        walk::walk(schema, datum, &walk::Limits::default()).unwrap();
    }
    let decoded = arrow.decoder(slices.len()).unwrap().decode(&slices).unwrap();
    assert!(decoded.rejected.is_empty(), "{:?}", decoded.rejected);
    let batch = decoded.batch.unwrap();
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, arrow.arrow_schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap().build().unwrap();
    let back = reader.next().unwrap().unwrap();
    assert_eq!(back.num_rows(), slices.len());
    let options = FormatOptions::default().with_null("NULL");
    let formatter = ArrayFormatter::try_new(back.column(0), &options).unwrap();
    (0..back.num_rows()).map(|row| formatter.value(row).to_string()).collect()
}

fn of_type(avro: &str) -> String {
    format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{avro}}}]}}"#)
}

#[test]
fn every_type_reaches_parquet() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r#""boolean""#, &["true", "false"], &["true", "false"]),
        (r#""int""#, &["-2147483648"], &["-2147483648"]),
        (r#""long""#, &["9223372036854775807"], &["9223372036854775807"]),
        (r#""float""#, &["1.5"], &["1.5"]),
        (r#""double""#, &["-0.1"], &["-0.1"]),
        (r#""string""#, &[r#""é""#], &["é"]),
        (r#""bytes""#, &[r#""AAEC""#], &["000102"]),
        (r#"{"type":"fixed","name":"F","size":2}"#, &[r#""AAE=""#], &["0001"]),
        (r#"{"type":"int","logicalType":"date"}"#, &[r#""2024-02-29""#], &["2024-02-29"]),
        (r#"{"type":"int","logicalType":"time-millis"}"#, &[r#""01:02:03.004""#], &["01:02:03.004"]),
        (r#"{"type":"long","logicalType":"time-micros"}"#, &[r#""01:02:03.000004""#], &["01:02:03.000004"]),
        (
            r#"{"type":"long","logicalType":"timestamp-millis"}"#,
            &[r#""2026-01-01T00:00:00.5Z""#],
            &["2026-01-01T00:00:00.500Z"],
        ),
        (
            r#"{"type":"long","logicalType":"timestamp-micros"}"#,
            &[r#""2026-01-01T00:00:00.000001Z""#],
            &["2026-01-01T00:00:00.000001Z"],
        ),
        (r#"{"type":"long","logicalType":"timestamp-nanos"}"#, &["1"], &["1970-01-01T00:00:00.000000001Z"]),
        (
            r#"{"type":"long","logicalType":"local-timestamp-millis"}"#,
            &[r#""2026-01-01T00:00:00""#],
            &["2026-01-01T00:00:00"],
        ),
        (r#"{"type":"long","logicalType":"local-timestamp-nanos"}"#, &["1"], &["1970-01-01T00:00:00.000000001"]),
        (
            r#"{"type":"string","logicalType":"uuid"}"#,
            &[r#""f81d4fae-7dec-11d0-a765-00a0c91e6bf6""#],
            &["f81d4fae-7dec-11d0-a765-00a0c91e6bf6"],
        ),
        (
            r#"{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}"#,
            &[r#""f81d4fae-7dec-11d0-a765-00a0c91e6bf6""#],
            &["f81d4fae7dec11d0a76500a0c91e6bf6"],
        ),
        (r#"{"type":"bytes","logicalType":"decimal","precision":9,"scale":2}"#, &["-12.34", "0"], &["-12.34", "0.00"]),
        (r#"{"type":"bytes","logicalType":"decimal","precision":60,"scale":2}"#, &["1.5"], &["1.50"]),
        (r#"{"type":"fixed","name":"D","size":8,"logicalType":"decimal","precision":18,"scale":0}"#, &["7"], &["7"]),
        (r#"{"type":"enum","name":"E","symbols":["A","B"]}"#, &[r#""B""#, r#""A""#], &["B", "A"]),
        (r#"{"type":"array","items":"int"}"#, &["[1,2]", "[]"], &["[1, 2]", "[]"]),
        (r#"{"type":"map","values":"int"}"#, &[r#"{"a":1}"#], &["{a: 1}"]),
        (r#"{"type":"record","name":"I","fields":[{"name":"x","type":"int"}]}"#, &[r#"{"x":1}"#], &["{x: 1}"]),
        (r#"["null","int"]"#, &["1", "null"], &["1", "NULL"]),
        (r#"["int","null"]"#, &["1", "null"], &["1", "NULL"]),
        (
            r#"["null",{"type":"record","name":"I","fields":[{"name":"x","type":["null","string"]}]}]"#,
            &[r#"{"x":null}"#, "null"],
            &["{x: NULL}", "NULL"],
        ),
    ];
    for (avro, values, expected) in cases {
        let rows: Vec<String> = values.iter().map(|value| format!(r#"{{"f":{value}}}"#)).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        assert_eq!(through_parquet(&of_type(avro), &rows), *expected, "{avro}");
    }
}

#[test]
fn what_has_no_column_type_becomes_json_text() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (r#""null""#, &["null"], &["NULL"]),
        (r#"["int","string"]"#, &["1", r#""a""#], &["1", r#""a""#]),
        (r#"["null","int","string"]"#, &["1", "null"], &["1", "NULL"]),
        (r#"["string"]"#, &[r#""a""#], &["a"]),
        (r#"{"type":"record","name":"E","fields":[]}"#, &["{}"], &["{}"]),
        (r#"["null",{"type":"record","name":"E","fields":[]}]"#, &["{}", "null"], &["{}", "NULL"]),
        (r#"{"type":"array","items":"null"}"#, &["[null,null]"], &["[NULL, NULL]"]),
        (r#"{"type":"array","items":["int","string"]}"#, &[r#"[1,"a"]"#, "[]"], &[r#"[1, "a"]"#, "[]"]),
        (r#"{"type":"map","values":["null","int","string"]}"#, &[r#"{"k":1}"#], &["{k: 1}"]),
        (r#"{"type":"fixed","name":"Z","size":0}"#, &[r#""""#], &[r#""""#]),
        (r#"{"type":"bytes","logicalType":"decimal","precision":77,"scale":1}"#, &["1.5"], &[r#""1.5""#]),
    ];
    for (avro, values, expected) in cases {
        let rows: Vec<String> = values.iter().map(|value| format!(r#"{{"f":{value}}}"#)).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        assert_eq!(through_parquet(&of_type(avro), &rows), *expected, "{avro}");
    }
}

#[test]
fn durations_become_json_text() {
    let schema = of_type(r#"{"type":"fixed","name":"D","size":12,"logicalType":"duration"}"#);
    let datum = vec![1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0];
    let column = column(&Schema::parse(&schema, &[]).unwrap(), &[datum]);
    assert_eq!(column, [r#"{"months":1,"days":2,"millis":3}"#]);
}

#[test]
fn recursion_becomes_json_text_where_it_closes() {
    let list =
        r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]},{"name":"v","type":"int"}]}"#;
    let rows = [r#"{"next":{"next":null,"v":2},"v":1}"#, r#"{"next":null,"v":3}"#];
    assert_eq!(through_parquet(list, &rows), [r#"{"next":null,"v":2}"#, "NULL"]);
}

#[test]
fn a_type_that_is_no_record_is_the_column_value() {
    let schema = Schema::parse(r#""string""#, &[]).unwrap();
    assert_eq!(ArrowPlan::compile(&schema).unwrap().arrow_schema().field(0).name(), "value");
    assert_eq!(through_parquet(r#"["int","string"]"#, &["1"]), ["1"]);
}

#[test]
fn one_bad_datum_does_not_take_the_others_with_it() {
    let schema = Schema::parse(&of_type(r#""string""#), &[]).unwrap();
    let mut decoder = ArrowPlan::compile(&schema).unwrap().decoder(8).unwrap();
    for _ in 0..2 {
        let decoded = decoder.decode(&[b"\x02a", b"\x08a", b"\x02c"]).unwrap();
        assert_eq!(decoded.rejected.iter().map(|(index, _)| *index).collect::<Vec<_>>(), [1]);
        let batch = decoded.batch.unwrap();
        assert_eq!(batch.column(0).as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", "c"]);
    }
    assert!(decoder.decode(&[b"\x02a".as_slice(); 9]).is_err());
    assert!(decoder.decode(&[]).unwrap().batch.is_none());
    assert_eq!(decoder.decode(&[b"\x02z"]).unwrap().batch.unwrap().column(0).len(), 1);
}

#[test]
fn types_that_unfold_without_end_stay_bounded() {
    let mut text = String::from(r#"{"type":"record","name":"R0","fields":[{"name":"a","type":"int"}]}"#);
    for level in 1..30 {
        text = format!(
            r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{text}}},{{"name":"b","type":"R{}"}}]}}"#,
            level - 1
        );
    }
    let schema = Schema::parse(&text, &[]).unwrap();
    assert!(ArrowPlan::compile(&schema).unwrap().arrow_schema().fields().len() == 2);
}

#[test]
fn files_of_one_schema_have_one_arrow_schema() {
    let schema = Schema::parse(&of_type(r#"{"type":"enum","name":"E","symbols":["A","B"]}"#), &[]).unwrap();
    let plan = ArrowPlan::compile(&schema).unwrap();
    let batch = plan.decoder(1).unwrap().decode(&[b"\0"]).unwrap().batch.unwrap();
    assert_eq!(batch.schema(), plan.arrow_schema());
    assert!(plan.arrow_schema().fields().iter().all(|field| field.metadata().is_empty()));
}

#[test]
fn no_metadata_is_left_at_any_level() {
    let inner =
        r#"{"type":"record","name":"I","fields":[{"name":"e","type":{"type":"enum","name":"E","symbols":["A"]}}]}"#;
    let schema =
        Schema::parse(&of_type(&format!(r#"{{"type":"array","items":{{"type":"map","values":{inner}}}}}"#)), &[]);
    let plan = ArrowPlan::compile(&schema.unwrap()).unwrap();
    let fields = format!("{:?}", plan.arrow_schema());
    assert!(!fields.contains("avro."), "{fields}");
}

#[test]
fn types_that_arrow_or_its_memory_can_not_bear_become_text() {
    for avro in [
        r#"["null",{"type":"fixed","name":"F","size":2147483647}]"#,
        r#"["null",{"type":"fixed","name":"F","size":40,"logicalType":"decimal","precision":10,"scale":2}]"#,
    ] {
        assert_eq!(through_parquet(&of_type(avro), &["{\"f\":null}"]), ["NULL"], "{avro}");
    }
    let wide = r#"{"type":"fixed","name":"F","size":40,"logicalType":"decimal","precision":10,"scale":2}"#;
    assert_eq!(through_parquet(&of_type(wide), &[r#"{"f":"1.5"}"#]), [r#""1.50""#]);
}

#[test]
fn types_nested_through_names_compile_at_any_depth() {
    let (mut names, mut type_name) = (Vec::new(), "\"int\"".to_owned());
    for level in 0..60 {
        names.push(format!(r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{type_name}}}]}}"#));
        type_name = format!("\"R{level}\"");
    }
    let fields: Vec<String> =
        names.iter().enumerate().map(|(at, record)| format!(r#"{{"name":"f{at}","type":{record}}}"#)).collect();
    let text = format!(r#"{{"type":"record","name":"Root","fields":[{}]}}"#, fields.join(","));
    let schema = Schema::parse(&text, &[]).unwrap();
    let plan = ArrowPlan::compile(&schema).unwrap();
    let datum = vec![2; 60];
    walk::walk(&schema, &datum, &walk::Limits::default()).unwrap();
    let batch = plan.decoder(1).unwrap().decode(&[&datum]).unwrap().batch.unwrap();
    assert_eq!(batch.num_columns(), 60);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// An empty file too: whatever the parser takes has columns that Parquet takes.
    #[test]
    fn every_schema_has_columns_for_parquet(tree in crate::schema::arbitrary::tree()) {
        let schema = Schema::parse(&tree.text("r"), &[]).unwrap();
        let plan = ArrowPlan::compile(&schema).unwrap();
        let mut file = Vec::new();
        ArrowWriter::try_new(&mut file, plan.arrow_schema(), None).unwrap().close().unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(file)).unwrap();
        proptest::prop_assert_eq!(reader.schema(), &plan.arrow_schema());
    }
}
