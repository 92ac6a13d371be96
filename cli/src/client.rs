//! A small client of our own HTTP API. Every verb that reads or writes speaks to one: that of a running `forebay up`,
//! or one that the verb serves to itself (see [`crate::backend`]). So what is refused, and why, is the same.

use std::time::Duration;

use reqwest::{Method, Url, header};
use serde::{Deserialize, de::DeserializeOwned};

use crate::exit::{Exit, Failure};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Above the longest wait that the API itself has for a publish.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// The API at a base URL.
#[derive(Clone, Debug)]
pub struct Client {
    base: Url,
    http: reqwest::Client,
}

/// An answer, whatever its status.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`, if given in seconds.
    pub retry_after: Option<Duration>,
    /// Body.
    pub body: String,
}

/// A problem document (RFC 9457), as far as it is told to people.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Stable code.
    pub code: String,
    /// Short.
    pub title: String,
    /// One sentence.
    pub detail: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Every place and reason.
    pub errors: Vec<Violation>,
}

/// One place and reason.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Violation {
    /// JSON pointer into the event; none for queries, paths and headers.
    pub pointer: Option<String>,
    /// What is wrong.
    pub msg: String,
    /// Stable name of it.
    pub r#type: String,
}

impl Problem {
    /// The sentence for a person.
    pub fn sentence(&self) -> String {
        let said = if self.detail.is_empty() { &self.title } else { &self.detail };
        if said.is_empty() { self.code.clone() } else { said.clone() }
    }

    /// Every reason on a line of its own; the sentence if there are none.
    pub fn reasons(&self) -> Vec<String> {
        if self.errors.is_empty() {
            return vec![self.sentence()];
        }
        self.errors.iter().map(Violation::to_string).collect()
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.pointer.as_deref() {
            Some("") | None => write!(f, "{} ({})", self.msg, self.r#type),
            Some(pointer) => write!(f, "{pointer}: {} ({})", self.msg, self.r#type),
        }
    }
}

impl Answer {
    /// Whether the request did what it asked.
    pub fn is_ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as a problem; a body that is none becomes its detail.
    pub fn problem(&self) -> Problem {
        let problem: Option<Problem> = serde_json::from_str(&self.body).ok();
        problem.filter(|problem| !problem.sentence().is_empty()).unwrap_or_else(|| {
            let start: String = self.body.chars().take(200).collect();
            Problem {
                detail: format!("no answer of this API, HTTP status {}: {start}", self.status),
                ..Problem::default()
            }
        })
    }

    /// The body as JSON, or the problem as a failure.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        if !self.is_ok() {
            return Err(self.failure());
        }
        serde_json::from_str(&self.body).map_err(|error| {
            Failure::error(format!("the API's answer is not understood ({error}): is it another version?"))
        })
    }

    /// The problem as a failure, with every place and reason.
    pub fn failure(&self) -> Failure {
        let problem = self.problem();
        let exit = match (self.status, problem.code.as_str()) {
            (_, "") => Exit::Error,
            (404, _) => Exit::Nothing,
            (403, _) | (409, "schema_incompatible" | "topic_exists" | "connector_elsewhere") => Exit::Refused,
            _ => Exit::Error,
        };
        let mut text = problem.sentence();
        for violation in &problem.errors {
            text.push_str("\n  ");
            text.push_str(&violation.to_string());
        }
        Failure::new(exit, text)
    }
}

impl Client {
    /// An API at `base`, e.g. `http://127.0.0.1:8080`.
    pub fn new(base: &str) -> Result<Self, Failure> {
        let refused = |why: &str| Failure::usage(format!("--api {base:?}: {why}; expected http://host:port"));
        let url = Url::parse(base).map_err(|error| refused(&error.to_string()))?;
        if url.scheme() != "http" || url.host_str().is_none() {
            return Err(refused("only http:// URLs are spoken"));
        }
        // A proxy of the environment has no business between the command and its own API.
        let http =
            reqwest::Client::builder().no_proxy().connect_timeout(CONNECT_TIMEOUT).timeout(ANSWER_TIMEOUT).build();
        Ok(Self { base: url, http: http.map_err(Failure::error)? })
    }

    /// The base URL, without a slash at its end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// GET of path segments, decoded.
    pub async fn get<T: DeserializeOwned>(&self, path: &[&str], query: &[(&str, String)]) -> Result<T, Failure> {
        self.send(Method::GET, path, query, None).await?.json()
    }

    /// POST of a JSON text.
    pub async fn post(&self, path: &[&str], body: String) -> Result<Answer, Failure> {
        self.send(Method::POST, path, &[], Some(body)).await
    }

    /// Any request; segments and query are escaped here.
    pub async fn send(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
    ) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url).header(header::ACCEPT, "application/json");
        if let Some(body) = body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let body = response.text().await.map_err(|error| self.unreachable(&error))?;
        Ok(Answer { status, retry_after: retry_after.map(Duration::from_secs), body })
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = match error {
            error if error.is_timeout() => "no answer in time".to_owned(),
            error => root_cause(error),
        };
        Failure::error(format!("can't reach the API at {}: {why}; is `forebay up` running there?", self.base()))
    }
}

/// The innermost reason: the outer ones only say that a request failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_it_does_not_speak() {
        for base in ["https://h:1", "h:1", "", "ftp://x", "http://"] {
            let failure = Client::new(base).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{base}");
            assert!(failure.text.contains("expected http://host:port"), "{failure}");
        }
        assert_eq!(Client::new("http://h:1/").unwrap().base(), "http://h:1");
    }

    #[test]
    fn tells_every_reason_with_its_code() {
        let body = r#"{"code":"schema_validation_failed","title":"t","detail":"The event breaks its schema.","status":422,
            "errors":[{"loc":["body"],"pointer":"/payload/a","msg":"expected int, got string","type":"int_type"},
            {"loc":["query","x"],"pointer":null,"msg":"no","type":"missing"}]}"#;
        let answer = Answer { status: 422, retry_after: None, body: body.into() };
        let text = "The event breaks its schema.\n  /payload/a: expected int, got string (int_type)\n  no (missing)";
        assert_eq!(answer.failure(), Failure::error(text));
        for (status, body) in [(502, "<html>"), (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#)] {
            let answer = Answer { status, retry_after: None, body: body.into() };
            assert_eq!(
                answer.failure(),
                Failure::error(format!("no answer of this API, HTTP status {status}: {body}"))
            );
        }
        for (status, code, exit) in [
            (404, "unknown_topic", Exit::Nothing),
            (409, "schema_incompatible", Exit::Refused),
            (503, "x", Exit::Error),
        ] {
            let answer = Answer { status, retry_after: None, body: format!(r#"{{"code":"{code}"}}"#) };
            assert_eq!(answer.failure(), Failure::new(exit, code));
        }
    }

    #[tokio::test]
    async fn says_whom_it_could_not_reach() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let failure = Client::new(&base).unwrap().get::<serde_json::Value>(&["x"], &[]).await.unwrap_err();
        assert!(failure.text.contains(&base) && failure.text.contains("forebay up"), "{failure}");
    }
}
