//! The calls of S3's API that the store makes, each once and with its refusal classified.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        get_object::GetObjectOutput, list_multipart_uploads::ListMultipartUploadsOutput,
        list_objects_v2::ListObjectsV2Output,
    },
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};

use super::{
    super::{
        SinkError,
        store::{Content, Metadata},
    },
    body::body,
    client::Clients,
    config::{Checksum, S3Settings},
    fault::{Class, Refusal, Reply},
    room::{IN_FLIGHT_BYTES, Room},
};

/// Creates only: `If-None-Match: *`.
const ANY: &str = "*";

/// Why a call did not succeed.
#[derive(Debug)]
pub enum Failed {
    /// The store refused.
    Refused(Box<Refusal>),
    /// There is no client to call with.
    Client(SinkError),
}

impl Failed {
    /// What the refusal means.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Refused(refusal) => Some(refusal.class),
            Self::Client(_) => None,
        }
    }

    /// How long the store wants to be left alone.
    pub fn wish(&self) -> Option<Duration> {
        match self {
            Self::Refused(refusal) => refusal.reply.retry_after,
            Self::Client(_) => None,
        }
    }

    /// As the task takes it.
    pub fn into_error(self, settings: &S3Settings) -> SinkError {
        match self {
            Self::Refused(refusal) => refusal.into_error(settings),
            Self::Client(error) => error,
        }
    }
}

type Called<T> = Result<T, Failed>;

/// A part of the bucket's objects, and where the next begins.
pub struct Page {
    pub keys: Vec<String>,
    pub next: Option<String>,
}

/// An unfinished multipart upload.
pub struct Upload {
    pub key: String,
    pub id: String,
    pub begun: Option<SystemTime>,
}

/// Where a page of unfinished uploads begins.
pub struct UploadMark {
    key: String,
    id: Option<String>,
}

/// A part of the bucket's unfinished uploads, and where the next begins.
pub struct UploadPage {
    pub uploads: Vec<Upload>,
    pub next: Option<UploadMark>,
}

/// A bucket's calls. Keys are whole keys.
#[derive(Debug)]
pub struct Service {
    pub settings: Arc<S3Settings>,
    clients: Clients,
    room: Room,
}

impl Service {
    /// Connects at the first call.
    pub fn new(settings: Arc<S3Settings>) -> Self {
        Self { clients: Clients::new(Arc::clone(&settings)), settings, room: Room::new(IN_FLIGHT_BYTES) }
    }

    async fn client(&self) -> Called<Client> {
        self.clients.get().await.map_err(Failed::Client)
    }

    async fn refused<E>(&self, doing: &'static str, key: &str, error: &SdkError<E>) -> Failed
    where
        E: std::error::Error + ProvideErrorMetadata + 'static,
    {
        let refusal = Refusal::new(doing, key, error);
        self.clients.refused(refusal.class).await;
        Failed::Refused(Box::new(refusal))
    }

    /// Puts a whole object.
    pub async fn put(&self, key: &str, content: &Content, metadata: &Metadata, create_only: bool) -> Called<()> {
        let mut call = self
            .client()
            .await?
            .put_object()
            .bucket(&self.settings.bucket)
            .key(key)
            .set_metadata(as_sent(metadata))
            .content_length(i64::try_from(content.len()).unwrap_or(i64::MAX))
            .body(body(content, 0, content.len()));
        if create_only {
            call = call.if_none_match(ANY);
        }
        let _under_way = self.room.enter(content.len()).await;
        match Box::pin(call.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused("writing", key, &error).await),
        }
    }

    /// An object's metadata; `None`: there is no object.
    pub async fn head(&self, key: &str) -> Called<Option<Metadata>> {
        let call = self.client().await?.head_object().bucket(&self.settings.bucket).key(key);
        match Box::pin(call.send()).await {
            Ok(found) => Ok(Some(found.metadata.unwrap_or_default().into_iter().collect())),
            Err(error) => match self.refused("looking at", key, &error).await {
                failed if failed.class() == Some(Class::Missing) => Ok(None),
                failed => Err(failed),
            },
        }
    }

    /// A small object's text; `None`: there is no object.
    pub async fn get(&self, key: &str, limit: u64) -> Called<Option<String>> {
        let call = self.client().await?.get_object().bucket(&self.settings.bucket).key(key);
        match Box::pin(call.send()).await {
            Ok(found) => read_text(found, key, limit).await.map(Some),
            Err(error) => match self.refused("reading", key, &error).await {
                failed if failed.class() == Some(Class::Missing) => Ok(None),
                failed => Err(failed),
            },
        }
    }

    /// Deletes an object, if it is there.
    pub async fn delete(&self, key: &str) -> Called<()> {
        let call = self.client().await?.delete_object().bucket(&self.settings.bucket).key(key);
        match Box::pin(call.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused("deleting", key, &error).await),
        }
    }

    /// Keys that begin with `prefix`, at most 1000 a call.
    pub async fn list(&self, prefix: &str, from: Option<String>) -> Called<Page> {
        let call = self.client().await?.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
        let found: ListObjectsV2Output = match Box::pin(call.set_continuation_token(from).send()).await {
            Ok(found) => found,
            Err(error) => return Err(self.refused("listing", prefix, &error).await),
        };
        let next = found.next_continuation_token.filter(|_| found.is_truncated == Some(true));
        let keys = found.contents.unwrap_or_default().into_iter().filter_map(|object| object.key).collect();
        Ok(Page { keys, next })
    }

    /// Unfinished uploads below `prefix`, at most 1000 a call.
    pub async fn uploads(&self, prefix: &str, from: Option<UploadMark>) -> Called<UploadPage> {
        let call = self.client().await?.list_multipart_uploads().bucket(&self.settings.bucket).prefix(prefix);
        let (key, id) = from.map(|mark| (mark.key, mark.id)).unzip();
        let call = call.set_key_marker(key).set_upload_id_marker(id.flatten());
        let found: ListMultipartUploadsOutput = match Box::pin(call.send()).await {
            Ok(found) => found,
            Err(error) => return Err(self.refused("listing uploads below", prefix, &error).await),
        };
        let upload = |upload: aws_sdk_s3::types::MultipartUpload| {
            let begun = upload.initiated.and_then(|at| SystemTime::try_from(at).ok());
            Some(Upload { key: upload.key?, id: upload.upload_id?, begun })
        };
        let next = found.next_key_marker.filter(|key| found.is_truncated == Some(true) && !key.is_empty());
        let id = found.next_upload_id_marker.filter(|id| !id.is_empty());
        let next = next.map(|key| UploadMark { key, id });
        Ok(UploadPage { uploads: found.uploads.unwrap_or_default().into_iter().filter_map(upload).collect(), next })
    }

    /// Begins a multipart upload: its id. The metadata is fixed here.
    pub async fn create_upload(&self, key: &str, metadata: &Metadata) -> Called<String> {
        let call = self.client().await?.create_multipart_upload().bucket(&self.settings.bucket).key(key);
        let call = call.set_metadata(as_sent(metadata)).set_checksum_algorithm(self.checksum());
        let id = match Box::pin(call.send()).await {
            Ok(created) => created.upload_id,
            Err(error) => return Err(self.refused("beginning an upload to", key, &error).await),
        };
        id.ok_or_else(|| unreadable("beginning an upload to", key, "the answer names no upload"))
    }

    /// Uploads `len` bytes from `at` on as a part.
    pub async fn upload_part(&self, key: &str, id: &str, part: &Part, content: &Content) -> Called<CompletedPart> {
        let call = self
            .client()
            .await?
            .upload_part()
            .bucket(&self.settings.bucket)
            .key(key)
            .upload_id(id)
            .part_number(part.number)
            .set_checksum_algorithm(self.checksum())
            .content_length(i64::try_from(part.len).unwrap_or(i64::MAX))
            .body(body(content, part.at, part.len));
        let _under_way = self.room.enter(part.len).await;
        let sent = match Box::pin(call.send()).await {
            Ok(sent) => sent,
            Err(error) => return Err(self.refused("uploading a part of", key, &error).await),
        };
        let completed = CompletedPart::builder().part_number(part.number).set_e_tag(sent.e_tag);
        // The sums are told again only where the upload was begun with them: some services refuse them otherwise.
        let sums = self.checksum().and(sent.checksum_crc32);
        Ok(completed.set_checksum_crc32(sums).build())
    }

    /// Makes the object of its parts.
    pub async fn complete(&self, key: &str, id: &str, parts: Vec<CompletedPart>, create_only: bool) -> Called<()> {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let call = self.client().await?.complete_multipart_upload().bucket(&self.settings.bucket).key(key);
        let mut call = call.upload_id(id).multipart_upload(parts);
        if create_only {
            call = call.if_none_match(ANY);
        }
        match Box::pin(call.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused("finishing the upload to", key, &error).await),
        }
    }

    /// Drops an upload and its parts.
    pub async fn abort(&self, key: &str, id: &str) -> Called<()> {
        let call = self.client().await?.abort_multipart_upload().bucket(&self.settings.bucket).key(key).upload_id(id);
        match Box::pin(call.send()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.refused("dropping the upload to", key, &error).await),
        }
    }

    fn checksum(&self) -> Option<ChecksumAlgorithm> {
        (self.settings.checksum == Checksum::WhenSupported).then_some(ChecksumAlgorithm::Crc32)
    }
}

/// A piece of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: i32,
    /// First byte.
    pub at: u64,
    /// Bytes.
    pub len: u64,
}

/// Values that are empty are left out: not every service keeps them.
fn as_sent(metadata: &Metadata) -> Option<HashMap<String, String>> {
    let pairs: HashMap<_, _> =
        metadata.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| (k.clone(), v.clone())).collect();
    (!pairs.is_empty()).then_some(pairs)
}

async fn read_text(found: GetObjectOutput, key: &str, limit: u64) -> Called<String> {
    let mut text = Vec::new();
    let mut stream = found.body;
    while let Some(piece) = stream.next().await {
        text.extend(piece.map_err(|error| unreadable("reading", key, &error.to_string()))?);
        if text.len() as u64 > limit {
            return Err(unreadable("reading", key, &format!("it is larger than {limit} bytes")));
        }
    }
    String::from_utf8(text).map_err(|_| unreadable("reading", key, "it is not text"))
}

/// An answer that came and can't be used.
fn unreadable(doing: &'static str, key: &str, why: &str) -> Failed {
    let reply = Reply { status: Some(200), message: why.to_owned(), ..Reply::default() };
    Failed::Refused(Box::new(Refusal { class: Class::Other, doing, key: key.to_owned(), reply }))
}
