//! A bucket as a store of objects. Objects are created by conditional writes, so that a second writer finds the first
//! one's; metadata goes with the object. Control files stand below `_forebay/<connector>/`.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tracing::{debug, info};

use self::{
    condition::Condition,
    fault::Class,
    service::{Failed, Service},
};
use super::{
    SinkError,
    store::{Content, MAX_KEY_BYTES, Metadata, ObjectStore, Put},
};
use crate::retry::Backoff;

mod body;
mod client;
mod condition;
pub mod config;
mod fault;
mod multipart;
mod room;
mod service;

pub use self::config::S3Settings;

/// For the log's filter: the SDK dumps at `warn` what the store says in a sentence.
pub const QUIET_LOGS: &str = "aws_config=error";

/// Rounds of one put in which other writers were in the way, before the task waits longer.
const ROUNDS: u32 = 6;
/// Pages of one listing, of 1000 keys each.
const MAX_PAGES: usize = 100_000;
/// Pages of unfinished uploads that one tidying looks at, of 1000 each; the next one goes on.
const MAX_UPLOAD_PAGES: usize = 20;
/// Largest control file read.
const MAX_CONTROL_BYTES: u64 = 1 << 20;
/// Unfinished uploads older than this belong to nobody.
const STALE: Duration = Duration::from_secs(3600);
/// Calls of one tidying that are made at once.
const AT_ONCE: usize = 8;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub struct S3Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: Service,
    /// What all keys begin with: empty, or with a slash at its end.
    base: String,
    /// The same of control files.
    control: String,
    condition: Condition,
}

/// Outcome of one round of a put.
enum Round {
    Created,
    /// Something was there, with this metadata.
    Exists(Metadata),
    /// Another writer was in the way.
    Again,
    /// The conditional write was refused as unknown to the store.
    Refused(Failed),
}

impl S3Store {
    /// Objects below the bucket's prefix and `topics_dir`; control files of `connector` below `_forebay/` there.
    /// Connects at the first call.
    pub fn new(settings: S3Settings, topics_dir: &str, connector: &str) -> Self {
        let mut base = String::new();
        for part in [settings.prefix.as_str(), topics_dir] {
            if !part.is_empty() {
                base.push_str(part);
                base.push('/');
            }
        }
        let control = format!("{base}_forebay/{connector}/");
        let service = Service::new(Arc::new(settings));
        Self(Arc::new(Inner { service, base, control, condition: Condition::default() }))
    }
}

impl Inner {
    fn settings(&self) -> &S3Settings {
        &self.service.settings
    }

    fn error(&self, failed: Failed) -> SinkError {
        failed.into_error(self.settings())
    }

    /// Nobody else's, so that two that try the store out at once don't mislead each other.
    fn probe_key(&self) -> String {
        format!("{}probe-{}", self.control, uuid::Uuid::new_v4().simple())
    }

    async fn head(&self, key: &str) -> Result<Option<Metadata>, SinkError> {
        self.service.head(key).await.map_err(|failed| self.error(failed))
    }

    async fn put(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError> {
        let mut backoff = Backoff::default();
        let mut refused = false;
        for _ in 0..ROUNDS {
            match self.round(key, content, metadata).await? {
                Round::Created => return Ok(Put::Created),
                Round::Exists(found) => return Ok(Put::Exists((!found.is_empty()).then_some(found))),
                Round::Again => tokio::time::sleep(backoff.next(None)).await,
                // It was tried out in between, and obeyed: there is another reason.
                Round::Refused(failed) if refused => return Err(self.error(failed)),
                Round::Refused(_) => {
                    refused = true;
                    self.condition.refused();
                }
            }
        }
        Err(SinkError::retry(format!("writing s3://{}/{key}: another writer is in the way", self.settings().bucket)))
    }

    async fn round(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Round, SinkError> {
        let create_only = self.condition.use_it(&self.service, &self.probe_key()).await?;
        let in_parts = content.len() > self.settings().single_put_bytes;
        // A large object is not uploaded only to hear that it is there.
        if (in_parts || !create_only)
            && let Some(found) = self.head(key).await?
        {
            return Ok(Round::Exists(found));
        }
        let written = if in_parts {
            multipart::upload(&self.service, key, content, metadata, create_only).await
        } else {
            self.service.put(key, content, metadata, create_only).await
        };
        let Err(failed) = written else { return Ok(Round::Created) };
        match failed.class() {
            Some(Class::Taken | Class::UploadGone) => Ok(self.head(key).await?.map_or(Round::Again, Round::Exists)),
            Some(Class::Conflict) => Ok(Round::Again),
            Some(Class::Unsupported) if create_only => Ok(Round::Refused(failed)),
            // A service that refuses before it has read the whole body may close the connection over its answer.
            Some(Class::Broken) => match self.service.head(key).await {
                Ok(Some(found)) => Ok(Round::Exists(found)),
                _ => Err(self.error(failed)),
            },
            _ => Err(self.error(failed)),
        }
    }

    async fn list(&self, prefix: &str, name: &str) -> Result<Vec<String>, SinkError> {
        let mut found = Vec::new();
        let mut from = None;
        for _ in 0..MAX_PAGES {
            let page = self.service.list(prefix, from).await.map_err(|failed| self.error(failed))?;
            let fits = |key: &&String| key.rsplit('/').next().is_some_and(|last| last.starts_with(name));
            found.extend(
                page.keys.iter().filter(fits).filter_map(|key| key.strip_prefix(&self.base)).map(str::to_owned),
            );
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(found),
            }
        }
        let advice = format!("s3://{}/{prefix} holds more objects than are looked through.", self.settings().bucket);
        Err(SinkError::stop("TOO_MANY_OBJECTS", advice))
    }

    /// Drops uploads that a crash has left.
    async fn tidy(&self, prefix: &str) -> Result<(), Failed> {
        let old = |begun: SystemTime| SystemTime::now().duration_since(begun).is_ok_and(|age| age > STALE);
        let mut stale = Vec::new();
        let mut from = None;
        for _ in 0..MAX_UPLOAD_PAGES {
            let page = self.service.uploads(prefix, from).await?;
            stale.extend(page.uploads.into_iter().filter(|upload| upload.begun.is_some_and(old)));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
        if !stale.is_empty() {
            info!(prefix, count = stale.len(), "Unfinished uploads of an earlier run are dropped.");
        }
        stream::iter(&stale)
            .for_each_concurrent(AT_ONCE, |upload| multipart::drop_upload(&self.service, &upload.key, &upload.id))
            .await;
        Ok(())
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    fn describe(&self) -> String {
        format!("s3://{}/{}", self.0.settings().bucket, self.0.base).trim_end_matches('/').to_owned()
    }

    fn max_key_bytes(&self) -> usize {
        MAX_KEY_BYTES.saturating_sub(self.0.base.len())
    }

    async fn check(&self) -> Result<(), SinkError> {
        let inner = &self.0;
        // What needs another right than writing, and names a bucket that is missing.
        inner.service.list(&inner.control, None).await.map_err(|failed| inner.error(failed))?;
        Condition::default().use_it(&inner.service, &inner.probe_key()).await.map(drop)
    }

    async fn put_if_absent(&self, key: &str, content: &Content, metadata: &Metadata) -> Result<Put, SinkError> {
        self.0.put(&format!("{}{key}", self.0.base), content, metadata).await
    }

    async fn list(&self, prefix: &str, name: &str) -> Result<Vec<String>, SinkError> {
        self.0.list(&format!("{}{prefix}/", self.0.base), name).await
    }

    async fn metadata(&self, key: &str) -> Result<Option<Metadata>, SinkError> {
        let found = self.0.head(&format!("{}{key}", self.0.base)).await?;
        Ok(found.filter(|metadata| !metadata.is_empty()))
    }

    async fn tidy(&self, prefix: &str) {
        if let Err(failed) = self.0.tidy(&format!("{}{prefix}/", self.0.base)).await {
            let error = self.0.error(failed).to_string();
            debug!(error, "Unfinished uploads were not looked for.");
        }
    }

    async fn control(&self, name: &str) -> Result<Option<String>, SinkError> {
        let got = self.0.service.get(&format!("{}{name}", self.0.control), MAX_CONTROL_BYTES).await;
        got.map_err(|failed| self.0.error(failed))
    }

    async fn put_control(&self, name: &str, text: &str, replace: bool) -> Result<(), SinkError> {
        let key = format!("{}{name}", self.0.control);
        let content = Content::Memory(text.to_owned().into());
        if replace {
            let put = self.0.service.put(&key, &content, &Metadata::new(), false).await;
            return put.map_err(|failed| self.0.error(failed));
        }
        self.0.put(&key, &content, &Metadata::new()).await.map(drop)
    }
}
