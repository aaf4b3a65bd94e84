//! Where the time went between seeing an attack and broadcasting the pause. Pure.
//!
//! Told on the incident's timeline as `key=value` pairs in microseconds, so that people and programs can read it.

use std::fmt;
use std::time::{Duration, Instant};

use sender::request::Timing;

/// When a pause came how far.
#[derive(Debug, Clone, Copy)]
pub struct Marks {
    /// The transaction reached the validator.
    pub seen: Instant,
    /// A miner's answer claimed the violation.
    pub claimed: Instant,
    /// The validator's own engine confirmed it.
    pub confirmed: Instant,
    /// The pause was asked for: the incident is stored, and the action's task runs.
    pub asked: Instant,
    /// The simulation said that the pause stops the attack.
    pub decided: Instant,
}

/// The parts of the way, which add up to the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Latency {
    /// From seeing the transaction until an endpoint had taken the pause.
    pub total: Duration,
    /// Challenge to the miners, their execution, their answers; and at the end the endpoint that takes the pause.
    pub network: Duration,
    /// The validator's own engine: arbitration, and the simulation of the pause.
    pub engine: Duration,
    /// Planning nonce and fees, and signing.
    pub signing: Duration,
    /// Incident, request and signed bytes on their way to the disk.
    pub storage: Duration,
}

impl Latency {
    /// From the marks, and from what the sender measured since it was asked.
    #[must_use]
    pub fn new(marks: &Marks, sender: &Timing) -> Self {
        let stored = sender.stored.unwrap_or_default();
        let signed = sender.signed.unwrap_or(stored).max(stored);
        let sent = sender.sent.unwrap_or(signed).max(signed);
        let accepted = sender.accepted.unwrap_or(sent).max(sent);
        let between = |from: Instant, to: Instant| to.saturating_duration_since(from);
        let network = between(marks.seen, marks.claimed) + (accepted - sent);
        let engine = between(marks.claimed, marks.confirmed) + between(marks.asked, marks.decided);
        let signing = signed - stored;
        let storage = between(marks.confirmed, marks.asked) + stored + (sent - signed);
        Self {
            total: network + engine + signing + storage,
            network,
            engine,
            signing,
            storage,
        }
    }

    /// Reads back what [`fmt::Display`] wrote, from anywhere in a text.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let part = |key: &str| {
            let pair = text
                .split_whitespace()
                .find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
            pair?.trim_end_matches(';').parse().ok().map(Duration::from_micros)
        };
        Some(Self {
            total: part("seen_to_broadcast_us")?,
            network: part("network_us")?,
            engine: part("engine_us")?,
            signing: part("signing_us")?,
            storage: part("storage_us")?,
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "seen_to_broadcast_us={} network_us={} engine_us={} signing_us={} storage_us={}",
            self.total.as_micros(),
            self.network.as_micros(),
            self.engine.as_micros(),
            self.signing.as_micros(),
            self.storage.as_micros()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_add_up_and_are_read_back() {
        let seen = Instant::now();
        let at = |ms| seen + Duration::from_millis(ms);
        let marks = Marks {
            seen,
            claimed: at(10),
            confirmed: at(13),
            asked: at(15),
            decided: at(19),
        };
        let ms = |ms| Some(Duration::from_millis(ms));
        let sender = Timing {
            stored: ms(1),
            signed: ms(3),
            sent: ms(4),
            accepted: ms(9),
        };
        let latency = Latency::new(&marks, &sender);
        let ms = Duration::from_millis;
        assert_eq!(latency.network, ms(15));
        assert_eq!(latency.engine, ms(7));
        assert_eq!(latency.signing, ms(2));
        assert_eq!(latency.storage, ms(4));
        assert_eq!(latency.total, ms(28), "19 until decided, 9 in the sender");
        let told = format!("tip 12 gwei; {latency}");
        assert_eq!(Latency::read(&told), Some(latency));
        assert_eq!(Latency::read("tip 12 gwei"), None);
    }

    #[test]
    fn what_the_sender_does_not_know_any_more_counts_nothing() {
        let now = Instant::now();
        let marks = Marks {
            seen: now,
            claimed: now,
            confirmed: now,
            asked: now,
            decided: now,
        };
        assert_eq!(Latency::new(&marks, &Timing::default()), Latency::default());
    }
}
