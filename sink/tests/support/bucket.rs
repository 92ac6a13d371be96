//! A bucket on a real S3 server, as a connector writes to it and as the SDK alone reads it.

use std::collections::BTreeMap;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation},
};
use bytes::Bytes;
use forebay_components::Bucket;
use forebay_sink::{
    config::{Conditional, S3Options},
    sinks::{s3::S3Store, store::Metadata},
};

use super::{LakeRow, read_parquet};

/// A connector's options with its url and its section `s3`, which `section` adds to.
pub fn options(s3: &Bucket, prefix: &str, options: &str, section: serde_json::Value) -> String {
    let mut json: serde_json::Value = serde_json::from_str(options).unwrap();
    json["url"] = format!("s3://{}/{prefix}", s3.bucket).into();
    json["s3"] = self::section(s3, section);
    json.to_string()
}

fn section(s3: &Bucket, mut section: serde_json::Value) -> serde_json::Value {
    section["endpoint_url"] = s3.endpoint.clone().into();
    section["access_key_id"] = s3.access_key.clone().into();
    section["secret_access_key"] = s3.secret_key.clone().into();
    section["region"] = s3.region.clone().into();
    section
}

/// A store of the connector `lake`.
pub fn store(s3: &Bucket, prefix: &str, section: serde_json::Value) -> S3Store {
    let options: S3Options = serde_json::from_value(self::section(s3, section)).unwrap();
    let place = format!("{}/{prefix}", s3.bucket);
    let settings = options.resolve(&place, Conditional::Require, std::path::Path::new("/")).unwrap();
    S3Store::new(settings, "", "lake")
}

fn client(s3: &Bucket) -> Client {
    let config = Builder::new()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(&s3.endpoint)
        .region(Region::new(s3.region.clone()))
        .credentials_provider(Credentials::new(&s3.access_key, &s3.secret_key, None, None, "test"))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .force_path_style(true)
        .build();
    Client::from_conf(config)
}

/// Everything below a prefix, control files too, by key below the prefix.
pub async fn objects(s3: &Bucket, prefix: &str) -> BTreeMap<String, (Bytes, Metadata)> {
    let client = client(s3);
    let prefix = format!("{prefix}/");
    let mut pages = client.list_objects_v2().bucket(&s3.bucket).prefix(&prefix).into_paginator().send();
    let mut objects = BTreeMap::new();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents() {
            let key = object.key().unwrap();
            let found = client.get_object().bucket(&s3.bucket).key(key).send().await.unwrap();
            let metadata = found.metadata.clone().unwrap_or_default().into_iter().collect();
            let bytes = found.body.collect().await.unwrap().into_bytes();
            objects.insert(key.strip_prefix(&prefix).unwrap().to_owned(), (bytes, metadata));
        }
    }
    objects
}

/// Rows of every Parquet file; a torn one fails.
pub fn rows(objects: &BTreeMap<String, (Bytes, Metadata)>) -> Vec<LakeRow> {
    let files = objects.iter().filter(|(key, _)| key.ends_with(".parquet"));
    files.flat_map(|(_, (bytes, _))| read_parquet(bytes.clone())).collect()
}
