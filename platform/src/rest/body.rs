//! A request's body, field by field: all that does not fit is told at once, in the original's form.

use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use prost::bytes::Bytes;
use serde_json::{Map, Value};

use super::error::{Misfit, Refusal};

/// The longest text that any field takes, in characters.
const LONGEST: usize = 100_000;

/// A JSON object that a handler takes apart.
#[derive(Debug, Default)]
pub struct Fields {
    given: Map<String, Value>,
    misfits: Vec<Misfit>,
}

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(BytesRejection::into_response)?;
        Self::parse(&bytes).map_err(|refusal| refusal.into_response())
    }
}

impl Fields {
    /// Reads an object.
    ///
    /// # Errors
    /// 422: no JSON, or no object.
    pub fn parse(bytes: &[u8]) -> Result<Self, Refusal> {
        let whole = |msg: String, kind: &str| Misfit {
            loc: vec!["body".into()],
            msg,
            kind: kind.to_owned(),
        };
        if bytes.is_empty() {
            return Err(whole("Field required".to_owned(), "missing").into());
        }
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(given)) => Ok(Self {
                given,
                misfits: Vec::new(),
            }),
            Ok(_) => Err(whole("Input should be a valid dictionary".to_owned(), "model_attributes_type").into()),
            Err(error) => Err(whole(format!("JSON decode error: {error}"), "json_invalid").into()),
        }
    }

    /// Says that something does not fit.
    pub fn misfit(&mut self, field: &str, msg: impl Into<String>, kind: &str) {
        self.misfits.push(Misfit::body(field, msg, kind));
    }

    /// A text that may be absent or null.
    pub fn optional(&mut self, field: &str) -> Option<String> {
        match self.given.get(field) {
            None | Some(Value::Null) => None,
            Some(Value::String(text)) if text.chars().count() > LONGEST => {
                self.misfit(
                    field,
                    format!("String should have at most {LONGEST} characters"),
                    "string_too_long",
                );
                None
            }
            // PostgreSQL and C programs cannot hold it.
            Some(Value::String(text)) if text.contains('\0') => {
                self.misfit(field, "String should not contain NUL", "value_error");
                None
            }
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.misfit(field, "Input should be a valid string", "string_type");
                None
            }
        }
    }

    /// A text that must be there; empty when it is not, and a misfit is noted.
    pub fn required(&mut self, field: &str) -> String {
        match self.given.get(field) {
            None => {
                self.misfit(field, "Field required", "missing");
                String::new()
            }
            Some(Value::Null) => {
                self.misfit(field, "Input should be a valid string", "string_type");
                String::new()
            }
            Some(_) => self.optional(field).unwrap_or_default(),
        }
    }

    /// Numbers of other things; none when absent.
    pub fn ids(&mut self, field: &str) -> Vec<u64> {
        let given = match self.given.get(field) {
            None => return Vec::new(),
            Some(Value::Array(given)) => given.clone(),
            Some(_) => {
                self.misfit(field, "Input should be a valid list", "list_type");
                return Vec::new();
            }
        };
        let mut ids = Vec::with_capacity(given.len());
        for (index, id) in given.iter().enumerate() {
            match id.as_u64().filter(|id| i64::try_from(*id).is_ok()) {
                Some(id) => ids.push(id),
                None => self.misfits.push(Misfit {
                    loc: vec!["body".into(), field.into(), index.into()],
                    msg: "Input should be a valid integer".to_owned(),
                    kind: "int_type".to_owned(),
                }),
            }
        }
        ids
    }

    /// An object as JSON text; `{}` when absent.
    pub fn object(&mut self, field: &str) -> String {
        match self.given.get(field) {
            None => "{}".to_owned(),
            Some(value @ Value::Object(_)) => value.to_string(),
            Some(_) => {
                self.misfit(field, "Input should be a valid dictionary", "dict_type");
                "{}".to_owned()
            }
        }
    }

    /// Ends the taking apart.
    ///
    /// # Errors
    /// 422 with everything that does not fit.
    pub fn end(self) -> Result<(), Refusal> {
        if self.misfits.is_empty() {
            Ok(())
        } else {
            Err(Refusal::Misfits(self.misfits))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_does_not_fit_is_told_at_once() {
        let mut fields = Fields::parse(br#"{"a": 1, "ids": [1, "x", -1], "map": []}"#).unwrap();
        assert_eq!(fields.required("a"), "");
        assert_eq!(fields.required("b"), "");
        assert_eq!(fields.ids("ids"), [1]);
        assert_eq!(fields.object("map"), "{}");
        let Err(Refusal::Misfits(misfits)) = fields.end() else {
            panic!("it does not fit")
        };
        let told: Vec<_> = misfits
            .iter()
            .map(|misfit| (serde_json::to_value(&misfit.loc).unwrap(), misfit.kind.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                (serde_json::json!(["body", "a"]), "string_type"),
                (serde_json::json!(["body", "b"]), "missing"),
                (serde_json::json!(["body", "ids", 1]), "int_type"),
                (serde_json::json!(["body", "ids", 2]), "int_type"),
                (serde_json::json!(["body", "map"]), "dict_type"),
            ]
        );
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for bytes in [&b""[..], b"[]", b"{", b"\xff"] {
            assert!(matches!(Fields::parse(bytes), Err(Refusal::Misfits(_))));
        }
    }
}
