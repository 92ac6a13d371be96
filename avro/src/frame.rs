//! The frame around a value in the log, as Confluent's serializers write it: a zero byte, the schema id as u32
//! big-endian, then the Avro datum.

/// Bytes before the datum.
pub const FRAME_BYTES: usize = 5;

/// Why bytes are no framed value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Too short for a frame.
    #[error("the value has {0} bytes, fewer than the {FRAME_BYTES} of a schema frame")]
    Short(usize),
    /// Another first byte.
    #[error("the value begins with byte {0:#04x}, where a schema frame begins with 0x00")]
    Magic(u8),
}

/// Appends the frame of a schema id.
pub fn write(id: u32, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
}

/// The schema id and the datum of a framed value.
///
/// # Errors
/// The value is too short, or does not begin with zero.
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), FrameError> {
    match value {
        [0, a, b, c, d, datum @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), datum)),
        [magic, ..] if value.len() >= FRAME_BYTES => Err(FrameError::Magic(*magic)),
        _ => Err(FrameError::Short(value.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_refusals() {
        let mut value = Vec::new();
        write(258, &mut value);
        value.push(7);
        assert_eq!(value, [0, 0, 0, 1, 2, 7]);
        assert_eq!(split(&value), Ok((258, &[7][..])));
        assert_eq!(split(&value[..5]), Ok((258, &[][..])));
        assert_eq!(split(&value[..4]), Err(FrameError::Short(4)));
        assert_eq!(split(&[]), Err(FrameError::Short(0)));
        assert_eq!(split(&[1, 0, 0, 0, 1]), Err(FrameError::Magic(1)));
    }
}
