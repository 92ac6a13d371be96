//! The routes: each translates HTTP to calls and back, nothing else.

mod batch;
mod connectors;
mod docs;
mod events;
mod health;
mod latest;
mod metrics;
mod openapi;
pub(crate) mod registry;
mod reply;
mod request;
mod schemas;
mod topics;
mod validate;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{MethodRouter, delete, get, post},
};

pub(crate) use self::openapi::PUBLISH;
pub use self::openapi::document;
use crate::{
    layers,
    problem::{Code, Problem},
    state::App,
};

/// A path and what is served there.
type Route = (&'static str, fn() -> MethodRouter<Arc<App>>);

/// Everything on the API's listener. Each path stands in the document too; a test holds it.
const API: [Route; 23] = [
    ("/api/v1/events/{topic}", || post(events::publish)),
    ("/api/v1/events/{topic}/batch", || post(batch::publish)),
    ("/api/v1/events/{topic}/validate", || post(validate::validate)),
    ("/api/v1/events/{topic}/latest", || get(latest::latest)),
    ("/api/v1/topics", || get(topics::list).post(topics::create)),
    ("/api/v1/topics/{topic}", || get(topics::show)),
    ("/api/v1/schemas", || get(schemas::subjects)),
    ("/api/v1/schemas/{subject}/versions", || get(schemas::versions).post(schemas::register)),
    ("/api/v1/schemas/{subject}/versions/{version}", || get(schemas::version)),
    ("/api/v1/schemas/{subject}/compatibility", || post(schemas::check)),
    ("/api/v1/schemas/{subject}/cache", || delete(schemas::forget)),
    ("/api/v1/connectors", || get(connectors::list)),
    ("/api/v1/connectors/{name}", || get(connectors::show)),
    ("/api/v1/connectors/{name}/pause", || post(connectors::pause)),
    ("/api/v1/connectors/{name}/resume", || post(connectors::resume)),
    ("/api/v1/connectors/{name}/restart", || post(connectors::restart)),
    ("/api/v1/health", || get(health::health)),
    ("/api/v1/metrics", || get(metrics::metrics)),
    ("/livez", || get(health::live)),
    ("/readyz", || get(health::ready)),
    ("/metrics", || get(metrics::metrics)),
    ("/problems/{code}", || get(docs::problem)),
    ("/openapi.json", || get(docs::openapi)),
];

/// The pages for people, with `api.docs`.
const PAGES: [Route; 3] =
    [("/docs", || get(docs::redirect)), ("/docs/", || get(docs::index)), ("/docs/{file}", || get(docs::file))];

/// The management listener: what a supervisor asks, outside every limit.
const MANAGEMENT: [Route; 9] = [
    ("/api/v1/connectors", || get(connectors::list)),
    ("/api/v1/connectors/{name}", || get(connectors::show)),
    ("/api/v1/connectors/{name}/pause", || post(connectors::pause)),
    ("/api/v1/connectors/{name}/resume", || post(connectors::resume)),
    ("/api/v1/connectors/{name}/restart", || post(connectors::restart)),
    ("/api/v1/health", || get(health::health)),
    ("/livez", || get(health::live)),
    ("/readyz", || get(health::ready)),
    ("/metrics", || get(metrics::metrics)),
];

pub(crate) fn api(app: Arc<App>) -> Router {
    let pages = if app.settings.docs { &PAGES[..] } else { &[] };
    router(&[&API, pages], app)
}

pub(crate) fn management(app: Arc<App>) -> Router {
    router(&[&MANAGEMENT], app)
}

fn router(routes: &[&[Route]], app: Arc<App>) -> Router {
    routes
        .iter()
        .copied()
        .flatten()
        .fold(Router::new(), |router, (path, methods)| router.route(path, methods()))
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .route_layer(middleware::from_fn(layers::note_route))
        .with_state(app)
}

async fn not_found() -> Problem {
    Problem::new(Code::NotFound, "There is no such path here.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed, "This path has other methods: see Allow.")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_document_has_every_path_and_no_other() {
        let document = document();
        let documented: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        let served: BTreeSet<&str> = API.iter().chain(&PAGES).map(|(path, _)| *path).collect();
        assert_eq!(documented, served);
    }
}
