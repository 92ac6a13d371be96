//! What a request to the registry asks: its path, its query, its body.

use axum::{
    body::Body,
    extract::{FromRequestParts, Path, rejection::PathRejection},
};
use forebay_avro::{
    registry::{Embedded, MAX_NUMBER, NewSchema, Origin, ReferenceKey, Shown},
    schema::limits::check_size,
};
use http::{HeaderMap, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    super::request,
    Desk,
    answer::{OLDER_JSON, REGISTRY_JSON, Refused, Result, accepted},
};
use crate::{
    admission::Permit,
    negotiate::JSON,
    problem::{Code, Problem},
    query::Query,
};

/// Types of bodies: the registry's own, and what clients send that name none.
const BODY_TYPES: [&str; 4] = [REGISTRY_JSON, OLDER_JSON, JSON, "application/octet-stream"];

/// A request without its body. Parameters that nobody asks for are passed over, as clients send many.
pub(super) struct Asked {
    pub(super) headers: HeaderMap,
    path: Vec<String>,
    query: Vec<(String, String)>,
    parts: Parts,
}

impl FromRequestParts<Desk> for Asked {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, desk: &Desk) -> Result<Self> {
        accepted(&parts.headers)?;
        let path = match Path::<Vec<String>>::from_request_parts(parts, desk).await {
            Ok(Path(path)) => path,
            Err(PathRejection::MissingPathParams(_)) => Vec::new(),
            Err(_) => return Err(Refused::nothing_here()),
        };
        let query = Query::parse(parts.uri.query()).into_pairs()?;
        Ok(Self { headers: parts.headers.clone(), path, query, parts: parts.clone() })
    }
}

impl Asked {
    /// The first parameter of the path: a subject, an id or a GUID.
    pub(super) fn first(&self) -> &str {
        self.path.first().map_or("", String::as_str)
    }

    /// The version in the path as it stands there.
    pub(super) fn version_text(&self) -> &str {
        self.path.get(1).map_or("", String::as_str)
    }

    /// The version in the path; `None` is the latest.
    pub(super) fn version(&self) -> Result<Option<u32>> {
        let text = self.version_text();
        if matches!(text, "latest" | "-1") {
            return Ok(None);
        }
        let number = text.parse().ok().filter(|number| (1..=MAX_NUMBER).contains(number));
        number.map(Some).ok_or_else(|| Refused::invalid_version(text))
    }

    /// The id in the path. What is no number names no resource.
    pub(super) fn id(&self) -> Result<u32> {
        let number: i64 = self.first().parse().map_err(|_| Refused::nothing_here())?;
        u32::try_from(number).map_err(|_| Refused::schema_not_found())
    }

    /// A parameter of the query.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter that is `true` in any case; anything else is false.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// Which versions and subjects are asked for.
    pub(super) fn shown(&self) -> Shown {
        if self.flag("deletedOnly") || self.flag("deleted_only") {
            Shown::Deleted
        } else if self.flag("deleted") {
            Shown::All
        } else {
            Shown::Live
        }
    }

    /// The body, under the limits of every body, and its share of them: held until the answer.
    pub(super) async fn json<T: DeserializeOwned>(&self, desk: &Desk, body: Body) -> Result<(T, Permit)> {
        check_type(&self.headers)?;
        let text = request::text(&desk.app, &self.parts, body).await?;
        let parsed = serde_json::from_str(text.as_str()).map_err(|error| match error.is_data() {
            true => Refused::body(error.to_string()),
            false => Refused::malformed(format!("The body is not JSON: {error}.")),
        });
        Ok((parsed?, text.into_permit()))
    }

    /// The schema in the body.
    pub(super) async fn schema(&self, desk: &Desk, body: Body) -> Result<(NewSchema, Permit)> {
        let (posted, permit): (Posted, _) = self.json(desk, body).await?;
        Ok((posted.resolve(&desk.registry, self.flag("normalize"))?, permit))
    }
}

fn check_type(headers: &HeaderMap) -> Result<()> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let essence = match (values.next(), values.next()) {
        (None, _) => return Ok(()),
        (Some(value), None) => value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim(),
        _ => "",
    };
    if BODY_TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
        return Ok(());
    }
    let detail = format!("Bodies are taken as {}.", BODY_TYPES.join(", "));
    Err(Problem::new(Code::UnsupportedMediaType, detail).into())
}

/// A part of a list.
pub(super) struct Page {
    offset: usize,
    limit: usize,
}

impl Page {
    /// `offset` and `limit` of the query; a negative limit is none.
    pub(super) fn of(asked: &Asked) -> Result<Self> {
        let number = |name: &str, absent: i64| {
            asked.text(name).map_or(Ok(absent), |text| text.parse().map_err(|_| Refused::parameter(name)))
        };
        let offset = usize::try_from(number("offset", 0)?).unwrap_or(0);
        let limit = usize::try_from(number("limit", -1)?).unwrap_or(usize::MAX);
        Ok(Self { offset, limit })
    }

    pub(super) fn cut<T>(&self, list: Vec<T>) -> Vec<T> {
        list.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

/// Body of a registration, look-up or check.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Posted {
    schema: Option<String>,
    schema_type: Option<String>,
    references: Option<Vec<PostedReference>>,
    id: Option<i64>,
    version: Option<i64>,
    metadata: Option<Value>,
    rule_set: Option<Value>,
}

/// Clients send more members here, all without a value for Avro.
#[derive(Debug, Deserialize)]
struct PostedReference {
    name: String,
    subject: String,
    version: i64,
}

impl Posted {
    fn resolve(self, registry: &Embedded, normalize: bool) -> Result<NewSchema> {
        match self.schema_type.as_deref() {
            None | Some("AVRO") => {}
            Some(kind @ ("JSON" | "PROTOBUF")) => {
                let message = format!("This registry holds AVRO schemas only: {kind} needs an external registry.");
                return Err(Refused::invalid_schema(message));
            }
            Some(_) => return Err(Refused::invalid_schema("Invalid schema type: this registry holds AVRO.")),
        }
        if self.metadata.is_some() || self.rule_set.is_some() {
            let message = "This registry holds no metadata and no ruleSet (data contracts): leave them out.";
            return Err(Refused::invalid_schema(message));
        }
        let Some(text) = self.schema.filter(|text| !text.is_empty()) else {
            return Err(Refused::invalid_schema("Empty schema"));
        };
        check_size(text.len()).map_err(|error| Refused::invalid_schema(error.to_string()))?;
        let resolved = self.references.unwrap_or_default().into_iter().map(|r| r.resolve(registry));
        let references = resolved.collect::<Result<_>>()?;
        let origin = match self.id {
            Some(id) if id >= 0 => {
                Some(Origin { id: number(id), version: self.version.filter(|v| *v > 0).map(number) })
            }
            _ => None,
        };
        Ok(NewSchema { text, references, normalize, origin })
    }
}

/// Numbers outside the range become one that is refused as such.
fn number(given: i64) -> u32 {
    u32::try_from(given).unwrap_or(u32::MAX)
}

impl PostedReference {
    /// Version -1 is the latest.
    fn resolve(self, registry: &Embedded) -> Result<ReferenceKey> {
        let Self { name, subject, version } = self;
        let version = match version {
            -1 => match registry.show_version(&subject, None, Shown::Live) {
                Ok(latest) => latest.version,
                Err(error) => return Err(Refused::invalid_schema(format!("reference {name:?}: {error}"))),
            },
            given => number(given),
        };
        Ok(ReferenceKey { name, subject, version })
    }
}
