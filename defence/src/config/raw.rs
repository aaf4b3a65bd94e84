//! An action as it is written: every key that any kind has, and which of them belong together.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, keccak256};
use node::config::Secret;
use serde::Deserialize;

use super::ActionConfig;
use super::kind::{GuardedPause, KeeperJob, Kind, Tls, Way};
use crate::escape::Format;
use crate::limit::RateLimit;
use crate::retry::{RetryPolicy, WhenUnknown};
use crate::violation::Severity;

/// How long keepers are waited for, where the action does not say: a small part of any block's time.
const PATIENCE: Duration = Duration::from_millis(500);

/// Every key that any kind has; which of them belong together is [`ActionConfig::try_from`]'s to say.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
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
    guard: Option<Address>,
    agent: Option<Address>,
    job: Option<B256>,
    #[serde(default, with = "humantime_serde")]
    patience: Option<Duration>,
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
            RawKind::PauseAgent => Kind::PauseAgent { way: self.way()? },
        })
    }

    fn way(&mut self) -> Result<Way, String> {
        let calldata = match (self.calldata.take(), self.function.take(), self.guard.take()) {
            (Some(calldata), None, None) => calldata,
            (None, Some(function), None) => selector(&function)?,
            (None, None, Some(guard)) => return self.guarded(guard),
            _ => {
                return Err(
                    "give one of `calldata` (hex), `function` (as in \"pause()\") and `guard` (a PauseGuard)".into(),
                );
            }
        };
        Ok(Way::Call {
            contract: self.contract.take(),
            calldata,
        })
    }

    fn guarded(&mut self, guard: Address) -> Result<Way, String> {
        let keepers = match (self.agent.take(), self.job.take()) {
            (Some(agent), Some(job)) => {
                let patience = self.patience.take().unwrap_or(PATIENCE);
                if patience > Duration::from_mins(1) {
                    return Err("`patience`: at most a minute; the attack does not wait".into());
                }
                Some(KeeperJob { agent, job, patience })
            }
            (None, None) => None,
            _ => return Err("`agent` and `job` go together".into()),
        };
        Ok(Way::Guard(GuardedPause { guard, keepers }))
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
            (self.guard.is_some(), "guard"),
            (self.agent.is_some(), "agent"),
            (self.job.is_some(), "job"),
            (self.patience.is_some(), "patience"),
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
