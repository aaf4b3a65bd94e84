//! What an attempt came to, and what an HTTP answer says about it.
//!
//! The one distinction that matters: was it certainly not taken, or is its fate unknown? Only the first may be repeated without a
//! thought of duplicates.

use std::time::{Duration, SystemTime};

/// The end of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The other side took it, and calls it so.
    Accepted {
        /// Message id, transaction hash, queue id; empty when it gave none.
        reference: String,
    },
    /// Certainly not taken; it may be another time.
    NotTaken {
        /// Why.
        reason: String,
        /// The other side asks to wait so long.
        wait: Option<Duration>,
    },
    /// Not taken, and never will be as it is: a wrong token, a chat that is gone.
    Refused {
        /// Why.
        reason: String,
    },
    /// It left, and no answer says whether it was taken.
    Unknown {
        /// What happened instead of an answer.
        reason: String,
    },
}

impl Outcome {
    /// Not taken, with no wish for when.
    pub(crate) fn not_taken(reason: impl Into<String>) -> Self {
        Self::NotTaken {
            reason: reason.into(),
            wait: None,
        }
    }
}

/// An HTTP answer, as far as it matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// The header `Retry-After`.
    pub retry_after: Option<String>,
    /// The body, cut at 64 KiB.
    pub body: String,
}

/// Longest quote of an answer in a reason, characters.
const QUOTE: usize = 200;

/// What an answer with this status means (RFC 9110, section 15).
///
/// 408, 502 and 504 come from something between, which cannot know what became of the request; any other 5xx is a server that says
/// it did not take it.
#[must_use]
pub fn classify(answer: &Answer, now: SystemTime) -> Outcome {
    let reason = || {
        let quoted: String = answer.body.chars().take(QUOTE).collect();
        format!("status {}: {}", answer.status, quoted.trim())
    };
    match answer.status {
        200..=299 => Outcome::Accepted {
            reference: String::new(),
        },
        429 | 503 => Outcome::NotTaken {
            reason: reason(),
            wait: wait(answer, now),
        },
        408 | 502 | 504 => Outcome::Unknown { reason: reason() },
        425 | 500..=599 => Outcome::NotTaken {
            reason: reason(),
            wait: wait(answer, now),
        },
        _ => Outcome::Refused { reason: reason() },
    }
}

/// How long the server asks to wait: `Retry-After` in seconds or as a date (RFC 9110, section 10.2.3), or in the body as Telegram
/// (`parameters.retry_after`) and Discord (`retry_after`) do. The longest of them counts.
#[must_use]
pub fn wait(answer: &Answer, now: SystemTime) -> Option<Duration> {
    let header = answer.retry_after.as_deref().map(str::trim).and_then(|text| {
        let seconds = text.parse::<f64>().ok().and_then(seconds);
        seconds.or_else(|| {
            let at = httpdate::parse_http_date(text).ok()?;
            Some(at.duration_since(now).unwrap_or_default())
        })
    });
    let body: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
    let told = |pointer: &str| body.as_ref()?.pointer(pointer)?.as_f64().and_then(seconds);
    [header, told("/parameters/retry_after"), told("/retry_after")]
        .into_iter()
        .flatten()
        .max()
}

fn seconds(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        Answer {
            status,
            retry_after: retry_after.map(str::to_owned),
            body: body.to_owned(),
        }
    }

    fn now() -> SystemTime {
        httpdate::parse_http_date("Sat, 21 Nov 2026 12:00:00 GMT").unwrap()
    }

    #[test]
    fn a_wait_is_read_from_header_and_body() {
        let wait = |header, body| super::wait(&answer(429, header, body), now());
        assert_eq!(wait(Some("7"), ""), Some(Duration::from_secs(7)));
        assert_eq!(
            wait(Some("Sat, 21 Nov 2026 12:01:30 GMT"), ""),
            Some(Duration::from_secs(90))
        );
        assert_eq!(wait(Some("Sat, 21 Nov 2026 11:00:00 GMT"), ""), Some(Duration::ZERO));
        assert_eq!(
            wait(None, r#"{"ok":false,"parameters":{"retry_after":35}}"#),
            Some(Duration::from_secs(35))
        );
        assert_eq!(
            wait(Some("1"), r#"{"retry_after":1.5}"#),
            Some(Duration::from_millis(1_500))
        );
        for nonsense in ["-1", "soon", "NaN", "1e400", ""] {
            assert_eq!(wait(Some(nonsense), "no json"), None, "{nonsense}");
        }
    }

    #[test]
    fn a_gateways_answer_leaves_the_fate_unknown() {
        for status in [408, 502, 504] {
            assert!(
                matches!(classify(&answer(status, None, ""), now()), Outcome::Unknown { .. }),
                "{status}"
            );
        }
        for status in [429, 500, 503, 507] {
            assert!(
                matches!(classify(&answer(status, None, ""), now()), Outcome::NotTaken { .. }),
                "{status}"
            );
        }
        for status in [301, 400, 401, 403, 404, 410] {
            assert!(
                matches!(classify(&answer(status, None, ""), now()), Outcome::Refused { .. }),
                "{status}"
            );
        }
        assert!(matches!(
            classify(&answer(204, None, ""), now()),
            Outcome::Accepted { .. }
        ));
    }

    #[test]
    fn a_long_answer_is_quoted_in_part() {
        let Outcome::Refused { reason } = classify(&answer(400, None, &"x".repeat(10_000)), now()) else {
            panic!("not refused");
        };
        assert!(reason.len() < 300, "{}", reason.len());
    }
}
