//! Which rules are in force in a block.
//!
//! The table of activation blocks and times is the crate `alloy-hardforks`; the names are those of `evm-case/1`.

use std::{fmt, str::FromStr};

use alloy_hardforks::{EthereumChainHardforks, EthereumHardfork, EthereumHardforks, ForkCondition};

/// A network upgrade that changed how a transaction executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hardfork {
    /// Genesis rules.
    Frontier,
    /// EIP-2, EIP-7.
    Homestead,
    /// Tangerine Whistle, EIP-150.
    Tangerine,
    /// EIP-155, EIP-160, EIP-161, EIP-170.
    SpuriousDragon,
    /// EIP-140, EIP-211, EIP-214, EIP-658.
    Byzantium,
    /// Constantinople without EIP-1283.
    Petersburg,
    /// EIP-1884, EIP-2028, EIP-2200.
    Istanbul,
    /// EIP-2929, EIP-2930.
    Berlin,
    /// EIP-1559, EIP-3529, EIP-3541.
    London,
    /// Paris, EIP-3675, EIP-4399.
    Merge,
    /// EIP-3651, EIP-3855, EIP-3860.
    Shanghai,
    /// EIP-1153, EIP-4844, EIP-5656, EIP-6780.
    Cancun,
    /// EIP-2537, EIP-2935, EIP-7623, EIP-7702.
    Prague,
    /// EIP-7825, EIP-7883, EIP-7939, EIP-7951.
    Osaka,
}

/// Chain ids that development nodes use by default (geth --dev, anvil and hardhat). They run the newest rules.
const DEVELOPMENT_CHAINS: [u64; 2] = [1337, 31337];

impl Hardfork {
    /// All of them, oldest first.
    pub const ALL: [Self; 14] = [
        Self::Frontier,
        Self::Homestead,
        Self::Tangerine,
        Self::SpuriousDragon,
        Self::Byzantium,
        Self::Petersburg,
        Self::Istanbul,
        Self::Berlin,
        Self::London,
        Self::Merge,
        Self::Shanghai,
        Self::Cancun,
        Self::Prague,
        Self::Osaka,
    ];

    /// The newest rules this engine executes.
    pub const NEWEST: Self = Self::Osaka;

    /// The rules in force in a block of mainnet, sepolia, holesky or hoodi (or of a development chain: the newest).
    ///
    /// `None` for a chain that the table does not know, and for a block after an upgrade that this engine does not execute.
    #[must_use]
    pub fn of(chain_id: u64, number: u64, timestamp: u64) -> Option<Self> {
        if DEVELOPMENT_CHAINS.contains(&chain_id) {
            return Some(Self::NEWEST);
        }
        let forks = chain(chain_id)?;
        if is_active(&forks, EthereumHardfork::Amsterdam, number, timestamp) {
            return None;
        }
        Self::ALL
            .into_iter()
            .rev()
            .find(|fork| is_active(&forks, fork.in_table(), number, timestamp))
    }

    /// The name used in `evm-case/1`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frontier => "frontier",
            Self::Homestead => "homestead",
            Self::Tangerine => "tangerine",
            Self::SpuriousDragon => "spurious_dragon",
            Self::Byzantium => "byzantium",
            Self::Petersburg => "petersburg",
            Self::Istanbul => "istanbul",
            Self::Berlin => "berlin",
            Self::London => "london",
            Self::Merge => "merge",
            Self::Shanghai => "shanghai",
            Self::Cancun => "cancun",
            Self::Prague => "prague",
            Self::Osaka => "osaka",
        }
    }

    const fn in_table(self) -> EthereumHardfork {
        match self {
            Self::Frontier => EthereumHardfork::Frontier,
            Self::Homestead => EthereumHardfork::Homestead,
            Self::Tangerine => EthereumHardfork::Tangerine,
            Self::SpuriousDragon => EthereumHardfork::SpuriousDragon,
            Self::Byzantium => EthereumHardfork::Byzantium,
            Self::Petersburg => EthereumHardfork::Petersburg,
            Self::Istanbul => EthereumHardfork::Istanbul,
            Self::Berlin => EthereumHardfork::Berlin,
            Self::London => EthereumHardfork::London,
            Self::Merge => EthereumHardfork::Paris,
            Self::Shanghai => EthereumHardfork::Shanghai,
            Self::Cancun => EthereumHardfork::Cancun,
            Self::Prague => EthereumHardfork::Prague,
            Self::Osaka => EthereumHardfork::Osaka,
        }
    }
}

/// Blob parameters of a block (EIP-4844, EIP-7691, EIP-7892).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobSchedule {
    /// `BLOB_BASE_FEE_UPDATE_FRACTION`.
    pub(crate) update_fraction: u64,
    /// Most blobs that one transaction may carry.
    pub(crate) max_per_transaction: u64,
}

impl BlobSchedule {
    /// The schedule of a block. Forks that change blob parameters only (BPO) are looked up in the chain's table; a block with
    /// explicit rules, or on a chain without table, has the schedule that its hardfork came with.
    pub(crate) fn of(hardfork: Hardfork, chain_id: u64, number: u64, timestamp: u64) -> Self {
        use alloy::eips::eip7840::BlobParams;
        let bpo = |fork| {
            hardfork >= Hardfork::Osaka
                && chain(chain_id).is_some_and(|forks| is_active(&forks, fork, number, timestamp))
        };
        let params = if bpo(EthereumHardfork::Bpo2) {
            BlobParams::bpo2()
        } else if bpo(EthereumHardfork::Bpo1) {
            BlobParams::bpo1()
        } else if hardfork >= Hardfork::Osaka {
            BlobParams::osaka()
        } else if hardfork >= Hardfork::Prague {
            BlobParams::prague()
        } else {
            BlobParams::cancun()
        };
        Self {
            update_fraction: u64::try_from(params.update_fraction).unwrap_or(u64::MAX),
            max_per_transaction: params.max_blobs_per_tx,
        }
    }
}

fn chain(chain_id: u64) -> Option<EthereumChainHardforks> {
    match chain_id {
        1 => Some(EthereumChainHardforks::mainnet()),
        11_155_111 => Some(EthereumChainHardforks::sepolia()),
        17_000 => Some(EthereumChainHardforks::holesky()),
        560_048 => Some(EthereumChainHardforks::hoodi()),
        _ => None,
    }
}

fn is_active(forks: &EthereumChainHardforks, fork: EthereumHardfork, number: u64, timestamp: u64) -> bool {
    match forks.ethereum_fork_activation(fork) {
        ForkCondition::Block(block)
        | ForkCondition::TTD {
            activation_block_number: block,
            ..
        } => number >= block,
        ForkCondition::Timestamp(time) => timestamp >= time,
        ForkCondition::Never => false,
    }
}

impl fmt::Display for Hardfork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that no hardfork has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown hardfork {0:?}: use one of frontier, homestead, tangerine, spurious_dragon, byzantium, petersburg, istanbul, berlin, london, merge, shanghai, cancun, prague, osaka"
)]
pub struct UnknownHardfork(pub String);

impl FromStr for Hardfork {
    type Err = UnknownHardfork;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name == "paris" {
            return Ok(Self::Merge);
        }
        Self::ALL
            .into_iter()
            .find(|fork| fork.name() == name)
            .ok_or_else(|| UnknownHardfork(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        for fork in Hardfork::ALL {
            assert_eq!(fork.to_string().parse::<Hardfork>(), Ok(fork));
        }
        assert_eq!("paris".parse::<Hardfork>(), Ok(Hardfork::Merge));
        assert!("Cancun".parse::<Hardfork>().is_err());
    }

    #[test]
    fn mainnet_changes_rules_exactly_at_the_activation_block_and_time() {
        let before_and_at = [
            (1_149_999, 0, Hardfork::Frontier),
            (1_150_000, 0, Hardfork::Homestead),
            (2_462_999, 0, Hardfork::Homestead),
            (2_463_000, 0, Hardfork::Tangerine),
            (2_675_000, 0, Hardfork::SpuriousDragon),
            (4_370_000, 0, Hardfork::Byzantium),
            (7_279_999, 0, Hardfork::Byzantium),
            (7_280_000, 0, Hardfork::Petersburg),
            (9_069_000, 0, Hardfork::Istanbul),
            (12_244_000, 0, Hardfork::Berlin),
            (12_965_000, 0, Hardfork::London),
            (15_537_393, 1_663_224_162, Hardfork::London),
            (15_537_394, 1_663_224_179, Hardfork::Merge),
            (17_034_869, 1_681_338_443, Hardfork::Merge),
            (17_034_870, 1_681_338_455, Hardfork::Shanghai),
            (19_426_586, 1_710_338_123, Hardfork::Shanghai),
            (19_426_587, 1_710_338_135, Hardfork::Cancun),
            (22_431_084, 1_746_612_311, Hardfork::Prague),
            (23_935_694, 1_764_798_551, Hardfork::Osaka),
        ];
        for (number, timestamp, fork) in before_and_at {
            assert_eq!(Hardfork::of(1, number, timestamp), Some(fork), "block {number}");
        }
    }

    #[test]
    fn development_chains_run_the_newest_rules_and_unknown_chains_none() {
        assert_eq!(Hardfork::of(1337, 0, 0), Some(Hardfork::NEWEST));
        assert_eq!(Hardfork::of(31337, 5, 5), Some(Hardfork::NEWEST));
        assert_eq!(Hardfork::of(3, 1, 1), None);
        assert_eq!(
            Hardfork::of(11_155_111, 9_408_576, 1_760_427_360),
            Some(Hardfork::Osaka)
        );
        assert_eq!(Hardfork::of(560_048, 10, 1_742_999_832), Some(Hardfork::Prague));
    }

    #[test]
    fn a_block_after_an_upgrade_that_is_not_executed_here_has_no_rules() {
        assert_eq!(Hardfork::of(11_155_111, 20_000_000, 1_791_294_816), None);
    }

    #[test]
    fn blob_parameter_forks_change_the_fee_but_not_the_rules() {
        let at = |timestamp| BlobSchedule::of(Hardfork::Osaka, 1, 24_000_000, timestamp).update_fraction;
        assert_eq!(at(1_764_798_551), 5_007_716);
        assert_eq!(at(1_765_290_071), 8_346_193);
        assert_eq!(at(1_767_747_671), 11_684_671);
        assert_eq!(
            BlobSchedule::of(Hardfork::Cancun, 1, 19_500_000, 1_711_000_000).update_fraction,
            3_338_477
        );
    }
}
