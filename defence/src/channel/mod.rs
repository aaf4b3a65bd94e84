//! The ways to people: one attempt of one alert over Telegram, Slack, Discord, mail or a webhook.
//!
//! A channel knows its protocol and nothing of retries. What it says of an attempt is an [`Outcome`]; secrets are taken out of every
//! reason, since servers like to quote what they were sent.

mod email;
mod http;

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;

use node::config::{ConfigError, Secret};
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use crate::config::{ActionConfig, Kind};
use crate::escape::{Format, escape};
use crate::outcome::Outcome;
use crate::signature;
use crate::template::Words;

/// One attempt of one alert.
#[derive(Debug)]
pub(crate) struct Alert<'a> {
    /// The idempotency key: the same for every attempt.
    pub(crate) key: &'a str,
    /// What is said.
    pub(crate) words: &'a Words,
    /// From 1.
    pub(crate) attempt: u32,
    /// An attempt before may have been taken.
    pub(crate) repeat: bool,
    /// Milliseconds since 1970.
    pub(crate) now_ms: u64,
    /// Set by the channel once the other side could have taken it; until then a time-out is certainly not taken.
    pub(crate) handed_over: &'a AtomicBool,
}

/// A channel that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// A secret that is not there.
    #[error("action `{action}`: {reason}")]
    Secret {
        /// The action's id.
        action: String,
        /// Which, and why.
        reason: ConfigError,
    },
    /// An address that cannot be used.
    #[error("action `{action}`: {reason}")]
    Address {
        /// The action's id.
        action: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no TLS.
    #[error("action `{action}`: TLS cannot be set up: {reason}")]
    Tls {
        /// The action's id.
        action: String,
        /// What the library said.
        reason: String,
    },
}

/// A way to people, set up.
#[derive(Debug)]
pub(crate) enum Channel {
    Http(Box<Http>),
    Email(Box<email::Mailer>),
}

/// A channel over HTTP.
pub(crate) struct Http {
    client: reqwest::Client,
    url: Url,
    dialect: Dialect,
    /// What must not be said: tokens, and URLs that are secrets.
    secrets: Vec<Zeroizing<String>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Http")
            .field("host", &self.url.host_str())
            .finish_non_exhaustive()
    }
}

enum Dialect {
    Telegram { chat_id: String, format: Format },
    Slack,
    Discord,
    DiscordBot { token: Zeroizing<String> },
    Webhook { secret: Zeroizing<String> },
}

/// Whether `host` is this machine, by its name or address.
pub(crate) fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

impl Channel {
    /// Reads the secrets and sets the channel up; nothing is sent. `None` for a pause.
    pub(crate) fn open(action: &ActionConfig) -> Result<Option<Self>, ChannelError> {
        let secret = |secret: &Secret| reveal(&action.id, secret);
        let http = |url: Url, dialect: Dialect, secrets: Vec<Zeroizing<String>>| {
            Ok(Some(Self::Http(Box::new(Http {
                client: http::client(&action.id, action.retry.attempt)?,
                url,
                dialect,
                secrets,
            }))))
        };
        match &action.kind {
            Kind::Telegram {
                token,
                chat_id,
                format,
                api,
            } => {
                let token = secret(token)?;
                // A token with anything else in it would change the path (Bot API, "Authorizing your bot").
                if !token
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_'))
                    || token.is_empty()
                {
                    return Err(address(
                        &action.id,
                        "`token` does not look like a bot's token: digits, `:`, letters",
                    ));
                }
                let url = parse(
                    &action.id,
                    "api",
                    &format!("{}/bot{}/sendMessage", api.trim_end_matches('/'), *token),
                )?;
                let dialect = Dialect::Telegram {
                    chat_id: chat_id.clone(),
                    format: *format,
                };
                http(url, dialect, vec![token])
            }
            Kind::Slack { url } => {
                let url = secret(url)?;
                http(parse(&action.id, "url", &url)?, Dialect::Slack, vec![url])
            }
            Kind::Discord { url } => {
                let text = secret(url)?;
                let mut url = parse(&action.id, "url", &text)?;
                // The answer then says which message it became.
                url.query_pairs_mut().append_pair("wait", "true");
                http(url, Dialect::Discord, vec![text])
            }
            Kind::DiscordBot { token, channel, api } => {
                let token = secret(token)?;
                if channel.is_empty() || !channel.chars().all(|c| c.is_ascii_digit()) {
                    return Err(address(&action.id, "`channel` must be a channel's id, digits only"));
                }
                let url = parse(
                    &action.id,
                    "api",
                    &format!("{}/channels/{channel}/messages", api.trim_end_matches('/')),
                )?;
                let dialect = Dialect::DiscordBot { token: token.clone() };
                http(url, dialect, vec![token])
            }
            Kind::Webhook { url, secret: key } => {
                let (text, key) = (secret(url)?, secret(key)?);
                if key.len() < 16 {
                    return Err(address(&action.id, "`secret` must have at least 16 characters"));
                }
                let url = parse(&action.id, "url", &text)?;
                let dialect = Dialect::Webhook { secret: key.clone() };
                http(url, dialect, vec![text, key])
            }
            Kind::Email {
                host,
                port,
                tls,
                login,
                from,
                to,
            } => {
                let login = match login {
                    Some((user, password)) => Some((user.clone(), secret(password)?)),
                    None => None,
                };
                let mailer = email::Mailer::new(&action.id, host, *port, *tls, login, from, to)?;
                Ok(Some(Self::Email(Box::new(mailer))))
            }
            Kind::PauseAgent { .. } => Ok(None),
        }
    }

    /// Makes one attempt. It ends by itself only when the other side does: the caller sets the deadline.
    pub(crate) async fn send(&self, alert: &Alert<'_>) -> Outcome {
        match self {
            Self::Http(http) => {
                let outcome = http.send(alert).await;
                redact_outcome(outcome, &http.secrets)
            }
            Self::Email(mailer) => {
                let outcome = mailer.send(alert).await;
                redact_outcome(outcome, mailer.secrets())
            }
        }
    }
}

impl Http {
    async fn send(&self, alert: &Alert<'_>) -> Outcome {
        let post = self
            .client
            .post(self.url.clone())
            .header(signature::IDEMPOTENCY_HEADER, alert.key);
        match &self.dialect {
            Dialect::Telegram { chat_id, format } => {
                let message = |text: &str, format: Format| {
                    let mut message = json!({
                        "chat_id": chat_id,
                        "text": noted(alert, format, text),
                        "link_preview_options": { "is_disabled": true },
                    });
                    let mode = match format {
                        Format::MarkdownV2 => Some("MarkdownV2"),
                        Format::Html => Some("HTML"),
                        Format::Plain | Format::Mrkdwn | Format::Discord => None,
                    };
                    if let (Some(mode), Some(fields)) = (mode, message.as_object_mut()) {
                        fields.insert("parse_mode".to_owned(), mode.into());
                    }
                    message
                };
                let (outcome, answer) = http::exchange(post.json(&message(&alert.words.text, *format)), alert).await;
                // A template whose marks do not match is refused for its looks alone: the plain words go instead.
                if matches!(&outcome, Outcome::Refused { reason } if reason.contains("parse entities")) {
                    let plain = self
                        .client
                        .post(self.url.clone())
                        .header(signature::IDEMPOTENCY_HEADER, alert.key)
                        .json(&message(&alert.words.plain, Format::Plain));
                    let (outcome, answer) = http::exchange(plain, alert).await;
                    return http::with_reference(outcome, &answer, "/result/message_id");
                }
                http::with_reference(outcome, &answer, "/result/message_id")
            }
            Dialect::Slack => {
                let text = noted(alert, Format::Mrkdwn, &alert.words.text);
                let body = json!({ "text": text, "mrkdwn": true, "unfurl_links": false });
                http::exchange(post.json(&body), alert).await.0
            }
            Dialect::Discord => {
                let (outcome, answer) = http::exchange(post.json(&discord(alert)), alert).await;
                http::with_reference(outcome, &answer, "/id")
            }
            Dialect::DiscordBot { token } => {
                let mut body = discord(alert);
                if let Some(fields) = body.as_object_mut() {
                    // Discord gives back the first message of a nonce instead of making another (Create Message).
                    fields.insert(
                        "nonce".to_owned(),
                        alert.key.chars().take(25).collect::<String>().into(),
                    );
                    fields.insert("enforce_nonce".to_owned(), true.into());
                }
                let mut authorization = match reqwest::header::HeaderValue::from_str(&format!("Bot {}", **token)) {
                    Ok(value) => value,
                    Err(_) => {
                        return Outcome::Refused {
                            reason: "the token has characters that no header may have".to_owned(),
                        };
                    }
                };
                authorization.set_sensitive(true);
                let request = post.header(reqwest::header::AUTHORIZATION, authorization).json(&body);
                let (outcome, answer) = http::exchange(request, alert).await;
                http::with_reference(outcome, &answer, "/id")
            }
            Dialect::Webhook { secret } => {
                let body = alert.words.body.clone();
                let timestamp = alert.now_ms / 1_000;
                let signature = signature::sign(secret.as_bytes(), timestamp, body.as_bytes());
                let request = post
                    .header(reqwest::header::CONTENT_TYPE, "application/json")
                    .header(signature::TIMESTAMP_HEADER, timestamp)
                    .header(signature::SIGNATURE_HEADER, signature)
                    .header("X-Portcullis-Attempt", alert.attempt)
                    .body(body);
                http::exchange(request, alert).await.0
            }
        }
    }
}

fn discord(alert: &Alert<'_>) -> serde_json::Value {
    json!({
        "content": noted(alert, Format::Discord, &alert.words.text),
        // Nobody is called by what stands in a contract's name.
        "allowed_mentions": { "parse": [] },
    })
}

/// The text, with a note when the same may have arrived before.
fn noted(alert: &Alert<'_>, format: Format, text: &str) -> String {
    if alert.repeat {
        let key: String = alert.key.chars().take(8).collect();
        let note = escape(
            format,
            &format!("(Sent again: it is not known whether the first arrived; {key})"),
        );
        format!("{text}\n{note}")
    } else {
        text.to_owned()
    }
}

fn address(action: &str, reason: impl Into<String>) -> ChannelError {
    ChannelError::Address {
        action: action.to_owned(),
        reason: reason.into(),
    }
}

fn reveal(action: &str, secret: &Secret) -> Result<Zeroizing<String>, ChannelError> {
    secret
        .reveal()
        .map(Zeroizing::new)
        .map_err(|reason| ChannelError::Secret {
            action: action.to_owned(),
            reason,
        })
}

/// A URL that a secret may travel to: https, or this machine. The error does not quote it.
fn parse(action: &str, key: &str, text: &str) -> Result<Url, ChannelError> {
    let url = Url::parse(text).map_err(|error| address(action, format!("`{key}` is not a URL: {error}")))?;
    let local = url.host_str().is_some_and(is_loopback);
    match url.scheme() {
        "https" => Ok(url),
        "http" if local => Ok(url),
        "http" => Err(address(
            action,
            format!("`{key}`: what is sent there is secret; use https (http only to this machine)"),
        )),
        scheme => Err(address(
            action,
            format!("`{key}`: `{scheme}` is neither https nor http"),
        )),
    }
}

fn redact_outcome(outcome: Outcome, secrets: &[Zeroizing<String>]) -> Outcome {
    match outcome {
        Outcome::Accepted { reference } => Outcome::Accepted {
            reference: redact(reference, secrets),
        },
        Outcome::NotTaken { reason, wait } => Outcome::NotTaken {
            reason: redact(reason, secrets),
            wait,
        },
        Outcome::Refused { reason } => Outcome::Refused {
            reason: redact(reason, secrets),
        },
        Outcome::Unknown { reason } => Outcome::Unknown {
            reason: redact(reason, secrets),
        },
    }
}

/// `text` with every secret in it replaced, and no control characters.
fn redact(text: String, secrets: &[Zeroizing<String>]) -> String {
    let clean = secrets
        .iter()
        .filter(|secret| !secret.is_empty())
        .fold(text, |text, secret| text.replace(secret.as_str(), "***"));
    escape(Format::Plain, &clean)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn open(rest: &str) -> Result<(), String> {
        let text = format!("[[actions]]\nid = \"a\"\n{rest}");
        let action = toml::from_str::<Config>(&text).unwrap().actions.remove(0);
        Channel::open(&action).map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn what_cannot_be_set_up_is_named_without_its_secret() {
        for (rest, said) in [
            (
                "kind = \"slack\"\nurl = \"env:PORTCULLIS_NO_SUCH\"",
                "PORTCULLIS_NO_SUCH",
            ),
            ("kind = \"slack\"\nurl = \"http://hooks.example.org/s3cret\"", "https"),
            ("kind = \"slack\"\nurl = \"s3cret\"", "`url` is not a URL"),
            ("kind = \"slack\"\nurl = \"ftp://127.0.0.1/s3cret\"", "`ftp`"),
            ("kind = \"telegram\"\ntoken = \"12/s3cret\"\nchat_id = \"1\"", "token"),
            (
                "kind = \"webhook\"\nurl = \"https://example.org\"\nsecret = \"s3cret\"",
                "16 characters",
            ),
            (
                "kind = \"discord\"\ntoken = \"s3cret\"\nchannel = \"../7\"",
                "`channel`",
            ),
        ] {
            let error = open(rest).unwrap_err();
            assert!(error.contains("`a`") && error.contains(said), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        assert_eq!(open("kind = \"slack\"\nurl = \"http://127.0.0.1:9/x\""), Ok(()));
        assert_eq!(open("kind = \"slack\"\nurl = \"http://[::1]:9/x\""), Ok(()));
    }

    #[test]
    fn secrets_are_taken_out_of_reasons() {
        let secrets = [Zeroizing::new("12:abc".to_owned()), Zeroizing::new(String::new())];
        assert_eq!(
            redact("no such bot /bot12:abc/\u{1b}[2J".to_owned(), &secrets),
            "no such bot /bot***/ [2J"
        );
    }
}
