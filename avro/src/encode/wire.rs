//! Avro's binary primitives, appended to a buffer.

/// A zigzag varint: `int` and `long` alike.
#[inline]
pub(crate) fn long(value: i64, out: &mut Vec<u8>) {
    let mut rest = (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned();
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A length, count or index.
#[inline]
pub(crate) fn count(value: usize, out: &mut Vec<u8>) {
    // Lengths of things in memory are below i64::MAX.
    long(value.cast_signed() as i64, out);
}

/// Length and bytes: `bytes` and `string` alike.
#[inline]
pub(crate) fn bytes(value: &[u8], out: &mut Vec<u8>) {
    count(value.len(), out);
    out.extend_from_slice(value);
}

/// The 16 bytes of a canonical UUID: 8-4-4-4-12 hex digits of either case.
pub(crate) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let text = text.as_bytes();
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|&at| text.get(at) != Some(&b'-')) {
        return None;
    }
    let mut digits = text.iter().enumerate().filter(|(at, _)| ![8, 13, 18, 23].contains(at)).map(|(_, &c)| c);
    let mut digit = || char::from(digits.next()?).to_digit(16).map(|d| d as u8);
    let mut out = [0; 16];
    for byte in &mut out {
        *byte = digit()? << 4 | digit()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_zigzag_varints() {
        for (value, expected) in [
            (0, &[0][..]),
            (-1, &[1]),
            (1, &[2]),
            (-64, &[0x7f]),
            (64, &[0x80, 1]),
            (i64::MAX, &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
            (i64::MIN, &[255, 255, 255, 255, 255, 255, 255, 255, 255, 1]),
        ] {
            let mut out = Vec::new();
            long(value, &mut out);
            assert_eq!(out, expected, "{value}");
        }
    }

    #[test]
    fn uuids_are_canonical_or_none() {
        assert_eq!(parse_uuid("00112233-4455-6677-8899-aabbCCddeeff").map(|b| b[15]), Some(0xff));
        for wrong in [
            "",
            "0011223344556677-8899-aabbccddeeff",
            "{0112233-4455-6677-8899-aabbccddeeff}",
            "g0112233-4455-6677-8899-aabbccddeeff",
        ] {
            assert_eq!(parse_uuid(wrong), None, "{wrong}");
        }
    }
}
