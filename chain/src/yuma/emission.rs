//! How a block's emission is split, and what an epoch pays of it (`coinbase/run_coinbase.rs`), in Subtensor's fixed point.
//!
//! Of each block the owner has its cut; the rest is halved between miners and validators. At the epoch miners get what Yuma gave
//! them, except the owner, whose incentive is withheld; validators share their half by dividends. Without incentive the miners'
//! half is the validators'. What is left over by truncation, or withheld, is recycled.

use substrate_fixed::types::U96F32;

use super::Output;

/// The part of dividends that a validator takes before its nominators: 18 %.
const DEFAULT_TAKE: u16 = 11_796;

/// One block's emission, in RAO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockSplit {
    /// For the owner.
    pub owner: u64,
    /// For miners.
    pub server: u64,
    /// For validators.
    pub validator: u64,
}

/// Splits what is issued in one block. `owner_cut` is of 65535. There is no root network here, so none of it goes there.
pub fn split_block(emission: u64, owner_cut: u16) -> BlockSplit {
    let emission = U96F32::saturating_from_num(emission);
    let owner = emission.saturating_mul(share(owner_cut));
    let rest = emission.saturating_sub(owner);
    let server = rest.saturating_mul(U96F32::from_num(0.5));
    BlockSplit {
        owner: owner.saturating_to_num(),
        server: server.saturating_to_num(),
        validator: rest.saturating_sub(server).saturating_to_num(),
    }
}

/// What an epoch pays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Payment {
    /// RAO by uid.
    pub paid: Vec<u64>,
    /// RAO that nobody gets.
    pub recycled: u64,
}

/// Pays what was pending by what Yuma gave. `owner_uid` gets the cut and no incentive.
pub fn pay(output: &Output, pending: BlockSplit, owner_uid: Option<u16>) -> Payment {
    let any_incentive = output.server_emission.iter().any(|emission| *emission > 0);
    let for_validators = match any_incentive {
        true => pending.validator,
        false => pending.validator.saturating_add(pending.server),
    };
    let total = output
        .validator_emission
        .iter()
        .fold(U96F32::from_num(0u8), |total, dividend| {
            total.saturating_add(U96F32::saturating_from_num(*dividend))
        });
    let take = share(DEFAULT_TAKE);
    let paid: Vec<u64> = output
        .server_emission
        .iter()
        .zip(&output.validator_emission)
        .enumerate()
        .map(|(uid, (incentive, dividend))| {
            let is_owner = owner_uid.is_some_and(|owner| usize::from(owner) == uid);
            let share = U96F32::saturating_from_num(*dividend)
                .checked_div(total)
                .unwrap_or_default();
            let dividends = U96F32::saturating_from_num(for_validators).saturating_mul(share);
            // A hotkey is its only nominator here; the two parts are still truncated one by one, as on the chain.
            let taken = take.saturating_mul(dividends);
            let nominated: u64 = dividends.saturating_sub(taken).saturating_to_num();
            taken
                .saturating_to_num::<u64>()
                .saturating_add(nominated)
                .saturating_add(if is_owner { pending.owner } else { *incentive })
        })
        .collect();
    let all = pending
        .owner
        .saturating_add(pending.server)
        .saturating_add(pending.validator);
    let sum = paid.iter().fold(0u64, |sum, paid| sum.saturating_add(*paid));
    Payment {
        paid,
        recycled: all.saturating_sub(sum),
    }
}

fn share(of_65535: u16) -> U96F32 {
    U96F32::from_num(of_65535)
        .checked_div(U96F32::from_num(u16::MAX))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_is_split_18_41_41() {
        assert_eq!(
            split_block(1_000_000_000, 11_796),
            BlockSplit {
                owner: 179_995_422,
                server: 410_002_288,
                validator: 410_002_288
            }
        );
        let even = split_block(1_000_000_000, 0);
        assert_eq!((even.owner, even.server, even.validator), (0, 500_000_000, 500_000_000));
    }

    #[test]
    fn the_owners_incentive_is_withheld_and_its_cut_is_paid() {
        let output = Output {
            server_emission: vec![100, 300, 0],
            validator_emission: vec![0, 0, 400],
            ..Output::default()
        };
        let pending = BlockSplit {
            owner: 50,
            server: 400,
            validator: 400,
        };
        let payment = pay(&output, pending, Some(0));
        assert_eq!((payment.paid, payment.recycled), (vec![50, 300, 399], 101));
    }

    #[test]
    fn without_incentive_validators_share_both_halves() {
        let output = Output {
            server_emission: vec![0, 0],
            validator_emission: vec![600, 200],
            ..Output::default()
        };
        let pending = BlockSplit {
            owner: 0,
            server: 400,
            validator: 400,
        };
        let payment = pay(&output, pending, None);
        assert!(payment.paid[0] >= 599 && payment.paid[1] >= 199, "{payment:?}");
        assert_eq!(payment.paid.iter().sum::<u64>() + payment.recycled, 800);
    }

    proptest! {
        #[test]
        fn never_more_than_there_is(emission in 0..=u64::MAX / 2, cut: u16) {
            let split = split_block(emission, cut);
            prop_assert!(split.owner + split.server + split.validator <= emission);
            prop_assert!(emission - (split.owner + split.server + split.validator) <= 2);
        }
    }
}
