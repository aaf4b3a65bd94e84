//! What an alert says: a template (Jinja's language, by minijinja) over an incident, escaped for the channel that it goes to.
//!
//! Whatever `{{ }}` prints is escaped; the template's own text is markup. A name that is not there is an error, found when the
//! configuration is read, since every template is rendered once with an example.

use std::time::{Duration, UNIX_EPOCH};

use alloy_primitives::utils::format_ether;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

use crate::config::{ActionConfig, Kind};
use crate::escape::{Format, escape};
use crate::incident::State;
use crate::sample;
use crate::violation::{ConfirmedViolation, NetworkView, Suspect};

/// A template that cannot be read or rendered.
#[derive(Debug, thiserror::Error)]
#[error("`{name}`: {reason}")]
pub struct TemplateError {
    name: &'static str,
    reason: String,
}

/// Suspects that an alert names one by one.
const SHOWN: usize = 5;

/// The kinds' own text. One text for all: only the marks for bold and code differ.
const TEXT: &str = "\
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
{% for token in suspect.tokens %}{{ token.change }} of token {{ C }}{{ token.token }}{{ C_ }} for {{ C }}{{ token.holder }}{{ C_ }}
{% endfor %}{% endfor %}{% if more_suspects %}and {{ more_suspects }} more transactions
{% endif %}Miners: {{ view.agreed }} of {{ view.answered }} agree, {{ view.asked }} asked{% if view.arbitrated %}; executed by the validator itself{% endif %}
Confirmed {{ confirmed }}, {{ latency_ms }} ms after it was seen; incident {{ incident.id }} at {{ source }}
{%- endif -%}
";

/// The subject of mails.
const SUBJECT: &str = "\
{% if kind == 'summary' %}[Portcullis] {{ suppressed.count }} alerts were held back\
{% else %}[Portcullis] {% if kind == 'test' %}TEST {% endif %}{{ severity }}: {{ invariant.name }} (incident {{ incident.id }}){% endif %}";

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Occasion {
    /// An incident.
    Incident,
    /// A test, of an incident that never was.
    Test,
    /// Alerts that a limit held back.
    Summary,
}

/// What templates see. `docs/actions.md` lists it.
#[derive(Debug, Clone, Serialize)]
pub struct Context {
    kind: Occasion,
    source: String,
    action: String,
    key: String,
    severity: &'static str,
    incident: IncidentView,
    invariant: InvariantView,
    chain_id: u64,
    network: String,
    suspects: Vec<SuspectView>,
    more_suspects: u64,
    view: NetworkView,
    seen: String,
    confirmed: String,
    latency_ms: u64,
    suppressed: Suppressed,
}

#[derive(Debug, Clone, Serialize)]
struct IncidentView {
    id: u64,
    state: State,
    opened: String,
    suspects: u64,
}

#[derive(Debug, Clone, Serialize)]
struct InvariantView {
    id: u64,
    name: String,
    condition: String,
    set_version: u64,
    contract: String,
}

#[derive(Debug, Clone, Serialize)]
struct SuspectView {
    tx: String,
    sender: String,
    target: String,
    value_wei: String,
    value_eth: String,
    pre: String,
    post: String,
    tokens: Vec<TokenView>,
}

#[derive(Debug, Clone, Serialize)]
struct TokenView {
    token: String,
    holder: String,
    change: String,
}

/// Alerts that a limit held back.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Suppressed {
    /// How many.
    pub count: u64,
    /// Of which incidents, the first twenty.
    pub incidents: Vec<u64>,
    /// How many incidents are not named.
    pub more: u64,
}

/// What an alert is rendered from.
#[derive(Debug, Clone)]
pub struct Facts<'a> {
    /// What it is about.
    pub occasion: Occasion,
    /// Who speaks.
    pub source: &'a str,
    /// The idempotency key.
    pub key: &'a str,
    /// The incident's id; 0 in a test.
    pub incident: u64,
    /// Its state.
    pub state: State,
    /// Its first violation.
    pub violation: &'a ConfirmedViolation,
    /// Its first suspects.
    pub suspects: &'a [Suspect],
    /// How many suspects it has.
    pub total_suspects: u64,
    /// The network's view of it.
    pub view: NetworkView,
    /// Of a summary.
    pub suppressed: Suppressed,
}

impl Facts<'_> {
    /// The values of templates, naming at most `shown` suspects.
    fn context(&self, action: &str, shown: usize) -> Context {
        let violation = self.violation;
        let suspects: Vec<SuspectView> = self.suspects.iter().take(shown).map(suspect_view).collect();
        let named = u64::try_from(suspects.len()).unwrap_or(u64::MAX);
        Context {
            kind: self.occasion,
            source: self.source.to_owned(),
            action: action.to_owned(),
            key: self.key.to_owned(),
            severity: violation.severity.label(),
            incident: IncidentView {
                id: self.incident,
                state: self.state,
                opened: timestamp(violation.confirmed_ms),
                suspects: self.total_suspects,
            },
            invariant: InvariantView {
                id: violation.invariant.id,
                name: violation.invariant.name.clone(),
                condition: violation.invariant.condition.clone(),
                set_version: violation.invariant.set_version,
                contract: violation.invariant.contract.to_string(),
            },
            chain_id: violation.chain_id,
            network: network(violation.chain_id),
            suspects,
            more_suspects: self.total_suspects.saturating_sub(named),
            view: self.view,
            seen: timestamp(violation.seen_ms),
            confirmed: timestamp(violation.confirmed_ms),
            latency_ms: violation.confirmed_ms.saturating_sub(violation.seen_ms),
            suppressed: self.suppressed.clone(),
        }
    }
}

fn suspect_view(suspect: &Suspect) -> SuspectView {
    SuspectView {
        tx: suspect.tx_hash.to_string(),
        sender: suspect.sender.to_string(),
        target: suspect.target.map(|target| target.to_string()).unwrap_or_default(),
        value_wei: suspect.value.to_string(),
        value_eth: ether(&format_ether(suspect.value)),
        pre: suspect.pre.clone(),
        post: suspect.post.clone(),
        tokens: suspect
            .deltas
            .iter()
            .take(10)
            .map(|delta| TokenView {
                token: delta.token.to_string(),
                holder: delta.holder.to_string(),
                change: delta.change.to_string(),
            })
            .collect(),
    }
}

/// `1.500000000000000000` is `1.5`.
fn ether(exact: &str) -> String {
    exact.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn timestamp(ms: u64) -> String {
    // A time that the calendar does not have is the last one that it has.
    let at = UNIX_EPOCH + Duration::from_millis(ms.min(253_402_300_799_000));
    humantime::format_rfc3339_millis(at).to_string()
}

fn network(chain_id: u64) -> String {
    match chain_id {
        1 => "Ethereum".to_owned(),
        11_155_111 => "Sepolia".to_owned(),
        17_000 => "Holesky".to_owned(),
        other => format!("chain {other}"),
    }
}

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

/// The longest text that a channel takes, in UTF-16 units, with room for a note.
fn limit(kind: &Kind) -> usize {
    const NOTE: usize = 150;
    match kind {
        Kind::Telegram { .. } | Kind::Slack { .. } => 4_000 - NOTE,
        Kind::Discord { .. } | Kind::DiscordBot { .. } => 2_000 - NOTE,
        Kind::Email { .. } | Kind::Webhook { .. } | Kind::PauseAgent { .. } => 100_000,
    }
}

/// A text for a channel, in its format and plain, each no longer than it takes.
pub(crate) fn shortened(kind: &Kind, text: &str) -> (String, String) {
    let limit = limit(kind);
    let plain = escape(Format::Plain, text);
    let plain = if length(&plain) > limit {
        cut(&plain, limit)
    } else {
        plain
    };
    let marked = escape(kind.format(), &plain);
    if length(&marked) > limit {
        // Escaping makes at most six of one (`&quot;`).
        return (escape(kind.format(), &cut(&plain, limit / 6)), plain);
    }
    (marked, plain)
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

fn cut(text: &str, limit: usize) -> String {
    let mut left = limit.saturating_sub(1);
    let mut short: String = text
        .chars()
        .take_while(|symbol| {
            let fits = symbol.len_utf16() <= left;
            left = left.saturating_sub(symbol.len_utf16());
            fits
        })
        .collect();
    short.push('…');
    short
}

fn environment(format: Format, text: &str, subject: &str) -> Result<Environment<'static>, TemplateError> {
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

fn render(environment: &Environment<'_>, name: &'static str, context: &Context) -> Result<String, TemplateError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use proptest::prelude::*;

    fn action(kind: &str, template: Option<&str>) -> ActionConfig {
        let rest = match kind {
            "telegram" => "token = \"t\"\nchat_id = \"1\"",
            "email" => "host = \"h\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]",
            "webhook" => "url = \"env:U\"\nsecret = \"s\"",
            _ => "url = \"env:U\"",
        };
        let template = template
            .map(|text| format!("template = '''{text}'''"))
            .unwrap_or_default();
        let text = format!("[[actions]]\nid = \"a\"\nkind = \"{kind}\"\n{rest}\n{template}");
        toml::from_str::<Config>(&text).unwrap().actions.remove(0)
    }

    fn words(kind: &str, template: Option<&str>, violation: &ConfirmedViolation, suspects: usize) -> Words {
        let many = vec![violation.suspect.clone(); suspects];
        Templates::new(&action(kind, template))
            .unwrap()
            .render(&Facts {
                occasion: Occasion::Incident,
                source: "validator-7",
                key: "k",
                incident: 12,
                state: State::Open,
                violation,
                suspects: &many,
                total_suspects: suspects as u64,
                view: violation.view,
                suppressed: Suppressed::default(),
            })
            .unwrap()
    }

    #[test]
    fn a_mail_tells_everything_in_plain_words() {
        let words = words("email", None, &sample::violation(), 1);
        assert_eq!(
            words.subject,
            "[Portcullis] HIGH: Example: the vault is solvent (incident 12)"
        );
        for said in [
            "totalAssets >= totalDebt does not hold after a pending transaction (Ethereum)",
            "1.5 ETH, value 1000 to 0",
            "-1000 of token 0x4444444444444444444444444444444444444444",
            "Miners: 4 of 5 agree, 5 asked; executed by the validator itself",
            "2027-01-15T08:00:00.055Z, 55 ms after it was seen; incident 12 at validator-7",
        ] {
            assert!(words.text.contains(said), "`{said}` is not in:\n{}", words.text);
        }
    }

    #[test]
    fn each_channel_gets_its_own_marks() {
        let mut violation = sample::violation();
        violation.invariant.name = "a_b <c> *d*".into();
        let telegram = words("telegram", None, &violation, 1).text;
        assert!(telegram.starts_with("*HIGH: a\\_b <c\\> \\*d\\**\n"), "{telegram}");
        assert!(telegram.contains("\\(Ethereum\\)"), "{telegram}");
        assert!(words("slack", None, &violation, 1).text.contains("&lt;c&gt;"));
        assert!(words("discord", None, &violation, 1).text.starts_with("**HIGH"));
    }

    #[test]
    fn a_persons_template_is_used_and_its_values_are_escaped() {
        let mut violation = sample::violation();
        violation.invariant.name = "x_y".into();
        let words = words(
            "telegram",
            Some("_{{ invariant.name }}_ at {{ source }}"),
            &violation,
            1,
        );
        assert_eq!(words.text, "_x\\_y_ at validator\\-7");
    }

    #[test]
    fn a_webhook_gets_the_whole_incident() {
        let words = words("webhook", None, &sample::violation(), 2);
        let body: serde_json::Value = serde_json::from_str(&words.body).unwrap();
        assert_eq!(body["kind"], "incident");
        assert_eq!(body["suspects"][1]["value_wei"], "1500000000000000000");
        assert_eq!(body["incident"]["state"], "open");
    }

    #[test]
    fn many_suspects_are_counted() {
        assert!(
            words("email", None, &sample::violation(), 9)
                .text
                .contains("and 4 more transactions")
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
        #[test]
        fn an_alert_always_fits(name in "\\PC{0,3000}", deltas in 0_usize..30, suspects in 0_usize..9) {
            let mut violation = sample::violation();
            violation.invariant.name = name;
            violation.suspect.deltas = vec![violation.suspect.deltas[0].clone(); deltas];
            for (kind, limit) in [("telegram", 4_096), ("slack", 4_096), ("discord", 2_000)] {
                let words = words(kind, None, &violation, suspects);
                prop_assert!(length(&words.text) + 100 < limit, "{kind}: {}", length(&words.text));
                prop_assert!(length(&words.plain) + 100 < limit, "{kind}: {}", length(&words.plain));
            }
        }
    }
}
