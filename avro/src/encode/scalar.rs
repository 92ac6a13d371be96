//! Values without parts: numbers, text, bytes, enums, dates and times.

use std::{borrow::Cow, ops::RangeInclusive};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Done, Pass, datetime, wire};
use crate::{
    json::cursor::{Kind, Number, Text},
    plan::Names,
    schema::{NodeId, TimeUnit},
};

/// What integers can be that stand for dates.
const YEARS: &str = "the years 0000 to 9999";

impl<'a> Pass<'_, 'a> {
    pub(super) fn null(&mut self, id: NodeId) -> Done {
        match self.kind()? {
            Kind::Null => Ok(self.cursor.null()?),
            _ => self.wrong(id, "none_required", ""),
        }
    }

    pub(super) fn boolean(&mut self, id: NodeId) -> Done {
        let hint = match self.kind()? {
            Kind::Boolean => {
                let value = self.cursor.boolean()?;
                self.out.push(u8::from(value));
                return Ok(());
            }
            Kind::String | Kind::Number => "write true or false without quotes",
            _ => "",
        };
        self.wrong(id, "bool_type", hint)
    }

    pub(super) fn int(&mut self, id: NodeId) -> Done {
        let Some(number) = self.integer_literal(id)? else { return Ok(()) };
        match number.raw.parse::<i32>() {
            Ok(value) => wire::long(value.into(), &mut self.out),
            Err(_) => {
                return self.wrong_raw(id, "int_range", number.raw, "an int lies between -2147483648 and 2147483647");
            }
        }
        Ok(())
    }

    pub(super) fn long(&mut self, id: NodeId) -> Done {
        let Some(number) = self.integer_literal(id)? else { return Ok(()) };
        match number.raw.parse() {
            Ok(value) => wire::long(value, &mut self.out),
            Err(_) => {
                let hint = "a long lies between -9223372036854775808 and 9223372036854775807";
                return self.wrong_raw(id, "int_range", number.raw, hint);
            }
        }
        Ok(())
    }

    fn integer_literal(&mut self, id: NodeId) -> Done<Option<Number<'a>>> {
        let hint = match self.kind()? {
            Kind::Number => {
                let Some(number) = self.number()? else { return Ok(None) };
                if number.integer {
                    return Ok(Some(number));
                }
                self.wrong_raw(
                    id,
                    "int_type",
                    number.raw,
                    "write it without fraction and exponent; nothing is rounded",
                )?;
                return Ok(None);
            }
            Kind::String => "write the number without quotes",
            _ => "",
        };
        self.wrong(id, "int_type", hint)?;
        Ok(None)
    }

    pub(super) fn float(&mut self, id: NodeId) -> Done {
        let Some(number) = self.float_literal(id)? else { return Ok(()) };
        match number.raw.parse::<f32>() {
            Ok(value) if value.is_finite() => self.out.extend_from_slice(&value.to_le_bytes()),
            _ => return self.wrong_raw(id, "finite_number", number.raw, "the number is too large for a float"),
        }
        Ok(())
    }

    pub(super) fn double(&mut self, id: NodeId) -> Done {
        let Some(number) = self.float_literal(id)? else { return Ok(()) };
        match number.raw.parse::<f64>() {
            Ok(value) if value.is_finite() => self.out.extend_from_slice(&value.to_le_bytes()),
            _ => return self.wrong_raw(id, "finite_number", number.raw, "the number is too large for a double"),
        }
        Ok(())
    }

    fn float_literal(&mut self, id: NodeId) -> Done<Option<Number<'a>>> {
        match self.kind()? {
            Kind::Number => return self.number(),
            Kind::String => self.wrong(id, "float_type", "write the number without quotes")?,
            _ => self.wrong(id, "float_type", "")?,
        }
        Ok(None)
    }

    pub(super) fn string(&mut self, id: NodeId) -> Done {
        if self.kind()? != Kind::String {
            return self.wrong(id, "string_type", "");
        }
        let text = self.cursor.string()?;
        if text.lone_surrogate {
            return self.lone_surrogate();
        }
        self.put_text(&text);
        Ok(())
    }

    /// Writes a string, its escapes resolved.
    pub(crate) fn put_text(&mut self, text: &Text<'_>) {
        if text.escaped {
            self.unescaped.clear();
            text.decode_into(&mut self.unescaped);
            wire::bytes(self.unescaped.as_bytes(), &mut self.out);
        } else {
            wire::bytes(text.raw.as_bytes(), &mut self.out);
        }
    }

    /// The text of a string value with the literal it stood in, or, noted as `kind`, none.
    fn text(&mut self, id: NodeId, kind: &'static str, hint: &str) -> Done<Option<(Cow<'a, str>, &'a str)>> {
        if self.kind()? != Kind::String {
            self.wrong(id, kind, hint)?;
            return Ok(None);
        }
        let start = self.cursor.pos();
        let text = self.cursor.string()?;
        if text.lone_surrogate {
            self.lone_surrogate()?;
            return Ok(None);
        }
        Ok(Some((text.decode(), &self.cursor.text()[start..self.cursor.pos()])))
    }

    pub(super) fn bytes(&mut self, id: NodeId) -> Done {
        const HINT: &str = "send standard base64 with padding";
        let Some((text, raw)) = self.text(id, "bytes_invalid", HINT)? else { return Ok(()) };
        let start = self.out.len();
        // Right for valid base64; for anything else decoding fails and the event is refused.
        let padding = text.bytes().rev().take_while(|&b| b == b'=').count();
        wire::count((text.len() / 4 * 3).saturating_sub(padding), &mut self.out);
        if STANDARD.decode_vec(&*text, &mut self.out).is_err() {
            self.out.truncate(start);
            return self.wrong_raw(id, "bytes_invalid", raw, HINT);
        }
        Ok(())
    }

    pub(super) fn fixed(&mut self, id: NodeId, size: usize) -> Done {
        const HINT: &str = "send standard base64 with padding";
        let Some((text, raw)) = self.text(id, "bytes_invalid", HINT)? else { return Ok(()) };
        let start = self.out.len();
        if STANDARD.decode_vec(&*text, &mut self.out).is_err() {
            self.out.truncate(start);
            return self.wrong_raw(id, "bytes_invalid", raw, HINT);
        }
        let got = self.out.len() - start;
        if got != size {
            self.out.truncate(start);
            return self.wrong_raw(id, "fixed_length", raw, &format!("the text holds {got} bytes"));
        }
        Ok(())
    }

    pub(super) fn symbol(&mut self, id: NodeId, symbols: &Names) -> Done {
        let Some((text, raw)) = self.text(id, "enum", "send one of its symbols")? else { return Ok(()) };
        match symbols.get(&text) {
            Some(index) => wire::count(index, &mut self.out),
            None if self.faults.probing => return Err(super::Stop::Mismatch),
            None => {
                let hint = if self.faults.sensitive { String::new() } else { nearest_symbol(symbols, &text) };
                return self.wrong_raw(id, "enum", raw, &hint);
            }
        }
        Ok(())
    }

    pub(super) fn uuid(&mut self, id: NodeId, binary: bool) -> Done {
        const HINT: &str = "a uuid looks like 123e4567-e89b-12d3-a456-426614174000";
        let Some((text, raw)) = self.text(id, "uuid_parsing", HINT)? else { return Ok(()) };
        match wire::parse_uuid(&text) {
            Some(bytes) if binary => self.out.extend_from_slice(&bytes),
            Some(_) => wire::bytes(text.as_bytes(), &mut self.out),
            None => return self.wrong_raw(id, "uuid_parsing", raw, HINT),
        }
        Ok(())
    }

    pub(super) fn date(&mut self, id: NodeId) -> Done {
        const HINT: &str = "send YYYY-MM-DD or whole days since 1970-01-01";
        if self.kind()? == Kind::Number {
            let days = i64::from(*datetime::DAYS.start())..=i64::from(*datetime::DAYS.end());
            return self.integer_of_time(id, "date_parsing", HINT, &days, YEARS, "days");
        }
        let Some((text, raw)) = self.text(id, "date_parsing", HINT)? else { return Ok(()) };
        match datetime::parse_date(&text) {
            Ok(days) => wire::long(days, &mut self.out),
            Err(reason) => return self.wrong_raw(id, "date_parsing", raw, reason),
        }
        Ok(())
    }

    pub(super) fn time(&mut self, id: NodeId, unit: TimeUnit) -> Done {
        const HINT: &str = "send HH:MM:SS[.f] or an integer in the schema's unit";
        if self.kind()? == Kind::Number {
            let unit_name = datetime::unit_name(unit);
            return self.integer_of_time(
                id,
                "time_parsing",
                HINT,
                &datetime::times(unit),
                "the times of a day",
                unit_name,
            );
        }
        let Some((text, raw)) = self.text(id, "time_parsing", HINT)? else { return Ok(()) };
        let time = match datetime::parse_time(&text) {
            Ok(time) => time,
            Err(reason) => return self.wrong_raw(id, "time_parsing", raw, reason),
        };
        self.put_exact(id, "time_parsing", raw, time.nanos, time.finer, unit)
    }

    pub(super) fn timestamp(&mut self, id: NodeId, unit: TimeUnit, local: bool) -> Done {
        const KIND: &str = "datetime_parsing";
        let hint = match local {
            true => "send a string such as 2026-01-31T12:00:00.000 without offset, or an integer in the schema's unit",
            false => "send an RFC 3339 string such as 2026-01-31T12:00:00.000Z, or an integer in the schema's unit",
        };
        if self.kind()? == Kind::Number {
            let unit_name = datetime::unit_name(unit);
            return self.integer_of_time(id, KIND, hint, &datetime::instants(unit), YEARS, unit_name);
        }
        let Some((text, raw)) = self.text(id, KIND, hint)? else { return Ok(()) };
        let written = match datetime::parse_datetime(&text) {
            Ok(written) => written,
            Err(reason) => return self.wrong_raw(id, KIND, raw, reason),
        };
        match (local, written.offset) {
            (true, Some(_)) => self.wrong_raw(id, KIND, raw, "a local timestamp has no offset; remove it"),
            (false, None) => self.wrong_raw(id, KIND, raw, "the offset is missing; add Z or one such as +01:00"),
            _ => self.put_exact(id, KIND, raw, written.utc_nanos(), written.finer, unit),
        }
    }

    /// An integer in the schema's unit, as it is, within what text could say too: beyond it readers of the lake fail.
    fn integer_of_time(
        &mut self,
        id: NodeId,
        kind: &'static str,
        hint: &str,
        range: &RangeInclusive<i64>,
        span: &str,
        unit: &str,
    ) -> Done {
        let Some(number) = self.number()? else { return Ok(()) };
        match number.raw.parse::<i64>() {
            Ok(value) if range.contains(&value) => wire::long(value, &mut self.out),
            _ if !number.integer => return self.wrong_raw(id, kind, number.raw, hint),
            _ => {
                let hint = format!("in {unit}, {span} go from {} to {}", range.start(), range.end());
                return self.wrong_raw(id, kind, number.raw, &hint);
            }
        }
        Ok(())
    }

    fn put_exact(
        &mut self,
        id: NodeId,
        kind: &'static str,
        raw: &str,
        nanos: i128,
        finer: bool,
        unit: TimeUnit,
    ) -> Done {
        let name = datetime::unit_name(unit);
        let Some(value) = datetime::exact(nanos, finer, unit) else {
            return self.wrong_raw(id, kind, raw, &format!("it is finer than {name}, and nothing is rounded"));
        };
        match i64::try_from(value) {
            Ok(value) => wire::long(value, &mut self.out),
            Err(_) => return self.wrong_raw(id, kind, raw, &format!("in {name} it is beyond 64 bits")),
        }
        Ok(())
    }
}

/// The symbol most likely meant, or all if they are few.
fn nearest_symbol(symbols: &Names, text: &str) -> String {
    if let Some(near) = symbols.nearest(text) {
        return format!("did you mean {near:?}?");
    }
    let listed: Vec<&str> = symbols.listed().iter().take(10).map(|symbol| &**symbol).collect();
    let more = if symbols.listed().len() > listed.len() { ", …" } else { "" };
    format!("its symbols are {}{more}", listed.join(", "))
}
