//! Yuma consensus, exact to the bit: stake, weights and bonds in, incentive, dividends, permits and emission out.
//!
//! [`run`] is a pure function over plain values. It follows Subtensor's sparse epoch (spec 425, `epoch/run_epoch.rs` and
//! `epoch/math.rs`) step by step, in the same fixed-point numbers, Yuma 2 and Yuma 3, so that its results are those of the chain
//! in every bit. What is paid from them is in [`emission`], what a registration costs in [`burn`].

mod bonds;
pub mod burn;
mod consensus;
pub mod emission;
mod fixed;
mod matrix;

pub use bonds::alpha_bits;

use substrate_fixed::types::I96F32;

use self::fixed::{I32F32, ZERO, divide_all, normalise, proportion, stake_shares, sum, to_u16, top_nonzero};
use self::matrix::Matrix;

/// A row as it is stored: pairs of uid and value.
pub type StoredRow = [(u16, u16)];

/// Everything that an epoch depends on. Vectors are by uid and equally long; what is missing at the end counts as 0.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Input<'a> {
    /// The epoch's block.
    pub block: u64,
    /// Blocks between two epochs.
    pub tempo: u64,
    /// Blocks after its last update for which a neuron counts as active.
    pub activity_cutoff: u64,
    /// Block of the last epoch that ran; 0 before the first.
    pub last_mechanism_step_block: u64,
    /// Block at which each last set or committed weights.
    pub last_update: Vec<u64>,
    /// Block of each registration.
    pub block_at_registration: Vec<u64>,
    /// RAO.
    pub total_stake: Vec<u64>,
    /// RAO below which stake does not count.
    pub stake_threshold: u64,
    /// Who has had the permit since the last epoch.
    pub validator_permit: Vec<bool>,
    /// How many may have it from now on.
    pub max_allowed_validators: u16,
    /// Weights as they are stored.
    pub weights: Vec<&'a StoredRow>,
    /// Bonds as they are stored.
    pub bonds: Vec<&'a StoredRow>,
    /// Share of stake that makes a majority, of 65535.
    pub kappa: u16,
    /// Part of the old bonds that stays, in millionths.
    pub bonds_moving_average: u64,
    /// How far bonds follow the clipped weights, of 65535.
    pub bonds_penalty: u16,
    /// Yuma 3.
    pub yuma3: bool,
    /// Yuma 3 with liquid rates.
    pub liquid_alpha: bool,
    /// Least liquid rate, bits of I32F32 ([`alpha_bits`]).
    pub alpha_low_bits: i64,
    /// Greatest liquid rate, bits of I32F32.
    pub alpha_high_bits: i64,
    /// Steepness between the two, in hundredths.
    pub alpha_sigmoid_steepness: i16,
    /// Whether the subnet takes committed weights only.
    pub commit_reveal: bool,
    /// Block of each one's oldest open commit, `u64::MAX` without one. Looked at with `commit_reveal` only.
    pub commit_blocks: Vec<u64>,
    /// The owner: its permit is not in question, nor is its weight on itself.
    pub owner_uid: Option<u16>,
    /// RAO to share.
    pub emission: u64,
}

impl Input<'_> {
    /// Neurons.
    pub fn n(&self) -> usize {
        self.total_stake.len()
    }

    fn is_owner(&self, uid: usize) -> bool {
        self.owner_uid.is_some_and(|owner| usize::from(owner) == uid)
    }
}

/// What an epoch gives; all vectors are by uid.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Output {
    /// Whether the last update was recent enough to count.
    pub active: Vec<bool>,
    /// Share of the stake, of 65535.
    pub stake_weight: Vec<u16>,
    /// Stake-weighted median of the weights on each, of 65535.
    pub consensus: Vec<u16>,
    /// Share of the miners' reward, of 65535.
    pub incentive: Vec<u16>,
    /// Share of the validators' reward, of 65535.
    pub dividends: Vec<u16>,
    /// Share of each one's weights that the consensus left standing, of 65535.
    pub validator_trust: Vec<u16>,
    /// Emission scaled so that the highest is 65535: who is low is pruned first (older runtimes' `PruningScores`).
    pub pruning_scores: Vec<u16>,
    /// Permits until the next epoch.
    pub validator_permit: Vec<bool>,
    /// Bonds to store. A neuron that has and had no permit has none.
    pub bonds: Vec<Vec<(u16, u16)>>,
    /// RAO for incentive.
    pub server_emission: Vec<u64>,
    /// RAO for dividends.
    pub validator_emission: Vec<u64>,
    /// RAO by which a neuron is measured (the chain's `Emission`): its share of both together.
    pub emission: Vec<u64>,
    /// The shares before they were cut.
    pub bits: Bits,
}

/// Shares as bits of I32F32.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits {
    /// Of all stake above the threshold.
    pub stake: Vec<i64>,
    /// Consensus.
    pub consensus: Vec<i64>,
    /// Incentive.
    pub incentive: Vec<i64>,
    /// Dividends.
    pub dividends: Vec<i64>,
    /// Validator trust.
    pub validator_trust: Vec<i64>,
}

impl Bits {
    /// A share as a float, exactly.
    #[allow(clippy::cast_precision_loss, reason = "a share has at most 33 significant bits")]
    pub fn share(bits: i64) -> f64 {
        bits as f64 / 4_294_967_296.0
    }
}

/// Runs an epoch.
pub fn run(input: &Input<'_>) -> Output {
    let n = input.n();
    let value = |vector: &[u64], uid: usize| vector.get(uid).copied().unwrap_or(0);
    let active: Vec<bool> = (0..n)
        .map(|uid| value(&input.last_update, uid).saturating_add(input.activity_cutoff) >= input.block)
        .collect();

    // Stake and permits.
    let counted: Vec<u64> = input
        .total_stake
        .iter()
        .enumerate()
        .map(|(uid, stake)| match *stake {
            stake if stake < input.stake_threshold && !input.is_owner(uid) => 0,
            stake => stake,
        })
        .collect();
    let stake = stake_shares(&counted);
    let permitted = |uid: usize| input.is_owner(uid) || input.validator_permit.get(uid).copied().unwrap_or(false);
    let mut permits = top_nonzero(&stake, usize::from(input.max_allowed_validators));
    if let Some(owner) = input.owner_uid.and_then(|owner| permits.get_mut(usize::from(owner))) {
        *owner = true;
    }
    let mut active_stake: Vec<I32F32> = stake
        .iter()
        .zip(&active)
        .enumerate()
        .map(|(uid, (stake, active))| if *active && permitted(uid) { *stake } else { ZERO })
        .collect();
    normalise(&mut active_stake);

    let weights = counting_weights(input, permitted);
    let consensus = consensus::medians(&active_stake, &weights, n, proportion(input.kappa));
    let clipped = consensus::clip(&weights, &consensus);
    let validator_trust = matrix::row_sums(&clipped);
    let mut incentive = matrix::column_products(&clipped, &active_stake, n);
    normalise(&mut incentive);

    let for_bonds = matrix::interpolate(&weights, &clipped, n, proportion(input.bonds_penalty));
    let old_bonds = counting_bonds(input);
    let bonds = if input.yuma3 {
        bonds::per_pair(input, old_bonds, &for_bonds, &active_stake, &incentive, &consensus)
    } else {
        bonds::classic(input, old_bonds, &for_bonds, &active_stake, &incentive)
    };
    let dividends = bonds.dividends;

    // Emission.
    let mut combined: Vec<I32F32> = incentive
        .iter()
        .zip(&dividends)
        .map(|(incentive, dividend)| incentive.saturating_add(*dividend))
        .collect();
    let total = sum(&combined);
    let (mut servers, mut validators) = (incentive.clone(), dividends.clone());
    divide_all(&mut servers, total);
    divide_all(&mut validators, total);
    normalise(&mut combined);
    if total == ZERO {
        // Nobody has weighed anybody: stake alone counts, active stake where there is any.
        let by_stake = if sum(&active_stake) == ZERO {
            &stake
        } else {
            &active_stake
        };
        validators.clone_from(by_stake);
        combined.clone_from(by_stake);
    }
    let rao = I96F32::saturating_from_num(input.emission);
    let paid = |shares: &[I32F32]| -> Vec<u64> {
        shares
            .iter()
            .map(|share| {
                I96F32::saturating_from_num(*share)
                    .saturating_mul(rao)
                    .saturating_to_num()
            })
            .collect()
    };
    let stored = |shares: &[I32F32]| -> Vec<u16> { shares.iter().copied().map(to_u16).collect() };
    let bits = |shares: &[I32F32]| -> Vec<i64> { shares.iter().map(|share| share.to_bits()).collect() };
    Output {
        stake_weight: stored(&stake),
        consensus: stored(&consensus),
        incentive: stored(&incentive),
        dividends: stored(&dividends),
        validator_trust: stored(&validator_trust),
        pruning_scores: crate::weights::upscale_bits(&bits(&combined)),
        bonds: (0..n)
            .map(|uid| match permits.get(uid) {
                Some(true) => bonds.kept.get(uid).map(|row| stored_row(row)).unwrap_or_default(),
                _ => Vec::new(),
            })
            .collect(),
        server_emission: paid(&servers),
        validator_emission: paid(&validators),
        emission: paid(&combined),
        bits: Bits {
            stake: bits(&stake),
            consensus: bits(&consensus),
            incentive: bits(&incentive),
            dividends: bits(&dividends),
            validator_trust: bits(&validator_trust),
        },
        active,
        validator_permit: permits,
    }
}

fn stored_row(row: &[(u16, I32F32)]) -> Vec<(u16, u16)> {
    row.iter().map(|(column, value)| (*column, to_u16(*value))).collect()
}

fn rows(stored: &[&StoredRow], n: usize) -> Matrix {
    (0..n)
        .map(|uid| {
            let row = stored.get(uid).copied().unwrap_or_default();
            row.iter()
                .filter(|(column, _)| usize::from(*column) < n)
                .map(|(column, value)| (*column, I32F32::from_num(*value)))
                .collect()
        })
        .collect()
}

/// The weights that count, each row of sum 1: those of permitted validators, on others, set after the other registered, and with
/// commit-reveal committed no earlier than that.
fn counting_weights(input: &Input<'_>, permitted: impl Fn(usize) -> bool) -> Matrix {
    let registered = |column: u16| {
        let blocks = &input.block_at_registration;
        blocks.get(usize::from(column)).copied().unwrap_or(0)
    };
    let mut weights = rows(&input.weights, input.n());
    matrix::retain(&mut weights, |row, column| {
        let updated = input.last_update.get(row).copied().unwrap_or(0);
        let committed = input.commit_blocks.get(row).copied().unwrap_or(u64::MAX);
        permitted(row)
            && (row != usize::from(column) || input.is_owner(row))
            && updated > registered(column)
            && !(input.commit_reveal && committed < registered(column))
    });
    matrix::normalise_rows(&mut weights);
    weights
}

/// The bonds that count: those on neurons that registered before the last epoch.
fn counting_bonds(input: &Input<'_>) -> Matrix {
    let last_tempo = match input.last_mechanism_step_block {
        0 => input.block.saturating_sub(input.tempo),
        block => block.saturating_add(1),
    };
    let mut bonds = rows(&input.bonds, input.n());
    matrix::retain(&mut bonds, |_, column| {
        let blocks = &input.block_at_registration;
        last_tempo > blocks.get(usize::from(column)).copied().unwrap_or(0)
    });
    bonds
}
