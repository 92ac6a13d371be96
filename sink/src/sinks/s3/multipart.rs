//! Large objects: uploaded in parts, seen by nobody until the last call makes one object of them, or refuses to.

use std::time::Duration;

use aws_sdk_s3::types::CompletedPart;
use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::debug;

use super::{
    super::store::{Content, Metadata},
    fault::Class,
    service::{Failed, Part, Service},
};
use crate::{crash_point, retry::Backoff};

/// S3's limit.
const MAX_PARTS: u64 = 10_000;
/// Parts of one object that are uploaded at once.
const AT_ONCE: usize = 4;
/// Tries of one part before the upload is given up.
const TRIES: u32 = 4;
/// For dropping an upload that failed; what remains is dropped by a later claim.
const ABORT_WITHIN: Duration = Duration::from_secs(5);

/// How an object is cut: parts of `part_bytes`, or larger ones where that would be too many.
pub fn parts(len: u64, part_bytes: u64) -> Vec<Part> {
    let size = part_bytes.max(len.div_ceil(MAX_PARTS)).max(1);
    let count = len.div_ceil(size).max(1);
    let part = |n: u64| {
        let at = n * size;
        Some(Part { number: i32::try_from(n + 1).ok()?, at, len: size.min(len - at) })
    };
    (0..count).filter_map(part).collect()
}

/// Uploads an object; what is left of a failed upload is dropped.
pub async fn upload(
    service: &Service,
    key: &str,
    content: &Content,
    metadata: &Metadata,
    create_only: bool,
) -> Result<(), Failed> {
    let id = service.create_upload(key, metadata).await?;
    crash_point!("s3.multipart_created");
    let failed = match finish(service, key, &id, content, create_only).await {
        Ok(()) => return Ok(()),
        Err(failed) => failed,
    };
    if failed.class() != Some(Class::UploadGone) {
        drop_upload(service, key, &id).await;
    }
    Err(failed)
}

async fn finish(service: &Service, key: &str, id: &str, content: &Content, create_only: bool) -> Result<(), Failed> {
    let cut = parts(content.len(), service.settings.part_bytes);
    let sent: Vec<_> = cut.iter().map(|part| send(service, key, id, part, content)).collect();
    let mut sent: Vec<CompletedPart> = stream::iter(sent).buffer_unordered(AT_ONCE).try_collect().await?;
    sent.sort_by_key(CompletedPart::part_number);
    crash_point!("s3.before_complete");
    service.complete(key, id, sent, create_only).await?;
    crash_point!("s3.after_complete");
    Ok(())
}

/// One part, tried again a few times: a hiccup must not cost the parts before it.
async fn send(service: &Service, key: &str, id: &str, part: &Part, content: &Content) -> Result<CompletedPart, Failed> {
    let mut backoff = Backoff::default();
    loop {
        let failed = match service.upload_part(key, id, part, content).await {
            Ok(sent) => {
                crash_point!("s3.part_uploaded");
                return Ok(sent);
            }
            Err(failed) => failed,
        };
        let passes =
            matches!(failed.class(), Some(Class::Throttled | Class::Broken | Class::Unreachable | Class::Other));
        if !passes || backoff.failures() + 1 >= TRIES {
            return Err(failed);
        }
        tokio::time::sleep(backoff.next(failed.wish())).await;
    }
}

/// Best effort.
pub async fn drop_upload(service: &Service, key: &str, id: &str) {
    let dropped = tokio::time::timeout(ABORT_WITHIN, service.abort(key, id)).await;
    if !matches!(dropped, Ok(Ok(()))) {
        debug!(key, "An unfinished upload was not dropped; a later claim will do it.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cover_the_object_and_are_never_too_many() {
        const MIB: u64 = 1 << 20;
        let cases = [(1, 25 * MIB, 1), (25 * MIB, 25 * MIB, 1), (25 * MIB + 1, 25 * MIB, 2), (100 * MIB, 25 * MIB, 4)];
        for (len, size, count) in cases {
            assert_eq!(parts(len, size).len(), count, "{len} by {size}");
        }
        for len in [0, 1, 40 * MIB, 5_000_000 * MIB, 10_000 * 5 * MIB + 1] {
            let cut = parts(len, 5 * MIB);
            assert!(cut.len() as u64 <= MAX_PARTS);
            let mut at = 0;
            for (n, part) in cut.iter().enumerate() {
                assert_eq!((part.number as usize, part.at), (n + 1, at));
                at += part.len;
            }
            assert_eq!(at, len);
        }
    }
}
