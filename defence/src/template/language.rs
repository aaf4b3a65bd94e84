//! Jinja's language for one channel: its marks, its escaping, and our own words in it.

use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use super::TemplateError;
use super::context::Context;
use crate::escape::{Format, escape};

/// The kinds' own text. One text for all: only the marks for bold and code differ.
pub(super) const TEXT: &str = "\
{%- if kind == 'summary' -%}
{{ B }}{{ suppressed.count }} alerts were held back{{ B_ }}
The limit of action {{ action }} was reached; incidents: {{ suppressed.incidents | join(', ') }}{% if suppressed.more %} and {{ suppressed.more }} more{% endif %}
{%- else -%}
{% if kind == 'test' %}{{ B }}TEST, nothing happened{{ B_ }}
{% endif %}{{ B }}{{ severity }}: {{ invariant.name }}{{ B_ }}
{{ invariant.condition }} does not hold after a pending transaction ({{ network }})
Contract: {{ C }}{{ invariant.contract }}{{ C_ }}
{% for suspect in suspects %}Transaction: {{ C }}{{ suspect.tx }}{{ C_ }}
From {{ C }}{{ suspect.sender }}{{ C_ }}, {{ suspect.value_eth }} ETH, value {{ suspect.pre }} to {{ suspect.post }}
{% for token in suspect.tokens %}{% if token.token %}{{ token.change }} of token {{ C }}{{ token.token }}{{ C_ }}{% else %}{{ token.change_eth }} ETH{% endif %} for {{ C }}{{ token.holder }}{{ C_ }}
{% endfor %}{% if suspect.more_tokens %}and {{ suspect.more_tokens }} more balances
{% endif %}{% endfor %}{% if more_suspects %}and {{ more_suspects }} more transactions
{% endif %}Miners: {{ view.agreed }} of {{ view.answered }} agree, {{ view.asked }} asked{% if view.arbitrated %}; executed by the validator itself{% endif %}
Confirmed {{ confirmed }}, {{ latency_ms }} ms after it was seen; incident {{ incident.id }} at {{ source }}
{%- endif -%}
";

/// The subject of mails.
pub(super) const SUBJECT: &str = "\
{% if kind == 'summary' %}[Portcullis] {{ suppressed.count }} alerts were held back\
{% else %}[Portcullis] {% if kind == 'test' %}TEST {% endif %}{{ severity }}: {{ invariant.name }} (incident {{ incident.id }}){% endif %}";

/// The templates `template` (these words), `summary` (our own) and `subject`.
pub(super) fn environment(format: Format, text: &str, subject: &str) -> Result<Environment<'static>, TemplateError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|name| {
        if name == "subject" {
            AutoEscape::None
        } else {
            AutoEscape::Custom("channel".into())
        }
    });
    environment.set_formatter(move |out, state, value| {
        if value.is_undefined() {
            return Err(minijinja::Error::from(minijinja::ErrorKind::UndefinedError));
        }
        let text = value.to_string();
        let raw = value.is_safe() || *state.auto_escape() == AutoEscape::None;
        let text = if raw { text } else { escape(format, &text) };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    let (bold, bold_end, code, code_end) = match format {
        Format::Plain => ("", "", "", ""),
        Format::MarkdownV2 | Format::Mrkdwn => ("*", "*", "`", "`"),
        Format::Html => ("<b>", "</b>", "<code>", "</code>"),
        Format::Discord => ("**", "**", "`", "`"),
    };
    for (name, mark) in [("B", bold), ("B_", bold_end), ("C", code), ("C_", code_end)] {
        environment.add_global(name, Value::from_safe_string(mark.to_owned()));
    }
    // Our own words are text, and so are escaped like it, where the channel has marks in plain letters.
    let own = own_words(format);
    let text = if text == TEXT { own.clone() } else { text.to_owned() };
    for (name, source) in [("template", text), ("summary", own), ("subject", subject.to_owned())] {
        environment
            .add_template_owned(name, source)
            .map_err(|error| told(if name == "subject" { "subject" } else { "template" }, &error))?;
    }
    Ok(environment)
}

/// [`TEXT`] with everything outside of `{{ }}` and `{% %}` escaped.
fn own_words(format: Format) -> String {
    let mut words = String::with_capacity(TEXT.len() * 2);
    let mut rest = TEXT;
    while let Some(start) = rest.find('{') {
        let (text, tagged) = rest.split_at(start);
        words.push_str(&escape(format, text));
        let end = tagged.find('}').map_or(tagged.len(), |end| {
            // `}}` or `%}`: the tag ends behind the last brace.
            end + if tagged.get(end + 1..).is_some_and(|after| after.starts_with('}')) {
                2
            } else {
                1
            }
        });
        let (tag, after) = tagged.split_at(end);
        words.push_str(tag);
        rest = after;
    }
    words.push_str(&escape(format, rest));
    words
}

pub(super) fn render(
    environment: &Environment<'_>,
    name: &'static str,
    context: &Context,
) -> Result<String, TemplateError> {
    environment
        .get_template(name)
        .and_then(|template| template.render(Value::from(minijinja::value::Serde(context))))
        .map_err(|error| told(name, &error))
}

fn told(name: &'static str, error: &minijinja::Error) -> TemplateError {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    TemplateError {
        name,
        reason: format!("{}{detail}{line}", error.kind()),
    }
}
