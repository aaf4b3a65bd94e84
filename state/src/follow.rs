//! Following the head: forward by what each block changed, back over a reorg to the common ancestor.
//!
//! What a block changed is told by the node (`debug_traceBlockByHash`, `prestateTracer` in `diffMode`); where it does not, the block
//! is executed on the snapshot below and the result compared with the receipts; where that does not fit, nothing is known any more
//! and the new snapshot starts empty. Never is a value taken over that may have changed.
//!
//! What always holds: either all steps to the new head are made or none; a snapshot given out before is not touched.

use std::sync::Arc;

use alloy::{
    eips::{
        eip2935::HISTORY_STORAGE_ADDRESS, eip4788::BEACON_ROOTS_ADDRESS, eip7002::WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
        eip7251::CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
    },
    primitives::Address,
    rpc::types::{
        Block,
        trace::{
            common::TraceResult,
            geth::{GethTrace, PreStateFrame},
        },
    },
};
use engine::{B256, Hardfork};
use serde_json::json;

use crate::{
    diff::{Change, Diff},
    head::HeadInfo,
    heads::Heads,
    node::{Answer, BlockRef, Call, NodeError, block_call, read},
    reader::{Reader, Unavailable},
    snapshot::{Snapshot, Step},
    trace,
};

/// One step from a head to the next one, or back.
#[derive(Clone, Debug)]
pub struct HeadChange {
    /// The head in force after this step.
    pub head: HeadInfo,
    /// The block that was added, or undone.
    pub block: B256,
    /// Hashes of that block's transactions: now included, or (`reverted`) no longer.
    pub included: Arc<[B256]>,
    /// What this step changed. [`Diff::everything`] when that is not known.
    pub diff: Arc<Diff>,
    /// True when the block was undone by a reorg.
    pub reverted: bool,
}

/// Contracts that the protocol itself writes at the edges of a block, which no transaction's trace tells: beacon roots (EIP-4788),
/// block hashes (EIP-2935), withdrawal requests (EIP-7002), consolidation requests (EIP-7251).
pub(crate) const SYSTEM: [Address; 4] = [
    BEACON_ROOTS_ADDRESS,
    HISTORY_STORAGE_ADDRESS,
    WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS,
    CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS,
];

const TRACE_BLOCK: &str = "debug_traceBlockByHash";

/// A block on the way to the new head.
struct Stop {
    block: Block,
    /// What it changed and what undoes it, where the node told.
    told: Option<(Diff, Diff)>,
}

enum Way {
    /// Read now.
    Fetched(Box<Stop>),
    /// Left aside by an earlier reorg.
    Known(Arc<Snapshot>),
}

impl Reader {
    /// Makes this block the head: undoes blocks down to the common ancestor and adds those up to it, each by what it changed. Gives
    /// the steps, oldest first; none when it is the head already.
    ///
    /// When no ancestor among the blocks kept leads to it, it starts anew there: one step, after which nothing is known.
    ///
    /// # Errors
    /// When the node does not know the block or does not answer; then the head is what it was.
    pub async fn advance(&self, new_head: B256) -> Result<Vec<HeadChange>, Unavailable> {
        let shared = &*self.shared;
        let _following = shared.following.lock().await;
        let mut heads = Heads::clone(&shared.heads.load());
        let mut changes = Vec::new();
        let mut way = Vec::new();
        let mut at = new_head;
        while heads.on_line(at).is_none() {
            let stop = match heads.aside(at) {
                Some(snapshot) => Way::Known(Arc::clone(snapshot)),
                None => Way::Fetched(Box::new(self.stop(at).await?)),
            };
            at = match &stop {
                Way::Fetched(stop) => stop.block.header.inner.parent_hash,
                Way::Known(snapshot) => snapshot.head().parent_hash,
            };
            way.push(stop);
            if way.len() > shared.config.kept_heads {
                return self.restart(way.swap_remove(0));
            }
        }
        while heads.newest().hash() != at {
            let Some(undone) = heads.pop() else { break };
            if let Some(step) = undone.step() {
                changes.push(HeadChange {
                    head: heads.newest().head().clone(),
                    block: undone.hash(),
                    included: Arc::clone(&step.included),
                    diff: Arc::clone(&step.back),
                    reverted: true,
                });
            }
        }
        for stop in way.into_iter().rev() {
            let snapshot = match stop {
                Way::Known(snapshot) => snapshot,
                Way::Fetched(stop) => Arc::new(self.step(heads.newest(), *stop).await?),
            };
            if let Some(step) = snapshot.step() {
                changes.push(HeadChange {
                    head: snapshot.head().clone(),
                    block: snapshot.hash(),
                    included: Arc::clone(&step.included),
                    diff: Arc::clone(&step.forth),
                    reverted: false,
                });
            }
            heads.push(snapshot);
        }
        shared.heads.store(Arc::new(heads));
        metrics::counter!("state_heads_total").increment(changes.len() as u64);
        Ok(changes)
    }

    /// No way leads there from what is kept.
    fn restart(&self, newest: Way) -> Result<Vec<HeadChange>, Unavailable> {
        let shared = &*self.shared;
        let snapshot = match newest {
            Way::Known(snapshot) => snapshot,
            Way::Fetched(stop) => {
                let (codes, limit) = (Arc::clone(&shared.codes), shared.config.max_slots);
                let included = stop.block.transactions.hashes().collect();
                Arc::new(Snapshot::empty(self.head_of(&stop.block), codes, limit, included))
            }
        };
        tracing::warn!(head = %snapshot.hash(), "no way to the new head from the blocks kept; starting anew there");
        let change = HeadChange {
            head: snapshot.head().clone(),
            block: snapshot.hash(),
            included: snapshot
                .step()
                .map_or_else(|| [].into(), |step| Arc::clone(&step.included)),
            diff: Arc::new(Diff::everything()),
            reverted: false,
        };
        shared
            .heads
            .store(Arc::new(Heads::new(snapshot, shared.config.kept_heads)));
        Ok(vec![change])
    }

    fn head_of(&self, block: &Block) -> HeadInfo {
        let shared = &*self.shared;
        HeadInfo::new(
            &block.header.inner,
            block.header.hash,
            self.chain_id(),
            shared.config.block_time.as_secs(),
        )
    }

    /// A block and what it changed, in one round trip where the node tells.
    async fn stop(&self, hash: B256) -> Result<Stop, Unavailable> {
        let node = &self.shared.node;
        let mut calls = vec![block_call(BlockRef::Hash(hash), false)];
        if node.supports(TRACE_BLOCK) {
            let options = json!({"tracer": "prestateTracer", "tracerConfig": {"diffMode": true}});
            calls.push(Call::new(TRACE_BLOCK, json!([hash, options])));
        }
        let answers = match node.batch(calls, node.patience()).await {
            // No endpoint has both; the block alone is what is needed most.
            Err(NodeError::Unsupported(_)) => {
                node.batch(vec![block_call(BlockRef::Hash(hash), false)], node.patience())
                    .await?
            }
            answers => answers?,
        };
        let block = answers
            .first()
            .map(|answer| read::<Option<Block>>("eth_getBlockByHash", answer));
        let block = block.transpose()?.flatten().ok_or(Unavailable::UnknownHead(hash))?;
        if block.header.hash != hash {
            let why = format!("asked for block {hash}, it gave {}", block.header.hash);
            return Err(NodeError::malformed("eth_getBlockByHash", why).into());
        }
        let told = answers
            .get(1)
            .and_then(|answer| match told(answer, block.transactions.len()) {
                Ok(told) => Some(told),
                Err(error) => {
                    tracing::debug!(block = %hash, %error, "the node does not tell what the block changed");
                    None
                }
            });
        Ok(Stop { block, told })
    }

    /// The snapshot of a block on the one below.
    async fn step(&self, below: &Arc<Snapshot>, stop: Stop) -> Result<Snapshot, Unavailable> {
        let head = self.head_of(&stop.block);
        let header = &stop.block.header.inner;
        let rules = Hardfork::of(self.chain_id(), header.number, header.timestamp);
        let included: Arc<[B256]> = stop.block.transactions.hashes().collect();
        let rewards = !header.difficulty.is_zero();
        let told = match stop.told {
            Some(told) => Some(told),
            None if included.is_empty() => Some(<(Diff, Diff)>::default()),
            None => self.execute_block(below, head.hash, header).await?,
        };
        // Before the merge miners and uncles were paid, which no trace tells.
        let (mut forth, mut back) = match told {
            Some(told) if !rewards => told,
            _ => {
                tracing::warn!(block = %head.hash, "what the block changed is not known; its state starts anew");
                (Diff::everything(), Diff::everything())
            }
        };
        let withdrawals = stop.block.withdrawals.iter().flat_map(|all| all.iter());
        for diff in [&mut forth, &mut back] {
            for withdrawal in withdrawals.clone() {
                diff.forget_account(withdrawal.address);
            }
            if rules.is_none_or(|rules| rules >= Hardfork::Cancun) {
                for address in SYSTEM {
                    diff.forget(address);
                }
            }
        }
        self.keep_codes(forth.codes.iter().map(|(hash, code)| (*hash, code.clone())).collect())
            .await;
        for (address, change) in &forth.accounts {
            if let Change::Now(Some(account)) = change.account
                && account.has_code()
            {
                self.shared.codes.found_at(account.code_hash, *address);
            }
        }
        let step = Step {
            forth: Arc::new(forth),
            back: Arc::new(back),
            included,
        };
        Ok(below.next(head, step))
    }
}

/// The traces of a block's transactions as one diff, and the one that undoes it.
fn told(answer: &Answer, transactions: usize) -> Result<(Diff, Diff), NodeError> {
    let malformed = |why: String| NodeError::malformed(TRACE_BLOCK, why);
    let traces: Vec<TraceResult<GethTrace, String>> = read(TRACE_BLOCK, answer)?;
    if traces.len() != transactions {
        return Err(malformed(format!(
            "{} traces of {transactions} transactions",
            traces.len()
        )));
    }
    let (mut forth, mut steps_back) = (Diff::default(), Vec::with_capacity(traces.len()));
    for traced in traces {
        match traced {
            TraceResult::Success {
                result: GethTrace::PreStateTracer(PreStateFrame::Diff(one)),
                ..
            } => {
                let (there, back) = trace::diff(&one);
                forth.then(there);
                steps_back.push(back);
            }
            TraceResult::Success { .. } => return Err(malformed("no trace in diffMode".to_owned())),
            TraceResult::Error { error, .. } => return Err(malformed(error)),
        }
    }
    let mut back = Diff::default();
    for step in steps_back.into_iter().rev() {
        back.then(step);
    }
    Ok((forth, back))
}

#[cfg(test)]
mod tests {
    use engine::U256;
    use serde_json::Value;

    use super::*;

    fn answer(value: &Value) -> Answer {
        Ok(serde_json::value::to_raw_value(value).unwrap())
    }

    #[test]
    fn the_traces_of_a_block_are_one_diff_and_one_way_back() {
        let a = Address::repeat_byte(1);
        let one = |before: &str, after: &str| {
            json!({"txHash": B256::ZERO, "result": {
                "pre": {a.to_string(): {"balance": before}},
                "post": {a.to_string(): {"balance": after}},
            }})
        };
        let traces = answer(&json!([one("0x1", "0x2"), one("0x2", "0x3")]));
        let (forth, back) = told(&traces, 2).unwrap();
        let balance = |diff: &Diff| match diff.account(a) {
            Change::Now(Some(account)) => account.balance,
            other => panic!("{other:?}"),
        };
        assert_eq!((balance(&forth), balance(&back)), (U256::from(3), U256::from(1)));
        assert!(told(&traces, 3).is_err(), "a transaction without its trace");
        assert!(told(&answer(&json!([{"txHash": B256::ZERO, "error": "timeout"}])), 1).is_err());
        assert!(told(&answer(&json!([])), 0).unwrap().0.is_empty());
    }
}
