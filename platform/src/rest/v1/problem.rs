//! What `/v1` answers instead: problem details (RFC 9457), `application/problem+json`.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::tag;
use crate::log::LogError;
use crate::proposal::Flaw;
use crate::rest::error::{Refusal, name};
use crate::store::{CatalogError, DescribeError};

/// The media type of a problem.
pub const MEDIA: &str = "application/problem+json";

/// Why a request was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    pub status: u16,
    /// What is wrong with this request, and what to do.
    pub detail: String,
    /// Each thing in the request that does not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Flaw>,
}

impl Problem {
    /// A problem of this status.
    #[must_use]
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Error").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
        }
    }

    /// There is no such thing.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// What was sent does not fit, and where.
    #[must_use]
    pub fn unfit(errors: Vec<Flaw>) -> Self {
        let detail = match errors.as_slice() {
            [one] if one.pointer.is_empty() => one.detail.clone(),
            [one] => format!("{}: {}", one.pointer, one.detail),
            many => format!("{} things do not fit; `errors` says which", many.len()),
        };
        Self {
            errors,
            ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
        }
    }

    /// One field does not fit.
    #[must_use]
    pub fn field(pointer: &str, detail: impl Into<String>) -> Self {
        Self::unfit(vec![Flaw::new(pointer, detail)])
    }
}

impl From<LogError> for Problem {
    fn from(error: LogError) -> Self {
        tracing::error!(%error, "a request failed");
        let detail = "the platform's database failed; nothing was changed";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::Unknown(kind, id) => Self::new(
                StatusCode::NOT_FOUND,
                format!("there is no {} {id}", name(kind).to_lowercase()),
            ),
            CatalogError::Log(error) => error.into(),
        }
    }
}

impl From<DescribeError> for Problem {
    fn from(error: DescribeError) -> Self {
        match error {
            DescribeError::Stale(..) => tag::changed(),
            DescribeError::Taken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            DescribeError::Catalog(error) => error.into(),
        }
    }
}

/// The original's refusals, where `/v1` meets them: in what both share.
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(kind) => Self::not_found(&name(kind).to_lowercase()),
            Refusal::Misfits(misfits) => {
                let flaw = |misfit: &crate::rest::error::Misfit| {
                    let field = misfit.loc.get(1..).unwrap_or_default();
                    let pointer: String = field.iter().map(|step| format!("/{step}")).collect();
                    Flaw::new(pointer, misfit.msg.clone())
                };
                Self::unfit(misfits.iter().map(flaw).collect())
            }
            Refusal::NoKey => Self::new(
                StatusCode::UNAUTHORIZED,
                "an API key is needed: send it as `X-API-Key`, or as `Authorization: Bearer`",
            ),
            Refusal::Forbidden(role) => Self::new(
                StatusCode::FORBIDDEN,
                format!("this needs a key with the role `{role}`"),
            ),
            Refusal::Broken(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, MEDIA)], body).into_response();
        if status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// Whether problems are told in this form under this path.
#[must_use]
pub fn speaks(path: &str) -> bool {
    path == "/v1" || path.starts_with("/v1/")
}

/// Gives what the layers around the handlers answer (unknown path, wrong method, too large, too slow) the form of a problem.
pub(crate) async fn everywhere(request: Request, next: Next) -> Response {
    let told = speaks(request.uri().path());
    let response = next.run(request).await;
    let status = response.status();
    let is_problem = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind == MEDIA);
    if !told || is_problem || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let detail = match status {
        StatusCode::NOT_FOUND => "there is nothing at this path; /openapi.json says what there is",
        StatusCode::METHOD_NOT_ALLOWED => "this path does not know this method; /openapi.json says which it knows",
        StatusCode::PAYLOAD_TOO_LARGE => "the body is too large: at most 1 MiB is taken",
        StatusCode::REQUEST_TIMEOUT => "the request took too long, its body included",
        StatusCode::TOO_MANY_REQUESTS => "too many requests; try again later",
        _ => "the request was not done",
    };
    let mut problem = Problem::new(status, detail).into_response();
    for kept in [header::ALLOW, header::RETRY_AFTER, header::WWW_AUTHENTICATE] {
        if let Some(value) = response.headers().get(&kept) {
            problem.headers_mut().insert(kept, value.clone());
        }
    }
    problem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_says_what_and_where() {
        let one = Problem::field("/target", "is no number");
        assert_eq!((one.status, one.detail.as_str()), (422, "/target: is no number"));
        let two = Problem::unfit(vec![Flaw::new("/a", "x"), Flaw::new("/b", "y")]);
        assert!(two.detail.starts_with("2 things"));
        let json = serde_json::to_value(&one).unwrap();
        assert_eq!(json["type"], "about:blank");
        assert_eq!(json["title"], "Unprocessable Entity");
        assert_eq!(json["errors"][0]["pointer"], "/target");
    }

    #[test]
    fn only_v1_speaks_so() {
        assert!(speaks("/v1") && speaks("/v1/invariants"));
        assert!(!speaks("/v1x") && !speaks("/invariants") && !speaks("/"));
    }
}
