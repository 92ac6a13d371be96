//! Topics: list, show, create.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    extract::{Request, State},
    response::Response,
};
use forebay_broker::{TopicInfo, TopicPartition, TopicSpec};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    reply::{self, Topic},
    request::{self, Plain},
};
use crate::{
    config::DEFAULT_PARTITIONS,
    names,
    problem::{
        Code, ErrorItem, Problem,
        answers::{OfNewTopic, OfTopic, OfTopics},
        of_log::{log_problem, not_created},
    },
    state::App,
};

/// A topic to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewTopic {
    #[schema(max_length = 249, pattern = "^[A-Za-z0-9._-]+$", example = "orders")]
    name: String,
    /// 4 unless given.
    #[schema(minimum = 1, maximum = 10_000)]
    partitions: Option<i32>,
    /// Settings of the log by their names in Kafka, such as `retention.ms`.
    #[serde(default)]
    config: BTreeMap<String, String>,
}

/// A topic.
#[derive(Serialize, ToSchema)]
#[schema(as = Topic)]
pub(super) struct Summary {
    name: String,
    /// The log's own, if it has one. Another topic of the same name has another.
    id: Option<String>,
    partitions: i32,
    /// What was set for it.
    config: BTreeMap<String, String>,
}

/// All topics.
#[derive(Serialize, ToSchema)]
#[schema(as = Topics)]
pub(super) struct List {
    topics: Vec<Summary>,
}

/// A topic and how far its partitions reach.
#[derive(Serialize, ToSchema)]
#[schema(as = TopicDetails)]
pub(super) struct Details {
    #[serde(flatten)]
    summary: Summary,
    watermarks: Vec<Watermarks>,
}

/// How far a partition reaches.
#[derive(Debug, Serialize, ToSchema)]
struct Watermarks {
    partition: i32,
    /// The first offset that is kept.
    low_watermark: i64,
    /// The offset that the next record gets.
    high_watermark: i64,
}

fn summary(topic: &TopicInfo) -> Summary {
    Summary {
        name: topic.name.to_string(),
        id: topic.id.as_deref().map(str::to_owned),
        partitions: topic.partitions,
        config: topic.config.clone(),
    }
}

/// All topics
#[utoipa::path(
    get, path = "/api/v1/topics", operation_id = "listTopics", tag = "topics",
    responses((status = 200, description = "The topics, sorted by name.", body = List), OfTopics)
)]
pub(super) async fn list(State(app): State<Arc<App>>, _: Plain) -> Result<Response, Problem> {
    let topics = app.deps.log.topics().await.map_err(log_problem)?;
    reply::json(StatusCode::OK, &List { topics: topics.iter().map(summary).collect() })
}

/// One topic
#[utoipa::path(
    get, path = "/api/v1/topics/{topic}", operation_id = "showTopic", tag = "topics", params(Topic),
    responses((status = 200, description = "The topic and its partitions.", body = Details), OfTopic)
)]
pub(super) async fn show(State(app): State<Arc<App>>, Topic(name): Topic, _: Plain) -> Result<Response, Problem> {
    let topic = app.deps.log.topic(&name).await.map_err(log_problem)?;
    let mut watermarks = Vec::new();
    for partition in 0..topic.partitions {
        let part = TopicPartition::new(topic.name.clone(), partition);
        let marks = app.deps.log.watermarks(&part).await.map_err(log_problem)?;
        watermarks.push(Watermarks { partition, low_watermark: marks.low, high_watermark: marks.high });
    }
    reply::json(StatusCode::OK, &Details { summary: summary(&topic), watermarks })
}

/// Make a topic
#[utoipa::path(
    post, path = "/api/v1/topics", operation_id = "createTopic", tag = "topics", request_body = NewTopic,
    responses(
        (status = 201, description = "It is made.", body = Summary, headers(("Location" = String, description = "Its path."))),
        OfNewTopic,
    )
)]
pub(super) async fn create(State(app): State<Arc<App>>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    request::check(&parts, |_| ())?;
    let text = request::text(&app, &parts, body).await?;
    let new: NewTopic = request::json(text.as_str())?;
    let spec = spec(new, &app)?;
    let topic = app.deps.log.create_topic(&spec).await.map_err(not_created)?;
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
