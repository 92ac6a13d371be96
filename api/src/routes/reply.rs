//! Small helpers for answers and path parameters.

use axum::{
    body::Body,
    extract::{
        FromRequestParts, Path,
        path::{ErrorKind, FailedToDeserializePathParams},
        rejection::PathRejection,
    },
    response::Response,
};
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde::Serialize;
use utoipa::IntoParams;

use crate::{
    names,
    negotiate::JSON,
    problem::{Code, ErrorItem, Problem},
};

/// JSON with a status.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, Problem> {
    let text =
        serde_json::to_string(value).map_err(|_| Problem::new(Code::Internal, "The answer can't be written."))?;
    Ok(text_as(status, JSON, text))
}

/// Text of a given type.
pub(super) fn text_as(status: StatusCode, content_type: &'static str, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A path parameter, decoded.
pub(super) struct Param(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Param {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        match Path::<String>::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(rejection) => Err(bad_path(&culprit(rejection), "is not UTF-8 once its percent signs are decoded")),
        }
    }
}

/// The name of the parameter that can't be decoded.
fn culprit(rejection: PathRejection) -> String {
    let kind = match rejection {
        PathRejection::FailedToDeserializePathParams(why) => Some(FailedToDeserializePathParams::into_kind(why)),
        _ => None,
    };
    match kind {
        Some(ErrorKind::InvalidUtf8InPathParam { key }) => key,
        _ => "parameter".to_owned(),
    }
}

/// The path parameter `topic`, checked.
#[derive(IntoParams)]
#[into_params(names("topic"), parameter_in = Path)]
pub(super) struct Topic(#[param(max_length = 249, pattern = "^[A-Za-z0-9._-]+$")] pub String);

impl<S: Send + Sync> FromRequestParts<S> for Topic {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Param(name) = Param::from_request_parts(parts, state).await?;
        match names::check_topic(&name) {
            Ok(()) => Ok(Self(name)),
            Err(msg) => Err(bad_path("topic", &msg)),
        }
    }
}

/// 422 for a path parameter.
pub(super) fn bad_path(name: &str, msg: &str) -> Problem {
    Problem::new(Code::RequestValidationFailed, format!("The path's {name} can't be used: {msg}."))
        .with(vec![ErrorItem::about("path", name, "string_pattern_mismatch", msg)])
}
