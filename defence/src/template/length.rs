//! How long a channel's texts may be, and what is left of longer ones.

use crate::config::Kind;
use crate::escape::{Format, escape};

/// The longest text that a channel takes, in UTF-16 units, with room for a note.
pub(super) fn limit(kind: &Kind) -> usize {
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

pub(super) fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The first `limit` UTF-16 units of it, the last of them an ellipsis.
pub(super) fn cut(text: &str, limit: usize) -> String {
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
