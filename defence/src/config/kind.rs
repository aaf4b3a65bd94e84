//! The kinds of actions, each with what it needs.

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes};
use node::config::Secret;
use serde::Deserialize;

use crate::escape::Format;
use crate::pause::PauseTarget;

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
        /// How.
        way: Way,
    },
}

/// How a pause action stops a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By a call of the protocol's own.
    Call {
        /// Whom to call; the invariant's contract when it is not given.
        contract: Option<Address>,
        /// With what.
        calldata: Bytes,
    },
    /// By confirming the incident at a guard that may pause the protocol.
    Guard(GuardedPause),
}

/// A pause by a `PauseGuard` (`contracts/solidity/PauseGuard.sol`): due with as many confirmations as its owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GuardedPause {
    /// The guard.
    pub guard: Address,
    /// The job that keepers execute; without one whoever confirms last pauses in the same transaction.
    pub keepers: Option<KeeperJob>,
}

/// A job of the defence lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeeperJob {
    /// The Agent contract.
    pub agent: Address,
    /// The job's key.
    pub job: B256,
    /// How long after the confirmation was sent keepers may take until they are seen to act; then this validator pauses itself.
    pub patience: Duration,
}

impl Way {
    /// The pause of an invariant of `contract`.
    #[must_use]
    pub fn of(&self, contract: Address) -> PauseTarget {
        match self {
            Self::Call {
                contract: named,
                calldata,
            } => PauseTarget::Call {
                contract: named.unwrap_or(contract),
                calldata: calldata.clone(),
            },
            Self::Guard(guarded) => PauseTarget::Guard(*guarded),
        }
    }
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
