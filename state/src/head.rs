//! A head, and the environment of the block that will stand on it.

use alloy::{
    consensus::Header,
    eips::{eip1559::BaseFeeParams, eip7840::BlobParams},
};
use alloy_hardforks::{EthereumChainHardforks, EthereumHardfork, EthereumHardforks};
use engine::{B256, BlockEnv, Hardfork, U256};

/// A block that the chain may end with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadInfo {
    /// Height.
    pub number: u64,
    /// Its hash: what everything is pinned by.
    pub hash: B256,
    /// Hash of the block below.
    pub parent_hash: B256,
    /// Seconds since the Unix epoch.
    pub timestamp: u64,
    /// Environment of the next block: that which pending transactions are judged under.
    pub next: BlockEnv,
}

impl HeadInfo {
    /// The head with this header and hash.
    #[must_use]
    pub fn new(header: &Header, hash: B256, chain_id: u64, block_time: u64) -> Self {
        Self {
            number: header.number,
            hash,
            parent_hash: header.parent_hash,
            timestamp: header.timestamp,
            next: next_env(header, chain_id, block_time),
        }
    }
}

/// The environment of the block after this one, as far as it follows from it: base fee by EIP-1559, excess blob gas by EIP-4844 and
/// EIP-7918 under the blob parameters in force then. What only its builder decides is taken from this block: beneficiary, gas limit
/// and randomness. Its time is `block_time` seconds later.
#[must_use]
pub fn next_env(header: &Header, chain_id: u64, block_time: u64) -> BlockEnv {
    let number = header.number.saturating_add(1);
    let timestamp = header.timestamp.saturating_add(block_time.max(1));
    let rules = Hardfork::of(chain_id, number, timestamp);
    let base_fee = match header.base_fee_per_gas {
        Some(fee) if is_plausible(header) => header.next_block_base_fee(BaseFeeParams::ethereum()).unwrap_or(fee),
        Some(fee) => fee,
        // The first block of London: EIP-1559 sets it.
        None if rules.is_some_and(|rules| rules >= Hardfork::London) => 1_000_000_000,
        None => 0,
    };
    let merged = header.difficulty.is_zero();
    let blobs = blob_params(chain_id, timestamp, rules);
    let excess_blob_gas = if is_plausible(header) && has_plausible_blobs(header, &blobs) {
        header.next_block_excess_blob_gas(blobs)
    } else {
        header.excess_blob_gas
    };
    BlockEnv {
        number,
        timestamp,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
        base_fee,
        difficulty: if merged { U256::ZERO } else { header.difficulty },
        prevrandao: merged.then_some(header.mix_hash),
        // The first block of Cancun: EIP-4844 starts at nothing.
        excess_blob_gas: excess_blob_gas.or_else(|| rules.filter(|rules| *rules >= Hardfork::Cancun).map(|_| 0)),
        hardfork: None,
    }
}

/// False for numbers that no block has, which a node may tell all the same: the rules would overflow on them. They are passed on as they
/// are, and the engine refuses them.
fn is_plausible(header: &Header) -> bool {
    header.gas_limit < 1 << 48
        && header.gas_used <= header.gas_limit
        && header.base_fee_per_gas.unwrap_or_default() < 1 << 62
}

/// The blob base fee is e to the power of the excess in fractions; mainnet has seen 26 of them.
fn has_plausible_blobs(header: &Header, blobs: &BlobParams) -> bool {
    let excess = u128::from(header.excess_blob_gas.unwrap_or_default());
    excess / blobs.update_fraction < 48 && header.blob_gas_used.unwrap_or_default() < 1 << 32
}

/// The environment that this block itself was made under.
#[must_use]
pub fn own_env(header: &Header) -> BlockEnv {
    let merged = header.difficulty.is_zero();
    BlockEnv {
        number: header.number,
        timestamp: header.timestamp,
        beneficiary: header.beneficiary,
        gas_limit: header.gas_limit,
        base_fee: header.base_fee_per_gas.unwrap_or_default(),
        difficulty: header.difficulty,
        prevrandao: merged.then_some(header.mix_hash),
        excess_blob_gas: header.excess_blob_gas,
        hardfork: None,
    }
}

/// The blob parameters of a block; forks that change nothing else (EIP-7892) are in the chain's table.
fn blob_params(chain_id: u64, timestamp: u64, rules: Option<Hardfork>) -> BlobParams {
    let forks = match chain_id {
        1 => Some(EthereumChainHardforks::mainnet()),
        11_155_111 => Some(EthereumChainHardforks::sepolia()),
        17_000 => Some(EthereumChainHardforks::holesky()),
        560_048 => Some(EthereumChainHardforks::hoodi()),
        _ => None,
    };
    let active = |fork| {
        forks
            .as_ref()
            .is_some_and(|forks| forks.ethereum_fork_activation(fork).active_at_timestamp(timestamp))
    };
    if active(EthereumHardfork::Bpo2) {
        BlobParams::bpo2()
    } else if active(EthereumHardfork::Bpo1) {
        BlobParams::bpo1()
    } else if rules.is_some_and(|rules| rules >= Hardfork::Osaka) {
        BlobParams::osaka()
    } else if rules.is_some_and(|rules| rules >= Hardfork::Prague) {
        BlobParams::prague()
    } else {
        BlobParams::cancun()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(number: u64, timestamp: u64) -> Header {
        Header {
            number,
            timestamp,
            gas_limit: 36_000_000,
            base_fee_per_gas: Some(1_000_000_000),
            excess_blob_gas: Some(0),
            blob_gas_used: Some(0),
            mix_hash: B256::repeat_byte(7),
            ..Header::default()
        }
    }

    #[test]
    fn a_full_block_raises_the_base_fee_by_an_eighth_and_an_empty_one_lowers_it() {
        let mut full = header(20_000_000, 1_720_000_000);
        full.gas_used = full.gas_limit;
        let env = next_env(&full, 1, 12);
        assert_eq!((env.number, env.timestamp), (20_000_001, 1_720_000_012));
        assert_eq!(env.base_fee, 1_125_000_000);
        assert_eq!(env.prevrandao, Some(B256::repeat_byte(7)));
        assert_eq!(
            next_env(&header(20_000_000, 1_720_000_000), 1, 12).base_fee,
            875_000_000
        );
    }

    #[test]
    fn blobs_above_the_target_add_to_the_excess_by_the_rules_of_the_next_block() {
        let blobs = |header: &mut Header, count: u64| header.blob_gas_used = Some(count * 131_072);
        let mut cancun = header(20_000_000, 1_720_000_000);
        blobs(&mut cancun, 6);
        assert_eq!(next_env(&cancun, 1, 12).excess_blob_gas, Some(3 * 131_072), "target 3");
        let mut prague = header(22_500_000, 1_747_500_000);
        blobs(&mut prague, 9);
        assert_eq!(next_env(&prague, 1, 12).excess_blob_gas, Some(3 * 131_072), "target 6");
        let mut bpo2 = header(24_500_000, 1_770_000_000);
        blobs(&mut bpo2, 21);
        // EIP-7918: while execution gas costs more than blobs do, the excess grows without regard to the target.
        assert_eq!(
            next_env(&bpo2, 1, 12).excess_blob_gas,
            Some(21 * 131_072 * (21 - 14) / 21)
        );
    }

    #[test]
    fn what_an_upgrade_brings_starts_where_its_rules_say() {
        let mut last_without_fee = header(12_964_999, 1_628_166_812);
        last_without_fee.base_fee_per_gas = None;
        last_without_fee.excess_blob_gas = None;
        last_without_fee.difficulty = U256::from(1);
        let env = next_env(&last_without_fee, 1, 10);
        assert_eq!(
            (env.base_fee, env.prevrandao, env.excess_blob_gas),
            (1_000_000_000, None, None)
        );
        let mut shanghai = header(19_426_586, 1_710_338_123);
        shanghai.excess_blob_gas = None;
        assert_eq!(next_env(&shanghai, 1, 12).excess_blob_gas, Some(0));
    }

    #[test]
    fn the_extremes_do_not_overflow() {
        let mut odd = header(u64::MAX, u64::MAX);
        odd.gas_used = u64::MAX;
        odd.gas_limit = 0;
        odd.base_fee_per_gas = Some(u64::MAX);
        odd.excess_blob_gas = Some(u64::MAX);
        odd.blob_gas_used = Some(u64::MAX);
        let env = next_env(&odd, 31_337, u64::MAX);
        assert_eq!(
            (env.base_fee, env.excess_blob_gas),
            (u64::MAX, Some(u64::MAX)),
            "passed on, for the engine to refuse"
        );
    }
}
