//! The Agent contract, read from a node at one block.
//!
//! What always holds: everything of one answer is of one block, named by its hash; a node that does not answer is an error, a job
//! that is not there is `None`.

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolCall;
use contracts::{Agent, AgentLens, Token};
use serde_json::json;
use state::{BlockRef, Call, Node, NodeError, read, returned};

use crate::job::{Job, Keeper, Source, Standing, Terms};

/// Jobs in one call of the lens.
const JOBS_A_CALL: usize = 50;
/// Such calls in one batch.
const CALLS_A_BATCH: usize = 10;

/// Why the Agent cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The contract at this address is no Agent.
    #[error("{0} is no Agent: {1}; check `agent` and the chain of `endpoints`")]
    NoAgent(Address, String),
}

/// One Agent over a node.
#[derive(Debug, Clone)]
pub struct AgentClient {
    node: Node,
    agent: Address,
    lens: Address,
    token: Address,
}

fn view<C: SolCall>(to: Address, call: &C, at: B256) -> Call {
    state::view(to, call, BlockRef::Hash(at))
}

impl AgentClient {
    /// The Agent at `agent`, checked at the block `at`.
    ///
    /// # Errors
    /// [`ReadError::NoAgent`] when there is none.
    pub async fn open(node: Node, agent: Address, at: B256) -> Result<Self, ReadError> {
        let calls = [
            view(agent, &Agent::lensCall {}, at),
            view(agent, &Agent::stakeTokenCall {}, at),
        ];
        let [lens, token] = node.batch_of(calls).await?;
        let none = |error: NodeError| ReadError::NoAgent(agent, error.to_string());
        let lens = returned::<Agent::lensCall>(&lens).map_err(none)?;
        let token = returned::<Agent::stakeTokenCall>(&token).map_err(none)?;
        Ok(Self {
            node,
            agent,
            lens,
            token,
        })
    }

    /// The contract.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.agent
    }

    /// The token that is staked.
    #[must_use]
    pub const fn token(&self) -> Address {
        self.token
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The keeper whose worker this is; 0: none.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn keeper_of(&self, worker: Address, at: B256) -> Result<u64, ReadError> {
        let call = Agent::keeperOfCall { worker };
        let keeper = self.node.view(self.agent, &call, BlockRef::Hash(at)).await?;
        Ok(keeper.saturating_to())
    }

    /// All keepers.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn keepers(&self, at: B256) -> Result<Vec<Keeper>, ReadError> {
        let call = AgentLens::keepersCall {
            from: U256::ONE,
            count: U256::from(4096),
        };
        let all = self.node.view(self.lens, &call, BlockRef::Hash(at)).await?;
        Ok(all
            .into_iter()
            .map(|seen| keeper(seen.id.saturating_to(), &seen.keeper))
            .collect())
    }

    /// Parameters, active set, and the keeper `id`, in one round trip.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn standing(&self, id: u64, at: B256) -> Result<Standing, ReadError> {
        let info = AgentLens::keepersCall {
            from: U256::from(id.max(1)),
            count: U256::ONE,
        };
        let calls = [
            view(self.agent, &Agent::configCall {}, at),
            view(self.agent, &Agent::activeKeepersCall {}, at),
            view(self.lens, &info, at),
        ];
        let [config, active, info] = self.node.batch_of(calls).await?;
        let config = returned::<Agent::configCall>(&config)?;
        let me = returned::<AgentLens::keepersCall>(&info)?;
        let me = me.into_iter().next().filter(|_| id != 0);
        Ok(Standing {
            terms: Terms {
                min_stake: U256::from(config.minKeeperStake),
                period1: config.period1.to(),
                period2: config.period2.to(),
                job_min_credits: U256::from(config.jobMinCredits),
                activation_timeout: u64::from(config.activationTimeout),
                withdrawal_timeout: u64::from(config.withdrawalTimeout),
            },
            me: me.map(|seen| keeper(id, &seen.keeper)).unwrap_or_default(),
            active: returned::<Agent::activeKeepersCall>(&active)?
                .into_iter()
                .map(|id| id.to())
                .collect(),
        })
    }

    /// Jobs by key, at one block: `None` for a key that is no job's.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn jobs(&self, keys: &[B256], at: B256) -> Result<Vec<(B256, Option<Job>)>, ReadError> {
        let mut all = Vec::with_capacity(keys.len());
        for batch in keys.chunks(JOBS_A_CALL * CALLS_A_BATCH) {
            let calls: Vec<Call> = batch
                .chunks(JOBS_A_CALL)
                .map(|keys| view(self.lens, &AgentLens::jobsCall { keys: keys.to_vec() }, at))
                .collect();
            let answers = self.node.batch(calls, self.node.patience()).await?;
            for (keys, answer) in batch.chunks(JOBS_A_CALL).zip(&answers) {
                let views = returned::<AgentLens::jobsCall>(answer)?;
                if views.len() != keys.len() {
                    let why = format!("{} jobs where {} were asked for", views.len(), keys.len());
                    return Err(NodeError::malformed("eth_call", why).into());
                }
                all.extend(keys.iter().copied().zip(views.into_iter().map(job)));
            }
        }
        Ok(all)
    }

    /// The Agent's events in these blocks, both included.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn logs(&self, from: u64, to: u64) -> Result<Vec<Log>, ReadError> {
        Ok(self.node.logs(self.agent, from..=to).await?)
    }

    /// The Agent's events of these blocks, in one round trip.
    ///
    /// # Errors
    /// When the node does not answer, or does not know a block any more.
    pub async fn logs_of(&self, blocks: &[B256]) -> Result<Vec<Vec<Log>>, ReadError> {
        let calls = blocks
            .iter()
            .map(|block| Call::new("eth_getLogs", json!([{ "address": self.agent, "blockHash": block }])))
            .collect();
        let answers = self.node.batch(calls, self.node.patience()).await?;
        let logs: Result<_, NodeError> = answers.iter().map(|answer| read("eth_getLogs", answer)).collect();
        Ok(logs?)
    }

    /// What an account has of the stake token and allowed the Agent to take, and the token's decimals.
    ///
    /// # Errors
    /// When the node does not answer, or the token is none.
    pub async fn purse(&self, account: Address, at: B256) -> Result<Purse, ReadError> {
        let balance = Token::balanceOfCall { account };
        let allowance = Token::allowanceCall {
            owner: account,
            spender: self.agent,
        };
        let calls = [
            view(self.token, &balance, at),
            view(self.token, &allowance, at),
            view(self.token, &Token::decimalsCall {}, at),
        ];
        let [balance, allowance, decimals] = self.node.batch_of(calls).await?;
        Ok(Purse {
            balance: returned::<Token::balanceOfCall>(&balance)?,
            allowance: returned::<Token::allowanceCall>(&allowance)?,
            // A token need not say it; then it is counted in base units.
            decimals: returned::<Token::decimalsCall>(&decimals).unwrap_or(0),
        })
    }
}

/// An account's stake tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purse {
    /// Base units that it has.
    pub balance: U256,
    /// Base units that the Agent may take.
    pub allowance: U256,
    /// Decimals of the token.
    pub decimals: u8,
}

fn keeper(id: u64, seen: &AgentLens::Keeper) -> Keeper {
    Keeper {
        id,
        admin: seen.admin,
        worker: seen.worker,
        stake: U256::from(seen.stake),
        active: seen.position != 0,
        activation_at: seen.activationAt.to(),
        assigned_jobs: seen.assignedJobs.to(),
        slashed_stake: U256::from(seen.slashedStake),
        pending_withdrawal: U256::from(seen.pendingWithdrawal),
        withdrawable_at: seen.withdrawableAt.to(),
        compensation: U256::from(seen.compensation),
    }
}

/// `None` when the key is no job's, or of a kind that this program does not know.
fn job(seen: AgentLens::JobView) -> Option<Job> {
    let inner = seen.job;
    let terms = inner.terms;
    if inner.owner.is_zero() {
        return None;
    }
    let source = match terms.source {
        0 => Source::Selector,
        1 => Source::PreDefined,
        2 => Source::Resolver,
        _ => return None,
    };
    Some(Job {
        key: seen.key,
        owner: inner.owner,
        target: terms.target,
        source,
        flags: terms.flags,
        interval: terms.interval.to(),
        max_base_fee_gwei: terms.maxBaseFeeGwei,
        defence_window: u64::from(terms.defenceWindow),
        keeper: inner.keeper.to(),
        reserved_slasher: inner.reservedSlasher.to(),
        failures: inner.failures,
        slashing_possible_after: inner.slashingPossibleAfter.to(),
        last_execution_at: inner.lastExecutionAt.to(),
        anchor_at: inner.anchorAt.to(),
        assigned_at: inner.assignedAt.to(),
        retry_at: inner.retryAt.to(),
        defence_open_at: inner.defenceOpenAt.to(),
        gas_limit: u64::from(terms.gasLimit),
        resolver: inner.resolver,
        data: inner.data,
        credits: seen.credits,
        eligible: seen.eligible,
    })
}
