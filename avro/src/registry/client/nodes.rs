//! The calls of the registry's API, each tried on one node after the other until one gives an answer.
//!
//! Those that `schema_registry_converter` has are its own; the rest go through the same client.

use std::{
    fmt,
    future::Future,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Certificate, Method};
use reqwest_middleware::ClientWithMiddleware;
use schema_registry_converter::{
    async_impl::schema_registry::{
        SrSettings, get_all_subjects, get_all_versions, get_schema_by_id, get_schema_by_subject_and_version,
        perform_sr_call,
    },
    schema_registry_common::{RegisteredSchema, SrCall},
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::transport::{self, Fault};
use crate::registry::{RegistryError, config::RemoteSettings, state};

/// What need not be escaped in a path.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Between two log lines about trouble, however it comes and goes.
const TELL_AFTER: Duration = Duration::from_secs(60);
const JSON: &str = "application/vnd.schemaregistry.v1+json";

/// The nodes of one registry.
pub(super) struct Nodes {
    nodes: Vec<Node>,
    http: ClientWithMiddleware,
    /// Where the next call begins: the node that answered last.
    first: AtomicUsize,
    trouble: Mutex<Trouble>,
}

struct Node {
    base: String,
    /// With this node's URL alone: the crate would also pass over nodes that said no.
    converter: SrSettings,
}

/// What the log was told of the registry's health.
#[derive(Debug, Default)]
struct Trouble {
    now: bool,
    told: Option<Instant>,
}

/// A failed call, and who failed it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    /// A node, or several.
    pub(super) who: String,
}

/// A subject's name as it stands in a path.
pub(super) struct Subject(String);

impl Subject {
    /// # Errors
    /// [`RegistryError::InvalidSubject`] for a name that no path can hold.
    pub(super) fn new(name: &str) -> Result<Self, RegistryError> {
        state::check_subject(name)?;
        if matches!(name, "." | "..") {
            return Err(RegistryError::InvalidSubject(format!("a subject can't have the name {name:?}")));
        }
        Ok(Self(utf8_percent_encode(name, PLAIN).to_string()))
    }
}

/// What a compatibility check says.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    pub(super) is_compatible: bool,
    #[serde(default)]
    pub(super) messages: Vec<String>,
}

type Answer<T> = Result<T, Failure>;

impl Nodes {
    pub(super) fn new(settings: &RemoteSettings, certificates: &[Certificate]) -> Result<Self, RegistryError> {
        let client = || transport::http(settings, certificates);
        let broken = |why: String| RegistryError::Invalid(format!("registry: no HTTP client can be made: {why}"));
        let node = |url: &reqwest::Url| {
            let base = url.as_str().trim_end_matches('/').to_owned();
            let converter = SrSettings::new_builder(base.clone())
                .no_proxy()
                .set_timeout(settings.timeout)
                .with_middleware(transport::Checked)
                .build_with(client()?)
                .map_err(|error| broken(error.cause.unwrap_or(error.error)))?;
            Ok(Node { base, converter })
        };
        Ok(Self {
            nodes: settings.urls.iter().map(node).collect::<Result<_, RegistryError>>()?,
            http: transport::checked(client()?.build().map_err(|error| broken(error.to_string()))?),
            first: AtomicUsize::new(0),
            trouble: Mutex::default(),
        })
    }

    pub(super) async fn by_id(&self, id: u32) -> Answer<RegisteredSchema> {
        self.in_turn(|node| async move { Ok(get_schema_by_id(id, &node.converter).await?) }).await
    }

    /// One version of a subject, or the latest.
    pub(super) async fn version(&self, subject: &Subject, version: Option<u32>) -> Answer<RegisteredSchema> {
        let call = |node| get_schema_by_subject_and_version(node, &subject.0, version);
        self.in_turn(move |node| async move { Ok(call(&node.converter).await?) }).await
    }

    pub(super) async fn subjects(&self) -> Answer<Vec<String>> {
        self.in_turn(|node| async move { Ok(get_all_subjects(&node.converter).await?) }).await
    }

    pub(super) async fn versions(&self, subject: &Subject) -> Answer<Vec<u32>> {
        let call = |node| get_all_versions(node, subject.0.clone());
        self.in_turn(move |node| async move { Ok(call(&node.converter).await?) }).await
    }

    /// Registers a schema; safe to repeat. Not every registry answers with more than the id.
    pub(super) async fn register(&self, subject: &Subject, body: &str) -> Answer<()> {
        let call = |node| perform_sr_call(node, SrCall::PostNew(&subject.0, body));
        self.in_turn(move |node| async move { Ok(call(&node.converter).await.map(drop)?) }).await
    }

    /// Where a schema stands in a subject: its version and id.
    pub(super) async fn find(&self, subject: &Subject, body: &str) -> Answer<(Option<u32>, Option<u32>)> {
        let call = |node| perform_sr_call(node, SrCall::PostForVersion(&subject.0, body));
        let found = self.in_turn(move |node| async move { Ok(call(&node.converter).await?) }).await?;
        Ok((found.version, found.id))
    }

    /// Asks whether a schema could be registered. Not every registry knows the check by the subject's level; those
    /// that don't check against the latest version.
    pub(super) async fn check(&self, subject: &Subject, body: &str) -> Answer<Verdict> {
        let path = format!("/compatibility/subjects/{}/versions", subject.0);
        let all = self.own(Method::POST, &format!("{path}?verbose=true"), Some(body)).await;
        match all {
            Err(Failure { fault: Fault::Refused { status: 404 | 405, code: None | Some(404 | 405), .. }, .. }) => {
                self.own(Method::POST, &format!("{path}/latest?verbose=true"), Some(body)).await
            }
            answer => answer,
        }
    }

    /// The level of a subject, or the global one, by its name.
    pub(super) async fn level(&self, subject: Option<&Subject>) -> Answer<String> {
        let path = subject.map_or("/config".to_owned(), |s| format!("/config/{}?defaultToGlobal=true", s.0));
        let value: Value = self.own(Method::GET, &path, None).await?;
        let level = ["compatibilityLevel", "compatibility"].into_iter().find_map(|key| value.get(key)?.as_str());
        Ok(level.unwrap_or_default().to_owned())
    }

    pub(super) async fn set_level(&self, subject: Option<&Subject>, level: &str) -> Answer<()> {
        let path = subject.map_or("/config".to_owned(), |s| format!("/config/{}", s.0));
        let body = json!({"compatibility": level}).to_string();
        self.own::<Value>(Method::PUT, &path, Some(&body)).await.map(drop)
    }

    /// A call that `schema_registry_converter` lacks.
    async fn own<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<&str>) -> Answer<T> {
        let call = |node: &Node| {
            let request = self.http.request(method.clone(), format!("{}{path}", node.base));
            match body {
                Some(body) => request.header(reqwest::header::CONTENT_TYPE, JSON).body(body.to_owned()),
                None => request,
            }
        };
        let call = &call;
        self.in_turn(move |node| async move { Ok(call(node).send().await?.json().await?) }).await
    }

    /// Calls one node after the other, from the one that answered last, until one gives an answer that counts.
    async fn in_turn<'a, T, F>(&'a self, call: impl Fn(&'a Node) -> F) -> Answer<T>
    where
        F: Future<Output = Result<T, Fault>> + 'a,
    {
        let (first, mut failures) = (self.first.load(Ordering::Relaxed), Vec::new());
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            let node = &self.nodes[index];
            match call(node).await {
                Err(fault) if !fault.is_final() => failures.push(Failure { fault, who: node.base.clone() }),
                answer => {
                    self.first.store(index, Ordering::Relaxed);
                    let answer = answer.map_err(|fault| Failure { fault, who: node.base.clone() });
                    self.tell(answer.as_ref().err().filter(|failure| failure.fault.is_trouble()));
                    return answer;
                }
            }
        }
        let failure = Failure::of_all(failures);
        self.tell(Some(&failure));
        Err(failure)
    }

    /// Logs trouble when it begins and when it has ended; not each call of a registry that is away.
    fn tell(&self, failure: Option<&Failure>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match failure {
            None if trouble.now => {
                trouble.now = false;
                tracing::info!("The schema registry answers again.");
            }
            Some(failure) if !trouble.now && trouble.told.is_none_or(|told| told.elapsed() > TELL_AFTER) => {
                *trouble = Trouble { now: true, told: Some(Instant::now()) };
                tracing::error!(reason = %failure, "The schema registry does not answer; what is known of it is used.");
            }
            _ => {}
        }
    }
}

impl Failure {
    /// The failure of all nodes: of one, as it is; of several, in one sentence.
    fn of_all(mut failures: Vec<Failure>) -> Self {
        match (failures.pop(), failures.is_empty()) {
            (Some(only), true) => only,
            (last, _) => {
                failures.extend(last);
                let told: Vec<_> = failures.iter().map(|f| format!("{} {}", f.who, f.fault)).collect();
                Self { fault: Fault::NoAnswer(told.join("; ")), who: "no node answers:".to_owned() }
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.who, self.fault)
    }
}

impl From<Failure> for RegistryError {
    /// What is left when a call has made sense of all that it knows.
    fn from(failure: Failure) -> Self {
        RegistryError::Unavailable(failure.to_string())
    }
}
