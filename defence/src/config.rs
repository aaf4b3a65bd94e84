//! What is done about an incident, as a person writes it: the table `[defence]`, or `[[actions]]` in a file of its own.
//!
//! Every key is checked when it is read: an unknown one, one that does not belong to the kind, or one that is missing is an error that
//! names the action. Secrets are `env:NAME` or `file:PATH`.

use std::collections::HashSet;
use std::time::Duration;

use alloy_primitives::{Address, Bytes, keccak256};
use node::config::Secret;
use serde::Deserialize;

use crate::escape::Format;
use crate::limit::RateLimit;
use crate::retry::{RetryPolicy, WhenUnknown};
use crate::violation::{ConfirmedViolation, Severity};

/// The whole of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who speaks: stands in every alert, and in the idempotency keys, so that two validators' alerts are not taken for one.
    pub source: String,
    /// Violations of the same sender or call path that are no further apart are one attack.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// An incident that nothing came of and that is quiet for so long is closed.
    #[serde(with = "humantime_serde")]
    pub close_after: Duration,
    /// Incidents that ended so long ago are deleted.
    #[serde(with = "humantime_serde")]
    pub retention: Duration,
    /// How long attempts that are under way may take to finish at shutdown.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
    /// What is done.
    pub actions: Vec<ActionConfig>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            source: "portcullis".to_owned(),
            window: Duration::from_mins(10),
            close_after: Duration::from_hours(24),
            retention: Duration::from_hours(24 * 90),
            drain: Duration::from_secs(5),
            actions: Vec::new(),
        }
    }
}

/// One action.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Raw")]
pub struct ActionConfig {
    /// Its name: letters, digits, `-`, `_`.
    pub id: String,
    /// What it does.
    pub kind: Kind,
    /// Only for these invariants; all when it is empty.
    pub invariants: Vec<u64>,
    /// Only for this severity and above.
    pub min_severity: Severity,
    /// The ladder that it is a rung of; an action without one fires at once.
    pub ladder: Option<String>,
    /// Its place on the ladder: the lowest that fits fires at once, the next one when it has failed for good.
    pub rung: u32,
    /// Template of the text, in place of the kind's own.
    pub template: Option<String>,
    /// Template of an e-mail's subject.
    pub subject: Option<String>,
    /// At most so many in so long.
    pub rate_limit: Option<RateLimit>,
    /// Alerts that wait to be sent; what comes when so many do is suppressed.
    pub max_pending: u32,
    /// How often and how long it is tried.
    pub retry: RetryPolicy,
    /// What to do when it is not known whether an attempt was taken.
    pub when_unknown: WhenUnknown,
}

/// What an action does.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Kind {
    /// A message by the Bot API.
    Telegram {
        /// The bot's token.
        token: Secret,
        /// Where to.
        chat_id: String,
        /// Markup of the template: `markdown_v2` (default), `html` or `plain`.
        format: Format,
        /// Base URL of the Bot API.
        api: String,
    },
    /// A message by an incoming webhook.
    Slack {
        /// The webhook's URL, a secret.
        url: Secret,
    },
    /// A message by a webhook, whose URL is a secret.
    Discord {
        /// The webhook's URL, a secret.
        url: Secret,
    },
    /// A message by a bot, which Discord takes once even when it is sent twice.
    DiscordBot {
        /// The bot's token.
        token: Secret,
        /// The channel's id.
        channel: String,
        /// Base URL of the API.
        api: String,
    },
    /// A mail by SMTP.
    Email {
        /// The server.
        host: String,
        /// Its port.
        port: u16,
        /// How the connection is protected.
        tls: Tls,
        /// Name and password.
        login: Option<(String, Secret)>,
        /// The sender's address.
        from: String,
        /// The recipients' addresses.
        to: Vec<String>,
    },
    /// A signed POST to anything.
    Webhook {
        /// Where to; may be a secret.
        url: Secret,
        /// Key of the signature.
        secret: Secret,
    },
    /// A transaction that pauses the protocol.
    PauseAgent {
        /// Whom to call; the invariant's contract when it is not given.
        contract: Option<Address>,
        /// With what.
        calldata: Bytes,
    },
}

/// How an SMTP connection is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tls {
    /// From the first byte (RFC 8314; port 465).
    Implicit,
    /// By STARTTLS, and not at all without it (RFC 3207; port 587).
    Starttls,
    /// Not at all (port 25); a login is only sent to this machine.
    None,
}

impl Kind {
    /// As it is written in the configuration.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Telegram { .. } => "telegram",
            Self::Slack { .. } => "slack",
            Self::Discord { .. } | Self::DiscordBot { .. } => "discord",
            Self::Email { .. } => "email",
            Self::Webhook { .. } => "webhook",
            Self::PauseAgent { .. } => "pause_agent",
        }
    }

    /// How the channel reads text.
    #[must_use]
    pub fn format(&self) -> Format {
        match self {
            Self::Telegram { format, .. } => *format,
            Self::Slack { .. } => Format::Mrkdwn,
            Self::Discord { .. } | Self::DiscordBot { .. } => Format::Discord,
            Self::Email { .. } | Self::Webhook { .. } | Self::PauseAgent { .. } => Format::Plain,
        }
    }

    /// Whether it is the pause.
    #[must_use]
    pub fn is_pause(&self) -> bool {
        matches!(self, Self::PauseAgent { .. })
    }
}

impl ActionConfig {
    /// Whether it is for this violation.
    #[must_use]
    pub fn is_for(&self, violation: &ConfirmedViolation) -> bool {
        violation.severity >= self.min_severity
            && (self.invariants.is_empty() || self.invariants.contains(&violation.invariant.id))
    }
}

impl Config {
    /// What is wrong with it as a whole, if something is; each action was checked when it was read.
    ///
    /// # Errors
    /// One line that names the key or the action.
    pub fn check(&self) -> Result<(), String> {
        if self.source.is_empty() || self.source.len() > 100 {
            return Err("`defence.source`: must have 1 to 100 characters".into());
        }
        if self.window.is_zero() || self.close_after < self.window || self.retention < self.close_after {
            return Err(
                "`defence`: `window` must be above 0, `close_after` not below it, and `retention` not below that"
                    .into(),
            );
        }
        if self.actions.len() > 100 {
            return Err("`defence.actions`: at most 100".into());
        }
        let mut ids = HashSet::new();
        let mut rungs = HashSet::new();
        for action in &self.actions {
            if !ids.insert(&action.id) {
                return Err(format!("two actions have the id `{}`", action.id));
            }
            if let Some(ladder) = &action.ladder
                && !rungs.insert((ladder, action.rung))
            {
                return Err(format!(
                    "action `{}`: rung {} of ladder `{ladder}` is taken; give it another `rung`",
                    action.id, action.rung
                ));
            }
        }
        Ok(())
    }
}

/// Every key that any kind has; which of them belong together is [`ActionConfig::try_from`]'s to say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    id: String,
    kind: RawKind,
    #[serde(default)]
    invariants: Vec<u64>,
    #[serde(default = "lowest")]
    min_severity: Severity,
    ladder: Option<String>,
    rung: Option<u32>,
    template: Option<String>,
    subject: Option<String>,
    rate_limit: Option<RateLimit>,
    #[serde(default = "thousand")]
    max_pending: u32,
    retry: Option<RetryPolicy>,
    when_unknown: Option<WhenUnknown>,
    token: Option<Secret>,
    chat_id: Option<String>,
    format: Option<Format>,
    api: Option<String>,
    url: Option<Secret>,
    channel: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    tls: Option<Tls>,
    user: Option<String>,
    password: Option<Secret>,
    from: Option<String>,
    to: Option<Vec<String>>,
    secret: Option<Secret>,
    contract: Option<Address>,
    calldata: Option<Bytes>,
    function: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum RawKind {
    #[serde(alias = "TELEGRAM_ALERT")]
    Telegram,
    Slack,
    Discord,
    Email,
    Webhook,
    #[serde(alias = "PAUSE_AGENT")]
    PauseAgent,
}

fn lowest() -> Severity {
    Severity::Low
}
fn thousand() -> u32 {
    1_000
}

/// A key that must be there.
fn need<T>(value: &mut Option<T>, key: &str) -> Result<T, String> {
    value.take().ok_or_else(|| format!("`{key}` is missing"))
}

impl Raw {
    fn kind(&mut self) -> Result<Kind, String> {
        Ok(match self.kind {
            RawKind::Telegram => {
                let format = self.format.take().unwrap_or(Format::MarkdownV2);
                if !matches!(format, Format::MarkdownV2 | Format::Html | Format::Plain) {
                    return Err("`format` of a telegram action is `markdown_v2`, `html` or `plain`".into());
                }
                Kind::Telegram {
                    token: need(&mut self.token, "token")?,
                    chat_id: need(&mut self.chat_id, "chat_id")?,
                    format,
                    api: self.api.take().unwrap_or_else(|| "https://api.telegram.org".to_owned()),
                }
            }
            RawKind::Slack => Kind::Slack {
                url: need(&mut self.url, "url")?,
            },
            RawKind::Discord if self.url.is_none() && self.channel.is_some() => Kind::DiscordBot {
                token: need(&mut self.token, "token")?,
                channel: need(&mut self.channel, "channel")?,
                api: self
                    .api
                    .take()
                    .unwrap_or_else(|| "https://discord.com/api/v10".to_owned()),
            },
            RawKind::Discord => Kind::Discord {
                url: self
                    .url
                    .take()
                    .ok_or("give either `url` (of a webhook) or `token` and `channel` (of a bot)")?,
            },
            RawKind::Email => self.email()?,
            RawKind::Webhook => Kind::Webhook {
                url: need(&mut self.url, "url")?,
                secret: need(&mut self.secret, "secret")?,
            },
            RawKind::PauseAgent => {
                let calldata = match (self.calldata.take(), self.function.take()) {
                    (Some(calldata), None) => calldata,
                    (None, Some(function)) => selector(&function)?,
                    _ => return Err("give either `calldata` (hex) or `function` (as in \"pause()\")".into()),
                };
                Kind::PauseAgent {
                    contract: self.contract.take(),
                    calldata,
                }
            }
        })
    }

    fn email(&mut self) -> Result<Kind, String> {
        let tls = self.tls.take().unwrap_or(Tls::Implicit);
        let login = match (self.user.take(), self.password.take()) {
            (Some(user), Some(password)) => Some((user, password)),
            (None, None) => None,
            _ => return Err("`user` and `password` go together".into()),
        };
        let host = need(&mut self.host, "host")?;
        if login.is_some() && tls == Tls::None && !crate::channel::is_loopback(&host) {
            return Err(format!(
                "a password is not sent to {host} in the clear: set `tls` to \"implicit\" or \"starttls\""
            ));
        }
        let from = need(&mut self.from, "from")?;
        let to = need(&mut self.to, "to")?;
        if to.is_empty() || to.len() > 50 {
            return Err("`to`: give 1 to 50 addresses".into());
        }
        for address in to.iter().chain([&from]) {
            address
                .parse::<lettre::message::Mailbox>()
                .map_err(|error| format!("`{address}` is not a mail address: {error}"))?;
        }
        Ok(Kind::Email {
            host,
            port: self.port.take().unwrap_or(match tls {
                Tls::Implicit => 465,
                Tls::Starttls => 587,
                Tls::None => 25,
            }),
            tls,
            login,
            from,
            to,
        })
    }

    /// A key that the kind did not take.
    fn left_over(&self) -> Option<&'static str> {
        [
            (self.token.is_some(), "token"),
            (self.chat_id.is_some(), "chat_id"),
            (self.format.is_some(), "format"),
            (self.api.is_some(), "api"),
            (self.url.is_some(), "url"),
            (self.channel.is_some(), "channel"),
            (self.host.is_some(), "host"),
            (self.port.is_some(), "port"),
            (self.tls.is_some(), "tls"),
            (self.user.is_some(), "user"),
            (self.password.is_some(), "password"),
            (self.from.is_some(), "from"),
            (self.to.is_some(), "to"),
            (self.secret.is_some(), "secret"),
            (self.contract.is_some(), "contract"),
            (self.calldata.is_some(), "calldata"),
            (self.function.is_some(), "function"),
        ]
        .into_iter()
        .find_map(|(given, key)| given.then_some(key))
    }
}

impl TryFrom<Raw> for ActionConfig {
    type Error = String;

    fn try_from(mut raw: Raw) -> Result<Self, String> {
        let id = raw.id.clone();
        let fail = |reason: String| format!("action `{id}`: {reason}");
        let word = |symbol: char| symbol.is_ascii_alphanumeric() || matches!(symbol, '-' | '_');
        if id.is_empty() || id.len() > 64 || !id.chars().all(word) {
            return Err(fail("an id has 1 to 64 letters, digits, `-` and `_`".into()));
        }
        let kind = raw.kind().map_err(&fail)?;
        if let Some(key) = raw.left_over() {
            return Err(fail(format!("`{key}` does not belong to the kind `{}`", kind.name())));
        }
        if raw.subject.is_some() && !matches!(kind, Kind::Email { .. }) {
            return Err(fail(format!("`subject` does not belong to the kind `{}`", kind.name())));
        }
        if kind.is_pause() && (raw.template.is_some() || raw.when_unknown.is_some()) {
            return Err(fail(
                "a pause has no `template` and no `when_unknown`: it is idempotent".into(),
            ));
        }
        if raw.ladder.is_none() && raw.rung.is_some() {
            return Err(fail("`rung` needs a `ladder`".into()));
        }
        let retry = raw.retry.unwrap_or(if kind.is_pause() {
            // A pause is a matter of blocks; what follows it to its inclusion takes minutes.
            RetryPolicy {
                base: Duration::from_millis(200),
                max: Duration::from_secs(2),
                attempt: Duration::from_mins(5),
                total: Duration::from_mins(2),
            }
        } else {
            RetryPolicy::default()
        });
        retry.check().map_err(&fail)?;
        if let Some(limit) = &raw.rate_limit {
            limit.check().map_err(&fail)?;
        }
        let action = Self {
            id: raw.id,
            kind,
            invariants: raw.invariants,
            min_severity: raw.min_severity,
            ladder: raw.ladder,
            rung: raw.rung.unwrap_or(0),
            template: raw.template,
            subject: raw.subject,
            rate_limit: raw.rate_limit,
            max_pending: raw.max_pending.clamp(1, 100_000),
            retry,
            when_unknown: raw.when_unknown.unwrap_or_default(),
        };
        if !action.kind.is_pause() {
            crate::template::Templates::new(&action).map_err(|error| fail(error.to_string()))?;
        }
        Ok(action)
    }
}

/// The first four bytes of the hash of a function's signature without arguments, as in `pause()`.
fn selector(function: &str) -> Result<Bytes, String> {
    let named = function.strip_suffix("()").is_some_and(|name| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '$'))
    });
    if !named {
        return Err(format!(
            "`function`: `{function}` is not a name and `()`; for a function with arguments give `calldata`"
        ));
    }
    Ok(keccak256(function).iter().copied().take(4).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let config: Config = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check()?;
        Ok(config)
    }

    fn refused(text: &str, said: &[&str]) {
        let error = read(text).unwrap_err();
        for word in said {
            assert!(error.contains(word), "`{word}` is not in: {error}");
        }
    }

    #[test]
    fn every_kind_is_read() {
        let config = read(
            r#"
            source = "validator-7"
            [[actions]]
            id = "stop"
            kind = "PAUSE_AGENT"
            function = "pause()"
            ladder = "stop"
            rung = 1
            [[actions]]
            id = "people"
            kind = "telegram"
            token = "env:TELEGRAM_TOKEN"
            chat_id = "-1001"
            ladder = "stop"
            rung = 2
            rate_limit = { count = 5, per = "1m" }
            retry = { base = "2s", total = "1h" }
            [[actions]]
            id = "slack"
            kind = "slack"
            url = "env:SLACK"
            min_severity = "critical"
            [[actions]]
            id = "discord"
            kind = "discord"
            url = "file:/run/secrets/discord"
            when_unknown = "escalate"
            [[actions]]
            id = "bot"
            kind = "discord"
            token = "env:D"
            channel = "77"
            [[actions]]
            id = "mail"
            kind = "email"
            host = "smtp.example.org"
            from = "Portcullis <p@example.org>"
            to = ["ops@example.org"]
            [[actions]]
            id = "hook"
            kind = "webhook"
            url = "https://example.org/hook"
            secret = "env:HOOK"
            invariants = [3]
            "#,
        )
        .unwrap();
        assert_eq!(config.actions.len(), 7);
        let Kind::PauseAgent { calldata, .. } = &config.actions[0].kind else {
            panic!("no pause");
        };
        assert_eq!(hex::encode(calldata), "8456cb59", "the selector of pause()");
        assert_eq!(config.actions[1].retry.max, Duration::from_secs(60));
        assert_eq!(config.actions[3].when_unknown, WhenUnknown::Escalate);
        assert!(matches!(config.actions[5].kind, Kind::Email { port: 465, .. }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let action = |rest: &str| format!("[[actions]]\nid = \"a\"\n{rest}");
        refused(&action("kind = \"slack\""), &["action `a`", "`url` is missing"]);
        refused(
            &action("kind = \"slack\"\nurl = \"env:U\"\nchat_id = \"7\""),
            &["`chat_id`", "slack"],
        );
        refused(&action("kind = \"slack\"\nurl = \"env:U\"\nurll = \"7\""), &["urll"]);
        refused(&action("kind = \"pigeon\""), &["pigeon"]);
        refused(
            &action("kind = \"slack\"\nurl = \"env:U\"\ntemplate = \"{{ invariant.nam }}\""),
            &["action `a`", "template"],
        );
        refused(
            &action("kind = \"slack\"\nurl = \"env:U\"\ntemplate = \"{% if %}\""),
            &["action `a`", "template"],
        );
        refused(
            &action("kind = \"pause_agent\"\nfunction = \"pause(bool)\""),
            &["pause(bool)", "calldata"],
        );
        refused(
            &action(
                "kind = \"email\"\nhost = \"mx.example.org\"\ntls = \"none\"\nuser = \"u\"\npassword = \"env:P\"\nfrom = \"a@b.c\"\nto = [\"d@e.f\"]",
            ),
            &["mx.example.org", "clear"],
        );
        refused(
            &action("kind = \"email\"\nhost = \"h\"\nfrom = \"nobody\"\nto = [\"d@e.f\"]"),
            &["nobody"],
        );
        let twice = "[[actions]]\nid = \"a\"\nkind = \"slack\"\nurl = \"env:U\"\nladder = \"l\"\n";
        refused(&format!("{twice}{twice}"), &["two actions", "`a`"]);
        refused(
            &format!("{twice}{}", twice.replace("\"a\"", "\"b\"")),
            &["rung 0", "`l`"],
        );
        refused("sauce = \"x\"", &["sauce"]);
        refused("window = \"0s\"", &["window"]);
    }

    #[test]
    fn secrets_are_not_printed() {
        let config =
            read("[[actions]]\nid = \"a\"\nkind = \"slack\"\nurl = \"https://hooks.example.org/T0/s3cret\"").unwrap();
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
