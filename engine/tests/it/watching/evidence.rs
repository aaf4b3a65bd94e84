//! What a violation says of itself, and the warnings of a transaction that reverts.

use super::*;

#[test]
fn a_violation_tells_the_calls_that_led_to_the_write() {
    // Alice calls the outer contract; it calls the middle one, which delegates to the storing code.
    let (outer, middle) = (Address::repeat_byte(0x11), Address::repeat_byte(0x22));
    let mut state = world(STORE, &[]);
    contract(&mut state, middle, &calling(VAULT, 0xf4));
    contract(&mut state, outer, &calling(middle, 0xf1));
    state.0.accounts.get_mut(&middle).unwrap().storage = [(u(1), u(150))].into();
    let tx = by_alice(call(outer, words(u(1), u(5))));
    let outcome = watch(&state, &tx, &set([slot(1, middle, 1)]), &Options::default());
    let witness = outcome.violations().next().unwrap();
    let path: Vec<_> = witness
        .path
        .iter()
        .map(|call| (call.depth, call.address, call.code))
        .collect();
    assert_eq!(path, [(0, outer, outer), (1, middle, middle), (2, middle, VAULT)]);
    assert_eq!(witness.path[0].caller, alice().address());
    let without = Options {
        call_path: false,
        ..Options::default()
    };
    let bare = watch(&state, &tx, &set([slot(1, middle, 1)]), &without);
    assert!(bare.violations().next().unwrap().path.is_empty());
    assert_eq!(
        bare.violations().next().unwrap().digest(),
        witness.digest(),
        "the path is no part of the identity"
    );
}

#[test]
fn what_a_reverting_transaction_would_have_violated_is_a_warning() {
    let outer = Address::repeat_byte(0x11);
    let mut state = world(STORE, &[(1, u(150)), (2, u(150))]);
    contract(&mut state, outer, &format!("{}60006000fd", calling(VAULT, 0xf1)));
    let watched = set([slot(1, VAULT, 1), slot(2, VAULT, 2)]);
    let tx = by_alice(call(outer, words(u(1), u(5))));
    let options = Options {
        warnings: true,
        ..Options::default()
    };
    let outcome = watch(&state, &tx, &watched, &options);
    assert_eq!(
        (execution(&outcome).status.clone(), outcome.judgements.len()),
        (Status::Revert, 0)
    );
    let [warning] = &outcome.warnings[..] else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (warning.invariant_id, warning.pre, warning.at_revert),
        (1, u(150), u(5))
    );
    assert_eq!((warning.frame.depth, warning.frame.address), (0, outer));
    assert!(
        watch(&state, &tx, &watched, &Options::default()).warnings.is_empty(),
        "only when asked for"
    );
    // Here the storing frame itself reverts.
    let state = {
        let mut state = world(STORE_AND_REVERT, &[(1, u(150))]);
        contract(&mut state, outer, &format!("{}60006000fd", calling(VAULT, 0xf1)));
        state
    };
    let outcome = watch(&state, &tx, &watched, &options);
    assert_eq!(
        (outcome.warnings[0].frame.depth, outcome.warnings[0].frame.address),
        (1, VAULT)
    );
    // A harmless one that reverts warns of nothing.
    let harmless = by_alice(call(outer, words(u(1), u(120))));
    assert!(watch(&state, &harmless, &watched, &options).warnings.is_empty());
}
