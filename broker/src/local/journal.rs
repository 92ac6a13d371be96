//! A look at the database's journal before the database opens it: a torn end is cut off, damage is refused.
//!
//! The database itself stops at a torn write with an error if its checksum fails, and elsewhere cuts the file at the
//! first byte it does not understand, even if acknowledged records stand behind it. Here the two are told apart: every
//! commit group was fsynced before the next was begun, so only the *last* write can be torn. If a whole one stands
//! behind a broken one, the disk has lost something, and a person must know.
//!
//! Format: fjall 3 `src/journal/entry.rs`, little-endian. A write is `1, items u32, seqno u64`, then its items
//! (`2, kind u8, compression u8, keyspace u64, key length u16, value length u32, stored length u32, key, value` or
//! `4, keyspace u64`), then `3, XXH3 of the items u64, "FJL\x03"`. Zeros follow up to the size set aside.

use std::{
    fs::{self, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use bytes::Buf;
use xxhash_rust::xxh3::xxh3_64;

use crate::LogError;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const TRAILER: &[u8] = b"FJL\x03";
/// A write without its items.
const FRAME_BYTES: usize = 1 + 4 + 8 + 1 + 8 + TRAILER.len();
/// Numbers that the database may take between two writes without writing to the journal.
const UPKEEP_NUMBERS: u64 = 1_000;

/// Checks every journal of a database directory, and cuts a torn end off the last.
pub(super) fn repair(dir: &Path) -> Result<(), LogError> {
    let unread = |error: io::Error| LogError::Unavailable(format!("{} can't be read: {error}", dir.display()));
    let journals = journals(dir).map_err(unread)?;
    for (n, path) in journals.iter().enumerate() {
        let bytes = fs::read(path).map_err(unread)?;
        match check(&bytes) {
            End::Clean => {}
            End::Torn { at } if n + 1 == journals.len() => {
                tracing::warn!(journal = %path.display(), at, "The last write before a crash was torn; it is cut off.");
                cut(path, at as u64).map_err(unread)?;
            }
            End::Torn { at } | End::Damaged { at } => return Err(damaged(path, at)),
        }
    }
    Ok(())
}

/// The journals, oldest first.
fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), Some("jnl")) = (number, path.extension().and_then(|ext| ext.to_str())) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

fn cut(path: &Path, at: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(at)?;
    file.sync_all()
}

fn damaged(path: &Path, at: usize) -> LogError {
    LogError::Fatal(format!(
        "{} is damaged at byte {at}, before records that were acknowledged: the disk lost data. Restore the log's \
         directory from a copy, as a whole; to go on without what stands behind, cut that file at this byte. Both lose \
         acknowledged records, and their offsets are given again: a connector that has delivered some of them fails \
         with LOG_REWOUND and says what to do (docs/exactly-once.md, Backups and restores)",
        path.display()
    ))
}

/// How a journal ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Whole writes, then nothing.
    Clean,
    /// Whole writes, then part of one.
    Torn { at: usize },
    /// Something broken, then whole writes.
    Damaged { at: usize },
}

fn check(bytes: &[u8]) -> End {
    let (mut at, mut last) = (0, None);
    // The last write but one, by its number and its end: the number of the last may be what is broken.
    let mut sure = None;
    // The checksum leaves the number of a write out; but numbers only grow.
    while let Some(write) = whole_write(bytes.get(at..).unwrap_or_default()).filter(|write| Some(write.seqno) > last) {
        sure = last.map(|last| (last, at));
        at += write.length;
        last = Some(write.seqno);
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let used = rest.len() - trailing_zeros(rest);
    if used == 0 {
        return End::Clean;
    }
    let rest = rest.get(..used).unwrap_or_default();
    // A torn write is not whole; anything whole here was written after what is broken, unless a record's own bytes were
    // made to look so.
    let later = (0..rest.len()).any(|from| {
        let write = whole_write(rest.get(from..).unwrap_or_default());
        write.is_some_and(|write| sure.is_none_or(|(sure, end)| could_follow(sure, write.seqno, at + from - end)))
    });
    if later { End::Damaged { at } } else { End::Torn { at } }
}

/// Whether a write of this number can stand so many bytes behind the one of number `sure`: each write in between takes
/// one number and its bytes, and the database's own upkeep takes a few.
fn could_follow(sure: u64, seqno: u64, bytes_between: usize) -> bool {
    let most = (bytes_between / FRAME_BYTES) as u64 + UPKEEP_NUMBERS;
    seqno > sure && seqno - sure <= most
}

fn trailing_zeros(bytes: &[u8]) -> usize {
    const ZEROS: [u8; 4096] = [0; 4096];
    let mut rest = bytes;
    // Whole pages at once: the space set aside is large.
    while let Some((before, _)) = rest.split_last_chunk().filter(|(_, page)| **page == ZEROS) {
        rest = before;
    }
    let tail = rest.iter().rev().take_while(|byte| **byte == 0).count();
    bytes.len() - rest.len() + tail
}

/// A write with a good checksum.
struct Write {
    length: usize,
    seqno: u64,
}

/// The whole write that these bytes begin with.
fn whole_write(bytes: &[u8]) -> Option<Write> {
    let mut left = bytes;
    if left.try_get_u8().ok()? != START {
        return None;
    }
    let items = left.try_get_u32_le().ok()?;
    let seqno = left.try_get_u64_le().ok()?;
    let body = left;
    for _ in 0..items {
        skip_item(&mut left)?;
    }
    let body = body.get(..body.len() - left.len())?;
    if left.try_get_u8().ok()? != END {
        return None;
    }
    let checksum = left.try_get_u64_le().ok()?;
    let trailer = left.get(..TRAILER.len())?;
    let whole = trailer == TRAILER && checksum == xxh3_64(body);
    whole.then(|| Write { length: bytes.len() - left.len() + TRAILER.len(), seqno })
}

fn skip_item(left: &mut &[u8]) -> Option<()> {
    match left.try_get_u8().ok()? {
        CLEAR => left.try_get_u64_le().ok().map(drop),
        ITEM => {
            left.try_get_u16_le().ok()?;
            left.try_get_u64_le().ok()?;
            let key = usize::from(left.try_get_u16_le().ok()?);
            left.try_get_u32_le().ok()?;
            let value = left.try_get_u32_le().ok()? as usize;
            *left = left.get(key.checked_add(value)?..)?;
            Some(())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        Log, NewRecord, TopicPartition, TopicSpec,
        local::{LocalLog, LocalSettings, tests::settings},
    };

    fn end_of(path: &Path) -> usize {
        let bytes = fs::read(path).unwrap();
        assert_eq!(check(&bytes), End::Clean);
        bytes.len() - trailing_zeros(&bytes)
    }

    /// A log of ten commit groups of three records, and the journal's length before each and after all.
    async fn ten_groups(settings: &LocalSettings) -> (PathBuf, Vec<usize>) {
        let log = LocalLog::open(settings.clone()).unwrap();
        log.create_topic(&TopicSpec { name: "t".into(), partitions: 1, config: Default::default() }).await.unwrap();
        let journal = settings.dir.canonicalize().unwrap().join("0.jnl");
        let mut ends = vec![end_of(&journal)];
        for group in 0..10 {
            let record = |n: i32| NewRecord {
                topic: "t".into(),
                partition: None,
                key: None,
                // Some large enough to be compressed.
                value: Some(format!("{group}/{n} ").repeat(if n == 0 { 3_000 } else { 1 }).into()),
                headers: Default::default(),
                timestamp_ms: None,
            };
            let receipts = log.produce((0..3).map(record).collect()).unwrap().await;
            assert!(receipts.iter().all(Result::is_ok));
            ends.push(end_of(&journal));
        }
        log.close().await.unwrap();
        (journal, ends)
    }

    /// What is left after the journal was made to be `bytes`.
    async fn records_with(settings: &LocalSettings, journal: &Path, bytes: &[u8]) -> Result<usize, LogError> {
        fs::write(journal, bytes).unwrap();
        let log: Arc<LocalLog> = LocalLog::open(settings.clone())?;
        let records = log.read(&TopicPartition::new("t", 0), 0, 1_000, usize::MAX).await.unwrap();
        let offsets: Vec<_> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (0..records.len() as i64).collect::<Vec<_>>());
        let next = NewRecord {
            topic: "t".into(),
            partition: None,
            key: None,
            value: None,
            headers: Default::default(),
            timestamp_ms: None,
        };
        let receipt = log.produce(vec![next]).unwrap().await.remove(0).unwrap();
        assert_eq!(receipt.offset, records.len() as i64, "goes on behind what is left");
        Ok(records.len())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_torn_end_is_cut_at_the_last_whole_group() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let (journal, ends) = ten_groups(&settings).await;
        let whole = fs::read(&journal).unwrap();
        for (group, edge) in ends.windows(2).enumerate().skip(6) {
            let (from, to) = (edge[0], edge[1]);
            for at in [from, from + 1, from + 13, (from + to) / 2, to - 13, to - 1] {
                // Cut short; cut short with the space set aside behind it; and pages of it that never came.
                let mut padded = whole[..at].to_vec();
                padded.resize(to + 10_000, 0);
                for bytes in [&whole[..at], &padded] {
                    assert_eq!(records_with(&settings, &journal, bytes).await.unwrap(), group * 3, "cut at {at}");
                }
                let mut holes = whole[..to].to_vec();
                holes[at.min(to - 2)..to - 1].fill(0xaa);
                assert_eq!(records_with(&settings, &journal, &holes).await.unwrap(), group * 3, "torn at {at}");
            }
        }
        assert_eq!(records_with(&settings, &journal, &whole).await.unwrap(), 30);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn damage_before_whole_groups_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let (journal, ends) = ten_groups(&settings).await;
        let whole = fs::read(&journal).unwrap();
        for (from, to) in [(ends[2], ends[3]), (ends[8], ends[9])] {
            // Of the tag, the count, the number (seen at the next write), an item, the checksum, the trailer.
            for (at, seen) in [
                (from, from),
                (from + 1, from),
                (from + 6, to),
                ((from + to) / 2, from),
                (to - 9, from),
                (to - 3, from),
            ] {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x40;
                let error = records_with(&settings, &journal, &bytes).await.unwrap_err();
                assert!(matches!(error, LogError::Fatal(_)), "{error}");
                assert!(error.to_string().contains(&format!("0.jnl is damaged at byte {seen}")), "{error}");
            }
        }
        assert_eq!(records_with(&settings, &journal, &whole).await.unwrap(), 30, "nothing was changed by refusing");
    }

    /// A whole write of this number, as someone who knows the format can send one in a record.
    fn forged(seqno: u64) -> Vec<u8> {
        let mut items = vec![ITEM, 0, 0];
        items.extend([0; 8]);
        items.extend(1u16.to_le_bytes());
        items.extend([1u32.to_le_bytes(), 1u32.to_le_bytes()].concat());
        items.extend(b"kv");
        let mut write = vec![START];
        write.extend(1u32.to_le_bytes());
        write.extend(seqno.to_le_bytes());
        write.extend(&items);
        write.push(END);
        write.extend(xxh3_64(&items).to_le_bytes());
        write.extend(TRAILER);
        assert_eq!(whole_write(&write).map(|write| write.seqno), Some(seqno));
        write
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_write_forged_inside_a_records_value_makes_a_torn_end_no_damage() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(dir.path());
        let (journal, ends) = ten_groups(&settings).await;
        let whole = fs::read(&journal).unwrap()[..ends[10]].to_vec();
        let log = LocalLog::open(settings.clone()).unwrap();
        // An Avro value with bytes in it: a frame of five bytes, a length, then whatever a client likes.
        let mut value = vec![0, 0, 0, 0, 1, 200, 2];
        for seqno in [0, 1, 1 << 20, u64::MAX] {
            value.extend(forged(seqno));
        }
        value.extend([b'x'; 100]);
        let record = NewRecord {
            topic: "t".into(),
            partition: None,
            key: None,
            value: Some(value.into()),
            headers: Default::default(),
            timestamp_ms: None,
        };
        log.produce(vec![record]).unwrap().await.remove(0).unwrap();
        log.close().await.unwrap();
        drop(log);
        let bytes = fs::read(&journal).unwrap();
        let at = bytes.windows(100).position(|window| window == [b'x'; 100]).unwrap();
        assert_eq!(bytes[..whole.len()], whole);
        // Killed inside that write, behind what was forged.
        assert_eq!(check(&bytes[..at + 50]), End::Torn { at: whole.len() });
        assert_eq!(records_with(&settings, &journal, &bytes[..at + 50]).await.unwrap(), 30);
    }

    #[test]
    fn numbers_of_later_writes_are_bounded_by_the_bytes_between() {
        let megabyte = 1 << 20;
        let cases = [
            (7, 8, 1, true),
            (7, 1_007, 0, true),
            (7, 1_008, 0, false),
            (7, 7, megabyte, false),
            (7, 0, megabyte, false),
            (7, 40_000, megabyte, true),
            (7, 50_000, megabyte, false),
            (7, u64::MAX, megabyte, false),
            (u64::MAX, 0, megabyte, false),
        ];
        for (sure, seqno, between, want) in cases {
            assert_eq!(could_follow(sure, seqno, between), want, "{seqno} behind {sure}, {between} bytes");
        }
    }

    #[test]
    fn nothing_and_zeros_are_clean() {
        for length in [0, 1, 4_095, 4_096, 4_097, 100_000] {
            assert_eq!(check(&vec![0; length]), End::Clean);
            let mut bytes = vec![0; length];
            bytes.push(7);
            assert_eq!(check(&bytes), End::Torn { at: 0 });
        }
    }
}
