//! The other half of the field: vaults whose right to be paused is a guard's, each with a job of the defence lane, and a staked keeper.

use std::path::Path;

use alloy::primitives::Address;
use contracts::{Contract, VaultAdmin};

use super::field::TREASURE;
use crate::localnet::LocalnetError;
use crate::localnet::live::Endpoint;
use crate::localnet::live::rpc::NodeClient;
use crate::localnet::live::site::{GAS, Pace, Site};
use crate::localnet::services::keepers::{Gate, Keepers, key_file};
use crate::scenario::setup::ether;
use crate::scenario::wallet::Wallet;

/// A vault behind a guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gated {
    pub(super) vault: Address,
    gate: Gate,
}

/// All of them, and the keeper.
#[derive(Debug)]
pub(super) struct Gates {
    keepers: Keepers,
    worker: Wallet,
    pub(super) vaults: Vec<Gated>,
}

impl Gates {
    /// Builds an Agent with one keeper, and `count` guarded vaults; `guardian` is their reporter.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(super) async fn build(
        node: &NodeClient,
        guardian: &mut Wallet,
        seed: u64,
        count: usize,
    ) -> Result<Self, LocalnetError> {
        let mut site = Site::open(node, guardian, Pace::Hurried).await?;
        let keepers = Keepers::build(&mut site, seed, 1).await?;
        let worker = keepers
            .workers
            .first()
            .cloned()
            .ok_or_else(|| LocalnetError::Nonsense {
                who: "the race".to_owned(),
                reason: "has no keeper".to_owned(),
            })?;
        let mut vaults = Vec::new();
        for _ in 0..count {
            let arguments = VaultAdmin::constructorCall {
                guardian_: site.address(),
                flashFeeBps: 9,
            };
            let admin = site.create(Contract::VaultAdmin.creation(&arguments), ether(TREASURE), GAS)?;
            let reporter = site.address();
            let gate = keepers.guard(&mut site, admin, vec![reporter], 1)?;
            site.finish().await?;
            // A contract's own first creation has the nonce 1 (EIP-161).
            let vault = admin.create(1);
            vaults.push(Gated { vault, gate });
        }
        Ok(Self {
            keepers,
            worker,
            vaults,
        })
    }

    /// Who executes the pauses.
    pub(super) fn worker(&self) -> Address {
        self.worker.address()
    }

    /// The validator's actions for these vaults, whose invariants have the numbers from `first` on.
    pub(super) fn actions(&self, first: u64) -> String {
        let numbered = (first..).zip(&self.vaults);
        numbered
            .map(|(number, gated)| {
                let id = format!("gate-{}", number - first);
                self.keepers.action(&id, &gated.gate, &[number])
            })
            .collect()
    }

    /// The keeper's configuration.
    pub(super) fn keeper(&self, data: &Path, key: &Path, endpoint: &Endpoint) -> String {
        let worker = format!("hex = \"file:{}\"", key.display());
        self.keepers.config(endpoint, data, &worker)
    }

    /// The worker's private key, in hex.
    pub(super) fn key(&self) -> String {
        key_file(&self.worker)
    }
}
