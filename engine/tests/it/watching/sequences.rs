//! Several transactions, judged step by step and as a whole.

use super::*;

fn nth(nonce: u64, slot: u64, value: u64) -> Transaction {
    by_alice(alloy::consensus::TxLegacy {
        nonce,
        ..call(VAULT, words(u(slot), u(value)))
    })
}

#[test]
fn a_sequence_is_judged_step_by_step_and_as_a_whole() {
    let state = world(STORE, &[(1, u(150)), (2, u(150))]);
    let watched = set([slot(1, VAULT, 1), slot(2, VAULT, 2), slot(3, VAULT, 3)]);
    let mut engine = Engine::new(CHAIN);
    let mut judged = |transactions: &[Transaction]| {
        let env = at(Hardfork::Cancun);
        let sequence = engine
            .judge_sequence(transactions, Context::new(&env, &state, &watched, &Options::default()))
            .unwrap();
        let pairs = |judgements: &[engine::Judgement]| {
            judgements
                .iter()
                .map(|j| (j.invariant_id, j.transition.unwrap()))
                .collect::<Vec<_>>()
        };
        let each: Vec<_> = sequence.each.iter().map(|outcome| pairs(&outcome.judgements)).collect();
        (each, pairs(&sequence.whole), sequence)
    };
    // Broken and mended: each step shows it, the whole has nothing to say.
    let (each, whole, _) = judged(&[nth(0, 1, 5), nth(1, 1, 150)]);
    assert_eq!(each, [[(1, Transition::Broke)], [(1, Transition::Restored)]]);
    assert_eq!(whole, []);
    // Two invariants in two steps; later nonces run on what the earlier left.
    let (each, whole, _) = judged(&[nth(0, 1, 120), nth(1, 2, 5), nth(2, 1, 110)]);
    assert_eq!(
        each,
        [
            [(1, Transition::Kept)],
            [(2, Transition::Broke)],
            [(1, Transition::Kept)]
        ]
    );
    assert_eq!(whole, [(1, Transition::Kept), (2, Transition::Broke)]);
    // A gap in the nonces: that one is invalid and changes nothing.
    let (each, whole, sequence) = judged(&[nth(0, 1, 120), nth(2, 2, 5)]);
    assert_eq!((each[1].len(), whole), (0, vec![(1, Transition::Kept)]));
    assert!(matches!(
        sequence.each[1].undecided,
        Some(Reason::InvalidTransaction(_))
    ));
    let (each, whole, _) = judged(&[]);
    assert_eq!((each.len(), whole.len()), (0, 0));
}

#[test]
fn a_sequence_with_views_compares_the_state_before_the_first_with_that_after_the_last() {
    let state = oracle();
    let watched = set([Watched::View(view(4, ORACLE))]);
    let sequence = Engine::new(CHAIN)
        .judge_sequence(
            &[nth(0, 1, 60), nth(1, 1, 49)],
            Context::new(&at(Hardfork::Cancun), &state, &watched, &Options::default()),
        )
        .unwrap();
    assert_eq!(sequence.each[0].judgements[0].transition, Some(Transition::Kept));
    let step = sequence.each[1].violations().next().unwrap();
    assert_eq!((step.pre, step.post), (u(120), u(98)));
    let Verdict::Violated(whole) = &sequence.whole[0].verdict else {
        panic!("{sequence:?}")
    };
    assert_eq!((whole.pre, whole.post), (u(300), u(98)));
}

#[test]
fn after_a_transaction_that_cannot_be_executed_a_sequence_is_undecided() {
    let mut state = world(STORE, &[(1, u(150))]).0;
    state
        .accounts
        .insert(at(Hardfork::Cancun).beneficiary, AccountState::default());
    state.accounts.get_mut(&VAULT).unwrap().storage.insert(u(3), u(0));
    let sequence = Engine::new(CHAIN)
        .judge_sequence(
            &[nth(0, 1, 120), nth(1, 2, 5), nth(2, 3, 5)],
            Context::new(
                &at(Hardfork::Cancun),
                &state,
                &set([slot(1, VAULT, 1)]),
                &Options::default(),
            ),
        )
        .unwrap();
    let missing = Some(Reason::MissingState(Missing::Slot(VAULT, u(2))));
    assert_eq!(sequence.undecided, missing);
    assert_eq!(sequence.each[0].undecided, None);
    assert_eq!(
        (&sequence.each[1].undecided, &sequence.each[2].undecided),
        (&missing, &missing)
    );
    assert!(sequence.whole.is_empty());
}

#[test]
fn a_transaction_behind_others_is_judged_as_the_last_of_their_sequence() {
    let state = world(STORE, &[(1, u(150)), (2, u(150))]);
    let watched = set([slot(1, VAULT, 1), slot(2, VAULT, 2), Watched::View(view(4, ORACLE))]);
    let env = at(Hardfork::Cancun);
    let options = Options {
        digest: true,
        ..Options::default()
    };
    let mut engine = Engine::new(CHAIN);
    let all = [nth(0, 1, 120), nth(1, 2, 60), nth(2, 1, 5)];
    for place in 0..all.len() {
        let sequence = engine
            .judge_sequence(&all[..=place], Context::new(&env, &state, &watched, &options))
            .unwrap();
        let behind = engine.judge_behind(
            &all[..place],
            &all[place],
            Context::new(&env, &state, &watched, &options),
        );
        assert_eq!(Some(&behind.unwrap()), sequence.each.last());
        let recorded = engine
            .record_behind(
                &all[..place],
                &all[place],
                Context::new(&env, &state, &watched, &options),
            )
            .unwrap();
        assert_eq!(Some(&recorded.outcome), sequence.each.last());
        let again = engine.judge_behind(
            &all[..place],
            &all[place],
            Context::new(&env, &recorded.prestate, &watched, &options),
        );
        assert_eq!(again.unwrap(), recorded.outcome, "what was recorded is enough");
    }
    // A predecessor that is invalid changes nothing; behind a gap nothing is valid.
    let gap = engine
        .judge_behind(&all[1..2], &all[2], Context::new(&env, &state, &watched, &options))
        .unwrap();
    assert!(matches!(gap.undecided, Some(Reason::InvalidTransaction(_))));
    // And what was learnt behind others is forgotten.
    let alone = Engine::new(CHAIN)
        .judge_watched(&all[0], Context::new(&env, &state, &watched, &options))
        .unwrap();
    assert_eq!(
        engine
            .judge_watched(&all[0], Context::new(&env, &state, &watched, &options))
            .unwrap(),
        alone
    );
}
