//! What a node says of a guard and of the keepers behind it: who would execute its job, whether it has fired, whether it is about to.
//!
//! What always holds: every question is one batch with the node's deadline; what a node does not know is "not yet", never "done".

use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::sol_types::{SolCall, SolEvent as _};
use contracts::{Agent, PauseGuard};
use defence::config::KeeperJob;
use serde::Deserialize;
use serde_json::{Value, json};
use state::{Call, Node, NodeError, read};

use super::blocks::Place;
use super::scheme::Worker;

/// A pause by a guard, in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fired {
    /// Who called it is in this transaction.
    pub(super) transaction: B256,
    /// Where it stands.
    pub(super) place: Place,
}

/// What the block that the node would make now does to a guard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outlook {
    /// It pauses: somebody's execution is on its way.
    Fires,
    /// The pause is due there, and nobody executes it.
    Due,
    /// Not enough confirmations yet, or the node does not know of ours.
    Quiet,
}

/// Who would execute each of these jobs now: its keeper, or any active one when it has none; `None` when there is nobody.
pub(super) async fn workers(node: &Node, jobs: &[KeeperJob]) -> Result<Vec<Option<Worker>>, NodeError> {
    let asked = jobs.iter().flat_map(|job| {
        [
            call(job.agent, &Agent::jobInfoCall { jobKey: job.job }, "latest"),
            call(job.agent, &Agent::activeKeepersCall {}, "latest"),
        ]
    });
    let answers = node.batch(asked.collect(), node.patience()).await?;
    let mut keepers = Vec::with_capacity(jobs.len());
    for (place, job) in jobs.iter().enumerate() {
        let known: Agent::Job = returned::<Agent::jobInfoCall>(answers.get(2 * place))?;
        let active = returned::<Agent::activeKeepersCall>(answers.get(2 * place + 1))?;
        let keeper = match known.keeper.to::<u64>() {
            0 => active.first().map(|id| id.to::<u64>()),
            id => Some(id),
        };
        keepers.push(keeper.map(|keeper| (job.agent, keeper)));
    }
    let info = |(agent, keeper): &(Address, u64)| {
        let keeper = U256::from(*keeper);
        call(*agent, &Agent::keeperInfoCall { keeperId: keeper }, "latest")
    };
    let asked = keepers.iter().flatten().map(info).collect();
    let answers = node.batch(asked, node.patience()).await?;
    let mut answers = answers.iter();
    let mut worker = |(_, keeper): (Address, u64)| {
        let account = returned::<Agent::keeperInfoCall>(answers.next())?.worker;
        Ok(Worker { keeper, account })
    };
    keepers
        .into_iter()
        .map(|keeper| keeper.map(&mut worker).transpose())
        .collect()
}

/// The guard's first pause in the blocks from `from` on.
pub(super) async fn fired(node: &Node, guard: Address, from: u64) -> Result<Option<Fired>, NodeError> {
    // A range that begins behind the newest block is an error.
    let newest: U64 = node
        .call(Call::new("eth_blockNumber", json!([])), node.patience())
        .await?;
    if newest.to::<u64>() < from {
        return Ok(None);
    }
    let filter = json!({
        "address": guard,
        "fromBlock": U64::from(from),
        "toBlock": "latest",
        "topics": [PauseGuard::Fired::SIGNATURE_HASH],
    });
    let logs: Vec<FiredLog> = node
        .call(Call::new("eth_getLogs", json!([filter])), node.patience())
        .await?;
    let fired = logs.iter().map(|log| Fired {
        transaction: log.transaction_hash,
        place: Place {
            block: log.block_number.to(),
            index: usize::try_from(log.transaction_index.to::<u64>()).unwrap_or(usize::MAX),
        },
    });
    Ok(fired.min_by_key(|fired| fired.place))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FiredLog {
    transaction_hash: B256,
    block_number: U64,
    transaction_index: U64,
}

/// What becomes of the guard in the pending block.
pub(super) async fn outlook(node: &Node, guard: Address) -> Result<Outlook, NodeError> {
    let calls = vec![
        call(guard, &PauseGuard::roundCall {}, "latest"),
        call(guard, &PauseGuard::roundCall {}, "pending"),
        call(guard, &PauseGuard::dueSinceCall {}, "pending"),
    ];
    let answers = node.batch(calls, node.patience()).await?;
    let now: U256 = returned::<PauseGuard::roundCall>(answers.first())?;
    let next: U256 = returned::<PauseGuard::roundCall>(answers.get(1))?;
    let due: U256 = returned::<PauseGuard::dueSinceCall>(answers.get(2))?;
    Ok(if next > now {
        Outlook::Fires
    } else if due > U256::ZERO {
        Outlook::Due
    } else {
        Outlook::Quiet
    })
}

fn call<C: SolCall>(to: Address, call: &C, block: &str) -> Call {
    let transaction = json!({ "to": to, "input": Bytes::from(call.abi_encode()) });
    Call::new("eth_call", Value::from(vec![transaction, Value::from(block)]))
}

fn returned<C: SolCall>(answer: Option<&state::Answer>) -> Result<C::Return, NodeError> {
    let malformed = |why: String| NodeError::Malformed {
        method: format!("eth_call of {}", C::SIGNATURE),
        why,
    };
    let answer = answer.ok_or_else(|| malformed("no answer".to_owned()))?;
    let output: Bytes = read("eth_call", answer)?;
    C::abi_decode_returns(&output).map_err(|error| malformed(error.to_string()))
}
