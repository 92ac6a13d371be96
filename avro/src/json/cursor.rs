//! A cursor over JSON text: tokens without a tree, without copies, and with the exact place of a syntax error.

pub(crate) use super::token::{Expected, Kind, Number, Syntax, Text};
use super::token::{hex4, low_surrogate_after};

/// A position in a text. Copies are free: look ahead with one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
    /// Bytes of whitespace stepped over.
    blanks: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, pos: 0, blanks: 0 }
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// Byte offset of the next byte.
    pub(crate) fn pos(&self) -> usize {
        self.pos
    }

    /// Goes back, or on, to an offset that [`Cursor::pos`] gave.
    pub(crate) fn seek(&mut self, pos: usize) {
        self.pos = pos;
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.pos).copied()
    }

    #[cold]
    fn fail<T>(&self, expected: Expected) -> Result<T, Syntax> {
        Err(Syntax { at: u32::try_from(self.pos).unwrap_or(u32::MAX), expected })
    }

    /// Steps over whitespace.
    #[inline]
    pub(crate) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.pos += 1;
            self.blanks += 1;
        }
    }

    /// Bytes of whitespace stepped over so far: no more of them after a value means it is compact already.
    pub(crate) fn blanks(&self) -> usize {
        self.blanks
    }

    /// Steps over whitespace and tells the kind of the value there.
    #[inline]
    pub(crate) fn kind(&mut self) -> Result<Kind, Syntax> {
        self.space();
        match self.peek() {
            Some(b'"') => Ok(Kind::String),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b't' | b'f') => Ok(Kind::Boolean),
            Some(b'n') => Ok(Kind::Null),
            _ => self.fail(Expected::Value),
        }
    }

    /// Nothing but whitespace may follow.
    pub(crate) fn end(&mut self) -> Result<(), Syntax> {
        self.space();
        if self.pos == self.text.len() { Ok(()) } else { self.fail(Expected::End) }
    }

    fn word(&mut self, word: &str) -> Result<(), Syntax> {
        for &letter in word.as_bytes() {
            if self.peek() != Some(letter) {
                return self.fail(Expected::Word);
            }
            self.pos += 1;
        }
        Ok(())
    }

    /// `null`.
    pub(crate) fn null(&mut self) -> Result<(), Syntax> {
        self.word("null")
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self) -> Result<bool, Syntax> {
        let value = self.peek() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    /// A number literal.
    pub(crate) fn number(&mut self) -> Result<Number<'a>, Syntax> {
        let start = self.pos;
        self.pos += usize::from(self.peek() == Some(b'-'));
        if self.peek() == Some(b'0') {
            self.pos += 1;
        } else {
            self.digits()?;
        }
        let mut integer = true;
        if self.peek() == Some(b'.') {
            integer = false;
            self.pos += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            integer = false;
            self.pos += 1;
            self.pos += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(Number { raw: &self.text[start..self.pos], integer })
    }

    /// At least one digit.
    fn digits(&mut self) -> Result<(), Syntax> {
        let start = self.pos;
        while let Some(b'0'..=b'9') = self.peek() {
            self.pos += 1;
        }
        if self.pos == start { self.fail(Expected::Digit) } else { Ok(()) }
    }

    /// A string, from its opening to its closing quote.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text<'a>, Syntax> {
        if self.peek() != Some(b'"') {
            return self.fail(Expected::String);
        }
        self.pos += 1;
        let start = self.pos;
        let (mut escaped, mut lone_surrogate) = (false, false);
        loop {
            self.pos = plain_run(self.text.as_bytes(), self.pos);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    lone_surrogate |= self.escape()?;
                }
                Some(_) => return self.fail(Expected::NoControl),
                None => return self.fail(Expected::ClosingQuote),
            }
        }
        let raw = &self.text[start..self.pos];
        self.pos += 1;
        Ok(Text { raw, escaped, lone_surrogate })
    }

    /// One escape, or a surrogate pair of two; says whether it is a lone surrogate.
    fn escape(&mut self) -> Result<bool, Syntax> {
        self.pos += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.pos += 1;
                Ok(false)
            }
            Some(b'u') => {
                let bytes = self.text.as_bytes();
                let Some(code) = hex4(bytes, self.pos + 1) else { return self.fail(Expected::Escape) };
                let pair = low_surrogate_after(bytes, self.pos + 5, code).is_some();
                self.pos += if pair { 11 } else { 5 };
                Ok(!pair && (0xd800..0xe000).contains(&code))
            }
            _ => self.fail(Expected::Escape),
        }
    }

    /// Steps over the `{` or `[` that [`Cursor::kind`] found.
    pub(crate) fn open(&mut self) {
        self.pos += 1;
    }

    /// The next key of an object, past its colon; `None` past the closing brace. `first` starts as true.
    #[inline]
    pub(crate) fn member(&mut self, first: &mut bool) -> Result<Option<Text<'a>>, Syntax> {
        self.space();
        match self.peek() {
            Some(b'}') => {
                self.pos += 1;
                return Ok(None);
            }
            Some(b',') if !*first => {
                self.pos += 1;
                self.space();
            }
            _ if *first => {}
            _ => return self.fail(Expected::CommaOrBrace),
        }
        if self.peek() != Some(b'"') {
            return self.fail(if *first { Expected::NameOrBrace } else { Expected::Name });
        }
        *first = false;
        let key = self.string()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.fail(Expected::Colon);
        }
        self.pos += 1;
        Ok(Some(key))
    }

    /// [`Cursor::member`] where its name can be foreseen; `None`, and nothing read, if it is not there as guessed.
    #[inline]
    pub(crate) fn guessed_member(&mut self, first: &mut bool, name: &str) -> Option<Text<'a>> {
        let mut ahead = *self;
        ahead.space();
        if !*first {
            (ahead.peek()? == b',').then(|| ahead.pos += 1)?;
            ahead.space();
        }
        let start = ahead.pos + 1;
        let rest = self.text.as_bytes().get(ahead.pos..)?.strip_prefix(b"\"")?;
        rest.strip_prefix(name.as_bytes())?.strip_prefix(b"\":")?;
        let raw = self.text.get(start..start + name.len())?;
        ahead.pos = start + name.len() + 2;
        *self = ahead;
        *first = false;
        Some(Text { raw, escaped: false, lone_surrogate: false })
    }

    /// Whether an array has another element; steps past the comma or the closing bracket. `first` starts as true.
    #[inline]
    pub(crate) fn element(&mut self, first: &mut bool) -> Result<bool, Syntax> {
        self.space();
        match self.peek() {
            Some(b']') => {
                self.pos += 1;
                return Ok(false);
            }
            Some(b',') if !*first => self.pos += 1,
            _ if *first => {}
            _ => return self.fail(Expected::CommaOrBracket),
        }
        *first = false;
        Ok(true)
    }

    /// Steps over one value of any depth, checking its grammar only. Its stack is on the heap, one byte a level.
    pub(crate) fn skip(&mut self) -> Result<(), Syntax> {
        let mut open: Vec<Kind> = Vec::new();
        loop {
            let mut first = false;
            match self.kind()? {
                Kind::Null => self.null()?,
                Kind::Boolean => drop(self.boolean()?),
                Kind::Number => drop(self.number()?),
                Kind::String => drop(self.string()?),
                container @ (Kind::Array | Kind::Object) => {
                    self.open();
                    open.push(container);
                    first = true;
                }
            }
            loop {
                let more = match open.last() {
                    None => return Ok(()),
                    Some(Kind::Array) => self.element(&mut first)?,
                    Some(_) => self.member(&mut first)?.is_some(),
                };
                if more {
                    break;
                }
                open.pop();
                first = false;
            }
        }
    }
}

/// Offset of the first byte from `at` on that ends or interrupts a string: a quote, a backslash, a control character.
pub(super) fn plain_run(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    // The lowest byte that is set in the high bit is right; those above it may be borrow.
    let zero = |v: u64| v.wrapping_sub(ONES) & !v & HIGHS;
    while let Some(Ok(eight)) = bytes.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let v = u64::from_le_bytes(eight);
        let control = v.wrapping_sub(ONES * 0x20) & !v & HIGHS;
        let hits = control | zero(v ^ (ONES * u64::from(b'"'))) | zero(v ^ (ONES * u64::from(b'\\')));
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|&b| b >= 0x20 && b != b'"' && b != b'\\') {
        at += 1;
    }
    at
}
