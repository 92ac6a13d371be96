//! Whether an unscaled decimal has more digits than its precision.

use std::cmp::Ordering;

/// Whether a big-endian two's complement number has at most so many digits.
pub(super) fn fits(unscaled: &[u8], precision: u32) -> bool {
    let number = significant(unscaled);
    // Only a number that fills all the bytes which its precision may need can have a digit too many.
    match number.len().cmp(&bytes_for(precision)) {
        Ordering::Less => true,
        Ordering::Greater => false,
        Ordering::Equal => crate::decode::digits(number).len() <= precision as usize,
    }
}

/// A big-endian two's complement number without its sign extension.
pub(crate) fn significant(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first, second, ..] = rest {
        let sign = if second & 0x80 == 0 { 0 } else { 0xff };
        if *first != sign {
            break;
        }
        rest = &rest[1..];
    }
    rest
}

/// The fewest bytes that every two's complement number of so many digits fits in.
fn bytes_for(precision: u32) -> usize {
    ((f64::from(precision) * std::f64::consts::LOG2_10 + 1.0) / 8.0).ceil() as usize
}
