//! What holds of every epoch, whatever stakes, weights and bonds go in: Yuma 2, Yuma 3, and Yuma 3 with liquid rates.

use chain::yuma::{Input, Output, alpha_bits, run};
use proptest::collection::vec;
use proptest::prelude::*;

/// 1 as bits of I32F32.
const ONE: i64 = 1 << 32;
const BLOCK: u64 = 1_000;
const CUTOFF: u64 = 500;

type Row = Vec<(u16, u16)>;

/// An epoch's input that owns its rows.
#[derive(Debug, Clone)]
struct Case {
    stake: Vec<u64>,
    threshold: u64,
    permits: Vec<bool>,
    last_update: Vec<u64>,
    registered_at: Vec<u64>,
    weights: Vec<Row>,
    bonds: Vec<Row>,
    commits: Vec<u64>,
    most_permits: u16,
    kappa: u16,
    penalty: u16,
    moving_average: u64,
    yuma3: bool,
    liquid_alpha: bool,
    commit_reveal: bool,
    owner: Option<u16>,
    emission: u64,
}

impl Case {
    fn run(&self) -> Output {
        run(&Input {
            block: BLOCK,
            tempo: 100,
            activity_cutoff: CUTOFF,
            last_mechanism_step_block: 900,
            last_update: self.last_update.clone(),
            block_at_registration: self.registered_at.clone(),
            total_stake: self.stake.clone(),
            stake_threshold: self.threshold,
            validator_permit: self.permits.clone(),
            max_allowed_validators: self.most_permits,
            weights: self.weights.iter().map(Vec::as_slice).collect(),
            bonds: self.bonds.iter().map(Vec::as_slice).collect(),
            kappa: self.kappa,
            bonds_moving_average: self.moving_average,
            bonds_penalty: self.penalty,
            yuma3: self.yuma3,
            liquid_alpha: self.liquid_alpha,
            alpha_low_bits: alpha_bits(45_875),
            alpha_high_bits: alpha_bits(58_982),
            alpha_sigmoid_steepness: 1_000,
            commit_reveal: self.commit_reveal,
            commit_blocks: self.commits.clone(),
            owner_uid: self.owner,
            emission: self.emission,
        })
    }

    fn n(&self) -> usize {
        self.stake.len()
    }

    fn is_owner(&self, uid: usize) -> bool {
        self.owner.is_some_and(|owner| usize::from(owner) == uid)
    }

    /// Whether the uid's weights can count at all.
    fn votes(&self, uid: usize) -> bool {
        (self.permits[uid] || self.is_owner(uid)) && self.last_update[uid] + CUTOFF >= BLOCK
    }
}

fn rows(n: usize) -> impl Strategy<Value = Vec<Row>> {
    // Each row in any order, no uid twice, zeros among the values; values small enough to be multiplied by 257.
    let value = prop_oneof![1 => Just(0u16), 6 => 1..=255u16];
    let row = (
        Just((0..n as u16).collect::<Vec<u16>>()).prop_shuffle(),
        vec(value, n),
        0..=n,
    );
    vec(
        row.prop_map(|(uids, values, length)| uids.into_iter().zip(values).take(length).collect::<Row>()),
        n,
    )
}

prop_compose! {
    fn neurons(n: usize)(
        // Distinct stakes: who gets the last permit does not hang on the uid then.
        stake in prop::collection::btree_set(0u64..1_000_000_000_000, n)
            .prop_map(|set| set.into_iter().collect::<Vec<u64>>()).prop_shuffle(),
        permits in vec(prop::bool::weighted(0.7), n),
        last_update in vec(prop_oneof![4 => 500u64..=1_000, 1 => 0u64..500], n),
        registered_at in vec(prop_oneof![4 => 0u64..500, 1 => 500u64..=1_000], n),
        commits in vec(prop_oneof![1 => Just(u64::MAX), 1 => 0u64..=1_000], n),
        weights in rows(n),
        bonds in rows(n),
    ) -> Case {
        Case {
            stake, permits, last_update, registered_at, commits, weights, bonds,
            threshold: 0, most_permits: 0, kappa: 0, penalty: 0, moving_average: 0, yuma3: false, liquid_alpha: false,
            commit_reveal: false, owner: None, emission: 0,
        }
    }
}

prop_compose! {
    fn any_case()(n in 1usize..14)(
        neurons in neurons(n),
        threshold in prop_oneof![2 => Just(0u64), 1 => 0u64..1_000_000_000_000],
        most_permits in 0..=n as u16 + 1,
        kappa in prop_oneof![3 => Just(32_767u16), 1 => any::<u16>()],
        penalty in prop_oneof![Just(0u16), Just(u16::MAX), any::<u16>()],
        moving_average in 0u64..=1_000_000,
        (yuma3, liquid_alpha, commit_reveal) in any::<(bool, bool, bool)>(),
        owner in prop::option::of(0..n as u16),
        emission in 0u64..=1_000_000_000_000,
    ) -> Case {
        Case {
            threshold, most_permits, kappa, penalty, moving_average, yuma3, liquid_alpha, commit_reveal, owner, emission,
            ..neurons
        }
    }
}

fn sum(values: &[i64]) -> i64 {
    values.iter().sum()
}

/// Shares that were normalised last: together 1, or less by no more than a bit for each; or all nothing.
fn is_whole(bits: &[i64]) -> bool {
    let total = sum(bits);
    bits.iter().all(|bits| (0..=ONE).contains(bits)) && (total == 0 || (ONE - bits.len() as i64..=ONE).contains(&total))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn only_the_proportions_of_stake_count(case in any_case(), times in 1u64..=100_000) {
        let scaled = Case {
            stake: case.stake.iter().map(|stake| stake * times).collect(),
            threshold: case.threshold * times,
            ..case.clone()
        };
        prop_assert_eq!(scaled.run(), case.run());
    }

    #[test]
    fn only_the_proportions_of_a_row_count(case in any_case(), times in 1u16..=257) {
        let scaled = |rows: &[Row]| -> Vec<Row> {
            rows.iter().map(|row| row.iter().map(|(uid, value)| (*uid, value * times)).collect()).collect()
        };
        let scaled = Case { weights: scaled(&case.weights), ..case.clone() };
        prop_assert_eq!(scaled.run(), case.run());
    }

    #[test]
    fn without_weights_there_is_no_incentive_and_emission_goes_by_stake(case in any_case()) {
        let silent = Case { weights: vec![vec![]; case.n()], bonds: vec![vec![]; case.n()], ..case };
        let output = silent.run();
        prop_assert!(output.incentive.iter().chain(&output.dividends).chain(&output.consensus).all(|share| *share == 0));
        prop_assert!(output.server_emission.iter().all(|rao| *rao == 0));
        for uid in 0..silent.n() {
            let counts = silent.stake[uid] >= silent.threshold || silent.is_owner(uid);
            if silent.stake[uid] == 0 || !counts {
                prop_assert_eq!(output.emission[uid], 0, "a miner without stake gets nothing");
            }
        }
    }

    #[test]
    fn whom_nobody_weighs_earns_no_incentive(case in any_case()) {
        let output = case.run();
        for uid in 0..case.n() {
            let weighed = (0..case.n()).any(|from| {
                case.votes(from) && case.weights[from].iter().any(|(to, value)| usize::from(*to) == uid && *value > 0)
            });
            if !weighed {
                prop_assert_eq!(output.bits.incentive[uid], 0);
                prop_assert_eq!(output.server_emission[uid], 0);
            }
        }
    }

    #[test]
    fn what_is_shared_is_what_there_was(case in any_case()) {
        let output = case.run();
        let n = case.n() as u64;
        for shares in [&output.bits.incentive, &output.bits.dividends] {
            prop_assert!(is_whole(shares), "{:?}", shares);
        }
        for shares in [&output.incentive, &output.dividends] {
            let total: u64 = shares.iter().map(|share| u64::from(*share)).sum();
            prop_assert!(total == 0 || (65_535 - n..=65_535).contains(&total), "{:?}", shares);
        }
        // Truncation keeps back less than a RAO for each payment, and a bit of 2^-32 for each share before.
        let kept_back = 2 * n + case.emission.div_ceil(1 << 32) * 4 * n;
        let parts: u64 = output.server_emission.iter().chain(&output.validator_emission).sum();
        let together: u64 = output.emission.iter().sum();
        let staked = output.bits.stake.iter().any(|share| *share > 0);
        for paid in [parts, together] {
            prop_assert!(paid <= case.emission);
            prop_assert!(!staked || paid + kept_back >= case.emission, "{} of {}", paid, case.emission);
        }
    }

    #[test]
    fn shares_permits_and_bonds_stay_in_their_bounds(case in any_case()) {
        let output = case.run();
        let permits = output.validator_permit.iter().filter(|permit| **permit).count();
        prop_assert!(permits <= usize::from(case.most_permits) + 1);
        for uid in 0..case.n() {
            prop_assert!((0..=ONE).contains(&output.bits.consensus[uid]));
            prop_assert!((0..=ONE).contains(&output.bits.validator_trust[uid]));
            prop_assert!(output.validator_permit[uid] || output.bonds[uid].is_empty());
            prop_assert!(!output.validator_permit[uid] || output.bits.stake[uid] > 0 || case.is_owner(uid));
            if !case.votes(uid) {
                prop_assert!(!case.yuma3 || output.bits.dividends[uid] == 0, "Yuma 3 pays active stake only");
            }
        }
    }

    #[test]
    fn weights_of_whom_has_no_permit_and_weights_on_oneself_count_for_nothing(case in any_case()) {
        let honest = Case {
            weights: (0..case.n())
                .map(|uid| match case.permits[uid] || case.is_owner(uid) {
                    true if case.is_owner(uid) => case.weights[uid].clone(),
                    true => case.weights[uid].iter().copied().filter(|(to, _)| usize::from(*to) != uid).collect(),
                    false => vec![],
                })
                .collect(),
            ..case.clone()
        };
        prop_assert_eq!(honest.run(), case.run());
    }

    #[test]
    fn silence_past_the_cutoff_takes_a_validator_out_of_the_consensus(case in any_case(), who in any::<prop::sample::Index>()) {
        let who = who.index(case.n());
        let mut silent = case;
        silent.last_update[who] = BLOCK - CUTOFF - 1;
        let mut mute = silent.clone();
        mute.weights[who].clear();
        let (silent, mute) = (silent.run(), mute.run());
        prop_assert_eq!(silent.bits.consensus, mute.bits.consensus);
        prop_assert_eq!(silent.bits.incentive, mute.bits.incentive);
    }

    #[test]
    fn what_a_minority_alone_says_counts_for_nothing(case in any_case(), whom in any::<prop::sample::Index>()) {
        // Yuma's promise: a miner that less than kappa of the active stake stands behind gets nothing, however much they give it.
        let whom = whom.index(case.n());
        let case = Case { kappa: 32_767, ..case };
        let stands_behind = |uid: usize| case.weights[uid].iter().any(|(to, value)| usize::from(*to) == whom && *value > 0);
        let counted = |uid: usize| match case.stake[uid] {
            stake if stake >= case.threshold || case.is_owner(uid) => u128::from(stake),
            _ => 0,
        };
        let of = |test: &dyn Fn(usize) -> bool| -> u128 {
            (0..case.n()).filter(|uid| case.votes(*uid) && test(*uid)).map(counted).sum()
        };
        let (behind, all) = (of(&|uid| stands_behind(uid)), of(&|_| true));
        // A millionth of the stake is left to rounding.
        prop_assume!(all > 0 && behind * 1_000_000 < all * 499_990);
        let output = case.run();
        prop_assert_eq!(output.bits.consensus[whom], 0);
        prop_assert_eq!(output.bits.incentive[whom], 0);
    }

    #[test]
    fn uids_are_only_names(case in any_case(), seed in any::<u64>()) {
        // A drawn permutation: place[old] = new.
        let n = case.n();
        let mut place: Vec<usize> = (0..n).collect();
        place.sort_by_key(|uid| (*uid as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
        fn moved<T: Clone + Default>(values: &[T], place: &[usize]) -> Vec<T> {
            let mut moved = vec![T::default(); values.len()];
            for (old, value) in values.iter().enumerate() {
                moved[place[old]] = value.clone();
            }
            moved
        }
        let renamed = |rows: &[Row]| -> Vec<Row> {
            let rows: Vec<Row> = rows
                .iter()
                .map(|row| {
                    let mut row: Row = row.iter().map(|(to, value)| (place[usize::from(*to)] as u16, *value)).collect();
                    row.sort_unstable();
                    row
                })
                .collect();
            moved(&rows, &place)
        };
        // Rows in the order of their uids: a liquid rate reads a row in one pass, and what stands out of order is passed over.
        let sorted = |rows: &[Row]| -> Vec<Row> {
            rows.iter().map(|row| { let mut row = row.clone(); row.sort_unstable(); row }).collect()
        };
        let case = Case { weights: sorted(&case.weights), bonds: sorted(&case.bonds), ..case };
        let other = Case {
            stake: moved(&case.stake, &place),
            permits: moved(&case.permits, &place),
            last_update: moved(&case.last_update, &place),
            registered_at: moved(&case.registered_at, &place),
            commits: moved(&case.commits, &place),
            weights: renamed(&case.weights),
            bonds: renamed(&case.bonds),
            owner: case.owner.map(|owner| place[usize::from(owner)] as u16),
            ..case.clone()
        };
        let (one, other) = (case.run(), other.run());
        prop_assert_eq!(moved(&one.bits.consensus, &place), other.bits.consensus);
        prop_assert_eq!(moved(&one.bits.incentive, &place), other.bits.incentive);
        prop_assert_eq!(moved(&one.bits.dividends, &place), other.bits.dividends);
        prop_assert_eq!(moved(&one.emission, &place), other.emission);
        prop_assert_eq!(moved(&one.validator_permit, &place), other.validator_permit);
    }
}
