//! Decimals: digits to an unscaled two's complement integer, exactly or not at all.

use super::{Done, Pass, wire};
use crate::{json::cursor::Kind, schema::NodeId};

/// Why digits are no decimal of a precision and scale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unfit {
    NoDecimal,
    TooManyPlaces,
    TooManyDigits,
}

impl Pass<'_, '_> {
    pub(super) fn decimal(&mut self, id: NodeId, precision: u32, scale: u32, size: Option<usize>) -> Done {
        let kind = self.kind()?;
        let start = self.cursor.pos();
        let text = match kind {
            Kind::Number => self.cursor.number()?.raw.into(),
            Kind::String => self.cursor.string()?.decode(),
            _ => return self.wrong(id, "decimal_parsing", "send a number or a string of digits"),
        };
        if !self.bearable(&text)? {
            return Ok(());
        }
        let raw = &self.cursor.text()[start..self.cursor.pos()];
        match unscaled(&text, precision, scale).and_then(|digits| fit(&digits, size)) {
            Ok(bytes) => {
                if size.is_none() {
                    wire::count(bytes.len(), &mut self.out);
                }
                self.out.extend_from_slice(&bytes);
                Ok(())
            }
            Err(Unfit::NoDecimal) => self.wrong_raw(id, "decimal_parsing", raw, "send digits such as 12.34"),
            Err(Unfit::TooManyPlaces) => {
                let hint = format!("at most {scale} digits may stand behind the point, and nothing is rounded");
                self.wrong_raw(id, "decimal_max_places", raw, &hint)
            }
            Err(Unfit::TooManyDigits) => {
                let whole = precision.saturating_sub(scale);
                let hint = format!("at most {whole} digits may stand before the point");
                self.wrong_raw(id, "decimal_max_digits", raw, &hint)
            }
        }
    }
}

/// Sign and decimal digits (without leading zeros) of the value times 10^scale.
struct Digits {
    negative: bool,
    digits: Vec<u8>,
}

/// Reads `-?digits[.digits][e±digits]`. Zeros at the end of the fraction count for nothing.
fn unscaled(text: &str, precision: u32, scale: u32) -> Result<Digits, Unfit> {
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        // More digits of exponent than fit are more than any precision holds, or vanish below any scale.
        Some((mantissa, exponent)) => (mantissa, parse_exponent(exponent).ok_or(Unfit::NoDecimal)?),
        None => (rest, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(Unfit::NoDecimal),
        None => (mantissa, ""),
    };
    if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|d| d.is_ascii_digit()) {
        return Err(Unfit::NoDecimal);
    }
    let all = whole.bytes().chain(fraction.bytes()).skip_while(|&d| d == b'0');
    let mut digits: Vec<u8> = all.map(|d| d - b'0').collect();
    let significant = digits.iter().rposition(|&d| d != 0).map_or(0, |last| last + 1);
    if significant == 0 {
        return Ok(Digits { negative: false, digits: Vec::new() });
    }
    // The value is digits * 10^power; times 10^scale it must be whole.
    let power = exponent.saturating_sub(fraction.len() as i64).saturating_add(i64::from(scale));
    let dropped = digits.len() - significant;
    if power.saturating_add(dropped as i64) < 0 {
        return Err(Unfit::TooManyPlaces);
    }
    let len = power.saturating_add(digits.len() as i64);
    if len > i64::from(precision) {
        return Err(Unfit::TooManyDigits);
    }
    // Between `significant` and the precision: zeros at the end are cut or added.
    digits.resize(usize::try_from(len).unwrap_or_default(), 0);
    Ok(Digits { negative, digits })
}

fn parse_exponent(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || !digits.bytes().all(|d| d.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().unwrap_or(i64::MAX / 4);
    Some(if negative { -value } else { value })
}

/// Two's complement, big-endian: the shortest, or sign-extended to `size`.
fn fit(value: &Digits, size: Option<usize>) -> Result<Vec<u8>, Unfit> {
    let mut bytes = to_bytes(&value.digits);
    if value.negative {
        let mut carry = true;
        for byte in bytes.iter_mut().rev() {
            let (next, overflow) = (!*byte).overflowing_add(u8::from(carry));
            (*byte, carry) = (next, overflow);
        }
    }
    let sign = if value.negative { 0xff } else { 0 };
    let spare = bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) < 0x80).count();
    bytes.drain(..spare);
    match size {
        None => Ok(bytes),
        Some(size) if bytes.len() > size => Err(Unfit::TooManyDigits),
        Some(size) => {
            bytes.splice(..0, std::iter::repeat_n(sign, size - bytes.len()));
            Ok(bytes)
        }
    }
}

/// The number, big-endian, with at least one zero bit in front.
fn to_bytes(digits: &[u8]) -> Vec<u8> {
    if digits.len() <= 38 {
        let value = digits.iter().fold(0_u128, |value, &d| value * 10 + u128::from(d));
        return value.to_be_bytes().to_vec();
    }
    // Limbs of 32 bits, least significant first; nine digits at a time. Quadratic, in at most `number_chars`.
    let mut limbs: Vec<u32> = Vec::new();
    for chunk in digits.chunks(9) {
        let mut carry = chunk.iter().fold(0, |value, &d| value * 10 + u64::from(d));
        let shift = 10_u64.pow(chunk.len() as u32);
        for limb in &mut limbs {
            carry += u64::from(*limb) * shift;
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            limbs.push(carry as u32);
        }
    }
    limbs.push(0);
    limbs.iter().rev().flat_map(|limb| limb.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(text: &str, precision: u32, scale: u32, size: Option<usize>) -> Result<Vec<u8>, Unfit> {
        unscaled(text, precision, scale).and_then(|digits| fit(&digits, size))
    }

    #[test]
    fn exact_or_not_at_all() {
        for (text, expected) in [
            ("0", Ok(&[0][..])),
            ("-0.00", Ok(&[0])),
            ("0e999999999999999999999", Ok(&[0])),
            ("1", Ok(&[100])),
            ("1.27", Ok(&[127])),
            ("1.28", Ok(&[0, 128])),
            ("-1.28", Ok(&[128])),
            ("-1.29", Ok(&[0xff, 127])),
            ("-2.56", Ok(&[0xff, 0])),
            ("1.500", Ok(&[0, 150])),
            ("001.5", Ok(&[0, 150])),
            ("15e-1", Ok(&[0, 150])),
            ("1.5E+0", Ok(&[0, 150])),
            ("0.015e2", Ok(&[0, 150])),
            ("1e2", Ok(&[0x27, 0x10])),
            ("99999.99", Ok(&[0, 0x98, 0x96, 0x7f])),
            ("100000", Err(Unfit::TooManyDigits)),
            ("1e999999999999999999999", Err(Unfit::TooManyDigits)),
            ("1e-999999999999999999999", Err(Unfit::TooManyPlaces)),
            ("1.005", Err(Unfit::TooManyPlaces)),
            ("", Err(Unfit::NoDecimal)),
            ("-", Err(Unfit::NoDecimal)),
            (".5", Err(Unfit::NoDecimal)),
            ("5.", Err(Unfit::NoDecimal)),
            ("1e", Err(Unfit::NoDecimal)),
            ("+1", Err(Unfit::NoDecimal)),
            ("1,5", Err(Unfit::NoDecimal)),
            ("NaN", Err(Unfit::NoDecimal)),
            (" 1", Err(Unfit::NoDecimal)),
            ("1e+-2", Err(Unfit::NoDecimal)),
        ] {
            assert_eq!(encode(text, 7, 2, None), expected.map(<[u8]>::to_vec), "{text}");
        }
    }

    #[test]
    fn fixed_is_sign_extended_or_too_small() {
        assert_eq!(encode("-1", 5, 0, Some(3)), Ok(vec![0xff; 3]));
        assert_eq!(encode("127", 5, 0, Some(1)), Ok(vec![127]));
        assert_eq!(encode("128", 5, 0, Some(1)), Err(Unfit::TooManyDigits));
        assert_eq!(encode("-128", 5, 0, Some(1)), Ok(vec![128]));
    }

    #[test]
    fn long_decimals_agree_with_short_ones() {
        let number = u128::MAX / 3;
        let long: Vec<u8> = number.to_string().bytes().map(|d| d - b'0').collect();
        let padded: Vec<u8> = std::iter::repeat_n(0, 60).chain(long.iter().copied()).collect();
        let strip = |bytes: Vec<u8>| bytes.into_iter().skip_while(|&b| b == 0).collect::<Vec<_>>();
        assert_eq!(strip(to_bytes(&long)), strip(to_bytes(&padded)));
        assert_eq!(strip(to_bytes(&long)), strip(number.to_be_bytes().to_vec()));
    }
}
