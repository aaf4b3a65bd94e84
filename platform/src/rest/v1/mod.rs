//! `/v1`: what the original's REST contract lacks. Expressions with layouts and ABIs, a check and a dry run before something is in
//! force, values and margins, incidents with their timelines, miners and validators over time, services, keys, the audit log, and
//! events as they come.
//!
//! What always holds: a refusal is a problem (RFC 9457); a list comes in pages, with `Link` (RFC 8288); what is read has an `ETag`,
//! and who replaces something says with `If-Match` which one; a new thing answers 201 with `Location`.

pub mod audit;
pub mod audits;
pub mod body;
pub mod check;
pub mod contracts;
pub mod dry_run;
pub mod events;
pub mod incidents;
pub mod invariants;
pub mod keys;
pub mod neurons;
pub mod overview;
pub mod paging;
pub mod problem;
pub mod services;
pub mod tag;
pub mod values;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::Problem;
use super::Rest;
use crate::store::Told;

/// The routes under `/v1`.
pub(super) fn routes() -> OpenApiRouter<Rest> {
    let read = OpenApiRouter::new()
        .routes(routes!(overview::read))
        .routes(routes!(invariants::list, invariants::create))
        .routes(routes!(invariants::read, invariants::replace, invariants::delete))
        .routes(routes!(check::check))
        .routes(routes!(dry_run::dry_run))
        .routes(routes!(values::list))
        .routes(routes!(values::read))
        .routes(routes!(contracts::list, contracts::create))
        .routes(routes!(contracts::read, contracts::replace, contracts::delete))
        .routes(routes!(incidents::list))
        .routes(routes!(incidents::read))
        .routes(routes!(neurons::miners))
        .routes(routes!(neurons::validators))
        .routes(routes!(services::list, services::create))
        .routes(routes!(services::delete))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audits::list))
        .layer(axum::middleware::from_fn(tag::tagged));
    // A stream has no end, and so no tag.
    read.routes(routes!(events::follow))
}

/// Refusals of what is read.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) enum Reading {
    /// No key, or none that is good
    #[response(status = 401, content_type = "application/problem+json")]
    NoKey(Problem),
    /// The key's role does not allow it
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such thing
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// A parameter does not fit
    #[response(status = 422, content_type = "application/problem+json")]
    Unfit(Problem),
    /// Too much of it at once
    #[response(status = 503, content_type = "application/problem+json")]
    Busy(Problem),
}

/// Refusals of a change.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "for the document alone")]
pub(super) enum Changing {
    /// The body is no JSON
    #[response(status = 400, content_type = "application/problem+json")]
    NoJson(Problem),
    /// No key, or none that is good
    #[response(status = 401, content_type = "application/problem+json")]
    NoKey(Problem),
    /// The key's role does not allow it
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such thing, or something that it names is not there
    #[response(status = 404, content_type = "application/problem+json")]
    Unknown(Problem),
    /// It stands against what is there
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// It was changed since it was read
    #[response(status = 412, content_type = "application/problem+json")]
    Changed(Problem),
    /// Something in the body or the path does not fit
    #[response(status = 422, content_type = "application/problem+json")]
    Unfit(Problem),
    /// `If-Match` is missing
    #[response(status = 428, content_type = "application/problem+json")]
    Blind(Problem),
    /// Too much of it at once
    #[response(status = 503, content_type = "application/problem+json")]
    Busy(Problem),
}

/// 201, and where it is.
fn created(path: &str, id: u64, made: &impl Serialize) -> Response {
    let mut response = (StatusCode::CREATED, Json(made)).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("{path}/{id}")) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A hotkey as people write it.
fn ss58(hotkey: [u8; 32]) -> String {
    chain::AccountId::new(hotkey).to_string()
}

/// When it was told, rounded down to this many milliseconds: windows of several validators that belong together.
const fn slot_of(told: &Told, slot_ms: u64) -> u64 {
    told.told_at_ms / slot_ms * slot_ms
}
