//! Answers of the registry's listener: its content types, and refusals as `{error_code, message}`.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use forebay_avro::registry::{DeleteRefused, RegistryError};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    negotiate::{self, JSON},
    problem::{Code, Problem},
};

/// The registry's own type; what an answer bears unless `Accept` asks for plain JSON.
pub(crate) const REGISTRY_JSON: &str = "application/vnd.schemaregistry.v1+json";
/// Its older name.
pub(super) const OLDER_JSON: &str = "application/vnd.schemaregistry+json";

pub(super) type Result<T> = std::result::Result<T, Refused>;

/// A refusal in Schema Registry's words. `error_code` begins with the status.
#[derive(Debug)]
pub(crate) struct Refused {
    error_code: u32,
    problem: Problem,
}

impl Refused {
    fn new(error_code: u32, code: Code, message: impl Into<String>) -> Self {
        Self { error_code, problem: Problem::new(code, message.into()) }
    }

    pub(super) fn nothing_here() -> Self {
        Self::new(404, Code::NotFound, "HTTP 404 Not Found")
    }

    pub(super) fn not_this_method() -> Self {
        Self::new(405, Code::MethodNotAllowed, "HTTP 405 Method Not Allowed")
    }

    /// A body whose members are not those of the request.
    pub(super) fn body(message: String) -> Self {
        Self::new(422, Code::RequestValidationFailed, message)
    }

    pub(super) fn malformed(message: String) -> Self {
        Self::new(400, Code::MalformedJson, message)
    }

    pub(super) fn parameter(name: &str) -> Self {
        Self::body(format!("The query parameter {name} takes a whole number."))
    }

    pub(super) fn schema_not_found() -> Self {
        Self::new(40403, Code::UnknownSchema, "Schema not found")
    }

    pub(super) fn no_level(subject: &str) -> Self {
        let message = format!("Subject {subject:?} has no compatibility level of its own.");
        Self::new(40408, Code::NotFound, message)
    }

    pub(super) fn no_mode(subject: &str) -> Self {
        Self::new(40409, Code::NotFound, format!("Subject {subject:?} has no mode of its own."))
    }

    pub(super) fn invalid_schema(message: impl Into<String>) -> Self {
        Self::new(42201, Code::RequestValidationFailed, message)
    }

    pub(super) fn invalid_version(given: &str) -> Self {
        let given: String = given.chars().take(64).collect();
        let message = format!(
            "The specified version {given:?} is not a valid version id. Allowed values are between [1, 2^31-1] and \
             the string \"latest\"."
        );
        Self::new(42202, Code::RequestValidationFailed, message)
    }

    pub(super) fn invalid_level(message: impl Into<String>) -> Self {
        Self::new(42203, Code::RequestValidationFailed, message)
    }

    pub(super) fn invalid_mode(message: impl Into<String>) -> Self {
        Self::new(42204, Code::RequestValidationFailed, message)
    }

    /// A delete in the words of what was to be deleted.
    pub(super) fn delete(refused: DeleteRefused, subject: &str, version: Option<&str>) -> Self {
        let what = match version {
            None => format!("Subject {subject:?}"),
            Some(version) => format!("Version {version} of subject {subject:?}"),
        };
        let (deleted, not_deleted) = if version.is_none() { (40404, 40405) } else { (40406, 40407) };
        match refused {
            DeleteRefused::Deleted => {
                let message = format!("{what} is deleted already; permanent=true deletes it for good.");
                Self::new(deleted, Code::NotFound, message)
            }
            DeleteRefused::NotDeleted => {
                let message = format!("{what} must be deleted without permanent=true first.");
                Self::new(not_deleted, Code::NotFound, message)
            }
            DeleteRefused::Referenced { .. } => Self::new(42206, Code::RequestValidationFailed, format!("{refused}.")),
            DeleteRefused::Registry(error) => error.into(),
        }
    }
}

impl From<RegistryError> for Refused {
    fn from(error: RegistryError) -> Self {
        let message = error.to_string();
        let (error_code, code) = match error {
            RegistryError::UnknownSubject(_) => (40401, Code::UnknownSchema),
            RegistryError::UnknownVersion { .. } => (40402, Code::UnknownSchema),
            RegistryError::UnknownId(_) => (40403, Code::UnknownSchema),
            RegistryError::Incompatible { .. } => (409, Code::SchemaIncompatible),
            RegistryError::Invalid(_) => (42201, Code::RequestValidationFailed),
            RegistryError::NotPermitted(_) => (42205, Code::RequestValidationFailed),
            RegistryError::InvalidSubject(_) => (42208, Code::RequestValidationFailed),
            _ => {
                tracing::error!(%error, "The schema registry failed.");
                (50001, Code::RegistryUnavailable)
            }
        };
        Self::new(error_code, code, message)
    }
}

/// What other parts of the service refuse: the status stands for the code.
impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self { error_code: u32::from(problem.status()), problem }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        self.problem.refuse_as(self.error_code)
    }
}

/// The body of a refusal.
pub(crate) fn refusal(error_code: u32, message: &str) -> String {
    json!({"error_code": error_code, "message": message}).to_string()
}

/// The status within an error code.
pub(crate) fn status(error_code: u32) -> StatusCode {
    let status = if error_code >= 10_000 { error_code / 100 } else { error_code };
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// 200 with JSON, in the type that `Accept` takes.
pub(super) fn answer(headers: &HeaderMap, value: &impl Serialize) -> Result<Response> {
    let text =
        serde_json::to_string(value).map_err(|_| Problem::new(Code::Internal, "The answer can't be written."))?;
    answer_text(headers, text)
}

/// 200 with text that is JSON.
pub(super) fn answer_text(headers: &HeaderMap, text: String) -> Result<Response> {
    let content_type = accepted(headers)?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Ok(response)
}

/// The type that `Accept` takes; asked before anything is changed.
pub(super) fn accepted(headers: &HeaderMap) -> Result<&'static str> {
    Ok(negotiate::accept(headers, &[REGISTRY_JSON, OLDER_JSON, JSON])?)
}

/// Members as JSON, without those that say nothing.
pub(super) fn members<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_begin_with_their_status() {
        for (code, expected) in
            [(40401, 404), (409, 409), (42201, 422), (50001, 500), (400, 400), (413, 413), (415, 415), (1, 500)]
        {
            assert_eq!(status(code).as_u16(), expected, "{code}");
        }
    }
}
