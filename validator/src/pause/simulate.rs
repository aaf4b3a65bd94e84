//! The rule: would this pause stop that attack?
//!
//! Pure: the engine runs the attack alone, and then the pause and the attack one after the other, on the same state. An attack may stand
//! behind transactions that only lead up to it; then the pause is tried ahead of those, and right ahead of the attack. A pause is one
//! transaction, or several that only together stop anything (a confirmation, and the keepers' execution): the whole is judged. Only a
//! pause that makes the difference is worth sending. What is not known is asked for ([`Found::Lacks`]), never taken for nothing.

use engine::{
    BlockEnv, Context, Engine, EngineError, Missing, Options, Reason, SequenceOutcome, State, Status, Transaction,
    Verdict, WatchSet,
};

use super::attack::Attack;

/// What a simulation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Behind the pause the attack breaks nothing any more.
    Stops {
        /// Gas that each of the pause's transactions used, after refunds.
        gas_used: Vec<u64>,
        /// What it must be ahead of.
        ahead_of: AheadOf,
    },
    /// It is not worth sending.
    Cannot(Why),
    /// This must be known first.
    Lacks(Missing),
}

/// What a pause must be ahead of; the greater is more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AheadOf {
    /// The attack: behind what leads up to it the pause stops it as well.
    #[default]
    Attack,
    /// Everything: once what leads up to the attack is done, the pause is no help.
    All,
}

/// Why a pause is not worth sending.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// The attack alone breaks nothing on this state: it is over, or was given up.
    #[error("the attack breaks nothing on the newest state (it would {0}); there is nothing to stop")]
    NoAttack(String),
    /// The pause's own transaction does not succeed.
    #[error("the pause itself would {0}; is this account allowed to pause the contract, and is it not paused already?")]
    PauseFails(String),
    /// What others have to do after it does not succeed.
    #[error(
        "behind the confirmation the keepers' job would {0}; has it credits and a keeper, and may its guard pause the protocol?"
    )]
    JobFails(String),
    /// The attack works all the same.
    #[error("the attack breaks the invariant behind the pause too")]
    NoHelp,
    /// The engine cannot say.
    #[error("what the pause does cannot be told: {0}")]
    Undecided(String),
}

/// Runs the attack alone, then `pause` and the attack, on `state` under `env`, and judges the invariants of `set`. What leads up to the
/// attack counts as its part: a pause behind which that breaks something is no help.
///
/// # Errors
/// When the state source is broken.
pub fn simulate(
    engine: &mut Engine,
    env: &BlockEnv,
    pause: &[Transaction],
    attack: &Attack,
    set: &WatchSet,
    state: &dyn State,
    expired: &dyn Fn() -> bool,
) -> Result<Found, EngineError> {
    let options = Options {
        call_path: false,
        expired: Some(expired),
        ..Options::default()
    };
    let alone = engine.judge_sequence(&attack.transactions, Context::new(env, state, set, &options))?;
    match read(&alone, 0) {
        Read::Breaks => {}
        Read::Keeps => return Ok(Found::Cannot(Why::NoAttack(ending(&alone)))),
        Read::Unknown(found) => return Ok(found),
    }
    let mut sequence = |leading: usize| {
        let (before, after) = attack.transactions.split_at(leading.min(attack.transactions.len()));
        let all: Vec<Transaction> = before.iter().chain(pause).chain(after).cloned().collect();
        engine.judge_sequence(&all, Context::new(env, state, set, &options))
    };
    let both = sequence(0)?;
    let mut gas_used = Vec::with_capacity(pause.len());
    for outcome in both.each.iter().take(pause.len()) {
        match &outcome.execution {
            None => return Ok(unknown(outcome.undecided.as_ref())),
            Some(execution) if execution.status == Status::Success => gas_used.push(execution.gas_used),
            Some(execution) => {
                let how = execution.status.to_string();
                let why = if gas_used.is_empty() {
                    Why::PauseFails(how)
                } else {
                    Why::JobFails(how)
                };
                return Ok(Found::Cannot(why));
            }
        }
    }
    match read(&both, pause.len()) {
        Read::Breaks => return Ok(Found::Cannot(Why::NoHelp)),
        Read::Unknown(found) => return Ok(found),
        Read::Keeps => {}
    }
    let ahead_of = if attack.leading == 0 {
        AheadOf::Attack
    } else {
        let between = sequence(attack.leading)?;
        let pauses = between.each.iter().skip(attack.leading).take(pause.len());
        let paused = pauses
            .filter_map(|outcome| outcome.execution.as_ref())
            .all(|execution| execution.status == Status::Success);
        match read(&between, attack.leading) {
            Read::Keeps if paused => AheadOf::Attack,
            Read::Unknown(Found::Lacks(missing)) => return Ok(Found::Lacks(missing)),
            // What is not known to help there is sent ahead of everything.
            Read::Keeps | Read::Breaks | Read::Unknown(_) => AheadOf::All,
        }
    };
    Ok(Found::Stops { gas_used, ahead_of })
}

/// What a sequence does to the invariants.
enum Read {
    Breaks,
    Keeps,
    Unknown(Found),
}

/// Reads the outcomes from number `first` on, and the whole. A violation counts before anything that is not known; an invalid
/// transaction changes nothing.
fn read(sequence: &SequenceOutcome, first: usize) -> Read {
    let each = sequence.each.iter().skip(first);
    let judgements = each
        .clone()
        .flat_map(|outcome| &outcome.judgements)
        .chain(&sequence.whole);
    let mut undecided = None;
    for judgement in judgements {
        match &judgement.verdict {
            Verdict::Violated(_) => return Read::Breaks,
            Verdict::Undecided(Reason::InvalidTransaction(_)) | Verdict::Holds => {}
            Verdict::Undecided(reason) => undecided = undecided.or(Some(reason)),
        }
    }
    let not_run = each
        .filter_map(|outcome| outcome.undecided.as_ref())
        .find(|reason| !matches!(reason, Reason::InvalidTransaction(_)));
    match undecided.or(not_run) {
        None => Read::Keeps,
        reason => Read::Unknown(unknown(reason)),
    }
}

fn unknown(reason: Option<&Reason>) -> Found {
    match reason {
        Some(Reason::MissingState(missing)) => Found::Lacks(*missing),
        Some(reason) => Found::Cannot(Why::Undecided(reason.to_string())),
        None => Found::Cannot(Why::Undecided("the engine gave no reason".to_owned())),
    }
}

/// How the last of the attack's transactions ended.
fn ending(sequence: &SequenceOutcome) -> String {
    let last = sequence.each.last().and_then(|outcome| outcome.execution.as_ref());
    last.map_or_else(|| "not run".to_owned(), |execution| execution.status.to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use alloy::consensus::{SignableTransaction, TxEip1559, TxEnvelope};
    use alloy::eips::eip2718::Encodable2718;
    use alloy::primitives::TxKind;
    use alloy::signers::SignerSync;
    use alloy::signers::local::PrivateKeySigner;
    use engine::lang::{self, Names};
    use engine::{
        Account, AccountState, Address, B256, Bytes, Comparison, CompleteState, Hardfork, Invariant, Prestate,
        ProgramInvariant, U256, ValueType,
    };

    use super::*;
    use crate::pause::scheme::{Step, unsigned};

    const GUARDED: Address = Address::repeat_byte(0xc0);
    const GUARDIAN: Address = Address::repeat_byte(0x9d);

    /// The guardian's call sets slot 0; anybody else's stores its value in slot 1, unless slot 0 is set.
    fn code() -> Bytes {
        let mut code = vec![0x33, 0x73];
        code.extend_from_slice(GUARDIAN.as_slice());
        code.extend([
            0x14, 0x60, 0x28, 0x57, 0x5f, 0x54, 0x60, 0x24, 0x57, 0x34, 0x60, 0x01, 0x55, 0x00,
        ]);
        code.extend([0x5b, 0x5f, 0x5f, 0xfd, 0x5b, 0x60, 0x01, 0x5f, 0x55, 0x00]);
        code.into()
    }

    fn attacker() -> PrivateKeySigner {
        PrivateKeySigner::from_bytes(&B256::repeat_byte(7)).unwrap()
    }

    fn state(attackers_nonce: u64) -> CompleteState {
        let account = |nonce| Account {
            balance: U256::from(10).pow(U256::from(18)),
            nonce,
            ..Account::default()
        };
        let mut state = Prestate::default();
        state
            .accounts
            .insert(attacker().address(), account(attackers_nonce).into());
        state.accounts.insert(GUARDIAN, account(0).into());
        state.insert_contract(GUARDED, account(1), code(), [(U256::from(1), U256::from(2))]);
        CompleteState(state)
    }

    fn env() -> BlockEnv {
        BlockEnv {
            number: 20_000_000,
            timestamp: 1_720_000_000,
            beneficiary: Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 7,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        }
    }

    fn set() -> WatchSet {
        let (slot, word) = (U256::from(1), ValueType::Uint(256));
        let at_most_five = Invariant::new(9, "at most 5", GUARDED, slot, word, 0, Comparison::Le, U256::from(5));
        WatchSet::new(vec![at_most_five.unwrap().into()]).unwrap()
    }

    /// The attacker's call number `nonce`, which carries so much.
    pub(crate) fn call(nonce: u64, value: u64) -> Transaction {
        let tx = TxEip1559 {
            chain_id: 1,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 10,
            to: TxKind::Call(GUARDED),
            value: U256::from(value),
            ..TxEip1559::default()
        };
        let signature = attacker().sign_hash_sync(&tx.signature_hash()).unwrap();
        Transaction::decode(&TxEnvelope::from(tx.into_signed(signature)).encoded_2718()).unwrap()
    }

    /// A pause by one call, against a raid.
    fn tried(from: Address, gas: u64, state: &dyn State) -> Found {
        together(&[(from, gas)], state)
    }

    fn together(calls: &[(Address, u64)], state: &dyn State) -> Found {
        judged(&set(), calls, (vec![call(0, 9)], 0), state)
    }

    /// Calls that pause, by whom and with how much gas, against these transactions, of which the first so many only lead up to it.
    fn judged(
        set: &WatchSet,
        calls: &[(Address, u64)],
        (transactions, leading): (Vec<Transaction>, usize),
        state: &dyn State,
    ) -> Found {
        let step = |(from, gas_limit): &(Address, u64)| Step {
            from: *from,
            to: GUARDED,
            calldata: Bytes::new(),
            gas_limit: *gas_limit,
        };
        let pause: Vec<Transaction> = calls.iter().map(|call| unsigned(1, &step(call)).unwrap()).collect();
        let attack = Attack { transactions, leading };
        simulate(&mut Engine::new(1), &env(), &pause, &attack, set, state, &|| false).unwrap()
    }

    #[test]
    fn a_pause_that_stops_the_attack_keeps_an_expression_too() {
        let text = format!("slot({GUARDED:#x}, 0x1, uint256) <= 200% of pre or balance({GUARDED:#x}) > 2 ether");
        let program = lang::parse(&text, &Names::default()).unwrap();
        let (id, name) = (9, text);
        let set = WatchSet::of([ProgramInvariant { id, name, program }]).unwrap();
        let by = |account| judged(&set, &[(account, 100_000)], (vec![call(0, 9)], 0), &state(0));
        let stopped = by(GUARDIAN);
        assert!(matches!(stopped, Found::Stops { .. }), "{stopped:?}");
        assert_eq!(by(Address::repeat_byte(0x11)), Found::Cannot(Why::NoHelp));
    }

    #[test]
    fn a_pause_that_closes_the_contract_stops_the_attack() {
        let Found::Stops { gas_used, .. } = tried(GUARDIAN, 100_000, &state(0)) else {
            panic!("it does not stop it")
        };
        assert!(
            gas_used.len() == 1 && (40_000..60_000).contains(&gas_used[0]),
            "{gas_used:?}"
        );
    }

    #[test]
    fn of_several_transactions_the_whole_is_judged() {
        let nobody = Address::repeat_byte(0x11);
        let found = together(&[(nobody, 100_000), (GUARDIAN, 100_000)], &state(0));
        let Found::Stops { gas_used, .. } = found else {
            panic!("{found:?}")
        };
        assert_eq!(gas_used.len(), 2, "the first alone is no help");
        let found = together(&[(nobody, 100_000), (GUARDIAN, 30_000)], &state(0));
        assert!(matches!(found, Found::Cannot(Why::JobFails(_))), "{found:?}");
        let found = together(&[(nobody, 100_000), (nobody, 100_000)], &state(0));
        assert_eq!(found, Found::Cannot(Why::NoHelp));
    }

    #[test]
    fn of_an_attack_behind_harmless_ones_the_pause_is_tried_ahead_of_all_and_right_ahead_of_it() {
        let against = |transactions, leading| {
            let found = judged(&set(), &[(GUARDIAN, 100_000)], (transactions, leading), &state(0));
            match found {
                Found::Stops { ahead_of, .. } => Ok(ahead_of),
                other => Err(other),
            }
        };
        let behind = against(vec![call(0, 3), call(1, 4), call(2, 9)], 2);
        assert_eq!(behind, Ok(AheadOf::Attack));
        // Where what leads up to it has gone too far already, only ahead of all is any help.
        let stepwise = against(vec![call(0, 9), call(1, 3)], 1);
        assert_eq!(stepwise, Ok(AheadOf::All));
        // Alone, the attack's nonce is too high: there is nothing to stop yet.
        let alone = against(vec![call(2, 9)], 0);
        assert!(matches!(alone, Err(Found::Cannot(Why::NoAttack(_)))), "{alone:?}");
    }

    #[test]
    fn a_call_that_changes_nothing_for_the_attack_is_no_help() {
        let nobody = Address::repeat_byte(0x11);
        assert_eq!(tried(nobody, 100_000, &state(0)), Found::Cannot(Why::NoHelp));
    }

    #[test]
    fn a_pause_that_fails_itself_is_not_worth_sending() {
        let found = tried(GUARDIAN, 30_000, &state(0));
        assert!(matches!(found, Found::Cannot(Why::PauseFails(_))), "{found:?}");
    }

    #[test]
    fn an_attack_that_was_mined_already_needs_no_pause() {
        let found = tried(GUARDIAN, 100_000, &state(1));
        assert!(matches!(found, Found::Cannot(Why::NoAttack(_))), "{found:?}");
    }

    #[test]
    fn what_is_not_known_is_asked_for() {
        let CompleteState(mut partial) = state(0);
        partial.accounts.insert(Address::ZERO, AccountState::default());
        partial.accounts.remove(&GUARDIAN);
        let slots = &mut partial.accounts.get_mut(&GUARDED).unwrap().storage;
        slots.insert(U256::ZERO, U256::ZERO);
        let found = tried(GUARDIAN, 100_000, &partial);
        assert_eq!(found, Found::Lacks(Missing::Account(GUARDIAN)));
    }
}
