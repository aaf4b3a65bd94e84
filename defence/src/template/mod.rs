//! What an alert says: a template (Jinja's language, by minijinja) over an incident, escaped for the channel that it goes to.
//!
//! Whatever `{{ }}` prints is escaped; the template's own text is markup. A name that is not there is an error, found when the
//! configuration is read, since every template is rendered once with an example.

mod context;
mod language;
mod length;
#[cfg(test)]
mod tests;

use minijinja::Environment;
use serde::Serialize;

pub use self::context::{Context, Facts, Occasion, Suppressed};
use self::language::{SUBJECT, TEXT, environment, render};
pub(crate) use self::length::shortened;
use self::length::{cut, length, limit};
use crate::config::ActionConfig;
use crate::escape::{Format, escape};
use crate::incident::State;
use crate::sample;

/// A template that cannot be read or rendered.
#[derive(Debug, thiserror::Error)]
#[error("`{name}`: {reason}")]
pub struct TemplateError {
    name: &'static str,
    reason: String,
}

/// Suspects that an alert names one by one.
const SHOWN: usize = 5;

/// An alert's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Words {
    /// A mail's subject.
    pub subject: String,
    /// In the channel's format.
    pub text: String,
    /// Without any marks: for a channel that does not take the text.
    pub plain: String,
    /// The whole incident as JSON: what a webhook gets.
    pub body: String,
}

/// An action's templates, compiled.
#[derive(Debug)]
pub struct Templates {
    action: String,
    format: Format,
    limit: usize,
    marked: Environment<'static>,
    plain: Environment<'static>,
}

impl Templates {
    /// Compiles an action's templates and renders them once with an example.
    ///
    /// # Errors
    /// The template's name, line and what is wrong there.
    pub fn new(action: &ActionConfig) -> Result<Self, TemplateError> {
        let format = action.kind.format();
        let text = action.template.clone().unwrap_or_else(|| TEXT.to_owned());
        let subject = action.subject.clone().unwrap_or_else(|| SUBJECT.to_owned());
        let templates = Self {
            action: action.id.clone(),
            format,
            limit: limit(&action.kind),
            marked: environment(format, &text, &subject)?,
            plain: environment(Format::Plain, TEXT, SUBJECT)?,
        };
        let violation = sample::violation();
        for occasion in [Occasion::Incident, Occasion::Test] {
            templates.render(&Facts {
                occasion,
                source: "example",
                key: "0",
                incident: 0,
                state: State::Open,
                violation: &violation,
                suspects: std::slice::from_ref(&violation.suspect),
                total_suspects: 1,
                view: violation.view,
                suppressed: Suppressed::default(),
            })?;
        }
        Ok(templates)
    }

    /// The words for `facts`, short enough for the channel: suspects are left out first, then the template.
    ///
    /// # Errors
    /// A template that fails with these values.
    pub fn render(&self, facts: &Facts<'_>) -> Result<Words, TemplateError> {
        // A summary is always in our own words: a person's template knows incidents only.
        let name = if facts.occasion == Occasion::Summary {
            "summary"
        } else {
            "template"
        };
        let whole = facts.context(&self.action, SHOWN);
        let body = serde_json::to_string(&whole).map_err(|error| TemplateError {
            name: "body",
            reason: error.to_string(),
        })?;
        let subject = render(&self.marked, "subject", &whole)?;
        let mut plain = render(&self.plain, "summary", &whole)?;
        let mut text = render(&self.marked, name, &whole)?;
        for shown in [2, 1, 0] {
            if length(&text) <= self.limit && length(&plain) <= self.limit {
                break;
            }
            let less = facts.context(&self.action, shown);
            text = render(&self.marked, name, &less)?;
            plain = render(&self.plain, "summary", &less)?;
        }
        if length(&plain) > self.limit {
            plain = cut(&plain, self.limit);
        }
        if length(&text) > self.limit {
            text = match self.format {
                // Escaping can at most double it (or make `&quot;` of a quote).
                format @ (Format::MarkdownV2 | Format::Html | Format::Discord | Format::Mrkdwn) => {
                    escape(format, &cut(&plain, self.limit / 6))
                }
                Format::Plain => cut(&text, self.limit),
            };
        }
        Ok(Words {
            subject: escape(Format::Plain, &subject).replace('\n', " "),
            text,
            plain,
            body,
        })
    }
}
