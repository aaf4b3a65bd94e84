//! What does not fit in something that is proposed: which field, why, and inside an expression where.

use engine::lang::{Problem, SetError};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Flaw {
    /// Where in the body, as a JSON pointer (RFC 6901); the parameter's name where it is about the query; empty: the whole.
    pub pointer: String,
    /// What is wrong, and what to do.
    pub detail: String,
    /// Of an expression: where in its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    /// From 1.
    pub line: u64,
    /// From 1, in characters.
    pub column: u64,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last one.
    pub end: u64,
    /// The line with a caret under the place, and help.
    pub shown: String,
}

impl Flaw {
    /// Of a field.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self {
            pointer: pointer.into(),
            detail: detail.into(),
            place: None,
        }
    }
}

/// Of a set that has one invariant: its keys are the fields of that.
impl From<SetError> for Flaw {
    fn from(error: SetError) -> Self {
        let key = error.key.strip_prefix("invariants[0]").unwrap_or(&error.key);
        let pointer: String = key
            .split('.')
            .filter(|step| !step.is_empty())
            .map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")))
            .collect();
        match error.problem {
            Problem::Entry(detail) => Self::new(pointer, detail),
            Problem::Expression(error) => {
                let (line, column) = error.position();
                Self {
                    place: Some(Place {
                        line: line as u64,
                        column: column as u64,
                        start: error.span.start as u64,
                        end: error.span.end as u64,
                        shown: error.clone().in_text("expression").to_string(),
                    }),
                    ..Self::new(pointer, error.message)
                }
            }
        }
    }
}
