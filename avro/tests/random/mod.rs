//! Random schemas, and random values of them as JSON text and as apache-avro's values.

use std::collections::HashMap;

use apache_avro::{Decimal, Uuid, types::Value};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A random type.
#[derive(Clone, Debug)]
pub enum Ty {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    Date,
    TimeMillis,
    TimeMicros,
    Timestamp(&'static str),
    UuidString,
    UuidFixed,
    Decimal {
        precision: u32,
        scale: u32,
        size: Option<usize>,
    },
    Fixed(usize),
    Enum(usize),
    Array(Box<Ty>),
    Map(Box<Ty>),
    Record(Vec<(Ty, bool)>),
    /// A null branch, if any, and one branch for each kind of JSON.
    Union(Vec<Ty>),
}

fn leaf() -> impl Strategy<Value = Ty> {
    prop_oneof![
        Just(Ty::Null),
        Just(Ty::Boolean),
        Just(Ty::Int),
        Just(Ty::Long),
        Just(Ty::Float),
        Just(Ty::Double),
        Just(Ty::Bytes),
        Just(Ty::String),
        Just(Ty::Date),
        Just(Ty::TimeMillis),
        Just(Ty::TimeMicros),
        prop::sample::select(vec![
            "timestamp-millis",
            "timestamp-micros",
            "timestamp-nanos",
            "local-timestamp-millis",
            "local-timestamp-micros",
            "local-timestamp-nanos",
        ])
        .prop_map(Ty::Timestamp),
        Just(Ty::UuidString),
        Just(Ty::UuidFixed),
        (1u32..=36, 0u32..=36, any::<bool>()).prop_map(|(precision, scale, fixed)| Ty::Decimal {
            precision,
            scale: scale.min(precision),
            size: fixed.then_some(16),
        }),
        (1usize..20).prop_map(Ty::Fixed),
        (1usize..100).prop_map(Ty::Enum),
    ]
}

/// Random types.
pub fn ty() -> impl Strategy<Value = Ty> {
    leaf().prop_recursive(4, 40, 6, |inner| {
        let record = prop::collection::vec((inner.clone(), any::<bool>()), 1..8).prop_map(Ty::Record);
        let number = prop::sample::select(vec![
            vec![],
            vec![Ty::Int],
            vec![Ty::Double],
            vec![Ty::Double, Ty::Long],
            vec![Ty::Int, Ty::Float],
        ]);
        let text = prop::sample::select(vec![vec![], vec![Ty::String], vec![Ty::Enum(3)], vec![Ty::UuidFixed]]);
        let list = prop::option::of(inner.clone().prop_map(|ty| Ty::Array(Box::new(ty))));
        let objects = prop_oneof![
            Just(Vec::new()),
            record.clone().prop_map(|record| vec![record]),
            (record.clone(), record.clone()).prop_map(|(a, b)| vec![a, b]),
            inner.clone().prop_map(|ty| vec![Ty::Map(Box::new(ty))]),
        ];
        let union = (any::<bool>(), number, text, list, objects).prop_map(|(null, number, text, list, objects)| {
            let mut branches = if null { vec![Ty::Null] } else { vec![Ty::Boolean] };
            branches.extend(number.into_iter().chain(text).chain(list).chain(objects));
            Ty::Union(branches)
        });
        prop_oneof![
            inner.clone().prop_map(|ty| Ty::Array(Box::new(ty))),
            inner.prop_map(|ty| Ty::Map(Box::new(ty))),
            record.clone(),
            record,
            union,
        ]
    })
}

/// The schema's JSON. Names count up in the order of the walk, and [`Gen::value`] walks in the same order.
pub fn schema(ty: &Ty, names: &mut usize) -> Json {
    let mut name = |prefix: &str| {
        *names += 1;
        format!("{prefix}{names}")
    };
    match ty {
        Ty::Null => json!("null"),
        Ty::Boolean => json!("boolean"),
        Ty::Int => json!("int"),
        Ty::Long => json!("long"),
        Ty::Float => json!("float"),
        Ty::Double => json!("double"),
        Ty::Bytes => json!("bytes"),
        Ty::String => json!("string"),
        Ty::Date => json!({"type": "int", "logicalType": "date"}),
        Ty::TimeMillis => json!({"type": "int", "logicalType": "time-millis"}),
        Ty::TimeMicros => json!({"type": "long", "logicalType": "time-micros"}),
        Ty::Timestamp(logical) => json!({"type": "long", "logicalType": logical}),
        Ty::UuidString => json!({"type": "string", "logicalType": "uuid"}),
        Ty::UuidFixed => json!({"type": "fixed", "name": name("ns.U"), "size": 16, "logicalType": "uuid"}),
        Ty::Decimal { precision, scale, size: None } => {
            json!({"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        Ty::Decimal { precision, scale, size: Some(size) } => {
            json!({"type": "fixed", "name": name("ns.D"), "size": size,
            "logicalType": "decimal", "precision": precision, "scale": scale})
        }
        Ty::Fixed(size) => json!({"type": "fixed", "name": name("ns.F"), "size": size}),
        Ty::Enum(symbols) => {
            let symbols: Vec<String> = (0..*symbols).map(|n| format!("S{n}")).collect();
            json!({"type": "enum", "name": name("ns.E"), "symbols": symbols})
        }
        Ty::Array(items) => json!({"type": "array", "items": schema(items, names)}),
        Ty::Map(values) => json!({"type": "map", "values": schema(values, names)}),
        Ty::Union(branches) => branches.iter().map(|branch| schema(branch, names)).collect(),
        Ty::Record(fields) => {
            let record = name("ns.R");
            let fields: Vec<Json> = fields
                .iter()
                .map(|(ty, with_default)| {
                    *names += 1;
                    let field = format!("f{names}");
                    let mut field = json!({"name": field, "type": schema(ty, names)});
                    if let (true, Some((default, _))) = (with_default, default(ty)) {
                        field["default"] = default;
                    }
                    field
                })
                .collect();
            json!({"type": "record", "name": record, "fields": fields})
        }
    }
}

/// A default for some types: in the schema's JSON, and as a value.
fn default(ty: &Ty) -> Option<(Json, Value)> {
    match ty {
        Ty::Null => Some((Json::Null, Value::Null)),
        Ty::Boolean => Some((json!(true), Value::Boolean(true))),
        Ty::Int => Some((json!(-7), Value::Int(-7))),
        Ty::Long => Some((json!(1_i64 << 60), Value::Long(1 << 60))),
        Ty::Float => Some((json!(0.1), Value::Float(0.1))),
        Ty::Double => Some((json!(2), Value::Double(2.0))),
        Ty::Bytes => Some((json!("\u{ff}a"), Value::Bytes(vec![255, b'a']))),
        Ty::String => Some((json!("dflt"), Value::String("dflt".into()))),
        Ty::Array(_) => Some((json!([]), Value::Array(Vec::new()))),
        Ty::Map(_) => Some((json!({}), Value::Map(HashMap::new()))),
        Ty::Union(branches) => match branches.first()? {
            first @ (Ty::Null | Ty::Boolean) => {
                default(first).map(|(json, value)| (json, Value::Union(0, Box::new(value))))
            }
            _ => None,
        },
        _ => None,
    }
}

/// Random values from a seed, as JSON text and as apache-avro's.
pub struct Gen {
    /// The seed, and then whatever follows from it.
    pub state: u64,
}

impl Gen {
    /// splitmix64
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn blank(&mut self) -> &'static str {
        ["", "", "", " ", "\n\t"][self.below(5) as usize]
    }

    fn long(&mut self) -> i64 {
        let shift = self.below(64);
        self.next().cast_signed() >> shift
    }

    fn int(&mut self) -> i32 {
        (self.long() >> 32) as i32
    }

    /// Its ends more often than others.
    fn within(&mut self, min: i64, max: i64) -> i64 {
        match self.below(10) {
            0 => min,
            1 => max,
            _ => min + self.below(max.abs_diff(min)) as i64,
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }

    fn text(&mut self) -> String {
        let len = self.below(12);
        (0..len)
            .map(|_| match self.below(6) {
                0 => '"',
                1 => char::from_u32(self.below(0x20) as u32).unwrap(),
                2 => char::from_u32(self.below(0x11_0000) as u32).unwrap_or('\\'),
                _ => char::from(b'a' + self.below(26) as u8),
            })
            .collect()
    }

    /// A JSON string, some characters needlessly escaped.
    fn quote(&mut self, text: &str) -> String {
        if self.below(3) > 0 {
            return serde_json::to_string(text).unwrap();
        }
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    }

    fn timestamp(&mut self, logical: &str) -> Value {
        // Years 0000 to 9999; in nanoseconds 64 bits hold less.
        let value = match logical.rsplit('-').next() {
            Some("millis") => self.within(-62_167_219_200_000, 253_402_300_799_999),
            Some("micros") => self.within(-62_167_219_200_000_000, 253_402_300_799_999_999),
            _ => self.long(),
        };
        match logical {
            "timestamp-millis" => Value::TimestampMillis(value),
            "timestamp-micros" => Value::TimestampMicros(value),
            "timestamp-nanos" => Value::TimestampNanos(value),
            "local-timestamp-millis" => Value::LocalTimestampMillis(value),
            "local-timestamp-micros" => Value::LocalTimestampMicros(value),
            _ => Value::LocalTimestampNanos(value),
        }
    }

    fn decimal(&mut self, precision: u32, scale: u32) -> (String, Value) {
        let digits = 1 + self.below(u64::from(precision)) as u32;
        let wide = (u128::from(self.next()) << 64) | u128::from(self.next());
        let unscaled = (wide % 10_u128.pow(digits)).cast_signed() * if self.below(2) == 0 { 1 } else { -1 };
        let mut bytes = unscaled.to_be_bytes().to_vec();
        while bytes.len() > 1 && (bytes[0] == 0 && bytes[1] < 128 || bytes[0] == 255 && bytes[1] >= 128) {
            bytes.remove(0);
        }
        let digits = format!("{:0width$}", unscaled.unsigned_abs(), width = scale as usize + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale as usize);
        let sign = if unscaled < 0 { "-" } else { "" };
        let point = if fraction.is_empty() { "" } else { "." };
        let text = format!("{sign}{whole}{point}{fraction}");
        let text = if self.below(2) == 0 { format!("\"{text}\"") } else { text };
        (text, Value::Decimal(Decimal::from(bytes)))
    }

    /// One value, twice.
    pub fn value(&mut self, ty: &Ty, names: &mut usize) -> (String, Value) {
        match ty {
            Ty::Null => ("null".into(), Value::Null),
            Ty::Boolean => {
                let value = self.below(2) == 0;
                (value.to_string(), Value::Boolean(value))
            }
            Ty::Int => self.int_as(Value::Int),
            Ty::Date => {
                let days = self.within(-719_528, 2_932_896) as i32;
                (days.to_string(), Value::Date(days))
            }
            Ty::TimeMillis => {
                let time = self.within(0, 86_399_999) as i32;
                (time.to_string(), Value::TimeMillis(time))
            }
            Ty::Long => self.long_as(Value::Long),
            Ty::TimeMicros => {
                let time = self.within(0, 86_399_999_999);
                (time.to_string(), Value::TimeMicros(time))
            }
            Ty::Timestamp(logical) => {
                let value = self.timestamp(logical);
                let number = match value {
                    Value::TimestampMillis(v) | Value::TimestampMicros(v) | Value::TimestampNanos(v) => v,
                    Value::LocalTimestampMillis(v) | Value::LocalTimestampMicros(v) | Value::LocalTimestampNanos(v) => {
                        v
                    }
                    _ => unreachable!(),
                };
                (number.to_string(), value)
            }
            Ty::Float => {
                let value = Some(f32::from_bits(self.next() as u32)).filter(|f| f.is_finite()).unwrap_or(0.1);
                (format!("{value:?}"), Value::Float(value))
            }
            Ty::Double => {
                let value = Some(f64::from_bits(self.next())).filter(|f| f.is_finite()).unwrap_or(0.1);
                (format!("{value:?}"), Value::Double(value))
            }
            Ty::Bytes => {
                let len = self.below(20) as usize;
                let bytes = self.bytes(len);
                (format!("\"{}\"", STANDARD.encode(&bytes)), Value::Bytes(bytes))
            }
            Ty::String => {
                let text = self.text();
                (self.quote(&text), Value::String(text))
            }
            Ty::UuidString | Ty::UuidFixed => {
                *names += usize::from(matches!(ty, Ty::UuidFixed));
                let uuid = Uuid::from_slice(&self.bytes(16)).unwrap();
                (format!("\"{uuid}\""), Value::Uuid(uuid))
            }
            Ty::Decimal { precision, scale, size } => {
                *names += usize::from(size.is_some());
                self.decimal(*precision, *scale)
            }
            Ty::Fixed(size) => {
                *names += 1;
                let bytes = self.bytes(*size);
                (format!("\"{}\"", STANDARD.encode(&bytes)), Value::Fixed(*size, bytes))
            }
            Ty::Enum(symbols) => {
                *names += 1;
                let index = self.below(*symbols as u64) as u32;
                (format!("\"S{index}\""), Value::Enum(index, format!("S{index}")))
            }
            Ty::Array(items) => self.array(items, names),
            Ty::Map(values) => self.map(values, names),
            Ty::Record(fields) => self.record(fields, names),
            Ty::Union(branches) => self.union(branches, names),
        }
    }

    fn int_as(&mut self, make: impl Fn(i32) -> Value) -> (String, Value) {
        let value = self.int();
        (value.to_string(), make(value))
    }

    fn long_as(&mut self, make: impl Fn(i64) -> Value) -> (String, Value) {
        let value = self.long();
        (value.to_string(), make(value))
    }

    fn array(&mut self, items: &Ty, names: &mut usize) -> (String, Value) {
        let many = if self.below(50) == 0 { 200 } else { 4 };
        let len = self.below(many);
        let before = *names;
        schema(items, names);
        let values: Vec<(String, Value)> = (0..len).map(|_| self.value(items, &mut before.clone())).collect();
        let texts: Vec<&str> = values.iter().map(|(text, _)| &**text).collect();
        let text = format!("[{}{}]", self.blank(), texts.join(&format!("{},{}", self.blank(), self.blank())));
        (text, Value::Array(values.into_iter().map(|(_, value)| value).collect()))
    }

    fn map(&mut self, items: &Ty, names: &mut usize) -> (String, Value) {
        let len = self.below(4);
        let before = *names;
        schema(items, names);
        let mut texts = HashMap::new();
        let mut map = HashMap::new();
        for n in 0..len {
            let (text, value) = self.value(items, &mut before.clone());
            let key = format!("{n}{}", self.text());
            texts.insert(key.clone(), text);
            map.insert(key, value);
        }
        // In the order in which apache-avro will walk this very map.
        let members: Vec<String> = map.keys().map(|key| format!("{}:{}", self.quote(key), texts[key])).collect();
        (format!("{{{}}}", members.join(",")), Value::Map(map))
    }

    fn record(&mut self, fields: &[(Ty, bool)], names: &mut usize) -> (String, Value) {
        *names += 1;
        let mut members = Vec::new();
        let mut values = Vec::new();
        for (index, (ty, with_default)) in fields.iter().enumerate() {
            *names += 1;
            let name = format!("f{names}");
            let (text, value) = self.value(ty, names);
            match default(ty) {
                // The first is always there: it tells apart the records of a union.
                Some((_, default)) if *with_default && index > 0 && self.below(3) == 0 => {
                    values.push((name, default));
                }
                _ => {
                    members.push(format!(
                        "{}{}{}:{}{text}",
                        self.blank(),
                        self.quote(&name),
                        self.blank(),
                        self.blank()
                    ));
                    values.push((name, value));
                }
            }
        }
        if self.below(2) == 0 {
            for at in (1..members.len()).rev() {
                members.swap(at, self.below(at as u64 + 1) as usize);
            }
        }
        (format!("{{{}{}}}", members.join(","), self.blank()), Value::Record(values))
    }

    fn union(&mut self, branches: &[Ty], names: &mut usize) -> (String, Value) {
        let at = self.below(branches.len() as u64) as usize;
        let mut chosen = None;
        for (index, branch) in branches.iter().enumerate() {
            if index == at {
                chosen = Some(self.value(branch, &mut names.clone()));
            }
            schema(branch, names);
        }
        let (text, value) = chosen.unwrap();
        (text, Value::Union(at as u32, Box::new(value)))
    }
}
