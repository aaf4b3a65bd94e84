//! An Agent on a living chain with staked keepers, and guards whose pauses are its defence jobs.
//!
//! The race and the network of `--live` build the same one.

use std::fmt::Write as _;
use std::path::Path;

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolCall as _;
use contracts::{Agent, Contract, PauseGuard, VaultAdmin, guard};

use crate::localnet::live::rpc::NodeClient;
use crate::localnet::live::site::{GAS, Site};
use crate::localnet::live::{Endpoint, LiveError};
use crate::scenario::CHAIN_ID;
use crate::scenario::setup::ether;
use crate::scenario::wallet::Wallet;

/// Gas of the Agent's creation.
const AGENT_GAS: u64 = 15_000_000;
/// Stake of a keeper, in whole tokens.
const STAKE: u64 = 1_000;
/// Gas that a guard needs to pause its vault.
const PAUSE_GAS: u32 = 200_000;
/// Blocks that a job is its own keeper's alone.
const WINDOW: u8 = 2;
/// Ether of each worker.
const WORKER_ETHER: u64 = 1_000;

/// The Agent and who works for it.
#[derive(Debug, Clone)]
pub(crate) struct Keepers {
    /// The contract.
    pub(crate) agent: Address,
    /// By number, from 1.
    pub(crate) workers: Vec<Wallet>,
}

/// A guard, and its job at the Agent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gate {
    /// Holds the right to pause.
    pub(crate) guard: Address,
    /// The key of its job.
    pub(crate) job: B256,
}

impl Keepers {
    /// Builds an Agent with `count` active keepers. The site's account owns the Agent and is the admin of all keepers.
    ///
    /// # Errors
    /// A node that does not take it.
    pub(crate) async fn build(site: &mut Site<'_>, seed: u64, count: usize) -> Result<Self, LiveError> {
        let workers = Wallet::derive_all(seed, "keeper's worker", count)?;
        fund(site.node(), workers.iter().map(Wallet::address)).await?;
        let owner = site.address();
        let token = site.token("Stake", "STK", ether(STAKE) * U256::from(count))?;
        let arguments = Agent::constructorCall {
            owner_: owner,
            stakeToken_: token,
            ticketStake_: ether(1),
            config_: contracts::development::agent(),
        };
        let agent = site.create(Contract::Agent.creation(&arguments), U256::ZERO, AGENT_GAS)?;
        site.approve(token, agent, U256::MAX)?;
        for (number, worker) in (1_u64..).zip(&workers) {
            let registration = Agent::registerAsKeeperCall {
                worker: worker.address(),
                amount: ether(STAKE),
            };
            site.call(agent, &registration)?;
            let activation = Agent::finalizeKeeperActivationCall {
                keeperId: U256::from(number),
            };
            site.call(agent, &activation)?;
        }
        site.finish().await?;
        Ok(Self { agent, workers })
    }

    /// Begins a guard of what `admin` owns, with its defence job; the site has to be finished. With so many of the `reporters`
    /// confirming, keepers pause.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub(crate) fn guard(
        &self,
        site: &mut Site<'_>,
        admin: Address,
        reporters: Vec<Address>,
        threshold: usize,
    ) -> Result<Gate, LiveError> {
        let arguments = PauseGuard::constructorCall {
            owner_: site.address(),
            protocol_: admin,
            call_: VaultAdmin::pauseCall {}.abi_encode().into(),
            reporters,
            threshold_: U256::from(threshold),
        };
        let gate = site.create(Contract::PauseGuard.creation(&arguments), U256::ZERO, GAS)?;
        site.call(admin, &VaultAdmin::setGuardCall { guard_: gate })?;
        site.input(self.agent, ether(1), guard::register_job(gate, WINDOW, PAUSE_GAS))?;
        // A guard's only job is its first.
        let key = [gate.as_slice(), &[0, 0, 1]].concat();
        Ok(Gate {
            guard: gate,
            job: keccak256(key),
        })
    }

    /// A keeper's configuration; `worker` is the body of its table `[worker]`.
    pub(crate) fn config(&self, endpoint: &Endpoint, data: &Path, worker: &str) -> String {
        format!(
            "agent = \"{}\"\nendpoints = [\"{}\", \"{}\"]\ndata = \"{}\"\n\n\
             [worker]\n{worker}\n\n[rpc]\nmax_head_age = \"1day\"\n\n\
             [sender]\npoll = \"250ms\"\nconfirmations = 2\n",
            self.agent,
            endpoint.rpc,
            endpoint.push(),
            data.display(),
        )
    }

    /// A validator's action that pauses through a gate: of these invariants, or, where none is named, of all.
    pub(crate) fn action(&self, id: &str, gate: &Gate, invariants: &[u64]) -> String {
        let mut text = format!("[[defence.actions]]\nid = \"{id}\"\nkind = \"pause_agent\"\n");
        if !invariants.is_empty() {
            let _infallible = writeln!(text, "invariants = {invariants:?}");
        }
        let _infallible = writeln!(
            text,
            "guard = \"{}\"\nagent = \"{}\"\njob = \"{}\"\n",
            gate.guard, self.agent, gate.job
        );
        text
    }
}

/// The configuration of a validator that takes these actions, with the private key in the file `key`.
pub(crate) fn defence(source: &str, actions: &str, endpoint: &Endpoint, key: &Path) -> String {
    format!(
        "[defence]\nsource = \"{source}\"\n\n{actions}[pause]\npoll = \"250ms\"\n\n\
         [sender]\nendpoints = [\"{}\"]\nchain_id = {CHAIN_ID}\npoll = \"250ms\"\nconfirmations = 2\n\n\
         [sender.keys.default]\nhex = \"file:{}\"\n",
        endpoint.rpc,
        key.display()
    )
}

/// Gives accounts the ether that they work with.
///
/// # Errors
/// [`LiveError::NoMoney`].
pub(super) async fn fund(node: &NodeClient, accounts: impl Iterator<Item = Address>) -> Result<(), LiveError> {
    let funds: Vec<_> = accounts.map(|account| (account, ether(WORKER_ETHER))).collect();
    node.fund(&funds).await
}

/// A private key as a file holds it, in hex.
pub(crate) fn key_file(wallet: &Wallet) -> String {
    format!("{:x}\n", wallet.key())
}
