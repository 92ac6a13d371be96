//! Which partition a record goes to: Java's murmur2 for keys, one partition per call for records without key.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::{NewRecord, ProduceError};

/// Kafka's murmur2 (`org.apache.kafka.common.utils.Utils.murmur2`), bit for bit: seed `0x9747b28c`, 32 bit.
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // Java mixes in the length as an int; keys are far below 4 GiB.
    let mut hash = SEED ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = chunk.iter().rev().fold(0u32, |word, &byte| (word << 8) | u32::from(byte));
        k = k.wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0u32, |word, &byte| (word << 8) | u32::from(byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of a key among `partitions`, as Java's default partitioner chooses it. No partitions: 0.
pub fn for_key(key: &[u8], partitions: i32) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as i32;
    positive.checked_rem(partitions).unwrap_or(0)
}

/// Turns from one partition to the next with every produce call that has records without key, so that such records
/// of one call stay together and calls spread evenly.
#[derive(Debug, Default)]
pub struct Sticky(AtomicU32);

impl Sticky {
    /// The number of this call; see [`for_call`].
    pub fn next_call(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// The partition for records without key of the call that [`Sticky::next_call`] numbered.
pub fn for_call(call: u32, partitions: i32) -> i32 {
    u32::try_from(partitions).ok().and_then(|n| call.checked_rem(n)).and_then(|p| i32::try_from(p).ok()).unwrap_or(0)
}

/// The partition of a record in a topic of `count` partitions.
pub(crate) fn place(
    record: &NewRecord,
    count: i32,
    turn: &mut Option<u32>,
    sticky: &Sticky,
) -> Result<i32, ProduceError> {
    match (record.partition, &record.key) {
        (Some(partition), _) if (0..count).contains(&partition) => Ok(partition),
        (Some(partition), _) => Err(ProduceError::UnknownTopic(format!("{}-{partition}", record.topic))),
        (None, Some(key)) => Ok(for_key(key, count)),
        (None, None) => Ok(for_call(*turn.get_or_insert_with(|| sticky.next_call()), count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_equals_javas_client() {
        // From Kafka's own UtilsTest.testMurmur2.
        for (key, expected) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, expected, "{key}");
        }
        assert_eq!(murmur2(b"") as i32, 275_646_681);
    }

    #[test]
    fn sign_bit_is_masked_and_no_partitions_do_not_panic() {
        assert_eq!(for_key(b"21", 7), ((-973_932_308i32) & 0x7fff_ffff) % 7);
        assert_eq!(for_key(b"21", 1), 0);
        assert_eq!(for_key(b"21", 0), 0);
        assert_eq!(for_call(9, 4), 1);
        assert_eq!(for_call(9, 0), 0);
    }

    #[test]
    fn calls_without_key_take_turns() {
        let sticky = Sticky::default();
        let seen: Vec<_> = (0..5).map(|_| for_call(sticky.next_call(), 3)).collect();
        assert_eq!(seen, [0, 1, 2, 0, 1]);
    }
}
