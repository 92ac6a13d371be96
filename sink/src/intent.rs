//! The flush intent in the commit's metadata: `v1;e=<last offset>;n=<rows>;t=<ms>;cfg=<16 hex>`. Pure.
//!
//! It is stored with the group's start offset before the first file is written. Whoever claims the partition later
//! finds it and writes exactly the same group again; so a file's key and rows never depend on when a crash came.

use std::fmt;

use forebay_broker::Offset;
use sha2::{Digest, Sha256};

/// Metadata of a commit with which nothing is pending. Tools that move offsets leave none: so it shows that an offset was
/// moved by hand.
pub const DONE: &str = "v1;done";

/// A flush that was announced and may be half done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Last offset of the group.
    pub end: Offset,
    /// Rows it had when it was cut.
    pub rows: u64,
    /// When it was cut, ms since the epoch.
    pub time_ms: i64,
    /// Fingerprint of the settings that decide keys and rows.
    pub cfg: String,
}

impl fmt::Display for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v1;e={};n={};t={};cfg={}", self.end, self.rows, self.time_ms, self.cfg)
    }
}

/// Commit metadata that this version can't read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the commit metadata {0:?} is no flush intent of this version")]
pub struct NoIntent(pub String);

impl Intent {
    /// Reads commit metadata; [`DONE`] or nothing means that nothing is pending.
    pub fn parse(metadata: &str) -> Result<Option<Self>, NoIntent> {
        if metadata.is_empty() || metadata == DONE {
            return Ok(None);
        }
        let bad = || NoIntent(metadata.chars().take(256).collect());
        let mut parts = metadata.split(';');
        let mut field = |name: &str| parts.next().and_then(|p| p.strip_prefix(name)).ok_or_else(bad);
        field("v1")?;
        let end: Offset = number(field("e=")?).ok_or_else(bad)?;
        let rows: u64 = number(field("n=")?).ok_or_else(bad)?;
        let time_ms: i64 = number(field("t=")?).ok_or_else(bad)?;
        let cfg = field("cfg=")?;
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        if cfg.len() != 16 || !cfg.chars().all(hex) || parts.next().is_some() || end < 0 {
            return Err(bad());
        }
        Ok(Some(Self { end, rows, time_ms, cfg: cfg.to_owned() }))
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Option<T> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// The first 16 hex digits of the SHA-256 over the canonical JSON of what decides keys and rows.
pub fn cfg_hash(canonical_json: &str) -> String {
    Sha256::digest(canonical_json).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_pending() {
        assert_eq!(Intent::parse(""), Ok(None));
        assert_eq!(Intent::parse(DONE), Ok(None));
    }

    #[test]
    fn what_is_no_intent_is_refused() {
        let cases = [
            "v2;e=1;n=1;t=1;cfg=0123456789abcdef",
            "v1;e=1;n=1;t=1",
            "v1;e=1;n=1;t=1;cfg=0123",
            "v1;e=1;n=1;t=1;cfg=0123456789ABCDEF",
            "v1;n=1;e=1;t=1;cfg=0123456789abcdef",
            "v1;e=-1;n=1;t=1;cfg=0123456789abcdef",
            "v1;e=+1;n=1;t=1;cfg=0123456789abcdef",
            "v1;e=99999999999999999999;n=1;t=1;cfg=0123456789abcdef",
            "v1;e=1;n=1;t=1;cfg=0123456789abcdef;x=1",
            "hello",
        ];
        for text in cases {
            assert_eq!(Intent::parse(text), Err(NoIntent(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn hash_is_stable() {
        assert_eq!(cfg_hash("{}"), "44136fa355b3678a");
    }

    proptest! {
        #[test]
        fn reads_what_it_writes_within_256_bytes(end in 0i64.., rows: u64, time_ms: i64, seed: u64) {
            let intent = Intent { end, rows, time_ms, cfg: cfg_hash(&seed.to_string()) };
            let text = intent.to_string();
            prop_assert!(text.len() <= 256);
            prop_assert_eq!(Intent::parse(&text), Ok(Some(intent)));
        }

        #[test]
        fn never_panics(text: String) {
            let _ = Intent::parse(&text);
        }
    }
}
