//! The section `s3` of a connector: options as written, settings as resolved.

use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::{ConfigError, millis, within};

/// A name or key that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Its text, for the client alone.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// `s3`: how to reach the bucket of a `url` that begins with `s3://`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Options {
    /// URL of an S3-compatible service, such as `http://127.0.0.1:7070`. Default: AWS.
    pub endpoint_url: Option<String>,
    /// Region. Default: `us-east-1` with `endpoint_url`, otherwise what the AWS environment says.
    pub region: Option<String>,
    /// Puts the bucket's name into the path instead of the host name. Default: true with `endpoint_url`, otherwise
    /// false.
    pub path_style: Option<bool>,
    /// Access key id. Default: the AWS chain: environment variables, profile, web identity, container, instance.
    pub access_key_id: Option<Secret>,
    /// Secret access key; needed with `access_key_id`.
    pub secret_access_key: Option<Secret>,
    /// Session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Checksums sent with uploads. Default `when_required` with `endpoint_url`, otherwise `when_supported`.
    pub checksum: Option<Checksum>,
    /// Objects up to this size are put by one request, larger ones in parts, in bytes: 1 to 5368709120. Default
    /// 16777216.
    pub single_put_bytes: Option<u64>,
    /// Size of a part, in bytes: 5242880 to 5368709120. Default 26214400.
    pub part_bytes: Option<u64>,
    /// For a connection to be made, in ms. Default 3000.
    pub connect_timeout_ms: Option<u64>,
    /// For one request and its answer, in ms. It must be enough for the bodies that share the link: of one connector at
    /// most 104857600 bytes, or one part, are under way at once. Default 60000.
    pub timeout_ms: Option<u64>,
    /// PEM file of certificates to trust besides those of the system. Relative paths count from the configuration file.
    pub ca_file: Option<PathBuf>,
}

/// `s3.checksum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Checksum {
    /// CRC32 with every upload. Many S3-compatible services refuse the form it is sent in.
    WhenSupported,
    /// Only where the protocol wants one.
    WhenRequired,
}

/// `exactly_once`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExactlyOnceOptions {
    /// Whether objects are created by conditional writes (`If-None-Match`). Only for `s3://`. Default `auto`.
    pub conditional: Option<Conditional>,
}

/// `exactly_once.conditional`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Conditional {
    /// Yes, if a probe shows that the service obeys them; otherwise it warns once, and looks before it writes.
    #[default]
    Auto,
    /// Yes; a service that does not obey them fails the task.
    Require,
    /// No: it looks before it writes.
    Off,
}

/// Credentials from the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticCredentials {
    /// Access key id.
    pub access_key_id: Secret,
    /// Secret access key.
    pub secret_access_key: Secret,
    /// Session token.
    pub session_token: Option<Secret>,
}

/// A bucket, and how to reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Settings {
    /// Bucket.
    pub bucket: String,
    /// What all keys begin with, without slashes at its ends; may be empty.
    pub prefix: String,
    /// URL of the service; `None`: AWS.
    pub endpoint_url: Option<String>,
    /// Region; `None`: as the AWS environment says.
    pub region: Option<String>,
    /// Bucket in the path.
    pub path_style: bool,
    /// `None`: the AWS chain.
    pub credentials: Option<StaticCredentials>,
    /// Checksums of uploads.
    pub checksum: Checksum,
    /// Largest object put by one request, in bytes.
    pub single_put_bytes: u64,
    /// Size of a part, in bytes.
    pub part_bytes: u64,
    /// For a connection.
    pub connect_timeout: Duration,
    /// For a request and its answer.
    pub timeout: Duration,
    /// Further certificates to trust.
    pub ca_file: Option<PathBuf>,
    /// Conditional writes.
    pub conditional: Conditional,
}

impl S3Settings {
    /// `s3://bucket/prefix`.
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix).trim_end_matches('/').to_owned()
    }
}

const MAX_OBJECT_PUT: u64 = 5 << 30;
const MIN_PART: u64 = 5 << 20;

impl S3Options {
    /// Defaults and limits applied; `place` is the url without `s3://`.
    pub fn resolve(&self, place: &str, conditional: Conditional, base: &Path) -> Result<S3Settings, ConfigError> {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        let custom = self.endpoint_url.is_some();
        let region = self.region.clone().or_else(|| custom.then(|| "us-east-1".to_owned()));
        let checksum = if custom { Checksum::WhenRequired } else { Checksum::WhenSupported };
        Ok(S3Settings {
            bucket: check_bucket(bucket)?,
            prefix: check_prefix(prefix)?,
            endpoint_url: self.endpoint_url.as_deref().map(check_endpoint).transpose()?,
            region,
            path_style: self.path_style.unwrap_or(custom),
            credentials: self.credentials()?,
            checksum: self.checksum.unwrap_or(checksum),
            single_put_bytes: within("s3.single_put_bytes", self.single_put_bytes, 16 << 20, 1, MAX_OBJECT_PUT)?,
            part_bytes: within("s3.part_bytes", self.part_bytes, 25 << 20, MIN_PART, MAX_OBJECT_PUT)?,
            connect_timeout: millis("s3.connect_timeout_ms", self.connect_timeout_ms, 3000, 300_000)?,
            timeout: millis("s3.timeout_ms", self.timeout_ms, 60_000, 3_600_000)?,
            ca_file: self.ca_file.as_ref().map(|file| base.join(file)),
            conditional,
        })
    }

    fn credentials(&self) -> Result<Option<StaticCredentials>, ConfigError> {
        match (self.access_key_id.clone(), self.secret_access_key.clone(), self.session_token.clone()) {
            (Some(access_key_id), Some(secret_access_key), session_token) => {
                Ok(Some(StaticCredentials { access_key_id, secret_access_key, session_token }))
            }
            (None, None, None) => Ok(None),
            (Some(_), None, _) => Err(ConfigError::new("s3.secret_access_key", "is needed with s3.access_key_id")),
            (None, ..) => {
                Err(ConfigError::new("s3.access_key_id", "is needed with s3.secret_access_key and s3.session_token"))
            }
        }
    }
}

fn check_bucket(bucket: &str) -> Result<String, ConfigError> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if bucket.is_empty() || bucket.len() > 255 || !bucket.chars().all(fits) {
        let why = format!("{bucket:?} is no bucket's name: the form is s3://BUCKET or s3://BUCKET/PREFIX");
        return Err(ConfigError::new("url", why));
    }
    Ok(bucket.to_owned())
}

fn check_prefix(prefix: &str) -> Result<String, ConfigError> {
    let prefix = prefix.trim_matches('/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '=' | '/');
    let part = |part: &str| !part.is_empty() && part != "." && part != "..";
    if prefix.is_empty() || (prefix.len() <= 512 && prefix.chars().all(plain) && prefix.split('/').all(part)) {
        return Ok(prefix.to_owned());
    }
    let why = format!("the prefix {prefix:?} must be folders made of A-Z a-z 0-9 . _ - =, at most 512 bytes");
    Err(ConfigError::new("url", why))
}

/// The text is not quoted where it may hold a password.
fn check_endpoint(url: &str) -> Result<String, ConfigError> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    if host.contains('@') {
        let why = "holds credentials: use s3.access_key_id and s3.secret_access_key";
        return Err(ConfigError::new("s3.endpoint_url", why));
    }
    let odd = |c: char| c.is_whitespace() || matches!(c, '?' | '#');
    if host.is_empty() || url.contains(odd) {
        return Err(ConfigError::new("s3.endpoint_url", format!("{url:?} is not of the form https://HOST[:PORT]")));
    }
    Ok(url.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(json: &str, place: &str) -> Result<S3Settings, ConfigError> {
        let options: S3Options = serde_json::from_str(json).unwrap();
        options.resolve(place, Conditional::Auto, Path::new("/etc"))
    }

    #[test]
    fn defaults_on_aws_and_elsewhere() {
        let aws = resolve("{}", "lake").unwrap();
        assert_eq!((aws.url().as_str(), aws.path_style, aws.checksum), ("s3://lake", false, Checksum::WhenSupported));
        assert_eq!((aws.region, aws.credentials), (None, None));
        assert_eq!((aws.single_put_bytes, aws.part_bytes), (16_777_216, 26_214_400));
        let other = resolve(r#"{"endpoint_url":"http://127.0.0.1:7070/","ca_file":"ca.pem"}"#, "lake/a/b/").unwrap();
        assert_eq!((other.url().as_str(), other.path_style), ("s3://lake/a/b", true));
        assert_eq!((other.checksum, other.region.as_deref()), (Checksum::WhenRequired, Some("us-east-1")));
        assert_eq!(other.endpoint_url.as_deref(), Some("http://127.0.0.1:7070"));
        assert_eq!(other.ca_file.as_deref(), Some(Path::new("/etc/ca.pem")));
    }

    #[test]
    fn refusals_name_the_key() {
        let cases = [
            ("{}", "", "url"),
            ("{}", "a b", "url"),
            ("{}", "lake/../x", "url"),
            ("{}", "lake/a//b", "url"),
            (r#"{"endpoint_url":"127.0.0.1:7070"}"#, "lake", "s3.endpoint_url"),
            (r#"{"endpoint_url":"http://"}"#, "lake", "s3.endpoint_url"),
            (r#"{"endpoint_url":"http://me:pw@host"}"#, "lake", "s3.endpoint_url"),
            (r#"{"access_key_id":"a"}"#, "lake", "s3.secret_access_key"),
            (r#"{"secret_access_key":"a"}"#, "lake", "s3.access_key_id"),
            (r#"{"part_bytes":1024}"#, "lake", "s3.part_bytes"),
            (r#"{"single_put_bytes":0}"#, "lake", "s3.single_put_bytes"),
            (r#"{"timeout_ms":0}"#, "lake", "s3.timeout_ms"),
        ];
        for (json, place, key) in cases {
            let refused = resolve(json, place).unwrap_err();
            assert_eq!(refused.key, key, "{json} {place}");
            assert!(!refused.why.contains("pw"), "{refused}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let json = r#"{"access_key_id":"AKIA","secret_access_key":"hush","session_token":"quiet"}"#;
        let options: S3Options = serde_json::from_str(json).unwrap();
        let settings = resolve(json, "lake").unwrap();
        let shown = format!("{options:?} {settings:#?}");
        assert!(["AKIA", "hush", "quiet"].iter().all(|secret| !shown.contains(secret)), "{shown}");
        assert!(shown.contains("[redacted]"));
    }
}
