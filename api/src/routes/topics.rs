//! Topics: list, show, create.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{RawQuery, Request, State},
    response::Response,
};
use forebay_broker::{LogError, TopicInfo, TopicPartition, TopicSpec};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{
    reply::{self, Topic},
    request,
};
use crate::{
    config::DEFAULT_PARTITIONS,
    names,
    negotiate::{self, JSON},
    problem::{Code, ErrorItem, Problem},
    query::Query,
    state::App,
    topics::log_problem,
};

/// Body of POST `/api/v1/topics`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewTopic {
    name: String,
    partitions: Option<i32>,
    #[serde(default)]
    config: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    low_watermark: i64,
    high_watermark: i64,
}

fn summary(topic: &TopicInfo) -> serde_json::Value {
    json!({"name": &*topic.name, "id": topic.id.as_deref(), "partitions": topic.partitions, "config": topic.config})
}

/// GET `/api/v1/topics`.
pub(super) async fn list(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let topics = app.deps.log.topics().await.map_err(log_problem)?;
    let topics: Vec<_> = topics.iter().map(summary).collect();
    reply::json(StatusCode::OK, &json!({"topics": topics}))
}

/// GET `/api/v1/topics/{topic}`.
pub(super) async fn show(
    State(app): State<Arc<App>>,
    Topic(name): Topic,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    negotiate::accept(&headers, &[JSON])?;
    Query::parse(query.as_deref()).finish()?;
    let topic = app.deps.log.topic(&name).await.map_err(log_problem)?;
    let mut watermarks = Vec::new();
    for partition in 0..topic.partitions {
        let part = TopicPartition::new(topic.name.clone(), partition);
        let marks = app.deps.log.watermarks(&part).await.map_err(log_problem)?;
        watermarks.push(Partition { partition, low_watermark: marks.low, high_watermark: marks.high });
    }
    let mut body = summary(&topic);
    body["watermarks"] = json!(watermarks);
    reply::json(StatusCode::OK, &body)
}

/// POST `/api/v1/topics`.
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    request::check(&parts, |_| ())?;
    let text = request::text(&app, &parts, body).await?;
    let new: NewTopic = request::json(text.as_str())?;
    let spec = spec(new, &app)?;
    let topic = app.deps.log.create_topic(&spec).await.map_err(|error| match error {
        LogError::TopicExists(name) => Problem::new(Code::TopicExists, format!("The topic {name:?} exists already.")),
        LogError::Invalid(reason) => {
            Problem::new(Code::RequestValidationFailed, "The topic can't be created as asked.")
                .with(vec![ErrorItem::body("value_error", reason)])
        }
        error => log_problem(error),
    })?;
    let mut response = reply::json(StatusCode::CREATED, &summary(&topic))?;
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/topics/{}", topic.name)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

fn spec(new: NewTopic, app: &App) -> Result<TopicSpec, Problem> {
    let refuse = |member: &'static str, kind, msg: String| {
        let item = ErrorItem::about("body", member, kind, msg);
        Err(Problem::new(Code::RequestValidationFailed, "The topic can't be created as asked.").with(vec![item]))
    };
    if let Err(msg) = names::check_topic(&new.name) {
        return refuse("name", "string_pattern_mismatch", msg);
    }
    if !names::is_writable(&new.name, &app.settings.dlq.topic) {
        return Err(Problem::new(
            Code::Forbidden,
            "Topics __*, replay.* and dead letter topics are made by the service.",
        ));
    }
    let partitions = new.partitions.unwrap_or(DEFAULT_PARTITIONS);
    if !(1..=10_000).contains(&partitions) {
        let kind = if partitions < 1 { "greater_than_equal" } else { "less_than_equal" };
        return refuse("partitions", kind, "must be 1 to 10000".to_owned());
    }
    Ok(TopicSpec { name: new.name, partitions, config: new.config })
}
