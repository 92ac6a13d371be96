//! The document that describes the API: the routes, and each topic with the events that it takes.

mod live;
mod topics;

pub use crate::routes::document;
pub(crate) use live::{Live, Rendered};
