//! A transaction tried on the head before it is sent: what it would come to in the next block.
//!
//! What always holds: nothing is sent for a simulation; one that lacks state says so, and is neither a success nor a failure.

use std::sync::Arc;
use std::time::Instant;

use engine::{Address, BlockEnv, Bytes, Missing, State, U256};
use revm::ExecuteEvm as _;
use revm::context::TxEnv;
use revm::context::result::{EVMError, ExecutionResult};
use revm::primitives::TxKind;
use state::{Reader, Snapshot};

use super::fetch::fetch;

/// Rounds of fetching for one simulation.
const ROUNDS: u32 = 24;

/// A transaction to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Who sends it.
    pub from: Address,
    /// Whom it calls.
    pub to: Address,
    /// Wei.
    pub value: U256,
    /// Its input.
    pub data: Bytes,
    /// Gas that it is given.
    pub gas: u64,
}

/// What it would come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Simulated {
    /// It goes through.
    Success {
        /// Gas that it uses, before refunds.
        gas: u64,
        /// What it returns.
        output: Bytes,
    },
    /// It reverts, with this.
    Revert(Bytes),
    /// It halts, and burns all its gas; how.
    Halt(String),
    /// It cannot be included; why.
    Invalid(String),
}

/// Tries transactions one after the other, each on what the ones before it left: pure.
///
/// # Errors
/// What they read and is not known; then nothing can be said of any of them.
pub fn simulate_on(
    chain_id: u64,
    env: &BlockEnv,
    state: &dyn State,
    trials: &[Trial],
) -> Result<Vec<Simulated>, Vec<Missing>> {
    let mut evm = super::evm(chain_id, env, state);
    let mut all = Vec::with_capacity(trials.len());
    for trial in trials {
        let ran = evm.transact_one(TxEnv {
            caller: trial.from,
            kind: TxKind::Call(trial.to),
            value: trial.value,
            data: trial.data.clone(),
            gas_limit: trial.gas,
            gas_price: u128::from(env.base_fee),
            chain_id: Some(chain_id),
            ..TxEnv::default()
        });
        all.push(match ran {
            Ok(ExecutionResult::Success { gas, output, .. }) => Simulated::Success {
                gas: gas.total_gas_spent(),
                output: output.into_data(),
            },
            Ok(ExecutionResult::Revert { output, .. }) => Simulated::Revert(output),
            Ok(ExecutionResult::Halt { reason, .. }) => Simulated::Halt(format!("{reason:?}")),
            Err(EVMError::Transaction(why)) => Simulated::Invalid(why.to_string()),
            Err(error) => Simulated::Invalid(error.to_string()),
        });
    }
    let missing = super::take_missing(&mut evm, true);
    if missing.is_empty() { Ok(all) } else { Err(missing) }
}

/// Tries transactions one after the other on `snapshot`, fetching what they read and is not known, until `deadline`.
///
/// # Errors
/// When the engine's thread died. What stays unknown is inside.
pub async fn simulate(
    reader: &Reader,
    snapshot: &Arc<Snapshot>,
    trials: Vec<Trial>,
    deadline: Instant,
) -> Result<Result<Vec<Simulated>, Vec<Missing>>, tokio::task::JoinError> {
    let trials: Arc<[Trial]> = trials.into();
    let mut rounds = 0;
    loop {
        let (state, chain_id, work) = (Arc::clone(snapshot), reader.chain_id(), Arc::clone(&trials));
        let ran = tokio::task::spawn_blocking(move || {
            let env = state.head().next.clone();
            simulate_on(chain_id, &env, &*state, &work)
        })
        .await?;
        let Err(missing) = &ran else { return Ok(ran) };
        if rounds >= ROUNDS || Instant::now() >= deadline {
            return Ok(ran);
        }
        rounds += 1;
        fetch(reader, snapshot, missing.clone(), deadline).await;
    }
}
