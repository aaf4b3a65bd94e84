//! What a pause is made of: which transactions stop the protocol together, which of them is ours, and what others are taken to do.
//!
//! Pure. A call of the protocol's is one transaction. At a guard our confirmation alone stops nothing: with it belongs what keepers
//! execute then, and that the other reporters confirm too. So the whole is judged as if ours were the last confirmation needed; were
//! it not, nobody could be the first to confirm.

use alloy::consensus::{EthereumTxEnvelope, SignableTransaction, TxEip1559, TxEip4844};
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use contracts::layout::{LayoutError, variable};
use contracts::{Contract, guard};
use defence::{PauseRequest, PauseTarget};
use engine::{Transaction, TransactionError};

use super::layers::Assumption;

/// Most gas of a transaction (EIP-7825): keepers give as much as the Agent wants to see.
const MOST_GAS: u64 = 16_777_216;

/// Transactions that pause together, in order, and what is taken for granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scheme {
    /// The first one is our own.
    pub steps: Vec<Step>,
    /// What others are expected to do besides.
    pub assumed: Vec<Assumption>,
}

/// A transaction of a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Who would send it.
    pub from: Address,
    /// Whom it calls.
    pub to: Address,
    /// With what.
    pub calldata: Bytes,
    /// Gas that it is given.
    pub gas_limit: u64,
}

/// As the engine takes it: without signature, nonce check, and need to pay.
///
/// # Errors
/// Never for what this makes; the engine says so.
pub fn unsigned(chain_id: u64, step: &Step) -> Result<Transaction, TransactionError> {
    let call = TxEip1559 {
        chain_id,
        nonce: 0,
        gas_limit: step.gas_limit,
        max_fee_per_gas: u128::from(u64::MAX),
        max_priority_fee_per_gas: 0,
        to: TxKind::Call(step.to),
        value: U256::ZERO,
        access_list: Default::default(),
        input: step.calldata.clone(),
    };
    // The least signature that encodes; the engine is told that it is none.
    let one = U256::from(1);
    let signed: EthereumTxEnvelope<TxEip4844> = call.into_signed(Signature::new(one, one, false)).into();
    let raw = signed.encoded_2718();
    Transaction::unsigned(&raw, step.from, keccak256(&raw))
}

/// The keeper that would execute a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worker {
    /// The keeper's number at the Agent.
    pub keeper: u64,
    /// Who sends its transactions.
    pub account: Address,
}

/// The name of a request's incident at a guard.
#[must_use]
pub fn incident(request: &PauseRequest) -> B256 {
    guard::incident(request.chain_id, request.invariant.id, request.opened_by)
}

/// What our transaction calls its target with.
#[must_use]
pub fn calldata(target: &PauseTarget, incident: B256) -> Bytes {
    match target {
        PauseTarget::Call { calldata, .. } => calldata.clone(),
        PauseTarget::Guard(guarded) if guarded.keepers.is_some() => guard::confirm(incident),
        PauseTarget::Guard(_) => guard::confirm_and_fire(incident),
    }
}

/// The whole of a pause: sent by `account` with at most `gas_limit` gas, and executed by `worker` where keepers do that.
///
/// # Errors
/// The guard's artifact does not say where its variables stand.
pub fn scheme(
    target: &PauseTarget,
    incident: B256,
    account: Address,
    gas_limit: u64,
    worker: Option<Worker>,
) -> Result<Scheme, LayoutError> {
    let mut steps = vec![Step {
        from: account,
        to: target.contract(),
        calldata: calldata(target, incident),
        gas_limit,
    }];
    let PauseTarget::Guard(guarded) = target else {
        let assumed = Vec::new();
        return Ok(Scheme { steps, assumed });
    };
    if let (Some(job), Some(worker)) = (guarded.keepers, worker) {
        steps.push(Step {
            from: worker.account,
            to: job.agent,
            calldata: guard::execute(job.job, worker.keeper),
            gas_limit: MOST_GAS,
        });
    }
    let last_needed = Assumption {
        account: guarded.guard,
        slot: variable(Contract::PauseGuard, "threshold")?.slot,
        value: U256::from(1),
    };
    Ok(Scheme {
        steps,
        assumed: vec![last_needed],
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use alloy::sol_types::SolCall as _;
    use contracts::{Agent, PauseGuard};
    use defence::config::{GuardedPause, KeeperJob};

    use super::*;

    const US: Address = Address::repeat_byte(1);

    fn guarded(keepers: bool) -> PauseTarget {
        let job = KeeperJob {
            agent: Address::repeat_byte(3),
            job: B256::repeat_byte(4),
            patience: Duration::from_secs(1),
        };
        PauseTarget::Guard(GuardedPause {
            guard: Address::repeat_byte(2),
            keepers: keepers.then_some(job),
        })
    }

    #[test]
    fn a_call_is_one_transaction_and_nothing_is_assumed() {
        let target = PauseTarget::Call {
            contract: Address::repeat_byte(9),
            calldata: Bytes::from_static(b"stop"),
        };
        let scheme = scheme(&target, B256::ZERO, US, 70_000, None).unwrap();
        let [step] = scheme.steps.as_slice() else {
            panic!("{scheme:?}")
        };
        assert_eq!(
            (step.from, step.to, step.gas_limit),
            (US, Address::repeat_byte(9), 70_000)
        );
        assert_eq!(step.calldata, b"stop"[..]);
        assert_eq!(scheme.assumed, []);
    }

    #[test]
    fn through_keepers_the_execution_belongs_to_the_confirmation() {
        let worker = Worker {
            keeper: 7,
            account: Address::repeat_byte(8),
        };
        let name = B256::repeat_byte(5);
        let through = scheme(&guarded(true), name, US, 70_000, Some(worker)).unwrap();
        let [confirm, execute] = through.steps.as_slice() else {
            panic!("{through:?}")
        };
        assert_eq!(
            PauseGuard::confirmCall::abi_decode(&confirm.calldata)
                .unwrap()
                .incident_,
            name
        );
        assert_eq!((execute.from, execute.to), (worker.account, Address::repeat_byte(3)));
        let executed = Agent::executeCall::abi_decode(&execute.calldata).unwrap();
        assert_eq!(
            (executed.jobKey, executed.keeperId),
            (B256::repeat_byte(4), U256::from(7))
        );
        assert_eq!(through.assumed.len(), 1, "ours is the last confirmation needed");
        let nobody = scheme(&guarded(true), name, US, 70_000, None).unwrap();
        assert_eq!(
            nobody.steps.len(),
            1,
            "without a keeper the confirmation is alone, and judged so"
        );
    }

    #[test]
    fn without_keepers_whoever_confirms_last_pauses() {
        let alone = scheme(&guarded(false), B256::ZERO, US, 70_000, None).unwrap();
        let [step] = alone.steps.as_slice() else {
            panic!("{alone:?}")
        };
        assert!(PauseGuard::confirmAndFireCall::abi_decode(&step.calldata).is_ok());
    }
}
