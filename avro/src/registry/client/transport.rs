//! HTTP to one registry: the client's settings, answers read whole within their limit, and what went wrong as a
//! [`Fault`] that keeps the registry's own error code.

use std::{error::Error as _, fmt, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use reqwest::{
    Certificate, ClientBuilder, Request, Response, StatusCode,
    header::{self, HeaderMap, HeaderValue},
    redirect,
};
use reqwest_middleware::{ClientWithMiddleware, Middleware, Next};
use serde::{Deserialize, de::IgnoredAny};

use crate::registry::{
    RegistryError,
    config::{RegistryAuth, RemoteSettings},
};

/// Bytes of an answer. A schema has at most 1 MiB of text; the rest is room for JSON's escapes, and for the names of
/// many subjects.
pub(super) const MAX_ANSWER_BYTES: usize = 8 << 20;
/// Characters of a registry's message that are passed on.
const MAX_MESSAGE_CHARS: usize = 2_000;
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";

/// Why a call has no result.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    /// The registry, or what stands before it, answered with an error status.
    Refused {
        /// Of HTTP.
        status: u16,
        /// `error_code` of the registry's error document; none if the answer was no such document.
        code: Option<u32>,
        /// What was said, for people.
        message: String,
    },
    /// No answer, or one that no registry gives: why, and what to do.
    NoAnswer(String),
}

impl Fault {
    /// The registry's error code, if it was the registry that answered.
    pub(super) fn code(&self) -> Option<u32> {
        match self {
            Fault::Refused { code, .. } => *code,
            Fault::NoAnswer(_) => None,
        }
    }

    /// The status of HTTP, if there was an answer.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Fault::Refused { status, .. } => Some(*status),
            Fault::NoAnswer(_) => None,
        }
    }

    /// Whether this is an answer that other nodes would give too.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Fault::Refused { status, code: Some(_), .. } if *status < 500 && *status != 429)
    }

    /// Whether someone has to mend something, or wait: nothing was said about what was asked.
    pub(super) fn is_trouble(&self) -> bool {
        !self.is_final() || matches!(self.status(), Some(401 | 403))
    }

    fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Document {
            error_code: u32,
            #[serde(default)]
            message: String,
        }
        let document = serde_json::from_slice::<Document>(body).ok();
        let location = headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let (code, message) = match (document, location) {
            (_, Some(to)) if status.is_redirection() => (None, format!("go to {to}")),
            (Some(document), _) => (Some(document.error_code), document.message),
            (None, _) => (None, status.canonical_reason().unwrap_or("no reason given").to_owned()),
        };
        let message = message.chars().take(MAX_MESSAGE_CHARS).collect();
        Self::Refused { status: status.as_u16(), code, message }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoAnswer(why) => f.write_str(why),
            Fault::Refused { status, code, message } => {
                write!(f, "answered {status} ({message}){}", advice(*status, code.is_some()))
            }
        }
    }
}

impl std::error::Error for Fault {}

/// What mends an error status.
fn advice(status: u16, from_registry: bool) -> &'static str {
    match status {
        300..=399 => ": redirects are not followed: set registry.url to the address that answers",
        401 => ": check registry.auth",
        403 => ": the user of registry.auth may not do this: grant it, or use another one",
        404 if !from_registry => ": that is no answer of a registry: check the path of registry.url",
        _ => "",
    }
}

/// Why there was no answer, and what to look at.
fn told(error: &reqwest::Error) -> Fault {
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    let root = root.to_string();
    Fault::NoAnswer(if error.is_timeout() {
        "gave no answer within registry.timeout_ms: is it overloaded, or does a firewall drop the connection?"
            .to_owned()
    } else if error.is_dns() {
        format!("has no address ({root}): check registry.url")
    } else if root.contains("certificate") {
        format!("has a TLS certificate that is not trusted ({root}): name its authority in registry.ca_file")
    } else if error.is_connect() {
        format!("takes no connection ({root}): is it running, and is registry.url right?")
    } else if error.is_decode() {
        format!("gave an answer that is none of a schema registry ({root}): check registry.url")
    } else {
        format!("broke the exchange off ({root})")
    })
}

impl From<reqwest::Error> for Fault {
    fn from(error: reqwest::Error) -> Self {
        told(&error)
    }
}

impl From<reqwest_middleware::Error> for Fault {
    fn from(error: reqwest_middleware::Error) -> Self {
        match error {
            reqwest_middleware::Error::Reqwest(error) => told(&error),
            reqwest_middleware::Error::Middleware(error) => match error.downcast::<Fault>() {
                Ok(fault) => fault,
                Err(other) => Fault::NoAnswer(other.to_string()),
            },
        }
    }
}

impl From<schema_registry_converter::error::SRCError> for Fault {
    /// The crate keeps what happened as the source of its error.
    fn from(error: schema_registry_converter::error::SRCError) -> Self {
        use reqwest_middleware::Error::{Middleware, Reqwest};
        let source = error.source();
        match source.and_then(|source| source.downcast_ref::<reqwest_middleware::Error>()) {
            Some(Middleware(inner)) if let Some(fault) = inner.downcast_ref::<Fault>() => fault.clone(),
            Some(Reqwest(inner)) => told(inner),
            _ => match source.and_then(|source| source.downcast_ref::<reqwest::Error>()) {
                Some(inner) => told(inner),
                None => Fault::NoAnswer(format!(
                    "gave an answer that is none of a schema registry ({}): check registry.url",
                    error.error
                )),
            },
        }
    }
}

/// The settings of every HTTP client for a registry: no redirects, no proxy from the environment, credentials and
/// trust of the configuration.
pub(super) fn http(settings: &RemoteSettings, certificates: &[Certificate]) -> Result<ClientBuilder, RegistryError> {
    let mut headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(ACCEPT))]);
    if let Some(credentials) = credentials(&settings.auth)? {
        headers.insert(header::AUTHORIZATION, credentials);
    }
    let builder = ClientBuilder::new()
        .user_agent(concat!("forebay/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .timeout(settings.timeout)
        .connect_timeout(settings.timeout)
        .pool_idle_timeout(Duration::from_secs(30))
        .pool_max_idle_per_host(4);
    // Plain HTTP must not need the system's certificates, which a small image may lack.
    Ok(match settings.urls.iter().any(|url| url.scheme() == "https") {
        true => builder.tls_certs_merge(certificates.iter().cloned()),
        false => builder.tls_certs_only([]),
    })
}

fn credentials(auth: &RegistryAuth) -> Result<Option<HeaderValue>, RegistryError> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = match auth {
        RegistryAuth::None => return Ok(None),
        RegistryAuth::Basic(name, password) => {
            format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{}", password.reveal())))
        }
        RegistryAuth::Bearer(token) => format!("Bearer {}", token.reveal()),
    };
    let mut value = HeaderValue::try_from(text)
        .map_err(|_| RegistryError::Invalid("registry.auth: it can't be sent in a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// A client whose answers are checked.
pub(super) fn checked(client: reqwest::Client) -> ClientWithMiddleware {
    reqwest_middleware::ClientBuilder::new(client).with(Checked).build()
}

/// Passes on only answers that are whole, JSON, within the limit, and no errors; all others become a [`Fault`].
pub(super) struct Checked;

#[async_trait]
impl Middleware for Checked {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut http::Extensions,
        next: Next<'_>,
    ) -> reqwest_middleware::Result<Response> {
        let response = next.run(request, extensions).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = whole(response).await?;
        if !status.is_success() {
            return Err(reqwest_middleware::Error::middleware(Fault::refused(status, &headers, &body)));
        }
        if serde_json::from_slice::<IgnoredAny>(&body).is_err() {
            let kind =
                headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("nothing known");
            let why = format!("answered with {kind} that is no JSON, as no registry does: check registry.url");
            return Err(reqwest_middleware::Error::middleware(Fault::NoAnswer(why)));
        }
        let mut answer = http::Response::new(body.freeze());
        *answer.status_mut() = status;
        Ok(answer.into())
    }
}

/// A body, as long as it keeps to the limit.
async fn whole(mut response: Response) -> reqwest_middleware::Result<BytesMut> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            let why = format!("gave an answer of more than {MAX_ANSWER_BYTES} bytes: check registry.url");
            return Err(reqwest_middleware::Error::middleware(Fault::NoAnswer(why)));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
