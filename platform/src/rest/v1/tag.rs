//! Entity tags (RFC 9110): what was read is not sent again (`If-None-Match`), and what was changed meanwhile is not written over
//! (`If-Match`).
//!
//! A tag is a hash of what is sent. So it is the same on every instance, and there is nothing to keep.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Serialize;

use super::problem::Problem;

/// No answer of `/v1` is longer.
const LONGEST: usize = 64 << 20;

/// The tag of these bytes.
fn of_bytes(bytes: &[u8]) -> String {
    let hash = alloy::primitives::keccak256(bytes);
    let (short, _) = hash.split_at(16);
    format!("\"{}\"", alloy::hex::encode(short))
}

/// Whether a list of tags, or `*`, names this one.
fn names(list: &str, tag: &str) -> bool {
    let mut tags = list.split(',').map(str::trim);
    tags.any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}

/// Checks `If-Match` against what is there.
///
/// # Errors
/// 412 when it is another; 428 when nothing is said and `needed`.
pub(super) fn check(headers: &HeaderMap, there: &impl Serialize, needed: bool) -> Result<(), Problem> {
    let Some(given) = headers.get(header::IF_MATCH) else {
        if !needed {
            return Ok(());
        }
        let detail = "send `If-Match` with the `ETag` that you have read, so that nobody's change is written over";
        return Err(Problem::new(StatusCode::PRECONDITION_REQUIRED, detail));
    };
    let tag = of_bytes(&serde_json::to_vec(there).unwrap_or_default());
    if given.to_str().is_ok_and(|given| names(given, &tag)) {
        return Ok(());
    }
    Err(changed())
}

/// What is there is not what was read.
pub(super) fn changed() -> Problem {
    let detail = "it was changed since you have read it: read it again, and send its new `ETag` as `If-Match`";
    Problem::new(StatusCode::PRECONDITION_FAILED, detail)
}

/// Tags what is read, and answers 304 where it is known already.
pub(super) async fn tagged(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    let known = request.headers().get(header::IF_NONE_MATCH).cloned();
    let response = next.run(request).await;
    let json = |kind: &HeaderValue| kind.as_bytes().starts_with(b"application/json");
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(json);
    if response.status() != StatusCode::OK || !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = to_bytes(body, LONGEST).await else {
        let detail = "the answer is too long; ask for less with `limit`";
        return Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response();
    };
    let tag = of_bytes(&bytes);
    if let Ok(value) = HeaderValue::from_str(&tag) {
        parts.headers.insert(header::ETAG, value);
    }
    parts
        .headers
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if known.is_some_and(|known| known.to_str().is_ok_and(|known| names(known, &tag))) {
        parts.status = StatusCode::NOT_MODIFIED;
        parts.headers.remove(header::CONTENT_LENGTH);
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_a_list() {
        let tag = of_bytes(b"{}");
        assert_eq!(tag.len(), 34);
        assert!(names(&tag, &tag) && names("*", &tag) && names(&format!("\"x\", W/{tag}"), &tag));
        assert!(!names("\"x\"", &tag) && !names("", &tag));
    }

    #[test]
    fn a_change_needs_the_tag_of_what_is_there() {
        let there = serde_json::json!({ "a": 1 });
        let headers = |tag: &str| HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_str(tag).unwrap())]);
        let status = |headers: &HeaderMap, needed| check(headers, &there, needed).map_err(|problem| problem.status);
        assert_eq!(status(&HeaderMap::new(), true), Err(428));
        assert_eq!(status(&HeaderMap::new(), false), Ok(()));
        assert_eq!(status(&headers("\"old\""), true), Err(412));
        assert_eq!(status(&headers(&of_bytes(br#"{"a":1}"#)), true), Ok(()));
    }
}
