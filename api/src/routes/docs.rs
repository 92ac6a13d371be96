//! The page of each problem's code.

use axum::response::Response;
use http::{HeaderMap, StatusCode};

use super::reply::{Param, text_as};
use crate::{
    negotiate,
    problem::{self, Code, Problem},
};

const HTML: &str = "text/html; charset=utf-8";

/// GET `/problems/{code}`.
pub(super) async fn problem(Param(name): Param, headers: HeaderMap) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[HTML])?;
    let code = Code::by_name(&name).ok_or_else(|| Problem::new(Code::NotFound, "There is no problem of that code."))?;
    Ok(text_as(StatusCode::OK, HTML, problem::page(code)))
}
