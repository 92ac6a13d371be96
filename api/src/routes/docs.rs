//! The document, its page for people, and the page of each problem's code.

use std::sync::{Arc, LazyLock};

use axum::{
    extract::{RawQuery, State},
    response::Response,
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use utoipa_swagger_ui::Config;

use super::reply::{Param, text_as};
use crate::{
    negotiate::{self, JSON},
    openapi::Rendered,
    problem::{
        self, Code, Problem,
        answers::{OfDocument, OfFile, OfPage, OfProbe, OfView},
    },
    query::Query,
    state::App,
};

const HTML: &str = "text/html; charset=utf-8";
/// The page loads nothing from elsewhere and runs nothing that stands in it. Swagger UI draws its icons from `data:`.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'";
/// How long a browser may keep the files of the page, which change with the service's version only.
const FILES_FRESH: &str = "max-age=3600";

/// Where the page finds the document: beside it, whatever stands before both paths.
static PAGE: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
    Arc::new(
        Config::new(["../openapi.json"])
            .use_base_layout()
            .display_request_duration(true)
            .filter(true)
            .validator_url("none"),
    )
});

/// This document
///
/// It follows the topics and their schemas: within a second, or as soon as the client of a registry elsewhere sees them.
/// `ETag` tells its versions apart.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "documentation",
    params(
        ("topic" = Option<String>, Query, description = "Only this topic's own path; also for a topic beyond the limit of the whole document."),
        ("If-None-Match" = Option<String>, Header, description = "`ETag` of the document at hand: 304 if it is still the one."),
    ),
    responses(
        (status = 200, description = "OpenAPI 3.1.", body = HashMap<String, serde_json::Value>,
            headers(("ETag" = String, description = "Tells versions of the document apart."), ("Cache-Control" = String, description = "`no-cache`: ask each time."))),
        (status = 304, description = "The document at hand is still the one.",
            headers(("ETag" = String, description = "As in the request."), ("Cache-Control" = String, description = "`no-cache`: ask each time."))),
        OfDocument,
    )
)]
pub(super) async fn openapi(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    let mut query = Query::parse(query.as_deref());
    let topic = query.text("topic");
    query.finish()?;
    let document = match topic {
        None => app.document.current(&app).await?,
        Some(topic) => {
            let _permit = app
                .reads
                .try_acquire()
                .map_err(|_| Problem::new(Code::QueueFull, "Too many topics are being read: try again shortly."))?;
            app.document.of_topic(&app, &topic).await?
        }
    };
    Ok(answer(&document, &headers))
}

fn answer(document: &Rendered, headers: &HeaderMap) -> Response {
    let mut response = match negotiate::is_known(headers, &document.etag) {
        true => {
            let mut response = Response::default();
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => {
            let mut response = Response::new(document.bytes.clone().into());
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
            response
        }
    };
    response.headers_mut().insert(header::ETAG, document.etag.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// To the page
#[utoipa::path(
    get, path = "/docs", operation_id = "docsRedirect", tag = "documentation",
    responses((status = 308, description = "To `/docs/`.", headers(("Location" = String, description = "Relative to this path."))), OfProbe)
)]
pub(super) async fn redirect() -> Response {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("docs/"));
    response
}

/// This document as a page (Swagger UI)
#[utoipa::path(
    get, path = "/docs/", operation_id = "docs", tag = "documentation",
    responses((status = 200, description = "The page.", body = String, content_type = "text/html"), OfView)
)]
pub(super) async fn index(headers: HeaderMap) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[HTML])?;
    page("index.html")
}

/// A file of the page
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "docsFile", tag = "documentation",
    params(("file" = String, Path, description = "Its name.", example = "swagger-ui.css")),
    responses((status = 200, description = "The file.", content((String = "*/*"))), OfFile)
)]
pub(super) async fn file(Param(name): Param) -> Result<Response, Problem> {
    page(&name)
}

fn page(name: &str) -> Result<Response, Problem> {
    let file = match utoipa_swagger_ui::serve(name, PAGE.clone()) {
        Ok(Some(file)) => file,
        Ok(None) => return Err(Problem::new(Code::NotFound, "The page has no such file.")),
        Err(error) => {
            tracing::error!(%error, name, "A file of the documentation can't be made.");
            return Err(Problem::new(Code::Internal, "The file can't be made."));
        }
    };
    let content_type =
        HeaderValue::try_from(file.content_type).map_err(|_| Problem::new(Code::Internal, "The file has no type."))?;
    let mut response = Response::new(file.bytes.into_owned().into());
    for (name, value) in [
        (header::CONTENT_TYPE, content_type),
        (header::CACHE_CONTROL, HeaderValue::from_static(FILES_FRESH)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ] {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// What a problem's code means
#[utoipa::path(
    get, path = "/problems/{code}", operation_id = "problem", tag = "documentation",
    params(("code" = String, Path, description = "The `code` of a problem document.", example = "queue_full")),
    responses((status = 200, description = "The page of the code.", body = String, content_type = "text/html; charset=utf-8"), OfPage)
)]
pub(super) async fn problem(Param(name): Param, headers: HeaderMap) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[HTML])?;
    let code = Code::by_name(&name).ok_or_else(|| Problem::new(Code::NotFound, "There is no problem of that code."))?;
    Ok(text_as(StatusCode::OK, HTML, problem::page(code)))
}
