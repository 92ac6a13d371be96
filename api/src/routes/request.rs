//! What requests go through before their route's own work.

use std::sync::Arc;

use axum::{body::Body, extract::FromRequestParts};
use http::request::Parts;
use serde::Deserialize;

use crate::{
    body::{self, Text},
    context::RequestContext,
    negotiate::{self, JSON},
    problem::{self, Code, ErrorItem, Problem},
    query::Query,
    state::App,
};

/// Accept, Content-Type and the query, before any byte of the body is read.
pub(super) fn check<T>(parts: &Parts, parameters: impl FnOnce(&mut Query) -> T) -> Result<T, Problem> {
    negotiate::accept(&parts.headers, &[JSON])?;
    negotiate::json_body(&parts.headers)?;
    let mut query = Query::parse(parts.uri.query());
    let taken = parameters(&mut query);
    query.finish()?;
    Ok(taken)
}

/// A request for JSON that takes no parameters: its Accept and its query, checked.
pub(super) struct Plain;

impl<S: Send + Sync> FromRequestParts<S> for Plain {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        negotiate::accept(&parts.headers, &[JSON])?;
        Query::parse(parts.uri.query()).finish()?;
        Ok(Self)
    }
}

/// The body, under every limit.
pub(super) async fn text(app: &Arc<App>, parts: &Parts, body: Body) -> Result<Text, Problem> {
    body::read(&parts.headers, body, &app.body_limits(), &app.admission).await
}

/// A body that is no event.
pub(super) fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            let item = ErrorItem::body("value_error", error.to_string());
            return Problem::new(Code::RequestValidationFailed, "The body can't be used.").with(vec![item]);
        }
        problem::malformed(error.line(), error.column(), &error.to_string())
    })
}

/// What the layers know of the request.
pub(super) fn context(parts: &Parts) -> Result<&RequestContext, Problem> {
    parts.extensions.get().ok_or_else(|| Problem::new(Code::Internal, "The request has no context."))
}
