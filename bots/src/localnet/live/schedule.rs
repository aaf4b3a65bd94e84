//! When, after a new head, what is sent: a rule over numbers.

use std::time::Duration;

use rand::Rng;

use crate::scenario::replace::Reason;

/// The part of a block's time in which its transactions are sent; the rest is for the network to judge the last of them.
const SENDING: f64 = 0.6;
/// How much of a block's time after a transaction its replacement comes.
const REGRET_AFTER: f64 = 0.1;
/// One transaction of so many is replaced.
const REPLACED: u32 = 10;

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

    #[test]
    fn about_a_tenth_is_replaced() {
        let mut rng = ChaCha20Rng::seed_from_u64(1);
        let acts = schedule(2_000, Duration::from_secs(2), |_| true, &mut rng);
        let replaced = acts.iter().filter(|(_, act)| matches!(act, Act::Replace(..))).count();
        assert!((120..280).contains(&replaced), "{replaced}");
    }
}
