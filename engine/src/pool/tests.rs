//! The pool with one thread: what waits, what is refused, what is dropped, and what is judged.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
    mpsc::{Receiver as Replies, Sender as Replying, channel},
};

use alloy::primitives::{address, bytes};

use super::*;
use crate::{
    Account, AccountState, Address, B256, BlockEnv, Hardfork, Invariant, Outcome, Prestate, ProgramInvariant, Status,
    Transaction, Transition, U256, WatchSet, Watched, lang,
};

const SENDER: Address = address!("0x0000000000000000000000000000000000005e4d");

/// A transfer of nothing to an account that does not exist.
fn job(is_late: impl Fn() -> bool + Send + 'static, to: &Replying<Result<Outcome, EngineError>>) -> Job {
    let raw = bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
    let mut state = Prestate::default();
    let rich = Account {
        balance: U256::from(10).pow(U256::from(18)),
        ..Account::default()
    };
    let exists = |account| AccountState {
        account,
        ..AccountState::default()
    };
    state.accounts.insert(SENDER, exists(Some(rich)));
    state
        .accounts
        .insert(address!("0x00000000000000000000000000000000000c0de5"), exists(None));
    let to = to.clone();
    Job {
        chain_id: 1,
        env: BlockEnv {
            number: 20_000_000,
            timestamp: 1_720_000_000,
            beneficiary: SENDER,
            gas_limit: 30_000_000,
            base_fee: 1,
            difficulty: U256::ZERO,
            prevrandao: Some(B256::ZERO),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        },
        transaction: Transaction::with_sender(&raw, SENDER).unwrap(),
        predecessors: Vec::new(),
        state,
        set: Arc::default(),
        wishes: Wishes::default(),
        is_late: Box::new(is_late),
        reply: Box::new(move |result| {
            let _gone = to.send(result);
        }),
    }
}

fn succeeded(replies: &Replies<Result<Outcome, EngineError>>) {
    let outcome = replies.recv().unwrap().unwrap();
    assert_eq!(outcome.execution.unwrap().status, Status::Success);
}

/// Occupies the only thread until it is told to go on.
fn occupied(pool: &Pool, reply: &Replying<Result<Outcome, EngineError>>) -> Replying<()> {
    let (begun, has_begun) = channel();
    let (go_on, may_go_on) = channel::<()>();
    let asked = AtomicUsize::new(0);
    let is_late = move || {
        if asked.fetch_add(1, Ordering::SeqCst) == 0 {
            begun.send(()).unwrap();
            let _dropped = may_go_on.recv();
        }
        false
    };
    pool.submit(job(is_late, reply)).unwrap();
    has_begun.recv().unwrap();
    go_on
}

#[test]
fn a_full_queue_refuses_and_says_how_much_it_holds() {
    let (reply, replies) = channel();
    let pool = Pool::start(1, 2).unwrap();
    let go_on = occupied(&pool, &reply);
    pool.submit(job(|| false, &reply)).unwrap();
    pool.submit(job(|| false, &reply)).unwrap();
    assert_eq!(pool.waiting(), 2);
    assert_eq!(pool.submit(job(|| false, &reply)), Err(Refused::Full { capacity: 2 }));
    drop(go_on);
    for _ in 0..3 {
        succeeded(&replies);
    }
}

#[test]
fn what_an_execution_read_is_told_by_its_digest_whatever_else_was_given() {
    let pool = Pool::start(1, 4).unwrap();
    let (reply, replies) = channel();
    let (tell, told) = channel();
    let digest = |change: fn(&mut Job)| {
        let mut job = job(|| false, &reply);
        change(&mut job);
        let tell = tell.clone();
        pool.submit_recording(job, move |digest| tell.send(digest).unwrap())
            .unwrap();
        succeeded(&replies);
        told.recv().unwrap()
    };
    let as_given = digest(|_| {});
    let with_more = digest(|job| {
        drop(
            job.state
                .accounts
                .insert(Address::repeat_byte(9), AccountState::default()),
        )
    });
    let richer = digest(|job| {
        let sender = job.state.accounts.get_mut(&SENDER).unwrap();
        sender.account.as_mut().unwrap().balance += U256::from(1);
    });
    assert_eq!(as_given, with_more);
    assert_ne!(as_given, richer);
}

#[test]
fn a_set_of_expressions_is_judged_and_every_invariant_is_listed() {
    let pool = Pool::start(1, 4).unwrap();
    let (reply, replies) = channel();
    let expression = |id, text: &str| {
        Watched::Program(ProgramInvariant {
            id,
            name: text.to_owned(),
            program: lang::parse(text, &lang::Names::default()).unwrap(),
        })
    };
    let poor = format!("balance({SENDER:#x}) >= 10 ether");
    let watched = vec![
        expression(7, "balance(0x0000000000000000000000000000000000000077) == pre"),
        expression(3, "block.number >= 1"),
        expression(5, &format!("nonce({SENDER:#x}) == pre")),
        expression(4, &poor),
    ];
    let set = Arc::new(WatchSet::new(watched).unwrap());
    let watching = |wishes| {
        let job = Job {
            set: Arc::clone(&set),
            wishes,
            ..job(|| false, &reply)
        };
        pool.submit(job).unwrap();
        replies.recv().unwrap().unwrap()
    };
    let transitions = |outcome: &Outcome| {
        let each = outcome.judgements.iter();
        each.map(|judgement| (judgement.invariant_id, judgement.transition))
            .collect::<Vec<_>>()
    };
    let all = watching(Wishes::default());
    let (kept, broke) = (Some(Transition::Kept), Some(Transition::Broke));
    let poor = (4, Some(Transition::StayedBroken));
    assert_eq!(
        transitions(&all),
        [(7, Some(Transition::Untouched)), (3, kept), (5, broke), poor]
    );
    assert_ne!(all.execution.as_ref().unwrap().post_state_digest, B256::ZERO);
    let touched = watching(Wishes {
        complete: false,
        ..Wishes::default()
    });
    assert_eq!(transitions(&touched), [(3, kept), (5, broke), poor]);
}

#[test]
fn a_set_says_what_the_list_of_its_slots_says() {
    let pool = Pool::start(1, 4).unwrap();
    let (reply, replies) = channel();
    let invariants: Vec<Invariant> = (1..4)
        .map(|id| {
            let contract = address!("0x00000000000000000000000000000000000c0de5");
            let (value_type, zero) = (crate::ValueType::Uint(256), U256::ZERO);
            let (slot, is) = (U256::from(id), crate::Comparison::Eq);
            Invariant::new(id, "zero", contract, slot, value_type, 0, is, zero).unwrap()
        })
        .collect();
    let watched = invariants.iter().cloned();
    let job = Job {
        set: Arc::new(WatchSet::of(watched).unwrap()),
        ..job(|| false, &reply)
    };
    let by_list = Engine::new(job.chain_id).judge(&job.env, &job.transaction, &job.state, &invariants);
    pool.submit(job).unwrap();
    assert_eq!(replies.recv().unwrap(), by_list);
}

#[test]
fn a_job_that_is_late_before_it_begins_is_dropped_with_its_reply() {
    let pool = Pool::start(1, 4).unwrap();
    let (reply, replies) = channel();
    pool.submit(job(|| true, &reply)).unwrap();
    drop(reply);
    assert!(replies.recv().is_err(), "nobody answers");
    let (reply, replies) = channel();
    pool.submit(job(|| false, &reply)).unwrap();
    succeeded(&replies);
}

#[test]
fn a_job_that_becomes_late_is_undecided() {
    let pool = Pool::start(1, 4).unwrap();
    let (reply, replies) = channel();
    let asked = AtomicUsize::new(0);
    pool.submit(job(move || asked.fetch_add(1, Ordering::SeqCst) > 0, &reply))
        .unwrap();
    let outcome = replies.recv().unwrap().unwrap();
    assert_eq!(
        (outcome.execution, outcome.undecided),
        (None, Some(crate::Reason::Deadline))
    );
}

#[test]
fn dropping_the_pool_runs_what_waits_and_ends_its_threads() {
    let (reply, replies) = channel();
    let pool = Pool::start(1, 8).unwrap();
    let go_on = occupied(&pool, &reply);
    for _ in 0..5 {
        pool.submit(job(|| false, &reply)).unwrap();
    }
    drop((reply, go_on));
    drop(pool);
    let answered: Vec<_> = replies.iter().collect();
    assert_eq!(answered.len(), 6, "and no sender is left");
    assert!(answered.iter().all(Result::is_ok));
}

#[test]
fn a_panic_of_one_job_is_an_error_and_the_thread_goes_on() {
    let pool = Pool::start(1, 8).unwrap();
    let (reply, replies) = channel();
    let asked = Arc::new(AtomicUsize::new(0));
    let panics = move || {
        assert!(asked.fetch_add(1, Ordering::SeqCst) == 0, "a caller's mistake");
        false
    };
    pool.submit(job(panics, &reply)).unwrap();
    assert!(matches!(replies.recv().unwrap(), Err(EngineError::Evm(why)) if why.contains("panicked")));
    let mut rude = job(|| false, &reply);
    rude.reply = Box::new(|_| panic!("a caller's mistake"));
    pool.submit(rude).unwrap();
    pool.submit(job(|| panic!("a caller's mistake"), &reply)).unwrap();
    pool.submit(job(|| false, &reply)).unwrap();
    succeeded(&replies);
}
