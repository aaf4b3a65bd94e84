//! The other half of the field: vaults whose right to be paused is a guard's, each with a job of the defence lane, and a staked keeper.

use std::path::Path;

use alloy::consensus::TxEnvelope;
use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::SolCall;
use contracts::{Agent, Contract, PauseGuard, Token, VaultAdmin, guard};

use super::field::{SETUP_FEES, TREASURE, ether, mine};
use crate::localnet::LocalnetError;
use crate::localnet::live::LiveError;
use crate::localnet::live::rpc::NodeClient;
use crate::scenario::wallet::{Draft, Form, Wallet};

/// Most gas of a transaction of the setup; the Agent's creation needs the most.
const GAS: u64 = 2_000_000;
const AGENT_GAS: u64 = 15_000_000;
/// Transactions that are sent together: less than a block holds.
const TOGETHER: usize = 10;
/// Stake of the keeper, in whole tokens.
const STAKE: u64 = 1_000;
/// Gas that a guard needs to pause its vault.
const PAUSE_GAS: u32 = 200_000;
/// Blocks that a job is its own keeper's alone.
const WINDOW: u8 = 2;

/// A vault behind a guard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gated {
    pub(super) vault: Address,
    guard: Address,
    job: B256,
}

/// All of them, and the keeper.
#[derive(Debug)]
pub(super) struct Gates {
    agent: Address,
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
        let wallet = |role: &str| Wallet::derive(seed, role, 0).map_err(LiveError::Story);
        let (mut admin, worker) = (wallet("race keeper's admin")?, wallet("race keeper's worker")?);
        let rich = ether(1_000);
        node.fund(&[(admin.address(), rich), (worker.address(), rich)]).await?;
        let token = admin.address().create(admin.nonce());
        let agent = guardian.address().create(guardian.nonce());
        let arguments = Token::constructorCall {
            name_: "Stake".to_owned(),
            symbol_: "STK".to_owned(),
            supply: ether(STAKE),
            holder: admin.address(),
        };
        let creation = Contract::Token.creation(&arguments);
        mine(node, &[sign(&mut admin, TxKind::Create, U256::ZERO, creation, GAS)?]).await?;
        let arguments = Agent::constructorCall {
            owner_: guardian.address(),
            stakeToken_: token,
            ticketStake_: ether(1),
            config_: config(),
        };
        let creation = Contract::Agent.creation(&arguments);
        mine(
            node,
            &[sign(guardian, TxKind::Create, U256::ZERO, creation, AGENT_GAS)?],
        )
        .await?;
        let approval = Token::approveCall {
            spender: agent,
            value: U256::MAX,
        };
        let registration = Agent::registerAsKeeperCall {
            worker: worker.address(),
            amount: ether(STAKE),
        };
        let activation = Agent::finalizeKeeperActivationCall { keeperId: U256::ONE };
        let joining = [
            call(&mut admin, token, U256::ZERO, &approval)?,
            call(&mut admin, agent, U256::ZERO, &registration)?,
            call(&mut admin, agent, U256::ZERO, &activation)?,
        ];
        mine(node, &joining).await?;

        let mut setup = Vec::new();
        let mut vaults = Vec::new();
        for _ in 0..count {
            let owner = guardian.address().create(guardian.nonce());
            let arguments = VaultAdmin::constructorCall {
                guardian_: guardian.address(),
                flashFeeBps: 9,
            };
            let creation = Contract::VaultAdmin.creation(&arguments);
            setup.push(sign(guardian, TxKind::Create, ether(TREASURE), creation, GAS)?);
            let gate = guardian.address().create(guardian.nonce());
            let arguments = PauseGuard::constructorCall {
                owner_: guardian.address(),
                protocol_: owner,
                call_: VaultAdmin::pauseCall {}.abi_encode().into(),
                reporters: vec![guardian.address()],
                threshold_: U256::ONE,
            };
            let creation = Contract::PauseGuard.creation(&arguments);
            setup.push(sign(guardian, TxKind::Create, U256::ZERO, creation, GAS)?);
            let right = VaultAdmin::setGuardCall { guard_: gate };
            setup.push(call(guardian, owner, U256::ZERO, &right)?);
            let job = guard::register_job(gate, WINDOW, PAUSE_GAS);
            setup.push(sign(guardian, TxKind::Call(agent), ether(1), job, GAS)?);
            // A contract's own first creation has the nonce 1 (EIP-161); a guard's only job is its first.
            let key = [gate.as_slice(), &[0, 0, 1]].concat();
            vaults.push(Gated {
                vault: owner.create(1),
                guard: gate,
                job: keccak256(key),
            });
        }
        for together in setup.chunks(TOGETHER) {
            mine(node, together).await?;
        }
        Ok(Self { agent, worker, vaults })
    }

    /// Who executes the pauses.
    pub(super) fn worker(&self) -> Address {
        self.worker.address()
    }

    /// The validator's actions for these vaults, whose invariants have the numbers from `first` on.
    pub(super) fn actions(&self, first: usize) -> String {
        let action = |(place, gated): (usize, &Gated)| {
            format!(
                "[[defence.actions]]\nid = \"gate-{place}\"\nkind = \"pause_agent\"\ninvariants = [{}]\n\
                 guard = \"{}\"\nagent = \"{}\"\njob = \"{}\"\n\n",
                first + place,
                gated.guard,
                self.agent,
                gated.job
            )
        };
        self.vaults.iter().enumerate().map(action).collect()
    }

    /// The keeper's configuration.
    pub(super) fn keeper(&self, folder: &Path, key: &Path, http: &str, ws: &str) -> String {
        format!(
            "agent = \"{}\"\nendpoints = [\"{http}\", \"{ws}\"]\ndata = \"{}\"\n\n\
             [worker]\nhex = \"file:{}\"\n\n[rpc]\npoll = \"50ms\"\nmax_head_age = \"1day\"\n\n\
             [sender]\npoll = \"250ms\"\nconfirmations = 2\n",
            self.agent,
            folder.display(),
            key.display()
        )
    }

    /// The worker's private key, in hex.
    pub(super) fn key(&self) -> String {
        format!("{:x}\n", self.worker.key())
    }
}

fn config() -> Agent::Config {
    Agent::Config {
        minKeeperStake: U96::from(ether(100)),
        slashingFeeFixed: U96::from(ether(10)),
        withdrawalTimeout: 20,
        slashingFeeBps: 300,
        maxStake: U96::ZERO,
        jobMinCredits: U96::from(10_u128.pow(17)),
        activationTimeout: 20,
        feePpm: U24::ZERO,
        slashingEpochBlocks: 3,
        jobFixedReward: 30_000_000_000_000,
        stakeDivisor: 50_000_000,
        period1: U24::from(15),
        period2: U24::from(30),
        compensationMultiplierBps: 10_000,
        gasOverhead: 136_000,
        retryBase: 12,
        retryCap: 3_600,
    }
}

fn call<C: SolCall>(wallet: &mut Wallet, to: Address, value: U256, call: &C) -> Result<TxEnvelope, LocalnetError> {
    sign(wallet, TxKind::Call(to), value, call.abi_encode().into(), GAS)
}

fn sign(
    wallet: &mut Wallet,
    to: TxKind,
    value: U256,
    input: Bytes,
    gas_limit: u64,
) -> Result<TxEnvelope, LocalnetError> {
    let draft = Draft {
        to,
        value,
        input,
        gas_limit,
    };
    Ok(wallet
        .sign(draft, Form::DynamicFee, SETUP_FEES)
        .map_err(LiveError::Story)?)
}
