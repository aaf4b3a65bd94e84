//! The AuditManager, read from a node at one block.
//!
//! What always holds: everything of one answer is of one block, named by its hash; a node that does not answer is an error.

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::types::{Log, TransactionReceipt};
use alloy::sol_types::SolCall;
use contracts::{AuditManager, Token};
use serde_json::json;
use state::{BlockRef, Call, Node, NodeError, returned};

use crate::probe::{Kind, Peer};
use crate::rule::terms::Terms;

/// Subjects in one call.
const SUBJECTS_A_CALL: u32 = 200;
/// Such calls in one batch.
const CALLS_A_BATCH: usize = 20;

/// Why the AuditManager cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The node.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The contract at this address is none.
    #[error("{0} is no AuditManager: {1}; check `contract` and the chain of `endpoints`")]
    NoManager(Address, String),
}

/// A block at the tip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number.
    pub number: u64,
    /// Hash.
    pub hash: B256,
    /// Unix seconds.
    pub timestamp: u64,
}

/// A peer that is to be measured and reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// Who, and where.
    pub peer: Peer,
    /// The number of its running epoch.
    pub epoch: u32,
    /// Whether our verdict of it was consumed.
    pub sent: bool,
    /// The beginning of its epoch, Unix seconds.
    pub start: u64,
    /// When verdicts are accepted, Unix seconds: what is measured ends where it begins.
    pub window: std::ops::Range<u64>,
}

/// This node in the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: u32,
    /// Its owner.
    pub owner: Address,
    /// What it does.
    pub kind: Option<Kind>,
    /// Where it is in its life.
    pub life: Life,
    /// The number of its running epoch.
    pub epoch: u32,
    /// The beginning of it, Unix seconds.
    pub start: u64,
    /// Its reward date, Unix seconds.
    pub next_reward: u64,
    /// Who audits it.
    pub group: Vec<u32>,
    /// How many should.
    pub group_wanted: usize,
    /// Whether all who audit it are active.
    pub group_active: bool,
    /// Its stake, base units.
    pub stake: u128,
    /// Its own verdicts that were due since the last bounty, and those that counted.
    pub duties: (u32, u32),
}

/// Where a node is in its life; the contract's `State`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Never registered, or a state that this program does not know.
    None,
    /// Audited, an auditor, and paid.
    Active,
    /// May claim once more.
    Leaving,
    /// Gone.
    Left,
}

impl Life {
    const fn of(number: u8) -> Self {
        match number {
            1 => Self::Active,
            2 => Self::Leaving,
            3 => Self::Left,
            _ => Self::None,
        }
    }

    /// For people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "not registered",
            Self::Active => "active",
            Self::Leaving => "leaving",
            Self::Left => "left",
        }
    }

    /// Whether it may claim.
    #[must_use]
    pub const fn may_claim(self) -> bool {
        matches!(self, Self::Active | Self::Leaving)
    }
}

/// One AuditManager over a node.
#[derive(Debug, Clone)]
pub struct ManagerClient {
    node: Node,
    contract: Address,
}

impl ManagerClient {
    /// The AuditManager at `contract`, checked at the newest block.
    ///
    /// # Errors
    /// [`ReadError::NoManager`] when there is none.
    pub async fn open(node: Node, contract: Address) -> Result<Self, ReadError> {
        let manager = Self { node, contract };
        let at = manager.head().await?.hash;
        match manager.terms(at).await {
            Ok(_) => Ok(manager),
            Err(ReadError::Node(NodeError::Malformed { why, .. })) => Err(ReadError::NoManager(contract, why)),
            Err(ReadError::Node(NodeError::Rpc(failure))) => Err(ReadError::NoManager(contract, failure.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The contract.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.contract
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The newest block.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn head(&self) -> Result<Head, ReadError> {
        let header = self.node.newest().await?.header;
        Ok(Head {
            number: header.number,
            hash: header.hash,
            timestamp: header.timestamp,
        })
    }

    /// The time of a block, Unix seconds; `None` when the node does not have it.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn time_of(&self, number: u64) -> Result<Option<u64>, ReadError> {
        let block = self
            .node
            .block(BlockRef::Number(number), false, self.node.patience())
            .await?;
        Ok(block.map(|block| block.header.timestamp))
    }

    fn call<C: SolCall>(&self, call: &C, at: B256) -> Call {
        state::view(self.contract, call, BlockRef::Hash(at))
    }

    async fn view<C: SolCall>(&self, call: &C, at: B256) -> Result<C::Return, ReadError> {
        Ok(self.node.view(self.contract, call, BlockRef::Hash(at)).await?)
    }

    /// The parameters.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn terms(&self, at: B256) -> Result<Terms, ReadError> {
        Ok(Terms::from(&self.view(&AuditManager::configCall {}, at).await?))
    }

    /// Decimals of the token that bounties are paid in; 0 where it does not say.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn decimals(&self, at: B256) -> Result<u8, ReadError> {
        let token = self.view(&AuditManager::tokenCall {}, at).await?;
        let call = state::view(token, &Token::decimalsCall {}, BlockRef::Hash(at));
        let [decimals] = self.node.batch_of([call]).await?;
        // A token need not say it; then it is counted in base units.
        Ok(returned::<Token::decimalsCall>(&decimals).unwrap_or(0))
    }

    /// How many nodes there are or were: ids count from 1.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn node_count(&self, at: B256) -> Result<u32, ReadError> {
        self.view(&AuditManager::nodeCountCall {}, at).await
    }

    /// The node whose operator this is; 0: none.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn node_of(&self, operator: Address, at: B256) -> Result<u32, ReadError> {
        self.view(&AuditManager::nodeOfCall { operator }, at).await
    }

    /// How a node stands.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn member(&self, id: u32, at: B256) -> Result<Member, ReadError> {
        let calls = [
            self.call(&AuditManager::nodeInfoCall { id }, at),
            self.call(&AuditManager::nextRewardCall { id }, at),
            self.call(&AuditManager::groupWantedCall { subject: id }, at),
            self.call(&AuditManager::activeNodesCall {}, at),
        ];
        let [info, next, wanted, active] = self.node.batch_of(calls).await?;
        let info = returned::<AuditManager::nodeInfoCall>(&info)?;
        let active = returned::<AuditManager::activeNodesCall>(&active)?;
        Ok(Member {
            id,
            owner: info.owner,
            kind: Kind::of(info.kind),
            life: Life::of(info.state),
            epoch: info.epoch,
            start: info.lastReward.to(),
            next_reward: returned::<AuditManager::nextRewardCall>(&next)?.saturating_to(),
            group_active: info.group.iter().all(|auditor| active.contains(auditor)),
            group: info.group,
            group_wanted: returned::<AuditManager::groupWantedCall>(&wanted)?.saturating_to(),
            stake: info.stake,
            duties: (info.owed.to(), info.kept.to()),
        })
    }

    /// What a claim of `id` would give now.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn settlement(&self, id: u32, at: B256) -> Result<AuditManager::Settlement, ReadError> {
        self.view(&AuditManager::settlementCall { id }, at).await
    }

    /// Whom `auditor` has to measure.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn duties(&self, auditor: u32, at: B256) -> Result<Vec<Duty>, ReadError> {
        let count = self.node_count(at).await?;
        let pages: Vec<Call> = (1..=count)
            .step_by(SUBJECTS_A_CALL as usize)
            .map(|from| {
                let call = AuditManager::dutiesCall {
                    auditor,
                    from,
                    count: SUBJECTS_A_CALL,
                };
                self.call(&call, at)
            })
            .collect();
        let mut duties = Vec::new();
        for batch in pages.chunks(CALLS_A_BATCH) {
            for answer in self.node.batch(batch.to_vec(), self.node.patience()).await? {
                duties.extend(returned::<AuditManager::dutiesCall>(&answer)?.into_iter().map(duty));
            }
        }
        Ok(duties)
    }

    /// The contract's events in these blocks, both included.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn logs(&self, from: u64, to: u64) -> Result<Vec<Log>, ReadError> {
        Ok(self.node.logs(self.contract, from..=to).await?)
    }

    /// A receipt; `None`: the transaction is in no block.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn receipt(&self, transaction: B256) -> Result<Option<TransactionReceipt>, ReadError> {
        let call = Call::new("eth_getTransactionReceipt", json!([transaction]));
        Ok(self.node.call(call, self.node.patience()).await?)
    }

    /// Wei of an account.
    ///
    /// # Errors
    /// When the node does not answer.
    pub async fn balance(&self, account: Address) -> Result<U256, ReadError> {
        Ok(self.node.balance(account).await?)
    }
}

fn duty(seen: AuditManager::Duty) -> Duty {
    Duty {
        peer: Peer {
            id: seen.subject,
            kind: Kind::of(seen.kind),
            hotkey: seen.hotkey.0,
            endpoint: seen.endpoint,
        },
        epoch: seen.epoch,
        sent: seen.sent,
        start: seen.epochStart.to(),
        window: seen.windowStart.to()..seen.windowEnd.to(),
    }
}
