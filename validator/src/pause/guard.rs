//! What a node says of a guard and of the keepers behind it: who would execute its job, whether it has fired, whether it is about to.
//!
//! What always holds: every question has its deadline; what a node does not know is "not yet", never "done".

use alloy::primitives::{Address, B256, U256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent as _;
use contracts::{Agent, PauseGuard};
use defence::config::KeeperJob;
use state::BlockRef::{Latest, Pending};
use state::{Node, NodeError, returned, view};

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
            view(job.agent, &Agent::jobInfoCall { jobKey: job.job }, Latest),
            view(job.agent, &Agent::activeKeepersCall {}, Latest),
        ]
    });
    let answers = node.batch(asked.collect(), node.patience()).await?;
    let mut keepers = Vec::with_capacity(jobs.len());
    for (job, [info, active]) in jobs.iter().zip(answers.as_chunks().0) {
        let keeper = match returned::<Agent::jobInfoCall>(info)?.keeper.to::<u64>() {
            0 => returned::<Agent::activeKeepersCall>(active)?.first().map(|id| id.to()),
            id => Some(id),
        };
        keepers.push(keeper.map(|keeper| (job.agent, keeper)));
    }
    let info = |(agent, keeper): &(Address, u64)| {
        let keeper = U256::from(*keeper);
        view(*agent, &Agent::keeperInfoCall { keeperId: keeper }, Latest)
    };
    let asked = keepers.iter().flatten().map(info).collect();
    let answers = node.batch(asked, node.patience()).await?;
    let mut answers = answers.iter();
    let mut worker = |(_, keeper): (Address, u64)| {
        let answer = answers
            .next()
            .ok_or_else(|| NodeError::malformed("batch", "an answer is missing"))?;
        let account = returned::<Agent::keeperInfoCall>(answer)?.worker;
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
    let newest = node.newest().await?.header.number;
    if newest < from {
        return Ok(None);
    }
    let logs = node.logs(guard, from..=newest).await?;
    let fired = logs
        .iter()
        .filter(|log| log.topic0() == Some(&PauseGuard::Fired::SIGNATURE_HASH));
    Ok(fired.filter_map(place).min_by_key(|fired| fired.place))
}

/// Where an event stands; none of a block that is not mined.
fn place(log: &Log) -> Option<Fired> {
    Some(Fired {
        transaction: log.transaction_hash?,
        place: Place {
            block: log.block_number?,
            index: usize::try_from(log.transaction_index?).unwrap_or(usize::MAX),
        },
    })
}

/// What becomes of the guard in the pending block.
pub(super) async fn outlook(node: &Node, guard: Address) -> Result<Outlook, NodeError> {
    let calls = [
        view(guard, &PauseGuard::roundCall {}, Latest),
        view(guard, &PauseGuard::roundCall {}, Pending),
        view(guard, &PauseGuard::dueSinceCall {}, Pending),
    ];
    let [now, next, due] = node.batch_of(calls).await?;
    let (now, next) = (
        returned::<PauseGuard::roundCall>(&now)?,
        returned::<PauseGuard::roundCall>(&next)?,
    );
    let due = returned::<PauseGuard::dueSinceCall>(&due)?;
    Ok(if next > now {
        Outlook::Fires
    } else if due > U256::ZERO {
        Outlook::Due
    } else {
        Outlook::Quiet
    })
}
