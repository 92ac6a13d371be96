//! The refusals of each kind of route, for the document: every answer follows from the codes that it can have.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, Content, ContentBuilder, HeaderBuilder, ObjectBuilder, Ref, RefOr, Response, ResponseBuilder,
        Schema, Type,
    },
};

use super::Code::{self, *};

/// The type of every refusal.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What any request may meet before its route is asked.
const ANY: &[Code] = &[AmbiguousRequest, UriTooLong, HeadersTooLarge, Internal, Draining];
/// Of a route that offers types and takes parameters.
const ASKED: &[Code] = &[NotAcceptable, RequestValidationFailed];
/// Of a route that takes a body.
const SENT: &[Code] = &[
    CrossOrigin,
    MalformedJson,
    BadEncoding,
    BodyTimeout,
    BodyTooLarge,
    InflatedTooLarge,
    UnsupportedMediaType,
    UnsupportedEncoding,
    QueueFull,
];
/// Of an event that is held against its schema.
const CHECKED: &[Code] = &[
    Forbidden,
    UnknownTopic,
    UnknownSchema,
    SchemaUnsupported,
    EventTooLarge,
    SchemaValidationFailed,
    KeyRequired,
    KeyInvalid,
    TimestampOutOfRange,
    SchemaMismatch,
    LogUnavailable,
    RegistryUnavailable,
];

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident: $($codes:expr),+;)+) => {$(
        $(#[$doc])*
        pub(crate) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                let lists: &[&[Code]] = &[ANY, $($codes),+];
                responses(&lists.concat())
            }
        }
    )+};
}

refusals! {
    /// Of a probe.
    OfProbe: &[];
    /// Of a page, and of a file.
    OfPage: &[NotAcceptable, NotFound];
    OfFile: &[NotFound];
    /// Of the document, whole or with one topic.
    OfDocument: ASKED, &[UnknownTopic, Forbidden, UnknownSchema, SchemaUnsupported, QueueFull, LogUnavailable, RegistryUnavailable];
    /// Of what takes neither parameters nor a body.
    OfView: &[NotAcceptable];
    /// Of the topics and one topic.
    OfTopics: ASKED, &[LogUnavailable];
    OfTopic: ASKED, &[UnknownTopic, LogUnavailable];
    OfNewTopic: ASKED, SENT, &[Forbidden, TopicExists, LogUnavailable, DeliveryUnknown];
    /// Of subjects, and of one.
    OfSubjects: ASKED, &[RegistryUnavailable];
    OfSubject: ASKED, &[UnknownSchema, RegistryUnavailable];
    OfNewVersion: ASKED, SENT, &[UnknownSchema, SchemaIncompatible, RegistryUnavailable];
    OfForgetting: &[CrossOrigin, RequestValidationFailed];
    OfCompatibility: ASKED, SENT, &[UnknownSchema, RegistryUnavailable];
    /// Of connectors, of one, and of what it is told to do.
    OfConnectors: ASKED, &[LogUnavailable];
    OfConnector: ASKED, &[NotFound, LogUnavailable];
    OfOrder: ASKED, &[CrossOrigin, NotFound, ConnectorElsewhere];
    /// Of events on their way in and back.
    OfPublish: ASKED, SENT, CHECKED, &[DeliveryUnknown];
    OfBatch: ASKED, SENT, CHECKED, &[EmptyBatch, BatchTooLong, BatchRefused, DeliveryUnknown];
    OfDryRun: ASKED, SENT, CHECKED;
    OfLatest: ASKED, &[UnknownTopic, QueueFull, LogUnavailable, RegistryUnavailable];
}

/// Of `/readyz`: its own 503 is text.
pub(crate) struct OfReadiness;

impl IntoResponses for OfReadiness {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let content = ContentBuilder::new().schema(Some(String::schema())).build();
        beside_problem(503, "text/plain", "- in text: why a publish would be refused", content)
    }
}

/// Of `/api/v1/health`: its own 503 has the same form as its 200.
pub(crate) struct OfHealth;

impl IntoResponses for OfHealth {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Health"))).build();
        beside_problem(503, "application/json", "- `unhealthy`: events are refused", content)
    }
}

/// The answers of a probe, with another content beside the problem of a status.
fn beside_problem(status: u16, content_type: &str, line: &str, content: Content) -> BTreeMap<String, RefOr<Response>> {
    let mut responses = responses(ANY);
    if let Some(RefOr::T(response)) = responses.get_mut(&status.to_string()) {
        response.content.insert(content_type.to_owned(), RefOr::T(content));
        response.description = format!("{line}\n{}", response.description);
    }
    responses
}

/// One answer a status, which names the codes that come with it.
fn responses(codes: &[Code]) -> BTreeMap<String, RefOr<Response>> {
    let mut of_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.into_iter().filter(|code| codes.contains(code)) {
        of_status.entry(code.info().status).or_default().push(code);
    }
    of_status.into_iter().map(|(status, codes)| (status.to_string(), RefOr::T(response(&codes)))).collect()
}

fn response(codes: &[Code]) -> Response {
    let line = |code: &Code| format!("- `{code}`: {}. {}", code.info().title, code.info().advice);
    let lines: Vec<String> = codes.iter().map(line).collect();
    let names = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(codes.iter().map(Code::to_string)));
    let code = ObjectBuilder::new().property("code", names);
    let schema = AllOfBuilder::new().item(Ref::from_schema_name(super::Document::name())).item(code);
    let content = ContentBuilder::new().schema(Some(Schema::AllOf(schema.build()))).build();
    let mut response = ResponseBuilder::new().description(lines.join("\n")).content(PROBLEM_JSON, content);
    // Of a batch refused as a whole, the events that are fine can be sent again.
    if codes.iter().any(|code| code.info().retry_after_s.is_some()) || codes.contains(&BatchRefused) {
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        let header =
            HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds after which to send it again."));
        response = response.header("Retry-After", header.build());
    }
    if codes.contains(&UnsupportedMediaType) {
        let header = HeaderBuilder::new().schema(Some(String::schema())).description(Some("The types that are taken."));
        response = response.header("Accept-Post", header.build());
    }
    response.build()
}

/// The words that a `code` can be.
impl PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let names = Code::ALL.iter().map(Code::to_string);
        let words = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        Schema::Object(words.description(Some("What kind of problem it is.")).build()).into()
    }
}

impl ToSchema for Code {}
