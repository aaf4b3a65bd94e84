//! What a block changed, found by executing it on the snapshot below: for nodes that do not tell.
//!
//! What always holds: a result that does not agree with every receipt of the block (status, gas, number of logs) is not used.

use std::{collections::BTreeSet, sync::Arc};

use alloy::{
    consensus::Header,
    eips::eip2718::Encodable2718 as _,
    rpc::types::{Block, TransactionReceipt},
};
use engine::{
    Account, AccountState, B256, CompleteState, Hardfork, Missing, Prestate, Reason, Replay, State as _, Transaction,
    U256,
    case::{Case, CaseKind, Expect, Expected, ExpectedStatus},
    replay::ReplayError,
};
use serde_json::json;

use crate::{
    diff::{AccountDiff, Change, Diff, Rest},
    follow::SYSTEM,
    head::own_env,
    node::{BlockRef, Call, block_call, read},
    reader::{Reader, Unavailable},
    snapshot::Snapshot,
};

/// What one replay of the block came to.
enum Played {
    /// Everything was known; the state after it.
    Done(Box<CompleteState>),
    /// These were read and are not known.
    Wants(BTreeSet<Want>),
    /// It does not agree with the receipts, or cannot be executed here.
    Useless(String),
}

/// [`Missing`] in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Want {
    Account(engine::Address),
    Slot(engine::Address, U256),
    Code(B256),
    BlockHash(u64),
}

impl From<Want> for Missing {
    fn from(want: Want) -> Self {
        match want {
            Want::Account(address) => Self::Account(address),
            Want::Slot(address, slot) => Self::Slot(address, slot),
            Want::Code(hash) => Self::Code(hash),
            Want::BlockHash(number) => Self::BlockHash(number),
        }
    }
}

impl From<Missing> for Want {
    fn from(missing: Missing) -> Self {
        match missing {
            Missing::Account(address) => Self::Account(address),
            Missing::Slot(address, slot) => Self::Slot(address, slot),
            Missing::Code(hash) => Self::Code(hash),
            Missing::BlockHash(number) => Self::BlockHash(number),
        }
    }
}

impl Reader {
    /// What the block changed and what undoes it; `None` when executing it here does not give what the chain says.
    pub(crate) async fn execute_block(
        &self,
        below: &Arc<Snapshot>,
        hash: B256,
        header: &Header,
    ) -> Result<Option<(Diff, Diff)>, Unavailable> {
        let node = &self.shared.node;
        // Before Cancun a contract could be destroyed and created again in one block, which the state after it does not show.
        let rules = Hardfork::of(self.chain_id(), header.number, header.timestamp);
        let Some(hardfork) = rules.filter(|rules| *rules >= Hardfork::Cancun) else {
            return Ok(None);
        };
        let receipts = Call::new("eth_getBlockReceipts", json!([BlockRef::Hash(hash).parameter()]));
        let calls = vec![block_call(BlockRef::Hash(hash), true), receipts];
        let deadline = node.patience();
        let answers = node.batch(calls, deadline).await?;
        let block = answers
            .first()
            .map(|answer| read::<Option<Block>>("eth_getBlockByHash", answer));
        let Some(block) = block.transpose()?.flatten() else {
            return Err(Unavailable::UnknownHead(hash));
        };
        let receipts = answers
            .get(1)
            .map(|answer| read::<Option<Vec<TransactionReceipt>>>("eth_getBlockReceipts", answer));
        let Some(Ok(Some(receipts))) = receipts else {
            tracing::warn!(block = %hash, "the node gives no receipts; what the block changed cannot be checked");
            return Ok(None);
        };
        let Some(case) = case(&block, &receipts, self.chain_id(), hardfork) else {
            return Ok(None);
        };
        let (mut pre, mut asked) = (Prestate::default(), BTreeSet::new());
        let deadline = node.patience() + self.shared.node.config().request_timeout * 4;
        for _ in 0..self.shared.config.max_rounds {
            let mut case = case.clone();
            case.pre = CompleteState(pre.clone());
            let known = asked.clone();
            let played = self.shared.engines.run(deadline, move |_| play(case, &known)).await?;
            let wants = match played {
                Played::Done(after) => return Ok(Some(compare(&pre, &after.0))),
                Played::Useless(why) => {
                    tracing::warn!(block = %hash, why, "executing the block does not give what the chain says");
                    return Ok(None);
                }
                Played::Wants(wants) => wants,
            };
            let missing: Vec<Missing> = wants.iter().map(|want| (*want).into()).collect();
            self.fetch_all(below, &missing).await?;
            for want in wants {
                if take(below, want, &mut pre) {
                    asked.insert(want);
                } else {
                    return Err(Unavailable::NotGiven(want.into()));
                }
            }
        }
        Ok(None)
    }

    /// Fetches however much it is, in batches.
    async fn fetch_all(&self, snapshot: &Arc<Snapshot>, missing: &[Missing]) -> Result<(), Unavailable> {
        for some in missing.chunks(crate::engines::MOST_WANTED) {
            self.fetch(snapshot, some.to_vec(), self.shared.node.patience()).await?;
        }
        Ok(())
    }
}

/// The block as a case to replay; `None` when one of its transactions is of a kind that is not executed here.
fn case(block: &Block, receipts: &[TransactionReceipt], chain_id: u64, hardfork: Hardfork) -> Option<Case> {
    let transactions = block.transactions.as_transactions()?;
    if transactions.len() != receipts.len() {
        return None;
    }
    let decoded = transactions.iter().map(|tx| {
        let raw = tx.inner.inner().encoded_2718();
        Transaction::with_sender(&raw, tx.inner.signer()).ok()
    });
    let per_tx = receipts.iter().map(|receipt| Expected {
        gas_used: receipt.gas_used,
        // A receipt does not tell a revert from a halt.
        status: receipt.status().then_some(ExpectedStatus::Success),
        logs: Some(receipt.logs().len()),
    });
    Some(Case {
        id: block.header.hash.to_string(),
        kind: CaseKind::Block,
        chain_id,
        hardfork,
        relaxed: false,
        block: own_env(&block.header.inner),
        block_hash: Some(block.header.hash),
        parent_hash: Some(block.header.inner.parent_hash),
        transactions: decoded.collect::<Option<_>>()?,
        pre: CompleteState::default(),
        expect: Expect {
            block_gas_used: Some(block.header.inner.gas_used),
            per_tx: per_tx.collect(),
        },
        invariants: Vec::new(),
        inexpressible: Vec::new(),
    })
}

/// Replays the block on a state in which what is not yet known is taken for nothing: what it reads there is wanted, and only a replay
/// that wants nothing counts.
fn play(case: Case, known: &BTreeSet<Want>) -> Played {
    let failed: Vec<bool> = case
        .expect
        .per_tx
        .iter()
        .map(|expected| expected.status.is_none())
        .collect();
    let mut replay = Replay::new(case);
    let (mut wants, mut differs) = (BTreeSet::new(), None);
    for step in replay.by_ref() {
        match step {
            Ok(step) => {
                for (address, read) in &step.prestate.accounts {
                    if SYSTEM.contains(address) {
                        return Played::Useless("a transaction reads what the protocol writes".to_owned());
                    }
                    wants.insert(Want::Account(*address));
                    wants.extend(read.storage.keys().map(|slot| Want::Slot(*address, *slot)));
                }
                let succeeded = step.outcome.status == engine::Status::Success;
                let should_fail = failed.get(step.index).copied().unwrap_or_default();
                let agrees =
                    step.expected.is_some_and(|expected| expected.agrees(&step.outcome)) && succeeded != should_fail;
                if !agrees && differs.is_none() {
                    differs = Some(format!("transaction {} came to {}", step.index, step.outcome.status));
                }
            }
            Err(ReplayError::Undecided {
                reason: Reason::MissingState(missing),
                ..
            }) => {
                wants.insert(missing.into());
            }
            Err(error) => return Played::Useless(error.to_string()),
        }
    }
    wants.retain(|want| !known.contains(want));
    match (wants.is_empty(), differs) {
        (false, _) => Played::Wants(wants),
        (true, Some(why)) => Played::Useless(why),
        (true, None) => Played::Done(Box::new(replay.state().clone())),
    }
}

/// Copies a piece of state; false when the snapshot does not know it.
fn take(from: &Snapshot, want: Want, to: &mut Prestate) -> bool {
    match want {
        Want::Account(address) => from.account(address).map(|account| {
            to.accounts.entry(address).or_default().account = account;
        }),
        Want::Slot(address, slot) => from.storage(address, slot).map(|value| {
            to.accounts.entry(address).or_default().storage.insert(slot, value);
        }),
        Want::Code(hash) => from.code(hash).map(|code| {
            to.codes.insert(hash, code);
        }),
        Want::BlockHash(number) => from.block_hash(number).map(|hash| {
            to.block_hashes.insert(number, hash);
        }),
    }
    .is_ok()
}

/// What leads from one state to the other, and back. Both hold the same keys, and the later one those that appeared.
fn compare(before: &Prestate, after: &Prestate) -> (Diff, Diff) {
    let (mut forth, mut back) = (Diff::default(), Diff::default());
    let nothing = AccountState::default();
    for (address, now) in &after.accounts {
        let was = before.accounts.get(address).unwrap_or(&nothing);
        let lived = |account: Option<Account>| account.is_some_and(|account| account.nonce > 0 || account.has_code());
        // It came or went with its storage.
        let anew = !lived(was.account) && lived(now.account) || was.account.is_some() && now.account.is_none();
        let mut change = AccountDiff::default();
        let mut undo = AccountDiff::default();
        if was.account != now.account {
            change.account = Change::Now(now.account);
            undo.account = Change::Now(was.account);
        }
        let slots: BTreeSet<_> = was.storage.keys().chain(now.storage.keys()).collect();
        for slot in slots {
            let of = |state: &AccountState| state.storage.get(slot).copied().unwrap_or_default();
            if of(was) != of(now) {
                change.storage.insert(*slot, of(now));
                undo.storage.insert(*slot, of(was));
            }
        }
        if anew {
            change.rest = Rest::Zero;
            undo.rest = if was.account.is_some() && now.account.is_none() {
                Rest::Unknown
            } else {
                Rest::Zero
            };
        }
        if change != AccountDiff::default() {
            forth.accounts.insert(*address, change);
            back.accounts.insert(*address, undo);
        }
    }
    forth.codes = after.codes.clone();
    forth.codes.retain(|hash, _| !before.codes.contains_key(hash));
    (forth, back)
}
