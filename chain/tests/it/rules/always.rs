//! What holds whatever happens.

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Act(u8, Operation),
    Blocks(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = 0u8..8;
    let amount = prop_oneof![3 => 0..3000 * TAO, 1 => any::<u64>()];
    let place = (
        any::<std::net::IpAddr>(),
        prop_oneof![Just(0u16), Just(8091), any::<u16>()],
    );
    let good_row = proptest::collection::btree_map(0u16..7, any::<u16>(), 1..6)
        .prop_map(|row| row.into_iter().collect::<Vec<_>>());
    let any_row = proptest::collection::vec((0u16..12, any::<u16>()), 0..6);
    prop_oneof![
        1 => who.clone().prop_map(|n| Step::Act(n, Operation::Register)),
        2 => (who.clone(), amount).prop_map(|(n, amount)| Step::Act(n, Operation::AddStake(amount))),
        1 => (who.clone(), place).prop_map(|(n, (ip, port))| Step::Act(n, Operation::ServeAxon(axon(&ip.to_string(), port)))),
        8 => (0u8..4, good_row).prop_map(|(n, row)| Step::Act(n, Operation::SetWeights(weights(&row, 3)))),
        2 => (who, any_row, 0u64..5).prop_map(|(n, row, version)| Step::Act(n, Operation::SetWeights(weights(&row, version)))),
        8 => (1u64..4).prop_map(Step::Blocks),
    ]
}

fn check(state: &State) {
    let mut hotkeys: Vec<_> = state.neurons.iter().map(|n| n.hotkey).collect();
    hotkeys.sort_unstable();
    hotkeys.dedup();
    assert_eq!(hotkeys.len(), state.neurons.len(), "a hotkey has one uid");
    assert!(
        state
            .neurons
            .iter()
            .enumerate()
            .all(|(place, n)| usize::from(n.uid) == place)
    );
    assert!(state.neurons.iter().all(|n| state.uids[&n.hotkey] == n.uid));
    assert!(state.neurons.len() <= usize::from(state.params.max_allowed_uids));
    let sum: f64 = state.neurons.iter().map(|n| n.incentive_share).sum();
    assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-7, "incentives sum to 1: {sum}");
    let permitted = state.neurons.iter().skip(1).filter(|n| n.validator_permit).count();
    assert!(permitted <= usize::from(state.params.max_allowed_validators));
    let earned: u64 = state.neurons.iter().map(|n| n.earned).sum();
    let issued = state.clock.block * state.params.emission_per_block;
    assert_eq!(
        earned + state.clock.pending_emission() + state.clock.recycled,
        issued,
        "nothing is lost and nothing made of nothing"
    );
    let drawn: u64 = state.purses.values().map(|p| p.drawn).sum();
    let stake: u64 = state.neurons.iter().map(|n| n.stake).sum();
    assert_eq!(stake, drawn + earned, "stake comes from the faucet and from emission");
    assert!(state.purses.values().all(|p| p.drawn <= state.params.faucet_allowance));
    for row in state.weights.values() {
        assert!(row.iter().all(|(_, value)| *value == 0) || row.iter().any(|(_, value)| *value == u16::MAX));
    }
    check_rows(state);
}

/// Rows belong to neurons that exist, and so do the uids in them.
pub(crate) fn check_rows(state: &State) {
    for (uid, row) in state.weights.iter().chain(&state.bonds) {
        assert!(*uid < state.count() && !row.is_empty());
        assert!(row.iter().all(|(target, _)| *target < state.count()));
    }
}

proptest! {
    #[test]
    fn whatever_happens_the_invariants_hold(steps in proptest::collection::vec(any_step(), 1..80)) {
        let mut world = World::peopled(Hyperparameters { weights_version_key: 3, ..params() });
        let mut last_set = std::collections::HashMap::<u8, u64>::new();
        for step in steps {
            match step {
                Step::Blocks(count) => world.blocks(count),
                Step::Act(n, operation) => {
                    let before = world.0.clone();
                    let result = world.act(n, operation.clone());
                    if result.is_err() {
                        prop_assert_eq!(&world.0, &before, "a refused operation changes nothing");
                    } else if matches!(operation, Operation::SetWeights(_)) {
                        let block = world.0.clock.block;
                        if let Some(last) = last_set.insert(n, block).filter(|last| *last != 0) {
                            prop_assert!(block - last >= world.0.params.weights_set_rate_limit, "rate limit broken");
                        }
                    }
                }
            }
            check(&world.0);
        }
    }
}
