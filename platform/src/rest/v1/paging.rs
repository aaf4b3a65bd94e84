//! Pages of a list: `?limit=` and `?after=`, the number behind which the page starts; the next one is in `Link` (RFC 8288).
//!
//! Numbers only grow, so that a page is the same whatever was added meanwhile. Lists that show the newest first go down: there
//! `after` is the number below which the page starts.

use axum::Json;
use axum::extract::{FromRequestParts, RawQuery};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::problem::Problem;
use crate::proposal::Flaw;

/// The most that a page holds.
pub const MOST: u32 = 500;
/// What it holds unless said otherwise.
const USUAL: u32 = 100;

/// Which page is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Paging {
    /// The number that the page before ended with.
    #[param(minimum = 0, maximum = 9_223_372_036_854_775_807_i64, required = false)]
    pub after: Option<u64>,
    /// How many are wanted.
    #[param(minimum = 1, maximum = 500, default = 100, required = false)]
    pub limit: u32,
}

impl Paging {
    fn parse(query: &str) -> Result<Self, Vec<Flaw>> {
        let (mut paging, mut flaws) = (
            Self {
                after: None,
                limit: USUAL,
            },
            Vec::new(),
        );
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "after" => match value.parse().ok().filter(|after| i64::try_from(*after).is_ok()) {
                    Some(after) => paging.after = Some(after),
                    None => flaws.push(Flaw::new(
                        "after",
                        "must be a number: the one that the page before ended with",
                    )),
                },
                "limit" => match value.parse() {
                    Ok(limit @ 1..=MOST) => paging.limit = limit,
                    _ => flaws.push(Flaw::new("limit", format!("must be a number from 1 to {MOST}"))),
                },
                _ => {}
            }
        }
        if flaws.is_empty() { Ok(paging) } else { Err(flaws) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // Infallible.
        let RawQuery(query) = RawQuery::from_request_parts(parts, state)
            .await
            .unwrap_or(RawQuery(None));
        Self::parse(query.as_deref().unwrap_or_default()).map_err(Problem::unfit)
    }
}

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What it holds.
    pub items: Vec<T>,
    /// What `after` is on the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

/// A page on its way out, with `Link`.
#[derive(Debug)]
pub struct Paged<T> {
    page: Page<T>,
    path: &'static str,
    limit: u32,
}

impl<T> Paged<T> {
    /// What was found for `paging` under `path`; one more than the page holds was looked for, so that it is known whether there is
    /// a next one.
    pub fn new(path: &'static str, paging: Paging, mut items: Vec<T>, number: impl Fn(&T) -> u64) -> Self {
        let more = items.len() > paging.limit as usize;
        items.truncate(paging.limit as usize);
        let next = items.last().filter(|_| more).map(number);
        Self {
            page: Page { items, next },
            path,
            limit: paging.limit,
        }
    }
}

impl Paging {
    /// Of a list whose entries are large.
    #[must_use]
    pub fn at_most(self, most: u32) -> Self {
        Self {
            limit: self.limit.min(most),
            ..self
        }
    }

    /// How many to look for: one more than the page holds.
    #[must_use]
    pub const fn wanted(&self) -> u32 {
        self.limit.saturating_add(1)
    }
}

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let Self { page, path, limit } = self;
        let mut link = format!("<{path}?limit={limit}>; rel=\"first\"");
        if let Some(next) = page.next {
            link.push_str(&format!(", <{path}?limit={limit}&after={next}>; rel=\"next\""));
        }
        let mut response = Json(page).into_response();
        if let Ok(link) = HeaderValue::from_str(&link) {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_asked_for_by_number() {
        assert_eq!(
            Paging::parse(""),
            Ok(Paging {
                after: None,
                limit: 100
            })
        );
        assert_eq!(
            Paging::parse("limit=7&after=12&colour=red"),
            Ok(Paging {
                after: Some(12),
                limit: 7
            })
        );
        for wrong in [
            "limit=0",
            "limit=501",
            "limit=",
            "after=-1",
            "after=x",
            "after=9223372036854775808",
        ] {
            assert_eq!(Paging::parse(wrong).unwrap_err().len(), 1, "{wrong}");
        }
    }

    #[test]
    fn the_next_page_starts_where_this_one_ends() {
        let paging = Paging { after: None, limit: 2 };
        assert_eq!(paging.wanted(), 3);
        let paged = Paged::new("/v1/x", paging, vec![3_u64, 5, 9], |number| *number);
        assert_eq!((paged.page.items.as_slice(), paged.page.next), (&[3, 5][..], Some(5)));
        let link = paged.into_response().headers()[header::LINK]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(link.contains("</v1/x?limit=2&after=5>; rel=\"next\""), "{link}");
        let last = Paged::new("/v1/x", paging, vec![9_u64], |number| *number);
        assert_eq!(last.page.next, None);
    }
}
