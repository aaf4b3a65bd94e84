//! What a transaction wrote decides what is judged.

use super::*;

#[test]
fn only_what_reads_what_was_written_is_judged_and_in_the_order_of_the_set() {
    let state = world(STORE, &[(1, u(150)), (2, u(150))]);
    let watched: Vec<Watched> = [
        slot(9, VAULT, 1),
        slot(3, VAULT, 2),
        slot(5, ORACLE, 1),
        slot(1, VAULT, 1),
    ]
    .into();
    let outcome = watch(&state, &store(1, 5), &set(watched), &Options::default());
    let ids: Vec<_> = outcome
        .judgements
        .iter()
        .map(|judgement| judgement.invariant_id)
        .collect();
    assert_eq!(ids, [9, 1]);
    assert!(
        outcome
            .judgements
            .iter()
            .all(|judgement| judgement.transition == Some(Transition::Broke))
    );
    assert_eq!(outcome.undecided, None);
    let margins = outcome.judgements[0].margin.unwrap();
    assert_eq!(
        (margins.pre.to_string(), margins.post.to_string()),
        ("50".into(), "-95".into())
    );
    // Written with what was there: nothing is judged.
    assert!(
        watch(&state, &store(1, 150), &set([slot(1, VAULT, 1)]), &Options::default())
            .judgements
            .is_empty()
    );
}

#[test]
fn a_set_says_what_the_slice_says() {
    let state = world(STORE, &[(1, u(150)), (2, u(50))]);
    let invariants: Vec<Invariant> = (0..40)
        .map(|id| Invariant {
            id,
            target: u(id * 10),
            ..at_least_100(if id % 3 == 0 { ORACLE } else { VAULT }, id % 4)
        })
        .collect();
    let set = set(invariants.iter().cloned().map(Watched::from));
    let mut engine = Engine::new(CHAIN);
    for (slot, value) in [(0, 7), (1, 100), (1, 150), (2, 0), (2, 300), (3, 1)] {
        let tx = store(slot, value);
        let env = at(Hardfork::Cancun);
        let simple = engine.judge(&env, &tx, &state, &invariants).unwrap();
        let options = Options {
            digest: true,
            call_path: false,
            ..Options::default()
        };
        let watched = engine
            .judge_watched(&tx, Context::new(&env, &state, &set, &options))
            .unwrap();
        let touched: Vec<_> = simple
            .judgements
            .into_iter()
            .filter(|judgement| judgement.transition != Some(Transition::Untouched))
            .collect();
        assert_eq!(
            (watched.execution, watched.judgements),
            (simple.execution, touched),
            "slot {slot}"
        );
    }
}

#[test]
fn two_invariants_of_one_id_make_no_set() {
    assert_eq!(
        WatchSet::new(vec![slot(1, VAULT, 1), slot(1, VAULT, 2)]).unwrap_err(),
        WatchError::SameId(1)
    );
}

#[test]
fn a_destroyed_contract_triggers_whatever_reads_it() {
    let state = world(DESTROY, &[(1, u(150))]);
    let tx = by_alice(call(VAULT, Bytes::new()));
    let outcome = Engine::new(CHAIN)
        .judge_watched(
            &tx,
            Context::new(
                &at(Hardfork::Shanghai),
                &state,
                &set([slot(1, VAULT, 1), Watched::View(view(2, VAULT))]),
                &Options::default(),
            ),
        )
        .unwrap();
    assert_eq!(
        values(&Outcome {
            judgements: outcome.judgements[..1].to_vec(),
            ..Outcome::default()
        }),
        (u(150), u(0))
    );
    // Its view returned nothing before, and there is nobody left to be asked.
    assert!(matches!(
        &outcome.judgements[1].verdict,
        Verdict::Undecided(Reason::View {
            why: ViewError::NoCode,
            ..
        })
    ));
    let witness = outcome.violations().next().unwrap();
    assert_eq!(
        witness.path.iter().map(|call| call.address).collect::<Vec<_>>(),
        [VAULT]
    );
}
