//! A body and a path under `/v1`: what does not fit is a problem.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use prost::bytes::Bytes;
use serde_json::{Map, Value};

use super::problem::Problem;
use crate::proposal::Flaw;

/// The longest text that any field takes, in characters.
const LONGEST: usize = 10_000;

/// A JSON object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body(pub(crate) Map<String, Value>);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(BytesRejection::into_response)?;
        Self::parse(&bytes).map_err(IntoResponse::into_response)
    }
}

impl Body {
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Problem::field("", "the body must be a JSON object")),
            Err(error) => Err(Problem::new(
                StatusCode::BAD_REQUEST,
                format!("the body is no JSON: {error}"),
            )),
        }
    }

    /// Refuses fields that are not known here.
    pub(crate) fn only(&self, known: &[&str], flaws: &mut Vec<Flaw>) {
        for field in self.0.keys().filter(|field| !known.contains(&field.as_str())) {
            let short: String = field.chars().take(100).collect();
            flaws.push(Flaw::new(
                format!("/{}", short.replace('~', "~0").replace('/', "~1")),
                format!("is unknown; there are {}", known.join(", ")),
            ));
        }
    }

    /// A text; `None` when absent, null, or no text (then that is a flaw).
    pub(crate) fn text(&self, field: &str, flaws: &mut Vec<Flaw>) -> Option<String> {
        let wrong = match self.0.get(field) {
            None | Some(Value::Null) => return None,
            Some(Value::String(text)) if text.contains('\0') => "contains NUL, which no text may",
            Some(Value::String(text)) if text.chars().count() > LONGEST => "is too long: at most 10,000 characters",
            Some(Value::String(text)) => return Some(text.clone()),
            Some(_) => "must be text, in quotation marks",
        };
        flaws.push(Flaw::new(format!("/{field}"), wrong));
        None
    }

    /// A text that must be there, and not be empty.
    pub(crate) fn needed(&self, field: &str, flaws: &mut Vec<Flaw>) -> String {
        let before = flaws.len();
        let text = self.text(field, flaws).unwrap_or_default();
        if text.trim().is_empty() && flaws.len() == before {
            flaws.push(Flaw::new(format!("/{field}"), "is missing"));
        }
        text
    }

    /// Numbers of other things; none when absent.
    pub(crate) fn ids(&self, field: &str, flaws: &mut Vec<Flaw>) -> Vec<u64> {
        let given = match self.0.get(field) {
            None | Some(Value::Null) => return Vec::new(),
            Some(Value::Array(given)) => given,
            Some(_) => {
                flaws.push(Flaw::new(format!("/{field}"), "must be a list of numbers"));
                return Vec::new();
            }
        };
        let mut ids = Vec::with_capacity(given.len());
        for (index, id) in given.iter().enumerate() {
            match id.as_u64().filter(|id| i64::try_from(*id).is_ok()) {
                Some(id) => ids.push(id),
                None => flaws.push(Flaw::new(format!("/{field}/{index}"), "must be a number")),
            }
        }
        ids
    }

    /// A number within these bounds.
    pub(crate) fn number(&self, field: &str, usual: u32, most: u32, flaws: &mut Vec<Flaw>) -> u32 {
        match self.0.get(field) {
            None | Some(Value::Null) => usual,
            Some(value) => {
                let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
                number.filter(|number| (1..=most).contains(number)).unwrap_or_else(|| {
                    flaws.push(Flaw::new(
                        format!("/{field}"),
                        format!("must be a whole number from 1 to {most}"),
                    ));
                    usual
                })
            }
        }
    }

    /// The same without these fields.
    pub(crate) fn without(&self, fields: &[&str]) -> Map<String, Value> {
        let mut rest = self.0.clone();
        rest.retain(|field, _| !fields.contains(&field.as_str()));
        rest
    }
}

/// `{id}` of the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number(pub(crate) u64);

impl<S: Send + Sync> FromRequestParts<S> for Number {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let text: Result<Path<String>, _> = Path::from_request_parts(parts, state).await;
        let number = text.ok().and_then(|Path(text)| text.parse().ok());
        // More than the database holds is no number of anything.
        number
            .filter(|number| i64::try_from(*number).is_ok())
            .map(Self)
            .ok_or_else(|| Problem::field("id", "the path's `id` must be a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_that_does_not_fit_is_told() {
        let body = Body::parse(br#"{"a": 1, "b": "x\u0000", "ids": [1, "x"], "n": 0, "~": 1}"#).unwrap();
        let mut flaws = Vec::new();
        body.only(&["a", "b", "ids", "n"], &mut flaws);
        assert_eq!(body.text("a", &mut flaws), None);
        assert_eq!(body.text("b", &mut flaws), None);
        assert_eq!(body.needed("c", &mut flaws), "");
        assert_eq!(body.ids("ids", &mut flaws), [1]);
        assert_eq!(body.number("n", 5, 9, &mut flaws), 5);
        let pointers: Vec<&str> = flaws.iter().map(|flaw| flaw.pointer.as_str()).collect();
        assert_eq!(pointers, ["/~0", "/a", "/b", "/c", "/ids/1", "/n"]);
    }

    #[test]
    fn what_is_no_object_is_a_problem() {
        for (bytes, status) in [
            (&b""[..], 400),
            (b"{", 400),
            (b"\xff", 400),
            (b"[]", 422),
            (b"null", 422),
        ] {
            assert_eq!(Body::parse(bytes).unwrap_err().status, status);
        }
    }
}
