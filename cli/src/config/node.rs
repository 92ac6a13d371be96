//! A YAML document as a tree that remembers lines, and a serde deserializer over it whose errors name line and key.

use std::{collections::HashMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor},
    forward_to_deserialize_any,
};
use serde_saphyr::Spanned;

use super::nearest::nearest;

/// A value and the line it stands on, from 1.
#[derive(Clone, Debug)]
pub struct Node {
    /// Line in the file; 0 where there is none.
    pub line: u64,
    /// What stands there.
    pub value: Value,
}

/// YAML's kinds.
#[derive(Clone, Debug)]
pub enum Value {
    /// `null`, `~` or nothing.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// Whole number below zero.
    Int(i64),
    /// Whole number.
    UInt(u64),
    /// Any other number.
    Float(f64),
    /// Text.
    Text(String),
    /// List.
    List(Vec<Node>),
    /// Mapping, in the file's order.
    Map(Vec<Entry>),
}

/// One key of a mapping.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Its line.
    pub line: u64,
    /// Its value.
    pub value: Node,
}

/// What is wrong with the document, where, and what to do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    /// Line, if known.
    pub line: Option<u64>,
    /// Keys from the top, joined by dots in the text.
    pub path: Vec<String>,
    /// The sentence.
    pub text: String,
}

impl Problem {
    /// At a line, about a key.
    pub fn at(line: u64, path: &[String], text: impl Into<String>) -> Self {
        Self { line: (line > 0).then_some(line), path: path.to_vec(), text: text.into() }
    }

    fn within(mut self, key: &str, line: u64) -> Self {
        self.path.insert(0, key.to_owned());
        self.on(line)
    }

    fn on(mut self, line: u64) -> Self {
        self.line = self.line.or((line > 0).then_some(line));
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path.join("."))?;
        }
        f.write_str(&self.text)
    }
}

impl std::error::Error for Problem {}

impl Node {
    /// Parses one YAML document. `${NAME}` in unquoted scalars takes its value from `variables`.
    pub fn parse(text: &str, variables: HashMap<String, String>) -> Result<Self, Problem> {
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false }.with_properties(variables);
        // A file of nothing but comments is a file without settings.
        let parsed: Option<Spanned<Value>> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let line = error.location().map_or(0, |l| l.line());
            Problem::at(line, &[], broken(text, line, &error.without_snippet().to_string()))
        })?;
        let node = parsed.map_or_else(Self::empty, Self::from);
        match node.value {
            Value::Map(_) | Value::Null => Ok(node),
            _ => Err(node.mismatch("a mapping")),
        }
    }

    /// An empty mapping.
    pub fn empty() -> Self {
        Self { line: 0, value: Value::Map(Vec::new()) }
    }

    /// The line of a dotted key, or of the nearest key above it that the document has. Names may hold dots themselves.
    pub fn line_of(&self, dotted: &str) -> Option<u64> {
        let Value::Map(entries) = &self.value else { return None };
        entries.iter().find_map(|entry| {
            let rest = dotted.strip_prefix(entry.key.as_str())?;
            if rest.is_empty() {
                return Some(entry.line);
            }
            let below = rest.strip_prefix('.')?;
            entry.value.line_of(below).or(Some(entry.line))
        })
    }

    fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) | Value::UInt(_) | Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    fn mismatch(&self, expected: &str) -> Problem {
        Problem::at(self.line, &[], format!("expected {expected}, got {}", self.kind()))
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(u64::try_from(v).map_or(Value::Int(v), Value::UInt))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(Value::UInt(v))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::Text(v.to_owned()))
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(Value::Text(v))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(item.into());
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let value = map.next_value::<Spanned<Value>>()?.into();
            entries.push(Entry { line: key.referenced.line(), key: key.value, value });
        }
        Ok(Value::Map(entries))
    }
}

impl de::Error for Problem {
    fn custom<T: fmt::Display>(text: T) -> Self {
        let mut text = text.to_string();
        if text == "invalid socket address syntax" {
            "write an IP address and a port, such as 127.0.0.1:8080".clone_into(&mut text);
        }
        Self { text, ..Self::default() }
    }

    // serde's own text repeats the value, which may be a secret that came from the environment.
    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let got = match unexpected {
            de::Unexpected::Bool(_) => "true or false",
            de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_) | de::Unexpected::Float(_) => "a number",
            de::Unexpected::Char(_) | de::Unexpected::Str(_) => "text",
            de::Unexpected::Seq => "a list",
            de::Unexpected::Map => "a mapping",
            _ => "nothing",
        };
        let hint = match (&unexpected, expected.to_string().contains("string")) {
            (de::Unexpected::Bool(_) | de::Unexpected::Unsigned(_) | de::Unexpected::Signed(_), true) => {
                ": put it in quotes"
            }
            _ => "",
        };
        Self::custom(format_args!("expected {}, got {got}{hint}", plain(expected)))
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::custom(format_args!("the value is out of range: expected {}", plain(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(variant, expected.iter().copied()).map_or(String::new(), |n| format!("; did you mean {n}?"));
        Self::custom(format_args!("{variant:?} is none of {}{hint}", expected.join(", ")))
    }
}

/// The parser's words without the place, which is told apart, and with the fix for what it cannot know.
fn broken(text: &str, line: u64, words: &str) -> String {
    let words = words.split(" at line ").next().unwrap_or(words);
    if let Some((name, why)) = words.strip_prefix("missing property `").and_then(|rest| rest.split_once('`')) {
        let why = if why.is_empty() { ": set it, or give a default, as in ${NAME:-VALUE}" } else { why };
        return format!("the environment variable {name} is not set{why}");
    }
    // The parser's way out is an option of its own.
    let words = words.split(", set DuplicateKeyPolicy").next().unwrap_or(words);
    let source = usize::try_from(line).ok().and_then(|n| text.lines().nth(n.checked_sub(1)?)).unwrap_or_default();
    let inline = source.find("${").is_some_and(|at| source.find(['{', '[']).is_some_and(|open| open < at));
    let hint = if inline { ": inside { } and [ ] a ${NAME} is no YAML; give the key a line of its own" } else { "" };
    format!("{words}{hint}")
}

/// serde's words for a type, in words for people.
fn plain(expected: &dyn de::Expected) -> String {
    match expected.to_string().as_str() {
        "u8" => "a whole number from 0 to 255".to_owned(),
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" | "u64" | "usize" => "a whole number from 0 up".to_owned(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".to_owned(),
        "f32" | "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a string" => "text".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a mapping".to_owned(),
        other => other.strip_prefix("struct ").map_or_else(|| other.to_owned(), |_| "a mapping".to_owned()),
    }
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(v) => visitor.visit_bool(*v),
            Value::Int(v) => visitor.visit_i64(*v),
            Value::UInt(v) => visitor.visit_u64(*v),
            Value::Float(v) => visitor.visit_f64(*v),
            Value::Text(v) => visitor.visit_borrowed_str(v),
            Value::List(items) => visitor.visit_seq(Items { items: items.iter(), index: 0 }),
            Value::Map(entries) => visitor.visit_map(Entries { entries: entries.iter(), current: None }),
        }
        .map_err(|p| p.on(self.line))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    /// A key without a value (`api:`) is an empty mapping.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.value {
            Value::Null => visitor.visit_map(Entries { entries: [].iter(), current: None }),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match &self.value {
            Value::Text(name) => {
                visitor.visit_enum(name.as_str().into_deserializer()).map_err(|p: Problem| p.on(self.line))
            }
            _ => Err(self.mismatch(&format!("one of {}", names.join(", ")))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Problem> {
        let Some(item) = self.items.next() else { return Ok(None) };
        let index = self.index.to_string();
        self.index += 1;
        seed.deserialize(item).map(Some).map_err(|p| p.within(&index, item.line))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Problem> {
        self.current = self.entries.next();
        let Some(entry) = self.current else { return Ok(None) };
        seed.deserialize(entry.key.as_str().into_deserializer())
            .map(Some)
            .map_err(|p: Problem| p.within(&entry.key, entry.line))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let entry = self.current.ok_or_else(|| <Problem as de::Error>::custom("a value without its key"))?;
        seed.deserialize(&entry.value).map_err(|p| p.within(&entry.key, entry.line))
    }
}
