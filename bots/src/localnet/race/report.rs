//! What a race came to: who was first, what was lost, and where the time went. Pure.

use std::time::Duration;

use alloy::primitives::{Address, B256};
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use validator::pause::timing::Latency;

/// Longest time that is told apart, in microseconds.
const LONGEST_US: u64 = 600_000_000;

/// How a vault is paused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Through {
    /// By a call of the validator's.
    Call,
    /// By a keeper, once the validator has confirmed the incident at the vault's guard.
    Keepers,
}

impl std::fmt::Display for Through {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Call => "call",
            Self::Keepers => "keepers",
        })
    }
}

/// One attack on a watched vault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// The vault.
    pub vault: Address,
    /// How it is paused.
    pub through: Through,
    /// The raid.
    pub raid: B256,
    /// Wei per gas that the raid offered the builder.
    pub tip: u128,
    /// The block that the raid was mined in.
    pub block: Option<u64>,
    /// The raid did what it was to do.
    pub robbed: bool,
    /// The pause.
    pub pause: Option<B256>,
    /// The pause was mined before the raid.
    pub ahead: bool,
    /// The vault holds what it held.
    pub kept: bool,
    /// From sending the raid to the pause being taken by a node, in milliseconds, on this machine's clock.
    pub sent_to_broadcast_ms: Option<u64>,
    /// From sending the raid until the transaction that pauses was in the node's pool, in microseconds, as the race saw it.
    pub sent_to_pooled_us: Option<u64>,
    /// From sending the raid to its block, in milliseconds: the time there was.
    pub sent_to_block_ms: u64,
    /// From reading the raid's transaction to the pause being taken by a node, in microseconds, as the validator measured it.
    pub seen_to_broadcast_us: Option<u64>,
    /// Its parts: network (with the miners' work), engine, signing, storage.
    pub parts_us: Option<[u64; 4]>,
    /// Why the vault's incident ended otherwise; empty when it did not.
    pub note: String,
}

impl Attack {
    /// Notes what the validator measured.
    pub(super) fn measured(&mut self, latency: &Latency) {
        let us = |part: Duration| u64::try_from(part.as_micros()).unwrap_or(u64::MAX);
        self.seen_to_broadcast_us = Some(us(latency.total));
        self.parts_us = Some([latency.network, latency.engine, latency.signing, latency.storage].map(us));
    }
}

/// Half of the times are at most `p50`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Milliseconds.
    pub p50_ms: f64,
    /// Milliseconds.
    pub p99_ms: f64,
    /// The longest, milliseconds.
    pub max_ms: f64,
    /// How many there are.
    pub count: u64,
}

impl Percentiles {
    /// Of times in microseconds.
    #[must_use]
    pub fn of(times_us: impl IntoIterator<Item = u64>) -> Self {
        let Ok(mut times) = Histogram::<u64>::new_with_bounds(1, LONGEST_US, 3) else {
            return Self::default();
        };
        for time in times_us {
            times.saturating_record(time);
        }
        let ms = |us: u64| (us as f64 / 10.0).round() / 100.0;
        if times.is_empty() {
            return Self::default();
        }
        Self {
            p50_ms: ms(times.value_at_quantile(0.5)),
            p99_ms: ms(times.value_at_quantile(0.99)),
            max_ms: ms(times.max()),
            count: times.len(),
        }
    }
}

/// A part of the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `network`, `engine`, `signing` or `storage`.
    pub name: String,
    /// Its share of all the time, 0 to 1.
    pub share: f64,
    /// How long it took.
    pub times: Percentiles,
}

/// One way of pausing, beside another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Which.
    pub through: Through,
    /// Attacks on vaults that are paused so.
    pub attacks: usize,
    /// Of those, the pause was mined first.
    pub paused_ahead: usize,
    /// From reading the raid's transaction until a node had taken the validator's own: the pause, or the confirmation.
    pub seen_to_broadcast: Percentiles,
    /// From sending the raid until the transaction that pauses, whoever sends it, was in the node's pool.
    pub sent_to_pooled: Percentiles,
    /// From sending the raid to its block, in which the pause stands before it.
    pub sent_to_block: Percentiles,
}

impl Side {
    fn new(through: Through, each: &[Attack]) -> Option<Self> {
        let each: Vec<&Attack> = each.iter().filter(|attack| attack.through == through).collect();
        (!each.is_empty()).then(|| Self {
            through,
            attacks: each.len(),
            paused_ahead: each.iter().filter(|attack| attack.ahead).count(),
            seen_to_broadcast: Percentiles::of(each.iter().filter_map(|attack| attack.seen_to_broadcast_us)),
            sent_to_pooled: Percentiles::of(each.iter().filter_map(|attack| attack.sent_to_pooled_us)),
            sent_to_block: Percentiles::of(each.iter().map(|attack| attack.sent_to_block_ms.saturating_mul(1_000))),
        })
    }
}

/// The whole race.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RaceReport {
    /// Seconds between blocks.
    pub block_time_s: f64,
    /// Attacks on watched vaults.
    pub attacks: usize,
    /// Of those, the pause was mined first.
    pub paused_ahead: usize,
    /// Of those, the vault kept its funds.
    pub kept: usize,
    /// Attacks on vaults that nobody watches.
    pub unwatched_attacks: usize,
    /// Of those, the vault lost its funds.
    pub unwatched_lost: usize,
    /// From reading the transaction to the pause being taken by a node.
    pub seen_to_broadcast: Percentiles,
    /// Where that time went.
    pub parts: Vec<Part>,
    /// From sending the raid to the pause being taken by a node: with the node, the platform and the stream before the validator.
    pub sent_to_broadcast: Percentiles,
    /// From sending the raid to its block: the time there was.
    pub sent_to_block: Percentiles,
    /// Each way of pausing that was raced.
    pub sides: Vec<Side>,
    /// Each attack.
    pub each: Vec<Attack>,
}

impl RaceReport {
    /// From what was seen.
    #[must_use]
    pub fn new(block_time: Duration, each: Vec<Attack>, unwatched: (usize, usize)) -> Self {
        let parts: Vec<[u64; 4]> = each.iter().filter_map(|attack| attack.parts_us).collect();
        let of = |place: usize| parts.iter().filter_map(move |parts| parts.get(place).copied());
        let total: u64 = each.iter().filter_map(|attack| attack.seen_to_broadcast_us).sum();
        let part = |(place, name): (usize, &str)| Part {
            name: name.to_owned(),
            share: of(place).sum::<u64>() as f64 / total.max(1) as f64,
            times: Percentiles::of(of(place)),
        };
        let count = |what: fn(&Attack) -> bool| each.iter().filter(|attack| what(attack)).count();
        Self {
            block_time_s: block_time.as_secs_f64(),
            attacks: each.len(),
            paused_ahead: count(|attack| attack.ahead),
            kept: count(|attack| attack.kept),
            unwatched_attacks: unwatched.0,
            unwatched_lost: unwatched.1,
            seen_to_broadcast: Percentiles::of(each.iter().filter_map(|attack| attack.seen_to_broadcast_us)),
            parts: ["network", "engine", "signing", "storage"]
                .into_iter()
                .enumerate()
                .map(part)
                .collect(),
            sent_to_broadcast: Percentiles::of(
                each.iter()
                    .filter_map(|attack| attack.sent_to_broadcast_ms)
                    .map(|ms| ms.saturating_mul(1_000)),
            ),
            sent_to_block: Percentiles::of(each.iter().map(|attack| attack.sent_to_block_ms.saturating_mul(1_000))),
            sides: [Through::Call, Through::Keepers]
                .into_iter()
                .filter_map(|through| Side::new(through, &each))
                .collect(),
            each,
        }
    }

    /// Why it is no success, in one line.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        if self.paused_ahead < self.attacks || self.kept < self.attacks {
            let lost = self.each.iter().find(|attack| !attack.ahead || !attack.kept);
            let note = lost.map_or("", |attack| attack.note.as_str());
            return Some(format!(
                "of {} attacks {} were paused ahead and {} vaults kept their funds: {note}",
                self.attacks, self.paused_ahead, self.kept
            ));
        }
        (self.unwatched_lost < self.unwatched_attacks).then(|| {
            format!(
                "only {} of {} attacks without Portcullis succeeded: the race shows nothing",
                self.unwatched_lost, self.unwatched_attacks
            )
        })
    }

    /// For people.
    #[must_use]
    pub fn render(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.set_header(["", "p50 ms", "p99 ms", "max ms", "share"]);
        let mut row = |name: &str, times: &Percentiles, share: Option<f64>| {
            table.add_row([
                name.to_owned(),
                format!("{:.1}", times.p50_ms),
                format!("{:.1}", times.p99_ms),
                format!("{:.1}", times.max_ms),
                share.map_or(String::new(), |share| format!("{:.0} %", share * 100.0)),
            ]);
        };
        row("seen to broadcast", &self.seen_to_broadcast, None);
        for part in &self.parts {
            row(&format!("  {}", part.name), &part.times, Some(part.share));
        }
        row("sent to broadcast", &self.sent_to_broadcast, None);
        row("sent to block", &self.sent_to_block, None);
        for side in self.sides.iter().filter(|_| self.sides.len() > 1) {
            let name = |what: &str| format!("{}: {what}", side.through);
            row(&name("seen to broadcast"), &side.seen_to_broadcast, None);
            row(&name("sent to pause in the pool"), &side.sent_to_pooled, None);
            row(&name("sent to block"), &side.sent_to_block, None);
        }
        format!(
            "{} attacks with Portcullis: {} paused ahead, {} vaults kept their funds\n\
             {} attacks without:         {} vaults lost their funds\n\n{table}\n",
            self.attacks, self.paused_ahead, self.kept, self.unwatched_attacks, self.unwatched_lost
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attack(total_ms: u64, ahead: bool) -> Attack {
        let mut attack = Attack {
            vault: Address::ZERO,
            through: if ahead { Through::Keepers } else { Through::Call },
            raid: B256::ZERO,
            tip: 1,
            block: Some(7),
            robbed: !ahead,
            pause: None,
            ahead,
            kept: ahead,
            sent_to_broadcast_ms: Some(total_ms + 5),
            sent_to_pooled_us: Some(total_ms * 1_000),
            sent_to_block_ms: 1_000,
            seen_to_broadcast_us: None,
            parts_us: None,
            note: "too late".to_owned(),
        };
        let ms = Duration::from_millis;
        attack.measured(&Latency {
            total: ms(total_ms),
            network: ms(total_ms / 2),
            engine: ms(total_ms / 4),
            signing: ms(total_ms / 8),
            storage: ms(total_ms / 8),
        });
        attack
    }

    #[test]
    fn shares_add_up_and_one_lost_vault_is_a_failure() {
        let good = RaceReport::new(Duration::from_secs(2), vec![attack(16, true), attack(32, true)], (2, 2));
        assert_eq!(good.failure(), None);
        let shares: Vec<f64> = good.parts.iter().map(|part| part.share).collect();
        assert_eq!(shares, [0.5, 0.25, 0.125, 0.125]);
        assert!((good.seen_to_broadcast.max_ms - 32.0).abs() < 0.1, "{good:?}");
        assert!(good.render().contains("2 paused ahead"), "{}", good.render());

        let bad = RaceReport::new(
            Duration::from_secs(2),
            vec![attack(16, true), attack(32, false)],
            (2, 2),
        );
        assert!(bad.failure().unwrap().contains("too late"));
        let [called, kept] = bad.sides.as_slice() else {
            panic!("{bad:?}")
        };
        assert_eq!((called.attacks, called.paused_ahead), (1, 0));
        assert_eq!((kept.attacks, kept.paused_ahead), (1, 1));
        assert!(
            bad.render().contains("keepers: sent to pause in the pool"),
            "{}",
            bad.render()
        );
        let idle = RaceReport::new(Duration::from_secs(2), vec![attack(16, true)], (2, 1));
        assert!(idle.failure().unwrap().contains("only 1 of 2"));
    }
}
