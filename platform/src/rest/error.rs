//! What is answered instead: the original's bodies (`{"detail": ..}`), with the status codes that its clients know.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use crate::log::LogError;
use crate::store::{CatalogError, Kind};

/// A step of the way to a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Step {
    /// A name.
    Name(String),
    /// A position in a list.
    Index(u64),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Index(index) => write!(f, "{index}"),
        }
    }
}

impl From<&str> for Step {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index as u64)
    }
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Misfit {
    /// Where: `["body", "target"]`, `["path", "invariant_id"]`.
    pub loc: Vec<Step>,
    /// What is wrong.
    pub msg: String,
    /// A name for it.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Misfit {
    /// Of a field of the body.
    pub fn body(field: &str, msg: impl Into<String>, kind: &str) -> Self {
        Self {
            loc: vec!["body".into(), field.into()],
            msg: msg.into(),
            kind: kind.to_owned(),
        }
    }
}

/// The body of a 422.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Unprocessable {
    /// Everything that does not fit.
    pub detail: Vec<Misfit>,
}

/// The body of every other refusal.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Detail {
    /// What is wrong.
    pub detail: String,
}

/// A request that is not done.
#[derive(Debug)]
pub enum Refusal {
    /// 404.
    NotFound(Kind),
    /// 422.
    Misfits(Vec<Misfit>),
    /// 401: no key, or none that is good.
    NoKey,
    /// 403: the key's role does not allow it.
    Forbidden(&'static str),
    /// 500, with a word in the log.
    Broken(LogError),
}

/// As the original names it in its answers.
#[must_use]
pub const fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Contract => "Contract",
        Kind::Invariant => "Invariant",
        Kind::Action => "Defense Action",
        Kind::Dashboard => "Dashboard",
    }
}

impl From<LogError> for Refusal {
    fn from(error: LogError) -> Self {
        Self::Broken(error)
    }
}

impl From<CatalogError> for Refusal {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Unknown(kind, _) => Self::NotFound(kind),
            CatalogError::Log(error) => Self::Broken(error),
        }
    }
}

impl From<Misfit> for Refusal {
    fn from(misfit: Misfit) -> Self {
        Self::Misfits(vec![misfit])
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, body) = match self {
            Self::NotFound(kind) => (
                StatusCode::NOT_FOUND,
                json!({ "detail": format!("{} not found", name(kind)) }),
            ),
            Self::Misfits(detail) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": detail })),
            Self::NoKey => {
                let detail = "an API key is needed: send it as `X-API-Key`, or as `Authorization: Bearer`";
                let body = Json(json!({ "detail": detail }));
                return (
                    StatusCode::UNAUTHORIZED,
                    [(http::header::WWW_AUTHENTICATE, "Bearer")],
                    body,
                )
                    .into_response();
            }
            Self::Forbidden(role) => {
                let detail = format!("this needs a key with the role `{role}`");
                (StatusCode::FORBIDDEN, json!({ "detail": detail }))
            }
            Self::Broken(error) => {
                tracing::error!(%error, "a request failed");
                let detail = "the platform's database failed; nothing was changed";
                (StatusCode::INTERNAL_SERVER_ERROR, json!({ "detail": detail }))
            }
        };
        (status, Json(body)).into_response()
    }
}
