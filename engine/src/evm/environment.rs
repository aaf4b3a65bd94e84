//! From a block environment to revm's: rules, fees of blobs, and what cannot be executed.

use revm::{
    context::BlockEnv as RevmBlock, context_interface::block::BlobExcessGasAndPrice, primitives::hardfork::SpecId,
};

use crate::{BlockEnv, Hardfork, U256, hardfork::BlobSchedule};

/// A block environment, ready to execute under.
#[derive(Clone, Debug)]
pub(super) struct Environment {
    pub(super) hardfork: Hardfork,
    pub(super) spec: SpecId,
    pub(super) block: RevmBlock,
    pub(super) blobs: BlobSchedule,
}

/// The blob base fee grows by e with every `update_fraction` of excess. Mainnet has seen e^26; beyond this the exact integer
/// formula of EIP-4844 leaves 128 bits, and no block can be there.
const MOST_EXCESS_IN_FRACTIONS: u64 = 48;

impl Environment {
    /// Checks a block environment; `Err` says why it cannot be executed under.
    pub(super) fn new(env: &BlockEnv, chain_id: u64) -> Result<Self, String> {
        let Some(hardfork) = env.rules(chain_id) else {
            return Err(format!(
                "rules of block {} at time {} of chain {chain_id} are not known",
                env.number, env.timestamp
            ));
        };
        if hardfork >= Hardfork::Merge && env.prevrandao.is_none() {
            return Err(format!(
                "block {} without prevrandao under {hardfork} rules",
                env.number
            ));
        }
        let blobs = BlobSchedule::of(hardfork, chain_id, env.number, env.timestamp);
        let blob_fee = if hardfork >= Hardfork::Cancun {
            let Some(excess) = env.excess_blob_gas else {
                return Err(format!(
                    "block {} without excess_blob_gas under {hardfork} rules",
                    env.number
                ));
            };
            if excess / blobs.update_fraction > MOST_EXCESS_IN_FRACTIONS {
                return Err(format!("block {} with impossible excess_blob_gas {excess}", env.number));
            }
            Some(BlobExcessGasAndPrice::new(excess, blobs.update_fraction))
        } else {
            None
        };
        let block = RevmBlock {
            number: U256::from(env.number),
            beneficiary: env.beneficiary,
            timestamp: U256::from(env.timestamp),
            gas_limit: env.gas_limit,
            basefee: env.base_fee,
            difficulty: env.difficulty,
            prevrandao: env.prevrandao,
            blob_excess_gas_and_price: blob_fee,
            slot_num: 0,
        };
        Ok(Self {
            hardfork,
            spec: spec(hardfork),
            block,
            blobs,
        })
    }
}

const fn spec(hardfork: Hardfork) -> SpecId {
    match hardfork {
        Hardfork::Frontier => SpecId::FRONTIER,
        Hardfork::Homestead => SpecId::HOMESTEAD,
        Hardfork::Tangerine => SpecId::TANGERINE,
        Hardfork::SpuriousDragon => SpecId::SPURIOUS_DRAGON,
        Hardfork::Byzantium => SpecId::BYZANTIUM,
        Hardfork::Petersburg => SpecId::PETERSBURG,
        Hardfork::Istanbul => SpecId::ISTANBUL,
        Hardfork::Berlin => SpecId::BERLIN,
        Hardfork::London => SpecId::LONDON,
        Hardfork::Merge => SpecId::MERGE,
        Hardfork::Shanghai => SpecId::SHANGHAI,
        Hardfork::Cancun => SpecId::CANCUN,
        Hardfork::Prague => SpecId::PRAGUE,
        Hardfork::Osaka => SpecId::OSAKA,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, B256};

    fn cancun(excess: Option<u64>) -> BlockEnv {
        BlockEnv {
            number: 1,
            timestamp: 1,
            beneficiary: Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 7,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: excess,
            hardfork: Some(Hardfork::Cancun),
        }
    }

    #[test]
    fn no_excess_blob_gas_can_hang_or_overflow_the_fee() {
        for fork in [Hardfork::Cancun, Hardfork::Prague, Hardfork::Osaka] {
            let fraction = BlobSchedule::of(fork, 31337, 1, 1).update_fraction;
            let at = |excess| {
                Environment::new(
                    &BlockEnv {
                        hardfork: Some(fork),
                        ..cancun(Some(excess))
                    },
                    31337,
                )
            };
            assert!(at(0).is_ok());
            assert!(at(fraction * (MOST_EXCESS_IN_FRACTIONS + 1) - 1).is_ok());
            assert!(at(fraction * (MOST_EXCESS_IN_FRACTIONS + 1)).is_err());
            assert!(at(u64::MAX).is_err());
        }
        // The largest fraction in any table.
        let env = BlockEnv {
            timestamp: 1_767_747_671,
            hardfork: Some(Hardfork::Osaka),
            ..cancun(Some(11_684_671 * 49 - 1))
        };
        assert!(Environment::new(&env, 1).is_ok());
    }

    #[test]
    fn what_the_rules_need_must_be_there() {
        assert!(
            Environment::new(&cancun(None), 1)
                .unwrap_err()
                .contains("excess_blob_gas")
        );
        let env = BlockEnv {
            prevrandao: None,
            ..cancun(Some(0))
        };
        assert!(Environment::new(&env, 1).unwrap_err().contains("prevrandao"));
        let env = BlockEnv {
            hardfork: None,
            ..cancun(Some(0))
        };
        assert!(Environment::new(&env, 77).unwrap_err().contains("chain 77"));
    }
}
