//! What happens to every request around its route: identity, limits, drain, panics, the problem document, metrics, log.

mod correlation;
mod limits;
mod trace;

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::MatchedPath,
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use tower::ServiceExt;

use crate::{
    context::RequestContext,
    problem::{Code, Problem, answers::PROBLEM_JSON},
    routes::registry,
    state::App,
};

static CORRELATION_HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// A refusal, from the route that made it to the layer that writes it down.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    problem: Problem,
    event_id: Option<String>,
    rest: Option<String>,
    /// Schema Registry's code, if the refusal is one of its own.
    error_code: Option<u32>,
}

impl Problem {
    /// The refusal of one event, or of a batch (`rest`: further members of the document).
    pub(crate) fn refuse(self, event_id: Option<String>, rest: Option<String>) -> Response {
        Refusal { problem: self, event_id, rest, error_code: None }.into_response()
    }

    /// The refusal of a request to the registry, with its code there.
    pub(crate) fn refuse_as(self, error_code: u32) -> Response {
        Refusal { problem: self, event_id: None, rest: None, error_code: Some(error_code) }.into_response()
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.problem.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.refuse(None, None)
    }
}

/// Notes the route's template where the outer layer finds it; unmatched paths have none.
pub(crate) async fn note_route(request: axum::extract::Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(matched) = matched {
        response.extensions_mut().insert(matched);
    }
    response
}

/// Which listener a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// The API's.
    Api,
    /// The embedded registry's: as the API's, but refusals are in Schema Registry's words.
    Registry,
    /// The management listener's: answered until the end of a drain, and outside the count of requests in flight.
    Management,
}

/// Handles one request from the first to the last layer.
pub(crate) async fn handle(app: Arc<App>, door: Door, router: Router, mut request: Request<Body>) -> Response {
    let started = Instant::now();
    let correlation = correlation::of(request.headers());
    let trace = trace::of(request.headers());
    let method = request.method().clone();
    let path: Arc<str> = request.uri().path().into();
    request.extensions_mut().insert(RequestContext { correlation: correlation.clone(), trace });

    let mut response = match admit(&app, door, &request) {
        Ok(()) => run(router, request, &correlation).await,
        Err(problem) => problem.into_response(),
    };
    let refusal = response.extensions_mut().remove::<Refusal>();
    if let Some(refusal) = &refusal {
        match door {
            Door::Registry => write_registry_refusal(&mut response, refusal),
            Door::Api | Door::Management => write_problem(&mut response, refusal, &path, &correlation),
        }
    }
    if let Ok(value) = HeaderValue::from_str(&correlation) {
        response.headers_mut().insert(CORRELATION_HEADER.clone(), value);
    }
    finish(&app, &response, Seen { method, path: &path, correlation: &correlation, started }, refusal.as_ref());
    response
}

fn admit(app: &App, door: Door, request: &Request<Body>) -> Result<(), Problem> {
    limits::check(request, &app.settings.limits)?;
    if door != Door::Management && app.is_closing() {
        return Err(Problem::new(
            Code::Draining,
            "This instance is shutting down: use another, or a new connection later.",
        ));
    }
    Ok(())
}

async fn run(router: Router, request: Request<Body>, correlation: &str) -> Response {
    match AssertUnwindSafe(router.oneshot(request)).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(never)) => match never {},
        Err(_) => {
            tracing::error!(correlation_id = correlation, "A request panicked; this is a bug.");
            Problem::new(Code::Internal, "The request failed for a reason of ours.").into_response()
        }
    }
}

/// Turns a refusal into its document.
fn write_problem(response: &mut Response, refusal: &Refusal, path: &str, correlation: &str) {
    let Refusal { problem, event_id, rest, .. } = refusal;
    let text = problem.document(path, correlation, event_id.as_deref(), rest.as_deref());
    write_refusal(response, problem, text, PROBLEM_JSON);
    if problem.code == Code::UnsupportedMediaType {
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(HeaderName::from_static("accept-post"), json);
    }
}

/// Turns a refusal into what clients of Schema Registry read.
fn write_registry_refusal(response: &mut Response, refusal: &Refusal) {
    let problem = &refusal.problem;
    let error_code = refusal.error_code.unwrap_or_else(|| u32::from(problem.status()));
    let text = registry::refusal(error_code, &problem.detail);
    write_refusal(response, problem, text, registry::REGISTRY_JSON);
    *response.status_mut() = registry::status(error_code);
}

fn write_refusal(response: &mut Response, problem: &Problem, text: String, content_type: &'static str) {
    *response.body_mut() = Body::from(text);
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(seconds) = problem.code.info().retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if problem.code == Code::AmbiguousRequest {
        // Whatever follows on this connection can't be trusted to be a request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
}

struct Seen<'a> {
    method: Method,
    path: &'a str,
    correlation: &'a str,
    started: Instant,
}

fn finish(app: &App, response: &Response, seen: Seen<'_>, refusal: Option<&Refusal>) {
    let took = seen.started.elapsed();
    let matched = response.extensions().get::<MatchedPath>();
    let route = matched.map_or("unmatched", MatchedPath::as_str);
    let status = response.status();
    app.metrics.request(route, &seen.method, status.as_u16(), took);
    let code = refusal.map(|refusal| refusal.problem.code);
    if let Some(code) = code {
        app.metrics.rejected(code);
    }
    let took_ms = took.as_secs_f64() * 1e3;
    macro_rules! log {
        ($level:expr) => {
            tracing::event!($level, method = %seen.method, path = seen.path, route, status = status.as_u16(), took_ms,
                code = code.map(|c| c.info().code), correlation_id = seen.correlation, "Answered a request.")
        };
    }
    match code.map(|code| code.info().level) {
        None => log!(tracing::Level::DEBUG),
        Some(tracing::Level::ERROR) => log!(tracing::Level::ERROR),
        Some(tracing::Level::WARN) => log!(tracing::Level::WARN),
        Some(_) => log!(tracing::Level::INFO),
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_problem() {
        let broken = || async {
            if true {
                panic!("oops")
            }
        };
        let router = Router::new().route("/", get(broken));
        let response = run(router, Request::new(Body::empty()), "c").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(response.extensions().get::<Refusal>().unwrap().problem.code, Code::Internal);
    }
}
