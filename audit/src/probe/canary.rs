//! A challenge whose answer is known: whether a miner does its work.
//!
//! A transaction of a fresh sender writes a random number into a fresh contract, under an invariant whose bound is random too: so about half
//! of them violate it. The engine executes it here first; what it says is the answer. What always holds: the state travels with the
//! question, so the answer does not depend on what the miner's own node knows; an answer that was made on another state is neither right nor
//! wrong.

use std::time::Duration;

use alloy::consensus::{EthereumTxEnvelope, SignableTransaction as _, TxEip1559, TxEip4844};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::TxKind;
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use engine::{
    Account, Address, B256, BlockEnv, Bytes, Comparison, Engine, Hardfork, Invariant, Prestate, Recorder, Transaction,
    U256, ValueType,
};
use rand::Rng;
use wire::{Challenge, ShippedPrestate, Verdicts};

use super::verdict::{Claimed, Step};

/// `SSTORE(0, CALLDATALOAD(0))`.
const CODE: [u8; 7] = [0x60, 0x00, 0x35, 0x60, 0x00, 0x55, 0x00];
/// Gas of the transaction: 21,000, its data, and one slot.
const GAS: u64 = 100_000;
/// Wei for a unit of it.
const FEE: u64 = 2_000_000_000;

/// A question and its answer.
#[derive(Debug, Clone)]
pub struct Canary {
    /// What is asked.
    pub challenge: Challenge,
    /// The contract's code, which travels beside it.
    pub code: Bytes,
    /// What our own engine says.
    pub known: Verdicts,
}

/// A canary that cannot be made: a mistake of this program's, never of a peer's.
#[derive(Debug, thiserror::Error)]
pub enum CanaryError {
    /// The sender's signature.
    #[error("a canary's transaction cannot be signed: {0}")]
    Sign(#[from] alloy::signers::Error),
    /// What was signed.
    #[error("a canary's transaction: {0}")]
    Transaction(#[from] engine::TransactionError),
    /// Our own engine.
    #[error("a canary's answer: {0}")]
    Engine(#[from] engine::EngineError),
}

/// A canary on `head` of the chain `chain_id`, as if in a block at `timestamp` (Unix seconds).
///
/// # Errors
/// [`CanaryError`].
pub fn make(
    chain_id: u64,
    head: Claimed,
    timestamp: u64,
    deadline: Duration,
    rng: &mut impl Rng,
) -> Result<Canary, CanaryError> {
    let key = PrivateKeySigner::from_bytes(&B256::from(rng.random::<[u8; 32]>()))
        .map_err(|error| CanaryError::Sign(alloy::signers::Error::other(error)))?;
    let contract = Address::from(rng.random::<[u8; 20]>());
    let value = U256::from(rng.random_range(1..1_u64 << 40));
    let bound = U256::from(rng.random_range(1..1_u64 << 40));
    let tx = TxEip1559 {
        chain_id,
        nonce: rng.random_range(0..10_000),
        gas_limit: GAS,
        max_fee_per_gas: u128::from(FEE),
        max_priority_fee_per_gas: u128::from(FEE / 2),
        to: TxKind::Call(contract),
        value: U256::ZERO,
        access_list: alloy::eips::eip2930::AccessList::default(),
        input: value.to_be_bytes::<32>().into(),
    };
    let nonce = tx.nonce;
    let signature = key.sign_hash_sync(&tx.signature_hash())?;
    let raw = EthereumTxEnvelope::<TxEip4844>::from(tx.into_signed(signature)).encoded_2718();
    let transaction = Transaction::with_sender(&raw, key.address())?;

    let code = Bytes::from_static(&CODE);
    let env = BlockEnv {
        number: head.number.saturating_add(1),
        timestamp,
        beneficiary: Address::from(rng.random::<[u8; 20]>()),
        gas_limit: 36_000_000,
        base_fee: FEE / 2,
        difficulty: U256::ZERO,
        prevrandao: Some(B256::from(rng.random::<[u8; 32]>())),
        excess_blob_gas: Some(0),
        hardfork: Some(Hardfork::Cancun),
    };
    let account = |balance: u64, nonce: u64| Account {
        balance: U256::from(balance),
        nonce,
        ..Account::default()
    };
    let mut state = Prestate::default();
    state
        .accounts
        .insert(key.address(), account(GAS * FEE * 10, nonce).into());
    state.accounts.insert(env.beneficiary, account(0, 0).into());
    state.insert_contract(contract, account(0, 1), code.clone(), [(U256::ZERO, U256::ZERO)]);
    let invariant = Invariant {
        id: rng.random_range(1..100_000),
        name: "value".to_owned(),
        contract,
        slot: U256::ZERO,
        value_type: ValueType::Uint(256),
        offset: 0,
        comparison: Comparison::Le,
        target: bound,
    };
    let recorder = Recorder::new(&state);
    let outcome = Engine::new(chain_id).judge(&env, &transaction, &recorder, std::slice::from_ref(&invariant))?;
    let known = Verdicts::from(&outcome).on_state(Some(recorder.into_prestate().digest()));
    let challenge = Challenge {
        id: B256::from(rng.random::<[u8; 32]>()),
        chain_id,
        head_hash: head.hash.unwrap_or_default(),
        env,
        invariant_set_version: 1,
        invariants: vec![invariant.into()],
        transaction,
        predecessors: Vec::new(),
        prestate: Some(ShippedPrestate::from(state)),
        deadline,
    };
    Ok(Canary { challenge, code, known })
}

/// What an answer to a canary is worth.
#[must_use]
pub fn judge(known: &Verdicts, answer: &Verdicts) -> Step {
    let other_state = matches!((answer.state_digest, known.state_digest), (Some(theirs), Some(ours)) if theirs != ours);
    if other_state {
        return Step::Skipped("it answered on a state of its own".to_owned());
    }
    if answer.agrees_with(known) {
        return Step::Passed;
    }
    let undecided = answer.findings.iter().find_map(|finding| match &finding.verdict {
        wire::FindingVerdict::Undecided { reason } => Some(super::ask::quoted(reason)),
        _ => None,
    });
    Step::Failed(undecided.map_or_else(
        || "a wrong answer to a challenge with a known one".to_owned(),
        |reason| format!("no answer to a challenge with a known one: {reason}"),
    ))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::keccak256;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;
    use wire::{FindingVerdict, Wire as _};

    use engine::{Context, Options, WatchSet};

    use super::*;

    fn canary(seed: u64) -> Canary {
        let head = Claimed {
            number: 20_000_000,
            hash: Some(B256::repeat_byte(7)),
        };
        make(
            1,
            head,
            1_720_000_000,
            Duration::from_secs(5),
            &mut StdRng::seed_from_u64(seed),
        )
        .unwrap()
    }

    #[test]
    fn canaries_are_decided_and_about_half_of_them_violate_something() {
        let mut violated = 0;
        for seed in 0..64 {
            let canary = canary(seed);
            match canary.known.findings.as_slice() {
                [one] if one.verdict.is_violated() => violated += 1,
                [one] => assert!(matches!(one.verdict, FindingVerdict::Holds { .. }), "{one:?}"),
                other => panic!("{other:?}"),
            }
        }
        assert!((20..=44).contains(&violated), "{violated} of 64");
    }

    #[test]
    fn what_travels_is_enough_for_the_same_answer() {
        let canary = canary(1);
        let received = Challenge::from_wire(&canary.challenge.to_wire()).unwrap();
        let state = received
            .prestate
            .clone()
            .unwrap()
            .complete(|hash| (hash == keccak256(&canary.code)).then(|| canary.code.clone()))
            .unwrap();
        let set = WatchSet::new(received.invariants).unwrap();
        let options = Options {
            digest: true,
            ..Options::default()
        };
        let mut outcome = Engine::new(received.chain_id)
            .judge_watched(
                &received.transaction,
                Context::new(&received.env, &state, &set, &options),
            )
            .unwrap();
        outcome.complete(&set);
        assert_eq!(judge(&canary.known, &Verdicts::from(&outcome)), Step::Passed);
    }

    #[test]
    fn a_lazy_answer_fails_and_one_on_another_state_is_not_held_against_a_miner() {
        for seed in 0..16 {
            let canary = canary(seed);
            let mut lazy = canary.known.clone();
            for finding in &mut lazy.findings {
                finding.verdict = if finding.verdict.is_violated() {
                    FindingVerdict::Holds { already_broken: false }
                } else {
                    FindingVerdict::Undecided {
                        reason: "busy".to_owned(),
                    }
                };
            }
            assert!(matches!(judge(&canary.known, &lazy), Step::Failed(_)));
            let elsewhere = lazy.on_state(Some(B256::repeat_byte(9)));
            assert!(matches!(judge(&canary.known, &elsewhere), Step::Skipped(_)));
        }
    }
}
