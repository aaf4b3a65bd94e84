//! When, after a new head, what is sent: a rule over numbers.
//!
//! What always holds: nothing is sent so late that a block is made before anybody could judge it, as far as heads tell when blocks are
//! made. On a busy machine they are seen late, some more and some less.

use std::collections::VecDeque;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

use crate::scenario::replace::Reason;

/// The part of a block's time in which its transactions are sent; the rest is for the network to judge the last of them.
const SENDING: f64 = 0.6;
/// How much of a block's time after a transaction its replacement comes.
const REGRET_AFTER: f64 = 0.1;
/// One transaction of so many is replaced.
const REPLACED: u32 = 10;

/// From this part of a block's time on nothing is sent: it waits for the next head.
const LATEST: f64 = 0.75;
/// Heads by which the next one is expected: a chain whose blocks take a little longer than they should is kept up with.
const HEADS: usize = 4;
/// A head counts as seen at most this part of a block's time late.
const LATE_AT_MOST: f64 = 0.5;

/// When a chain makes its blocks, by when its heads were seen: one may be seen late, and none too early.
#[derive(Debug, Default)]
pub(crate) struct Beat(VecDeque<(u64, Instant)>);

impl Beat {
    /// Notes when the block `number` was seen; gives when it was made, which is as long after the others as it should be.
    pub(crate) fn made(&mut self, number: u64, seen: Instant, block_time: Duration) -> Instant {
        if self.0.len() >= HEADS {
            self.0.pop_front();
        }
        self.0.push_back((number, seen));
        let since = |earlier: u64| block_time * u32::try_from(number.saturating_sub(earlier)).unwrap_or(u32::MAX);
        let expected = self
            .0
            .iter()
            .filter_map(|(earlier, at)| at.checked_add(since(*earlier)));
        let soonest = expected.min().map_or(seen, |soonest| soonest.min(seen));
        let late = (seen - soonest).min(block_time.mul_f64(LATE_AT_MOST));
        seen - late
    }
}

/// Whether it is too late to send anything before the block after the one that was made then.
pub(crate) fn is_late(made: Instant, now: Instant, block_time: Duration) -> bool {
    now.saturating_duration_since(made) > block_time.mul_f64(LATEST)
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The transaction of this place is sent.
    Send(usize),
    /// The transaction of this place is replaced.
    Replace(usize, Reason),
}

/// The acts of one block of `count` transactions, each with its time after the head, in the order of time. `replaceable` says
/// which may be replaced.
pub(crate) fn schedule(
    count: usize,
    block_time: Duration,
    replaceable: impl Fn(usize) -> bool,
    rng: &mut impl Rng,
) -> Vec<(Duration, Act)> {
    let mut acts = Vec::with_capacity(count);
    for place in 0..count {
        let due = block_time.mul_f64(SENDING * place as f64 / count as f64);
        acts.push((due, Act::Send(place)));
        if rng.random_ratio(1, REPLACED) && replaceable(place) {
            let reason = if rng.random() { Reason::Hurry } else { Reason::Regret };
            acts.push((due + block_time.mul_f64(REGRET_AFTER), Act::Replace(place, reason)));
        }
    }
    acts.sort_by_key(|(due, _)| *due);
    acts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    use super::*;

    proptest! {
        #[test]
        fn all_is_sent_in_order_well_before_the_next_block_and_replaced_only_afterwards(
            count in 0_usize..200,
            millis in 200_u64..12_000,
            seed: u64,
        ) {
            let block_time = Duration::from_millis(millis);
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let acts = schedule(count, block_time, |place| place % 3 != 0, &mut rng);
            prop_assert!(acts.is_sorted_by_key(|(due, _)| *due));
            prop_assert!(acts.iter().all(|(due, _)| *due < block_time.mul_f64(0.71)));
            let sent: Vec<usize> =
                acts.iter().filter_map(|(_, act)| if let Act::Send(place) = act { Some(*place) } else { None }).collect();
            prop_assert_eq!(sent, (0..count).collect::<Vec<_>>());
            for (place, (_, act)) in acts.iter().enumerate() {
                if let Act::Replace(replaced, _) = act {
                    prop_assert!(replaced % 3 != 0);
                    prop_assert!(acts[..place].iter().any(|(_, act)| *act == Act::Send(*replaced)));
                }
            }
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_head_that_is_seen_late_was_made_when_it_should_have_been() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut beat = Beat::default();
        assert_eq!(beat.made(7, at(0), SECOND), at(0));
        assert_eq!(beat.made(8, at(1_300), SECOND), at(1_000));
        // It was the first one that was seen late.
        assert_eq!(beat.made(9, at(1_900), SECOND), at(1_900));
        // Two blocks later.
        assert_eq!(beat.made(11, at(4_100), SECOND), at(3_900));
    }

    #[test]
    fn a_chain_that_is_slower_than_it_says_leaves_time_to_send() {
        let start = Instant::now();
        let mut beat = Beat::default();
        for number in 0..20 {
            let seen = start + SECOND * 3 * u32::try_from(number).unwrap();
            let made = beat.made(number, seen, SECOND);
            assert!(!is_late(made, seen, SECOND), "block {number}");
        }
    }

    #[test]
    fn what_would_be_mined_before_it_could_be_judged_is_late() {
        let made = Instant::now();
        assert!(!is_late(made, made, SECOND) && !is_late(made + SECOND, made, SECOND));
        assert!(!is_late(made, made + SECOND.mul_f64(SENDING + REGRET_AFTER), SECOND));
        assert!(is_late(made, made + SECOND.mul_f64(0.8), SECOND));
    }

    #[test]
    fn about_a_tenth_is_replaced() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let acts = schedule(2_000, Duration::from_secs(2), |_| true, &mut rng);
        let replaced = acts.iter().filter(|(_, act)| matches!(act, Act::Replace(..))).count();
        assert!((120..280).contains(&replaced), "{replaced}");
    }
}
