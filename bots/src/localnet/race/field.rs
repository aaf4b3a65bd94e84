//! Where the race is run: vaults that can be robbed, each with an invariant of its own, and raiders that rob them.

use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use contracts::{Contract, Raider, Vault, layout};
use rand::Rng;

use super::gates::Gates;
use super::report::Through;
use crate::localnet::LocalnetError;
use crate::localnet::live::LiveError;
use crate::localnet::live::rpc::NodeClient;
use crate::localnet::live::site::{GAS, Pace, Site};
use crate::scenario::setup::ether;
use crate::scenario::wallet::{Draft, Fees, Form, Wallet};
use crate::scenario::{NETWORK, StatedInvariant};

const GWEI: u128 = 1_000_000_000;
/// What each vault holds, in ether.
pub(super) const TREASURE: u64 = 10;
/// With what a raid begins, in ether.
const STAKE: u64 = 5;
/// Raiders, each with a captain of its own.
const CAPTAINS: usize = 4;
/// Gas of a raid.
const RAID_GAS: u64 = 1_000_000;
/// Creations that are sent together: less than a block holds.
const TOGETHER: usize = 14;

/// A thief with his contract.
#[derive(Debug, Clone)]
struct Captain {
    wallet: Wallet,
    raider: Address,
}

/// A watched vault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    pub(super) vault: Address,
    pub(super) through: Through,
    /// Who sends the transaction that pauses it.
    pub(super) pauser: Address,
}

/// A raid, signed.
#[derive(Debug, Clone)]
pub(super) struct Raid {
    pub(super) vault: Address,
    pub(super) hash: B256,
    pub(super) raw: Bytes,
    /// Wei per gas that it offers the builder.
    pub(super) tip: u128,
}

/// Vaults and captains on a chain.
#[derive(Debug)]
pub(super) struct Field {
    guardian: Wallet,
    captains: Vec<Captain>,
    raids: usize,
    /// The vaults that are watched.
    pub(super) watched: Vec<Address>,
    /// The vaults that nobody watches.
    pub(super) unwatched: Vec<Address>,
    /// The watched vaults that are paused through keepers.
    pub(super) gates: Option<Gates>,
}

impl Field {
    /// Builds `count` vaults that will be watched, as many that will not, and with `keepers` as many that are paused through keepers.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(super) async fn build(
        node: &NodeClient,
        seed: u64,
        count: usize,
        keepers: bool,
    ) -> Result<Self, LocalnetError> {
        let mut guardian = Wallet::derive(seed, "guardian", 0).map_err(LiveError::Story)?;
        let wallets = Wallet::derive_all(seed, "race captain", CAPTAINS).map_err(LiveError::Story)?;
        node.check_chain().await?;
        let rich = ether(1_000_000);
        let everybody = wallets.iter().chain([&guardian]).map(|who| (who.address(), rich));
        node.fund(&everybody.collect::<Vec<_>>()).await?;
        let mut captains = Vec::new();
        for mut wallet in wallets {
            let mut site = Site::open(node, &mut wallet, Pace::Hurried).await?;
            let creation = Contract::Raider.creation(&Raider::constructorCall {});
            let raider = site.create(creation, U256::ZERO, GAS)?;
            site.finish().await?;
            captains.push(Captain { wallet, raider });
        }
        let mut site = Site::open(node, &mut guardian, Pace::Hurried).await?;
        let mut vaults = Vec::new();
        while vaults.len() < count * 2 {
            for _ in 0..TOGETHER.min(count * 2 - vaults.len()) {
                let creation = Contract::Vault.creation(&Vault::constructorCall { flashFeeBps_: 9 });
                vaults.push(site.create(creation, ether(TREASURE), GAS)?);
            }
            site.finish().await?;
        }
        let unwatched = vaults.split_off(count);
        let gates = match keepers {
            true => Some(Gates::build(node, &mut guardian, seed, count).await?),
            false => None,
        };
        Ok(Self {
            guardian,
            captains,
            raids: 0,
            watched: vaults,
            unwatched,
            gates,
        })
    }

    /// The watched vaults in the order of their attacks, each way in turn, with who sends the transaction that pauses it.
    pub(super) fn targets(&self) -> Vec<Target> {
        let called = self.watched.iter().map(|vault| Target {
            vault: *vault,
            through: Through::Call,
            pauser: self.guardian.address(),
        });
        let Some(gates) = &self.gates else {
            return called.collect();
        };
        let guarded = gates.vaults.iter().map(|gated| Target {
            vault: gated.vault,
            through: Through::Keepers,
            pauser: gates.worker(),
        });
        called
            .zip(guarded)
            .flat_map(|(called, guarded)| [called, guarded])
            .collect()
    }

    /// The one who may pause the vaults.
    pub(super) const fn guardian(&self) -> &Wallet {
        &self.guardian
    }

    /// What each vault holds before it is robbed, in wei.
    pub(super) fn treasure() -> U256 {
        ether(TREASURE)
    }

    /// The invariants of the watched vaults: each holds what it was given.
    ///
    /// # Errors
    /// The contract has no such variable.
    pub(super) fn invariants(&self) -> Result<Vec<StatedInvariant>, LocalnetError> {
        let variable = layout::variable(Contract::Vault, "totalAssets").map_err(|error| LocalnetError::Nonsense {
            who: "the vault's artifact".to_owned(),
            reason: error.to_string(),
        })?;
        let stated = |(index, vault): (usize, &Address)| StatedInvariant {
            name: format!("vault-{index}-assets-cover-seed"),
            contract: *vault,
            comparison: ">=".to_owned(),
            target: Self::treasure().to_string(),
            storage: variable.key(),
            slot_type: variable.label.clone(),
            offset: variable.offset,
            network: NETWORK.to_owned(),
        };
        let guarded = self
            .gates
            .iter()
            .flat_map(|gates| gates.vaults.iter().map(|gated| &gated.vault));
        Ok(self.watched.iter().chain(guarded).enumerate().map(stated).collect())
    }

    /// The next raid, of the next captain, with a tip of chance.
    ///
    /// # Errors
    /// Signing fails.
    pub(super) fn raid(&mut self, vault: Address, base_fee: u64, rng: &mut impl Rng) -> Result<Raid, LocalnetError> {
        let turn = self.raids % self.captains.len().max(1);
        self.raids += 1;
        let captain = self.captains.get_mut(turn).ok_or_else(|| LocalnetError::Nonsense {
            who: "the race".to_owned(),
            reason: "has no captain".to_owned(),
        })?;
        let tip = u128::from(rng.random_range(1..=80_u32)) * GWEI;
        let raid = Raider::raidCall {
            vault,
            wanted: ether(1),
        };
        let draft = Draft::call(captain.raider, &raid, RAID_GAS).with(ether(STAKE));
        let fees = Fees {
            max: u128::from(base_fee) * 2 + tip,
            tip,
        };
        let tx = captain
            .wallet
            .sign(draft, Form::DynamicFee, fees)
            .map_err(LiveError::Story)?;
        Ok(Raid {
            vault,
            hash: *tx.tx_hash(),
            raw: tx.encoded_2718().into(),
            tip,
        })
    }
}

/// What pauses a vault.
pub(super) fn pause_calldata() -> Bytes {
    Vault::setPausedCall { paused_: true }.abi_encode().into()
}
