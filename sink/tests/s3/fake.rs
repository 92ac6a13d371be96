//! A small S3 service in memory, whose answers can be scripted: what a real one does once in a million requests.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use forebay_sink::{
    config::{Conditional, S3Options},
    sinks::{s3::S3Store, store::Metadata},
};
use percent_encoding::percent_decode_str;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

pub const BUCKET: &str = "lake";

/// What the service does with `If-None-Match`.
#[derive(Clone, Copy, Default)]
pub enum Headers {
    #[default]
    Obeyed,
    Ignored,
    /// Answered with 501 or 400.
    Refused(u16),
}

#[derive(Clone)]
pub struct Fault {
    /// `put head get list delete create part complete abort uploads`.
    pub call: &'static str,
    pub answer: ResponseTemplate,
    /// It takes effect, and the answer hides that.
    pub applied: bool,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, (Vec<u8>, Metadata)>,
    uploads: BTreeMap<String, Upload>,
    faults: VecDeque<Fault>,
    calls: Vec<String>,
    headers: Headers,
    page: usize,
}

struct Upload {
    key: String,
    metadata: Metadata,
    parts: BTreeMap<u32, Vec<u8>>,
    initiated: String,
}

#[derive(Clone)]
pub struct Fake {
    state: Arc<Mutex<State>>,
    pub url: String,
    _server: Arc<MockServer>,
}

struct Answerer(Arc<Mutex<State>>);

impl Respond for Answerer {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        self.0.lock().unwrap().answer(request)
    }
}

pub fn refusal(status: u16, code: &str, message: &str) -> ResponseTemplate {
    let body = format!("<Error><Code>{code}</Code><Message>{message}</Message></Error>");
    ResponseTemplate::new(status).set_body_raw(body, "application/xml")
}

pub fn fault(call: &'static str, status: u16, code: &str) -> Fault {
    Fault { call, answer: refusal(status, code, "scripted"), applied: false }
}

impl Fake {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State { page: 1000, ..State::default() }));
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(Answerer(Arc::clone(&state))).mount(&server).await;
        Self { state, url: server.uri(), _server: Arc::new(server) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn headers(&self, headers: Headers) {
        self.state().headers = headers;
    }

    /// Keys a page.
    pub fn page(&self, keys: usize) {
        self.state().page = keys;
    }

    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Calls on objects and uploads, without those of the probe.
    pub fn calls(&self) -> Vec<String> {
        std::mem::take(&mut self.state().calls)
    }

    pub fn objects(&self) -> BTreeMap<String, (Vec<u8>, Metadata)> {
        self.state().objects.clone()
    }

    pub fn uploads(&self) -> usize {
        self.state().uploads.len()
    }

    pub fn plant(&self, key: &str, metadata: Metadata) {
        self.state().objects.insert(key.to_owned(), (b"planted".to_vec(), metadata));
    }

    pub fn plant_upload(&self, id: &str, key: &str, initiated: &str) {
        let upload = Upload {
            key: key.to_owned(),
            metadata: Metadata::new(),
            parts: BTreeMap::new(),
            initiated: initiated.to_owned(),
        };
        self.state().uploads.insert(id.to_owned(), upload);
    }

    /// A store of the connector `c` below the prefix `raw`.
    pub fn store(&self, json: &str, conditional: Conditional) -> S3Store {
        let mut value: serde_json::Value = serde_json::from_str(json).unwrap();
        value["endpoint_url"] = self.url.clone().into();
        value["access_key_id"] = "key".into();
        value["secret_access_key"] = "secret".into();
        let options: S3Options = serde_json::from_value(value).unwrap();
        let settings = options.resolve(&format!("{BUCKET}/raw"), conditional, std::path::Path::new("/")).unwrap();
        S3Store::new(settings, "", "c")
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> ResponseTemplate {
        let path = percent_decode_str(request.url.path()).decode_utf8().unwrap().into_owned();
        let key = path.trim_start_matches('/').split_once('/').map_or("", |(_, key)| key).to_owned();
        let query: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let call = call(request.method.as_str(), &query);
        let probe = key.contains("/probe-");
        if !probe {
            let conditional = if request.headers.contains_key("if-none-match") { "*" } else { "" };
            self.calls.push(format!("{call}{conditional}"));
        }
        let at = self.faults.iter().position(|fault| fault.call == call && !probe);
        let Some(fault) = at.and_then(|at| self.faults.remove(at)) else {
            return self.apply(call, &key, &query, request);
        };
        if fault.applied {
            self.apply(call, &key, &query, request);
        }
        fault.answer
    }

    /// Whether the condition forbids the write.
    fn forbidden(&self, key: &str, request: &Request) -> Option<ResponseTemplate> {
        if !request.headers.contains_key("if-none-match") {
            return None;
        }
        match self.headers {
            Headers::Obeyed if self.objects.contains_key(key) => {
                Some(refusal(412, "PreconditionFailed", "At least one of the pre-conditions did not hold"))
            }
            Headers::Refused(400) => Some(refusal(
                400,
                "InvalidArgument",
                "A header you provided implies functionality that is not implemented",
            )),
            Headers::Refused(status) => Some(refusal(status, "NotImplemented", "not implemented")),
            Headers::Obeyed | Headers::Ignored => None,
        }
    }

    fn apply(
        &mut self,
        call: &str,
        key: &str,
        query: &BTreeMap<String, String>,
        request: &Request,
    ) -> ResponseTemplate {
        let id = query.get("uploadId").cloned().unwrap_or_default();
        match call {
            "put" => match self.forbidden(key, request) {
                Some(refused) => refused,
                None => {
                    self.objects.insert(key.to_owned(), (request.body.clone(), metadata(request)));
                    ResponseTemplate::new(200)
                }
            },
            "head" => self.object(key, false),
            "get" => self.object(key, true),
            "delete" => {
                self.objects.remove(key);
                ResponseTemplate::new(204)
            }
            "list" => self.list(query),
            "create" => {
                let id = format!("upload-{}", self.uploads.len() + self.calls.len());
                let initiated = "2026-11-21T00:00:00Z".to_owned();
                let (key, metadata) = (key.to_owned(), metadata(request));
                self.uploads.insert(id.clone(), Upload { key, metadata, parts: BTreeMap::new(), initiated });
                xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            "part" => self.part(&id, query, request),
            "complete" => self.complete(&id, key, request),
            "abort" => match self.uploads.remove(&id) {
                Some(_) => ResponseTemplate::new(204),
                None => refusal(404, "NoSuchUpload", "gone"),
            },
            "uploads" => self.list_uploads(query),
            _ => ResponseTemplate::new(405),
        }
    }

    fn object(&self, key: &str, with_body: bool) -> ResponseTemplate {
        match self.objects.get(key) {
            None if with_body => refusal(404, "NoSuchKey", "none"),
            None => ResponseTemplate::new(404),
            Some((bytes, metadata)) => {
                let mut answer = ResponseTemplate::new(200);
                for (name, value) in metadata {
                    answer = answer.insert_header(format!("x-amz-meta-{name}").as_str(), value.as_str());
                }
                if with_body { answer.set_body_bytes(bytes.clone()) } else { answer }
            }
        }
    }

    fn list(&self, query: &BTreeMap<String, String>) -> ResponseTemplate {
        let prefix = query.get("prefix").map_or("", String::as_str);
        let from = query.get("continuation-token").map_or("", String::as_str);
        let mut keys = self.objects.keys().filter(|key| key.starts_with(prefix) && key.as_str() > from);
        let page: Vec<&String> = keys.by_ref().take(self.page).collect();
        let more = keys.next().is_some();
        let contents: String = page.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
        let next =
            page.last().filter(|_| more).map(|key| format!("<NextContinuationToken>{key}</NextContinuationToken>"));
        let next = next.unwrap_or_default();
        xml(&format!("<ListBucketResult><IsTruncated>{more}</IsTruncated>{contents}{next}</ListBucketResult>"))
    }

    fn part(&mut self, id: &str, query: &BTreeMap<String, String>, request: &Request) -> ResponseTemplate {
        let Some(upload) = self.uploads.get_mut(id) else { return refusal(404, "NoSuchUpload", "gone") };
        let number = query["partNumber"].parse().unwrap();
        upload.parts.insert(number, request.body.clone());
        ResponseTemplate::new(200).insert_header("etag", format!("\"part-{number}\"").as_str())
    }

    fn complete(&mut self, id: &str, key: &str, request: &Request) -> ResponseTemplate {
        if !self.uploads.contains_key(id) {
            return refusal(404, "NoSuchUpload", "gone");
        }
        if let Some(refused) = self.forbidden(key, request) {
            return refused;
        }
        let upload = self.uploads.remove(id).unwrap();
        assert_eq!(upload.key, key);
        let body = String::from_utf8_lossy(&request.body);
        let named = body.matches("<PartNumber>").count();
        assert_eq!(named, upload.parts.len(), "{body}");
        let bytes = upload.parts.into_values().flatten().collect();
        self.objects.insert(key.to_owned(), (bytes, upload.metadata));
        xml("<CompleteMultipartUploadResult></CompleteMultipartUploadResult>")
    }

    fn list_uploads(&self, query: &BTreeMap<String, String>) -> ResponseTemplate {
        let marker = |name: &str| query.get(name).cloned().unwrap_or_default();
        let from = (marker("key-marker"), marker("upload-id-marker"));
        let mut found: Vec<_> = self.uploads.iter().map(|(id, upload)| (&upload.key, id, upload)).collect();
        found.sort_by_key(|(key, id, _)| (*key, *id));
        found.retain(|(key, id, _)| (*key, *id) > (&from.0, &from.1));
        let more = found.len() > self.page;
        found.truncate(self.page);
        let next = found.last().filter(|_| more).map(|(key, id, _)| {
            format!("<NextKeyMarker>{key}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>")
        });
        let next = next.unwrap_or_default();
        let upload = |(key, id, upload): &(&String, &String, &Upload)| {
            let initiated = &upload.initiated;
            format!("<Upload><Key>{key}</Key><UploadId>{id}</UploadId><Initiated>{initiated}</Initiated></Upload>")
        };
        let uploads: String = found.iter().map(upload).collect();
        let truncated = format!("<IsTruncated>{more}</IsTruncated>");
        xml(&format!("<ListMultipartUploadsResult>{truncated}{next}{uploads}</ListMultipartUploadsResult>"))
    }
}

fn call(method: &str, query: &BTreeMap<String, String>) -> &'static str {
    let has = |name| query.contains_key(name);
    match method {
        "PUT" if has("partNumber") => "part",
        "PUT" => "put",
        "HEAD" => "head",
        "GET" if has("list-type") => "list",
        "GET" if has("uploads") => "uploads",
        "GET" => "get",
        "POST" if has("uploads") => "create",
        "POST" => "complete",
        "DELETE" if has("uploadId") => "abort",
        "DELETE" => "delete",
        _ => "unknown",
    }
}

fn metadata(request: &Request) -> Metadata {
    let pair = |(name, value): (&wiremock::http::HeaderName, &wiremock::http::HeaderValue)| {
        let name = name.as_str().strip_prefix("x-amz-meta-")?;
        Some((name.to_owned(), value.to_str().unwrap().to_owned()))
    };
    request.headers.iter().filter_map(pair).collect()
}

fn xml(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.to_owned(), "application/xml")
}

/// The answer comes too late for the client's patience.
pub fn late(call: &'static str) -> Fault {
    let answer = ResponseTemplate::new(200).set_delay(Duration::from_secs(20));
    Fault { call, answer, applied: true }
}
