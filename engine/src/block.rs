//! The block environment a transaction is executed under.

use crate::{Address, B256, Hardfork, U256};

/// What a contract can learn of its block, and what decides fees and rules.
///
/// For a pending transaction this is the environment of the next block: number and timestamp of the head plus one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockEnv {
    /// Height.
    pub number: u64,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Receiver of the priority fees (`COINBASE`).
    pub beneficiary: Address,
    /// Gas limit of the whole block.
    pub gas_limit: u64,
    /// Base fee per gas in wei (EIP-1559); zero before London.
    pub base_fee: u64,
    /// Proof-of-work difficulty; zero since Paris.
    pub difficulty: U256,
    /// Beacon chain randomness (EIP-4399); needed since Paris.
    pub prevrandao: Option<B256>,
    /// Excess blob gas of this block (EIP-4844); needed since Cancun.
    pub excess_blob_gas: Option<u64>,
    /// Rules to execute under, for chains that no table knows and for recorded cases. `None`: [`Hardfork::of`].
    pub hardfork: Option<Hardfork>,
}

impl BlockEnv {
    /// The rules in force in this block of the chain; `None` when neither the block nor the table says.
    #[must_use]
    pub fn rules(&self, chain_id: u64) -> Option<Hardfork> {
        self.hardfork
            .or_else(|| Hardfork::of(chain_id, self.number, self.timestamp))
    }
}
