//! What the check allows, an independent reader (apache-avro's) must be able to read.

use apache_avro::{
    Schema as Oracle, reader::datum::GenericDatumReader, types::Value, writer::datum::GenericDatumWriter,
};
use proptest::prelude::*;

use super::check;
use crate::schema::{
    Schema,
    arbitrary::{Member, Tree, tree},
};

/// Numbers that decide one thing after another.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn bytes(&mut self, length: u64) -> Vec<u8> {
        (0..length).map(|_| b'a' + self.roll(26) as u8).collect()
    }
}

/// A value of a type.
fn value(tree: &Tree, dice: &mut Dice) -> Value {
    match tree {
        Tree::Primitive("boolean") => Value::Boolean(dice.roll(2) == 0),
        Tree::Primitive("int") => Value::Int(dice.roll(1 << 20) as i32 - (1 << 19)),
        Tree::Primitive("long") => Value::Long(dice.roll(u64::MAX) as i64),
        Tree::Primitive("float") => Value::Float(dice.roll(1 << 20) as f32 / 8.0),
        Tree::Primitive("double") => Value::Double(dice.roll(1 << 40) as f64 / 8.0),
        Tree::Primitive("bytes") => Value::Bytes(dice.bytes(5)),
        Tree::Logical(kind) if kind.contains("date") => Value::Date(dice.roll(20_000) as i32),
        Tree::Logical(kind) if kind.contains("timestamp") => Value::TimestampMicros(dice.roll(1 << 40) as i64),
        Tree::Primitive(_) | Tree::Logical(_) => {
            let length = dice.roll(6);
            Value::String(String::from_utf8(dice.bytes(length)).unwrap())
        }
        Tree::Array(items) => Value::Array((0..dice.roll(3)).map(|_| value(items, dice)).collect()),
        Tree::Map(values) => Value::Map((0..dice.roll(3)).map(|i| (format!("k{i}"), value(values, dice))).collect()),
        Tree::Optional(tree, null_first) => {
            let null = dice.roll(2) == 0;
            let inner = if null { Value::Null } else { value(tree, dice) };
            Value::Union(u32::from(null != *null_first), Box::new(inner))
        }
        Tree::Enum(symbols, _) => {
            let symbol = dice.roll(u64::from(*symbols)) as u32;
            Value::Enum(symbol, format!("S{symbol}"))
        }
        Tree::Fixed(size) => Value::Fixed(usize::from(*size), dice.bytes(u64::from(*size))),
        Tree::Record(members) => {
            Value::Record(members.iter().map(|m| (m.name.clone(), value(&m.tree, dice))).collect())
        }
    }
}

/// A reader's schema: the writer's after some changes, fit or not.
fn evolve(tree: &Tree, dice: &mut Dice) -> Tree {
    let keep = dice.roll(4) > 0;
    match tree {
        Tree::Primitive(name) if !keep => {
            let promoted: &[&str] = match *name {
                "int" => &["long", "float", "double", "string"],
                "long" => &["float", "double", "int"],
                "float" => &["double", "long"],
                "string" => &["bytes", "boolean"],
                "bytes" => &["string", "int"],
                other => &[other],
            };
            Tree::Primitive(promoted[dice.roll(promoted.len() as u64) as usize])
        }
        Tree::Optional(tree, _) if dice.roll(8) == 0 => evolve(tree, dice),
        Tree::Optional(tree, null_first) => match evolve(tree, dice) {
            optional @ Tree::Optional(..) => optional,
            other => Tree::Optional(Box::new(other), *null_first == keep),
        },
        tree if dice.roll(10) == 0 => Tree::Optional(Box::new(tree.clone()), keep),
        Tree::Array(items) => Tree::Array(Box::new(evolve(items, dice))),
        Tree::Map(values) => Tree::Map(Box::new(evolve(values, dice))),
        Tree::Enum(symbols, default) => Tree::Enum((*symbols + dice.roll(3) as u8).saturating_sub(1).max(1), *default),
        Tree::Fixed(size) if !keep => Tree::Fixed(size + dice.roll(2) as u8),
        Tree::Record(members) => {
            let mut members: Vec<Member> =
                members.iter().map(|m| Member { tree: evolve(&m.tree, dice), ..m.clone() }).collect();
            match dice.roll(4) {
                0 => drop(members.pop()),
                1 => members.reverse(),
                2 => members.insert(
                    0,
                    Member { name: "added".into(), tree: Tree::Primitive("long"), default: keep.then_some("7") },
                ),
                _ => {}
            }
            Tree::Record(members)
        }
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_the_check_allows_can_be_read(writer in tree(), seed: u64) {
        let dice = &mut Dice(seed);
        let reader = evolve(&writer, dice);
        let (reader_text, writer_text) = (reader.text(""), writer.text(""));
        let differences = check(&Schema::parse(&reader_text, &[]).unwrap(), &Schema::parse(&writer_text, &[]).unwrap());
        let (from, to) = (Oracle::parse_str(&writer_text).unwrap(), Oracle::parse_str(&reader_text).unwrap());
        let encoder = GenericDatumWriter::builder(&from).build().unwrap();
        let decoder = GenericDatumReader::builder(&from).reader_schema(&to).build().unwrap();
        for _ in 0..4 {
            let datum = encoder.write_value_to_vec(value(&writer, dice)).unwrap();
            if let Err(error) = decoder.read_value(&mut datum.as_slice())
                && differences.is_empty()
            {
                panic!("allowed, but: {error}\nwriter {writer_text}\nreader {reader_text}");
            }
        }
    }

    #[test]
    fn every_schema_reads_its_own_data_and_keeps_its_canonical_form(tree in tree()) {
        let text = tree.text("");
        let schema = Schema::parse(&text, &[]).unwrap();
        prop_assert_eq!(check(&schema, &schema), []);
        let canonical = Schema::parse(schema.canonical(), &[]).unwrap();
        prop_assert_eq!(canonical.canonical(), schema.canonical());
        // apache-avro 0.22 leaves primitives that had a logical type in braces; the specification does not.
        let mut oracle = Oracle::parse_str(&text).unwrap().canonical_form();
        for name in ["int", "long"] {
            oracle = oracle.replace(&format!(r#"{{"type":"{name}"}}"#), &format!("{name:?}"));
        }
        prop_assert_eq!(oracle, schema.canonical());
    }
}
