//! What a refusal of the store means, and how it is told. Pure, but for reading the client's error.

use std::{error::Error, time::Duration};

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::{super::SinkError, config::S3Settings};

/// What stands in a refusal, as far as it decides anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status; `None`: no answer came.
    pub status: Option<u16>,
    /// S3's error code.
    pub code: String,
    /// The store's words, or the connection's.
    pub message: String,
    /// The store's wish.
    pub retry_after: Option<Duration>,
    /// The bucket's region, where the answer names it.
    pub region: Option<String>,
}

/// What a refusal means. The first five are branches of the protocol, the others faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The key is taken.
    Taken,
    /// Another request on the key is in work.
    Conflict,
    /// The multipart upload is gone: finished or aborted.
    UploadGone,
    /// There is no such object.
    Missing,
    /// The store does not know what was asked for.
    Unsupported,
    /// Too many requests.
    Throttled,
    /// No such bucket.
    NoBucket,
    /// A right is missing.
    NoRight,
    /// Unknown key or wrong secret.
    BadCredentials,
    /// Temporary credentials have ended.
    Expired,
    /// The client found no credentials to use.
    NoCredentials,
    /// This machine's clock is off.
    WrongClock,
    /// The bucket is in another region, or none is known.
    WrongRegion,
    /// The bucket's name can't be one.
    BadBucket,
    /// The key is too long.
    KeyTooLong,
    /// The connection could not be made, or broke: the answer may have been on its way.
    Broken,
    /// No answer in time.
    Unreachable,
    /// Everything else.
    Other,
}

/// The first matching line decides: codes, then status.
pub fn classify(reply: &Reply) -> Class {
    let Some(status) = reply.status else { return unanswered(&reply.message) };
    match reply.code.as_str() {
        "PreconditionFailed" => return Class::Taken,
        "ConditionalRequestConflict" | "OperationAborted" => return Class::Conflict,
        "NoSuchUpload" => return Class::UploadGone,
        "NoSuchBucket" => return Class::NoBucket,
        "NotImplemented" => return Class::Unsupported,
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "InvalidToken" => return Class::Expired,
        // The last is versitygw's.
        "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidSecurity" | "XAdminUserNotFound" => {
            return Class::BadCredentials;
        }
        "RequestTimeTooSkewed" => return Class::WrongClock,
        "PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
            return Class::WrongRegion;
        }
        "InvalidBucketName" => return Class::BadBucket,
        "KeyTooLongError" => return Class::KeyTooLong,
        "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "TooManyRequests" => {
            return Class::Throttled;
        }
        _ => {}
    }
    match status {
        412 => Class::Taken,
        409 => Class::Conflict,
        404 if matches!(reply.code.as_str(), "" | "NoSuchKey" | "NotFound") => Class::Missing,
        501 => Class::Unsupported,
        400 if refuses_condition(&reply.message) => Class::Unsupported,
        301 => Class::WrongRegion,
        401 | 403 => Class::NoRight,
        429 | 503 => Class::Throttled,
        _ => Class::Other,
    }
}

/// Whether it is about the header of a conditional write; the last words are S3's own for any header it does not know.
fn refuses_condition(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    ["if-none-match", "conditional", "a header you provided implies"].iter().any(|words| message.contains(words))
}

/// The client names these in words only.
fn unanswered(message: &str) -> Class {
    let message = message.to_ascii_lowercase();
    if message.contains("credential") {
        Class::NoCredentials
    } else if message.contains("region must be set") || message.contains("missing region") {
        Class::WrongRegion
    } else if message.contains("io error") {
        Class::Broken
    } else {
        Class::Unreachable
    }
}

/// A refused call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it means.
    pub class: Class,
    /// What was tried, such as `writing`.
    pub doing: &'static str,
    /// On what.
    pub key: String,
    /// The answer.
    pub reply: Reply,
}

impl Refusal {
    /// Of a failed call.
    pub fn new<E>(doing: &'static str, key: &str, error: &SdkError<E>) -> Self
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let reply = reply(error);
        Self { class: classify(&reply), doing, key: key.to_owned(), reply }
    }

    /// As the task takes it: faults of the destination are tried again for ever, settings stop.
    pub fn into_error(self, settings: &S3Settings) -> SinkError {
        let Self { class, doing, key, reply } = self;
        let place = format!("s3://{}/{key}", settings.bucket);
        let place = place.trim_end_matches('/');
        let service = settings.endpoint_url.as_deref().unwrap_or("AWS");
        let advice = advice(class, settings, &reply, service);
        let said = said(&reply);
        let why = format!("{doing} {place}: {advice}{said}");
        match stop_code(class) {
            Some(code) => SinkError::stop(code, why),
            None => SinkError::Retry { why, after: reply.retry_after },
        }
    }
}

/// What no retry makes right.
fn stop_code(class: Class) -> Option<&'static str> {
    match class {
        Class::WrongRegion => Some("WRONG_REGION"),
        Class::BadBucket => Some("BAD_BUCKET"),
        Class::KeyTooLong => Some("PATH_INVALID"),
        _ => None,
    }
}

fn advice(class: Class, settings: &S3Settings, reply: &Reply, service: &str) -> String {
    let bucket = &settings.bucket;
    let chain = "give s3.access_key_id and s3.secret_access_key, or credentials in the AWS environment";
    match class {
        Class::NoBucket | Class::Missing => {
            format!("the bucket {bucket} does not exist at {service}: create it, or correct the connector's url")
        }
        Class::NoRight => {
            "the credentials lack a right: allow s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, \
             s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload"
                .to_owned()
        }
        Class::BadCredentials => format!("{service} refused the credentials: {chain}"),
        Class::Expired => "the credentials have expired: renew them".to_owned(),
        Class::NoCredentials => format!("no credentials were found: {chain}"),
        Class::WrongClock => "this machine's clock differs from the service's: set it right".to_owned(),
        Class::WrongRegion => match (&reply.region, reply.status) {
            (Some(region), _) => format!("the bucket {bucket} is in another region: set s3.region: {region}"),
            (None, Some(_)) => format!("the bucket {bucket} is in another region: set s3.region"),
            (None, None) => "no region is known: set s3.region".to_owned(),
        },
        Class::BadBucket => format!("{service} takes no bucket named {bucket:?}: correct the connector's url"),
        Class::KeyTooLong => "the key is too long: shorten the url's prefix, topics.dir or the topic".to_owned(),
        Class::Throttled => format!("{service} asks for fewer requests"),
        Class::Broken if reply.message.contains("certificate") => {
            format!("{service} showed a certificate that is not trusted: name its issuer's in s3.ca_file")
        }
        Class::Unreachable if reply.message.contains("request has timed out") => format!(
            "{service} did not answer within {} ms: see that it can be reached; on a slow link raise s3.timeout_ms, or \
             lower s3.part_bytes and s3.single_put_bytes",
            settings.timeout.as_millis()
        ),
        Class::Broken | Class::Unreachable => format!("{service} did not answer: see that it runs and can be reached"),
        Class::Other if reply.message.to_ascii_lowercase().contains("checksum") => {
            format!("{service} does not take the checksum; s3.checksum: when_required may help")
        }
        Class::Unsupported => {
            format!("{service} does not implement what was asked for; s3.checksum: when_required may help")
        }
        Class::Taken | Class::Conflict | Class::UploadGone => "another writer was in the way".to_owned(),
        Class::Other => format!("{service} failed"),
    }
}

/// Longest part of the store's own words that is shown.
const MAX_SAID: usize = 300;

fn said(reply: &Reply) -> String {
    let status = reply.status.map(|status| status.to_string()).unwrap_or_default();
    let words: String = reply.message.chars().take(MAX_SAID).collect();
    let parts = [status.as_str(), reply.code.as_str(), words.as_str()];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(" ")) }
}

fn reply<E>(error: &SdkError<E>) -> Reply
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let raw = error.raw_response();
    let header = |name: &str| raw.and_then(|raw| raw.headers().get(name)).map(ToOwned::to_owned);
    let service = error.as_service_error();
    let code = service.and_then(ProvideErrorMetadata::code).unwrap_or_default().to_owned();
    let message = match service {
        Some(service) => service.message().unwrap_or_default().to_owned(),
        None => chain(error),
    };
    Reply {
        status: raw.map(|raw| raw.status().as_u16()),
        code,
        message,
        retry_after: header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs),
        region: header("x-amz-bucket-region"),
    }
}

/// An error and its causes, each once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !words.iter().any(|known| known.contains(&text)) {
            words.push(text);
        }
        next = error.source();
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_before_status_and_words_where_no_answer_came() {
        let cases = [
            (Some(200), "PreconditionFailed", "", Class::Taken),
            (Some(412), "", "", Class::Taken),
            (Some(409), "", "", Class::Conflict),
            (Some(404), "NoSuchUpload", "", Class::UploadGone),
            (Some(404), "NoSuchBucket", "", Class::NoBucket),
            (Some(404), "NotFound", "", Class::Missing),
            (Some(404), "SomethingElse", "", Class::Other),
            (Some(501), "", "", Class::Unsupported),
            (Some(400), "InvalidArgument", "If-None-Match is not allowed", Class::Unsupported),
            (Some(400), "", "Conditional writes are not supported", Class::Unsupported),
            (Some(400), "", "A header you provided implies functionality that is not implemented", Class::Unsupported),
            (Some(400), "InvalidArgument", "the key is odd", Class::Other),
            (Some(400), "InvalidArgument", "this checksum is not supported", Class::Other),
            (Some(400), "InvalidRequest", "this storage class is not implemented", Class::Other),
            (Some(400), "ExpiredToken", "", Class::Expired),
            (Some(403), "", "", Class::NoRight),
            (Some(503), "", "", Class::Throttled),
            (Some(500), "InternalError", "", Class::Other),
            (Some(200), "", "an unreadable answer", Class::Other),
            (None, "", "dispatch failure: other: no providers in chain provided credentials", Class::NoCredentials),
            (
                None,
                "",
                "dispatch failure: other: A region must be set when sending requests to S3.",
                Class::WrongRegion,
            ),
            (None, "", "dispatch failure: io error: client error (Connect)", Class::Broken),
            (None, "", "request has timed out: operation attempt timeout", Class::Unreachable),
        ];
        for (status, code, message, want) in cases {
            let reply = Reply { status, code: code.to_owned(), message: message.to_owned(), ..Reply::default() };
            assert_eq!(classify(&reply), want, "{reply:?}");
        }
    }
}
