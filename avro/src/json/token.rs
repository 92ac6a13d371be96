//! What the cursor meets: kinds of values, strings and numbers as they stand in the text, and syntax errors.

use std::borrow::Cow;

/// The text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Byte offset of the first byte that does not fit. Small, as results of every token carry it.
    pub at: u32,
    /// What could have stood there.
    pub expected: Expected,
}

/// What could have stood where the text is no JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Value,
    Word,
    Digit,
    String,
    NoControl,
    Escape,
    ClosingQuote,
    Name,
    NameOrBrace,
    Colon,
    CommaOrBrace,
    CommaOrBracket,
    End,
}

impl Expected {
    /// In words, to follow "expected".
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Value => "a JSON value",
            Self::Word => "true, false or null",
            Self::Digit => "a digit",
            Self::String => "a string in double quotes",
            Self::NoControl => "no bare control character inside a string (write \\n, \\t or \\u0001)",
            Self::Escape => "an escape such as \\n, \\\" or \\u00e9",
            Self::ClosingQuote => "the closing quote of a string",
            Self::Name => "a member name in double quotes",
            Self::NameOrBrace => "a member name in double quotes or }",
            Self::Colon => "a colon",
            Self::CommaOrBrace => "a comma or }",
            Self::CommaOrBracket => "a comma or ]",
            Self::End => "the end of the body",
        }
    }
}

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Boolean,
    Number,
    String,
    Array,
    Object,
}

/// A string as it stands in the text, escapes untouched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// Between the quotes.
    pub raw: &'a str,
    /// Whether it holds a backslash.
    pub escaped: bool,
    /// Whether an escape names half of a surrogate pair: JSON by its grammar, but no Unicode text.
    pub lone_surrogate: bool,
}

impl<'a> Text<'a> {
    /// The string meant; lone surrogates become U+FFFD. Allocates only if there are escapes.
    pub(crate) fn decode(&self) -> Cow<'a, str> {
        if !self.escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut out = String::with_capacity(self.raw.len());
        self.decode_into(&mut out);
        Cow::Owned(out)
    }

    /// Appends the string meant.
    pub(crate) fn decode_into(&self, out: &mut String) {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
            out.push_str(&rest[..at]);
            let (c, used) = unescape(&rest.as_bytes()[at..]);
            out.push(c);
            rest = &rest[at + used..];
        }
        out.push_str(rest);
    }
}

/// The character of the escape at the start of `bytes` (already checked), and its length in bytes.
fn unescape(bytes: &[u8]) -> (char, usize) {
    match bytes.get(1) {
        Some(b'n') => ('\n', 2),
        Some(b't') => ('\t', 2),
        Some(b'r') => ('\r', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'u') => {
            let high = hex4(bytes, 2).unwrap_or(0xfffd);
            if let Some(low) = low_surrogate_after(bytes, 6, high) {
                let c = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 12);
            }
            (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6)
        }
        // `"`, `\` and `/` stand for themselves.
        Some(&c) => (char::from(c), 2),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// Four hex digits at `at`.
pub(super) fn hex4(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, &d| Some(value << 4 | char::from(d).to_digit(16)?))
}

/// The second half of a surrogate pair that starts with `high`, if it stands as an escape at `at`.
pub(super) fn low_surrogate_after(bytes: &[u8], at: usize, high: u32) -> Option<u32> {
    if !(0xd800..0xdc00).contains(&high) || bytes.get(at..at + 2)? != b"\\u" {
        return None;
    }
    hex4(bytes, at + 2).filter(|low| (0xdc00..0xe000).contains(low))
}

/// A number literal, exactly as sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number<'a> {
    pub raw: &'a str,
    /// Without fraction and exponent.
    pub integer: bool,
}
