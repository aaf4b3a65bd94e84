//! The epoch of the embedded ledger: weights and stake in, incentive, dividends, permits and emission out.
//!
//! Incentive is the stake-weighted sum of the row-normalised weights of permitted, active validators, normalised to 1.
//! Miners share one half of the emission by incentive. Validators who have set weights share the other by stake, or all
//! permitted ones where nobody has; without any incentive the miners' half is theirs too, and without any validator
//! everything stays pending. Never more is paid than was pending.

use super::state::{OWNER_UID, Row};
use crate::ledger::Hyperparameters;

/// What the epoch knows of a neuron; its place is its uid.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Participant {
    /// RAO.
    pub stake: u64,
    /// Whether its last update is recent enough.
    pub active: bool,
    /// Whether it has had the permit since the last epoch.
    pub permit: bool,
    /// The weights it has set, empty without any.
    pub row: Row,
}

/// What the epoch gives a neuron.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Reward {
    /// Share of the miners' reward, 0 to 1.
    pub incentive_share: f64,
    /// The same of 65535, truncated.
    pub incentive: u16,
    /// Share of the validators' reward of 65535, truncated.
    pub dividends: u16,
    /// RAO.
    pub emission: u64,
    /// Whether it may set weights until the next epoch.
    pub validator_permit: bool,
}

/// What the epoch gives everybody.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// By uid.
    pub rewards: Vec<Reward>,
    /// RAO paid in all.
    pub paid: u64,
}

/// Runs an epoch in which `pending` RAO are to be shared.
pub fn run(participants: &[Participant], params: &Hyperparameters, pending: u64) -> Outcome {
    let incentives = incentives(participants);
    let dividends = dividends(participants, &incentives);
    let any_incentive = incentives.iter().any(|share| *share > 0.0);
    let any_dividend = dividends.iter().any(|stake| *stake > 0);
    let for_miners = if any_incentive { pending / 2 } else { 0 };
    let for_validators = if any_dividend { pending - for_miners } else { 0 };

    let total: u128 = dividends.iter().map(|stake| u128::from(*stake)).sum();
    let of_total = |stake: u64, whole: u64| -> u64 {
        let share = (u128::from(whole) * u128::from(stake)).checked_div(total).unwrap_or(0);
        u64::try_from(share).unwrap_or(whole)
    };
    let mut left = for_miners;
    let rewards: Vec<Reward> = incentives
        .iter()
        .zip(&dividends)
        .zip(permits(participants, params))
        .map(|((share, stake), validator_permit)| {
            // The shares' floating-point sum may exceed 1 by a rounding error; what is paid never exceeds what there is.
            let mined = truncated(share * lossy(for_miners)).min(left);
            left -= mined;
            Reward {
                incentive_share: *share,
                incentive: u16::try_from(truncated(share * f64::from(u16::MAX))).unwrap_or(u16::MAX),
                dividends: u16::try_from(of_total(*stake, u64::from(u16::MAX))).unwrap_or(u16::MAX),
                emission: mined + of_total(*stake, for_validators),
                validator_permit,
            }
        })
        .collect();
    let paid = rewards.iter().map(|reward| reward.emission).sum();
    Outcome { rewards, paid }
}

/// Each neuron's incentive, 0 to 1; they sum to 1, or are all 0 where no counting validator has set a weight.
fn incentives(participants: &[Participant]) -> Vec<f64> {
    let total_stake: f64 = counting(participants)
        .map(|(_, validator)| lossy(validator.stake))
        .sum();
    let mut ranks = vec![0.0; participants.len()];
    for (uid, validator) in counting(participants) {
        let entries = || validator.row.iter().filter(move |(target, _)| counts(uid, *target));
        let sum: f64 = entries().map(|(_, value)| f64::from(*value)).sum();
        if sum > 0.0 {
            for (target, value) in entries() {
                if let Some(rank) = ranks.get_mut(usize::from(*target)) {
                    *rank += lossy(validator.stake) / total_stake * f64::from(*value) / sum;
                }
            }
        }
    }
    let sum: f64 = ranks.iter().sum();
    if sum > 0.0 {
        for rank in &mut ranks {
            *rank = (*rank / sum).min(1.0);
        }
    }
    ranks
}

/// A weight on oneself does not count, but for the owner's.
fn counts(uid: usize, target: u16) -> bool {
    uid != usize::from(target) || target == OWNER_UID
}

/// Validators whose opinion counts: permitted, active, with stake.
fn counting(participants: &[Participant]) -> impl Iterator<Item = (usize, &Participant)> {
    participants
        .iter()
        .enumerate()
        .filter(|(_, p)| p.permit && p.active && p.stake > 0)
}

/// The stake by which each neuron shares the validators' half.
fn dividends(participants: &[Participant], incentives: &[f64]) -> Vec<u64> {
    let has_said = |uid: usize, p: &Participant| p.row.iter().any(|(target, value)| *value > 0 && counts(uid, *target));
    let anybody_said = incentives.iter().any(|share| *share > 0.0);
    let mut shares = vec![0; participants.len()];
    for (uid, validator) in counting(participants).filter(|(uid, p)| !anybody_said || has_said(*uid, p)) {
        if let Some(share) = shares.get_mut(uid) {
            *share = validator.stake;
        }
    }
    shares
}

/// Who may set weights: the owner, and the highest stakes at or above the threshold, as many as are allowed.
///
/// Among equal stakes the higher uid goes first, as in Subtensor's stable ascending sort of which the head loses.
pub fn permits(participants: &[Participant], params: &Hyperparameters) -> Vec<bool> {
    let mut candidates: Vec<(u64, usize)> = participants
        .iter()
        .enumerate()
        .filter(|(_, p)| p.stake > 0 && p.stake >= params.stake_threshold)
        .map(|(uid, p)| (p.stake, uid))
        .collect();
    candidates.sort_unstable();
    let mut permits = vec![false; participants.len()];
    for (_, uid) in candidates.iter().rev().take(usize::from(params.max_allowed_validators)) {
        if let Some(permit) = permits.get_mut(*uid) {
            *permit = true;
        }
    }
    if let Some(owner) = permits.get_mut(usize::from(OWNER_UID)) {
        *owner = true;
    }
    permits
}

/// RAO as a float: exact to 2^53, beyond that to 16 digits, which is all a share needs.
#[allow(clippy::cast_precision_loss, reason = "said above")]
fn lossy(amount: u64) -> f64 {
    amount as f64
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "truncating is the rule; never negative"
)]
fn truncated(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::Arc;

    fn validator(stake: u64, row: &[(u16, u16)]) -> Participant {
        Participant {
            stake,
            active: true,
            permit: true,
            row: Arc::new(row.to_vec()),
        }
    }
    fn miner() -> Participant {
        Participant {
            active: true,
            ..Participant::default()
        }
    }
    fn params() -> Hyperparameters {
        Hyperparameters {
            stake_threshold: 100,
            max_allowed_validators: 2,
            ..Hyperparameters::default()
        }
    }

    #[test]
    fn incentive_is_the_stake_weighted_sum_of_normalised_rows() {
        // The owner, two validators of stake 300 and 100, two miners. The first splits 3:1, the second gives all to
        // the second miner: 0.75 * 0.75 = 0.5625 and 0.75 * 0.25 + 0.25 = 0.4375.
        let world = [
            miner(),
            validator(300, &[(3, 65535), (4, 21845)]),
            validator(100, &[(4, 65535)]),
            miner(),
            miner(),
        ];
        let outcome = run(&world, &params(), 1_000);
        let shares: Vec<f64> = outcome.rewards.iter().map(|r| r.incentive_share).collect();
        assert_eq!(shares, [0.0, 0.0, 0.0, 0.5625, 0.4375]);
        let incentives: Vec<u16> = outcome.rewards.iter().map(|r| r.incentive).collect();
        assert_eq!(incentives, [0, 0, 0, 36863, 28671]);
        let dividends: Vec<u16> = outcome.rewards.iter().map(|r| r.dividends).collect();
        assert_eq!(dividends, [0, 49151, 16383, 0, 0]);
        // 500 to miners: 281.25 and 218.75, truncated; 500 to validators: 375 and 125. 1 RAO stays pending.
        let emissions: Vec<u64> = outcome.rewards.iter().map(|r| r.emission).collect();
        assert_eq!(emissions, [0, 375, 125, 281, 218]);
        assert_eq!(outcome.paid, 999);
    }

    #[test]
    fn opinions_without_permit_activity_or_stake_do_not_count() {
        let silent = [
            Participant {
                permit: false,
                ..validator(300, &[(4, 1)])
            },
            Participant {
                active: false,
                ..validator(300, &[(4, 1)])
            },
            Participant {
                stake: 0,
                ..validator(300, &[(4, 1)])
            },
            validator(1, &[(5, 1)]),
            miner(),
            miner(),
        ];
        let shares: Vec<f64> = run(&silent, &params(), 0)
            .rewards
            .iter()
            .map(|r| r.incentive_share)
            .collect();
        assert_eq!(shares, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn a_weight_on_oneself_does_not_count_but_for_the_owners() {
        let shares = |world: &[Participant]| -> Vec<f64> {
            run(world, &params(), 0)
                .rewards
                .iter()
                .map(|r| r.incentive_share)
                .collect()
        };
        assert_eq!(
            shares(&[miner(), validator(100, &[(1, 65535), (2, 1)]), miner()]),
            [0.0, 0.0, 1.0]
        );
        assert_eq!(
            shares(&[miner(), validator(100, &[(1, 65535)]), miner()]),
            [0.0, 0.0, 0.0]
        );
        assert_eq!(shares(&[validator(100, &[(0, 65535)]), miner()]), [1.0, 0.0]);
    }

    #[test]
    fn without_incentive_everything_goes_to_validators_and_without_validators_it_stays() {
        let world = [miner(), validator(100, &[]), validator(300, &[]), miner()];
        let outcome = run(&world, &params(), 1_000);
        assert_eq!(
            outcome.rewards.iter().map(|r| r.emission).collect::<Vec<_>>(),
            [0, 250, 750, 0]
        );
        assert_eq!(run(&[miner(), miner()], &params(), 1_000).paid, 0);
    }

    #[test]
    fn who_says_nothing_earns_nothing_while_others_speak() {
        let world = [miner(), validator(100, &[(3, 9)]), validator(900, &[]), miner()];
        let outcome = run(&world, &params(), 1_000);
        assert_eq!(
            outcome.rewards.iter().map(|r| r.emission).collect::<Vec<_>>(),
            [0, 500, 0, 500]
        );
    }

    #[test]
    fn permits_go_to_the_highest_stakes_and_to_the_owner() {
        let stakes = |stakes: &[u64]| -> Vec<bool> {
            let world: Vec<_> = stakes
                .iter()
                .map(|s| Participant {
                    stake: *s,
                    ..Participant::default()
                })
                .collect();
            permits(&world, &params())
        };
        assert_eq!(stakes(&[0, 100, 300, 200]), [true, false, true, true]);
        assert_eq!(
            stakes(&[0, 99, 100, 0]),
            [true, false, true, false],
            "the threshold itself is enough"
        );
        assert_eq!(
            stakes(&[0, 200, 200, 200]),
            [true, false, true, true],
            "of equals the lowest uid loses"
        );
        assert_eq!(stakes(&[]), [false; 0]);
    }

    fn any_participants() -> impl Strategy<Value = Vec<Participant>> {
        let row = proptest::collection::btree_map(0u16..12, any::<u16>(), 0..12);
        let one = (0u64..=u64::MAX / 16, any::<bool>(), any::<bool>(), row).prop_map(|(stake, active, permit, row)| {
            Participant {
                stake,
                active,
                permit,
                row: Arc::new(row.into_iter().collect()),
            }
        });
        proptest::collection::vec(one, 1..12)
    }

    proptest! {
        #[test]
        fn never_more_is_paid_than_was_pending_and_incentives_sum_to_one(world in any_participants(), pending: u64) {
            let outcome = run(&world, &params(), pending);
            prop_assert!(outcome.paid <= pending);
            prop_assert_eq!(outcome.rewards.len(), world.len());
            let sum: f64 = outcome.rewards.iter().map(|r| r.incentive_share).sum();
            prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9, "{sum}");
            let permitted = outcome.rewards.iter().skip(1).filter(|r| r.validator_permit).count();
            prop_assert!(permitted <= 2);
        }

        #[test]
        fn only_the_ratio_of_stakes_counts(world in any_participants(), factor in 2u64..16) {
            let small: Vec<_> = world.iter().map(|p| Participant { stake: p.stake >> 20, ..p.clone() }).collect();
            let large: Vec<_> = small.iter().map(|p| Participant { stake: p.stake * factor, ..p.clone() }).collect();
            for (a, b) in run(&small, &params(), 1 << 40).rewards.iter().zip(run(&large, &params(), 1 << 40).rewards) {
                prop_assert!((a.incentive_share - b.incentive_share).abs() < 1e-9);
                prop_assert_eq!(a.dividends, b.dividends);
            }
        }
    }
}
