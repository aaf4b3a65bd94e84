//! What a node's verdicts make of its bounty.

use alloy::primitives::U256;

use super::measure::Measured;
use super::terms::{BPS, Terms};

/// What one auditor says of one peer in one epoch of the peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The peer.
    pub subject: u32,
    /// Its epoch.
    pub epoch: u32,
    /// Intervals in which it did not serve.
    pub failed: u32,
    /// Intervals in which the auditor measured at all.
    pub known: u32,
    /// Microseconds; [`NO_LATENCY`](super::measure::NO_LATENCY) when nothing was answered.
    pub latency: u32,
}

impl Verdict {
    /// Says what was measured.
    pub fn new(subject: u32, epoch: u32, measured: &Measured) -> Self {
        Self {
            subject,
            epoch,
            failed: measured.failed,
            known: measured.known,
            latency: measured.verdict_latency(),
        }
    }

    /// Downtime as if the auditor had known every interval: what it does not know is like what it knows.
    pub fn downtime(&self, terms: &Terms) -> u32 {
        let scaled = u64::from(self.failed) * u64::from(terms.intervals());
        let downtime = scaled.checked_div(self.known.into()).unwrap_or(0);
        u32::try_from(downtime).unwrap_or(u32::MAX)
    }
}

/// The upper median: the element at half the length when sorted. 0 when there is none; whoever asks knows how many there are.
pub fn median(values: impl IntoIterator<Item = u32>) -> u32 {
    let mut values: Vec<u32> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}

/// Whether a verdict is so near the median that its auditor did its duty: as near as downtime that costs nothing.
pub fn agrees(terms: &Terms, downtime: u32, median_downtime: u32) -> bool {
    downtime.abs_diff(median_downtime) <= terms.tolerated()
}

/// What a claim gives, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settlement {
    /// The median downtime, in intervals, without what a late claim adds.
    pub downtime: u32,
    /// The median latency, in microseconds.
    pub latency: u32,
    /// Intervals that a late claim adds.
    pub late: u32,
    /// Verdicts that count, ..
    pub verdicts: u32,
    /// .. of so many auditors.
    pub group_size: u32,
    /// Whether they are enough. Without them there is no bounty.
    pub quorum: bool,
    /// Whether the node's stake is at least the minimum.
    pub staked: bool,
    /// The node's own verdicts that were due ..
    pub owed: u32,
    /// .. and those among them that were sent and agreed with the median.
    pub kept: u32,
    /// Base units before any reduction.
    pub maximum: u128,
    /// Base units that are paid.
    pub bounty: u128,
}

/// What is left of `settlement.maximum`, from all else in it, in base units. Each step rounds as the contract does.
///
/// Above the tolerance the whole downtime is charged, not the excess.
pub fn bounty(terms: &Terms, settlement: &Settlement) -> u128 {
    if !settlement.quorum {
        return 0;
    }
    let part = |amount: U256, numerator: u64, denominator: u64| {
        (amount * U256::from(numerator))
            .checked_div(U256::from(denominator))
            .unwrap_or_default()
    };
    let mut left = U256::from(settlement.maximum);
    let intervals = u64::from(terms.intervals());
    let down = u64::from(settlement.downtime) + u64::from(settlement.late);
    if down > u64::from(terms.tolerated()) {
        left = if down >= intervals {
            U256::ZERO
        } else {
            left - part(left, down, intervals)
        };
    }
    if settlement.latency > terms.allowable_latency {
        left = part(left, terms.allowable_latency.into(), settlement.latency.into());
    }
    if !settlement.staked {
        left /= U256::from(2);
    }
    if settlement.owed > 0 {
        let missed = u64::from(settlement.owed.saturating_sub(settlement.kept));
        let all = u64::from(BPS) * u64::from(settlement.owed);
        left -= part(left, u64::from(terms.duty_bps) * missed, all);
    }
    left.saturating_to()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: u128 = 1_000_000_000_000_000_000;

    /// A hundred tokens, everything in order.
    fn perfect() -> Settlement {
        Settlement {
            downtime: 0,
            latency: 0,
            late: 0,
            verdicts: 24,
            group_size: 24,
            quorum: true,
            staked: true,
            owed: 24,
            kept: 24,
            maximum: 100 * WHOLE,
            bounty: 0,
        }
    }

    fn paid(change: impl FnOnce(&mut Settlement)) -> u128 {
        let mut settlement = perfect();
        change(&mut settlement);
        bounty(&Terms::default(), &settlement)
    }

    #[test]
    fn sk_10_medians_are_taken_apart() {
        assert_eq!((median([10, 10, 100]), median([0, 50, 40])), (10, 40));
        assert_eq!(median([4, 1, 3, 2]), 3, "the upper one of an even number");
        assert_eq!(median([]), 0);
    }

    #[test]
    fn sk_11_the_whole_downtime_is_charged_above_a_thirtieth() {
        let whole = 100 * WHOLE;
        for (downtime, expected) in [
            (287, whole),
            (288, whole - whole * 288 / 8_628),
            (431, whole - whole * 431 / 8_628),
            (863, whole - whole * 863 / 8_628),
            (8_627, whole - whole * 8_627 / 8_628),
            (8_628, 0),
            (u32::MAX, 0),
        ] {
            assert_eq!(paid(|it| it.downtime = downtime), expected, "{downtime}");
        }
        // The specification's percentages.
        for (downtime, thousandths) in [(288, 96_662), (431, 95_005), (863, 89_998)] {
            assert_eq!(
                (paid(|it| it.downtime = downtime) + WHOLE / 2_000) * 1_000 / WHOLE,
                thousandths,
                "{downtime}"
            );
        }
    }

    #[test]
    fn sk_12_late_intervals_are_downtime() {
        assert_eq!(
            paid(|it| (it.downtime, it.late) = (286, 2)),
            paid(|it| it.downtime = 288)
        );
        assert_eq!(paid(|it| (it.downtime, it.late) = (285, 2)), 100 * WHOLE);
    }

    #[test]
    fn sk_13_twice_the_latency_is_half_the_bounty() {
        assert_eq!(paid(|it| it.latency = 150_000), 100 * WHOLE);
        assert_eq!(paid(|it| it.latency = 150_001), 100 * WHOLE * 150_000 / 150_001);
        assert_eq!(paid(|it| it.latency = 300_000), 50 * WHOLE);
    }

    #[test]
    fn too_few_verdicts_pay_nothing() {
        assert_eq!(paid(|it| it.quorum = false), 0);
    }

    #[test]
    fn too_little_stake_pays_half_and_missed_verdicts_cost_a_fifth() {
        assert_eq!(paid(|it| it.staked = false), 50 * WHOLE);
        assert_eq!(paid(|it| it.kept = 0), 80 * WHOLE);
        assert_eq!(paid(|it| it.kept = 12), 90 * WHOLE);
        assert_eq!(paid(|it| (it.owed, it.kept) = (0, 0)), 100 * WHOLE);
    }

    #[test]
    fn what_is_not_known_is_like_what_is() {
        let terms = Terms::default();
        let verdict = |failed, known| Verdict {
            subject: 1,
            epoch: 1,
            failed,
            known,
            latency: 0,
        };
        assert_eq!(verdict(288, 8_628).downtime(&terms), 288);
        assert_eq!(verdict(144, 4_314).downtime(&terms), 288);
        assert_eq!(verdict(0, 0).downtime(&terms), 0);
        assert_eq!(verdict(1, 1).downtime(&terms), 8_628);
    }

    proptest! {
        /// Nothing raises a bounty above its maximum, and nothing that is worse pays more.
        #[test]
        fn worse_never_pays_more(
            downtime in 0_u32..9_000,
            latency in 0_u32..1_000_000,
            late in 0_u32..100,
            (owed, kept) in (1_u32..100).prop_flat_map(|owed| (Just(owed), 0..=owed)),
            maximum in 0_u128..1 << 100,
        ) {
            let terms = Terms::default();
            let base = Settlement { downtime, latency, late, owed, kept, maximum, ..perfect() };
            let paid = bounty(&terms, &base);
            prop_assert!(paid <= maximum);
            for worse in [
                Settlement { downtime: downtime + 1, ..base },
                Settlement { latency: latency + 1, ..base },
                Settlement { late: late + 1, ..base },
                Settlement { owed: owed + 1, ..base },
                Settlement { staked: false, ..base },
                Settlement { quorum: false, ..base },
            ] {
                prop_assert!(bounty(&terms, &worse) <= paid);
            }
        }

        /// As long as more than half tell the truth, the median is one of theirs: no minority moves it out of their range.
        #[test]
        fn a_minority_cannot_move_the_median(
            honest in prop::collection::vec(100_u32..200, 3..20),
            lies in prop::collection::vec(any::<u32>(), 0..20),
        ) {
            let lies: Vec<u32> = lies.into_iter().take(honest.len() - 1).collect();
            let median = median(honest.iter().chain(&lies).copied());
            prop_assert!((100..200).contains(&median));
        }
    }
}
