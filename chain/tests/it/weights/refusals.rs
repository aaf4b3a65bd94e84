//! Everything that the ledger refuses, by Subtensor's own name; and nothing of it ever happens.

use std::collections::BTreeSet;

use chain::commit::hash;
use chain::local::params::Overrides;
use chain::local::rules::Operation;
use chain::{Ledger, LedgerError, Refusal, RemoteLedger, TimelockedCommit, WeightsCall, WeightsReveal};
use strum::VariantNames;

use super::overrides;
use crate::world::{self, DEADLINE, TAO, World, pair, weights};

fn set(row: &[(u16, u16)]) -> Operation {
    Operation::SetWeights(weights(row, 3))
}

fn axon(ip: &str, port: u16) -> Operation {
    Operation::ServeAxon(world::axon(ip, port))
}

fn opening(uids: Vec<u16>) -> WeightsReveal {
    WeightsReveal {
        values: vec![1; uids.len()],
        uids,
        salt: vec![7; 8],
        version_key: 3,
    }
}

fn commit(n: u8, opening: &WeightsReveal) -> Operation {
    Operation::CommitWeights(hash::commit(&pair(n).account(), 1, opening))
}

fn sealed(version: u16, reveal_round: u64) -> Operation {
    Operation::CommitTimelocked(TimelockedCommit {
        ciphertext: vec![1; 200],
        reveal_round,
        version,
    })
}

/// Sends `operation` over the wire, signed by `n`.
async fn send(ledger: &RemoteLedger, n: u8, operation: Operation) -> Result<(), LedgerError> {
    let hotkey = pair(n);
    match operation {
        Operation::Register => ledger.register(&hotkey).await.map(drop),
        Operation::AddStake(amount) => ledger.add_stake(&hotkey, amount).await.map(drop),
        Operation::ServeAxon(axon) => ledger.serve_axon(&hotkey, axon).await.map(drop),
        Operation::SetWeights(call) => ledger.set_weights(&hotkey, call).await.map(drop),
        Operation::CommitWeights(commit) => ledger.commit_weights(&hotkey, commit).await.map(drop),
        Operation::RevealWeights(reveal) => ledger.reveal_weights(&hotkey, reveal).await.map(drop),
        Operation::CommitTimelocked(commit) => ledger.commit_timelocked(&hotkey, commit).await.map(drop),
    }
}

/// Sends what must be refused, and looks that the state is the same afterwards, here and after a restart.
async fn refused(world: World, cases: Vec<(&'static str, u8, Operation)>, seen: &mut BTreeSet<&'static str>) -> World {
    let before = world.state();
    for (name, n, operation) in cases {
        let what = format!("{name}: {operation:?} by {n}");
        let error = send(&world.remote, n, operation).await.expect_err(&what);
        let refusal = error.refusal().unwrap_or_else(|| panic!("{what}: {error}"));
        assert_eq!(refusal.name(), name, "{what}");
        assert!(!matches!(refusal, Refusal::Other { .. }), "{what}");
        assert!(error.to_string().starts_with(&format!("{name}: ")), "{what}");
        assert_eq!(*world.state(), *before, "{what}: something changed");
        seen.insert(name);
    }
    let world = world.restart().await;
    assert_eq!(*world.state(), *before, "something was stored");
    world
}

/// 1 has the permit, 2 has no stake to speak of, 3 serves an axon, 5 has stake and no permit; at block 8, where 1 has set weights.
async fn peopled(home: &std::path::Path, more: Overrides) -> World {
    let world = World::open(home, more).await;
    world.until(1).await;
    world.register(&[1, 2, 3, 4, 5]).await;
    world.stake(1, 2_000).await;
    world.stake(2, 1).await;
    world.stake(5, 1_500).await;
    world.until(8).await;
    world
}

#[tokio::test]
async fn every_refusal_has_its_name_and_changes_nothing() {
    let mut seen = BTreeSet::new();

    let home = tempfile::tempdir().unwrap();
    let plain = Overrides {
        weights_version_key: Some(3),
        min_allowed_weights: Some(2),
        max_weights_limit: Some(40_000),
        max_allowed_validators: Some(1),
        ..overrides()
    };
    let world = peopled(home.path(), plain).await;
    send(&world.remote, 1, set(&[(3, 1), (4, 1)])).await.unwrap();
    send(&world.remote, 3, axon("203.0.113.7", 8091)).await.unwrap();
    let old = WeightsCall {
        uids: vec![3, 4],
        values: vec![1, 1],
        version_key: 2,
    };
    let uneven = WeightsCall {
        uids: vec![3, 4],
        values: vec![1],
        version_key: 3,
    };
    let cases = vec![
        ("HotKeyAlreadyRegisteredInSubNet", 1, Operation::Register),
        ("NotEnoughBalanceToStake", 1, Operation::AddStake(1_000_000_000 * TAO)),
        ("HotKeyAccountNotExists", 9, Operation::AddStake(1)),
        ("AmountTooLow", 1, Operation::AddStake(0)),
        ("HotKeyNotRegisteredInNetwork", 9, axon("203.0.113.7", 8091)),
        ("InvalidIpAddress", 4, axon("255.255.255.255", 8091)),
        ("InvalidPort", 4, axon("203.0.113.7", 0)),
        ("ServingRateLimitExceeded", 3, axon("203.0.113.7", 8092)),
        // In the chain's order: what comes first is what is said.
        ("WeightVecNotEqualSize", 9, Operation::SetWeights(uneven)),
        (
            "UidsLengthExceedUidsInSubNet",
            9,
            set(&[(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)]),
        ),
        ("HotKeyNotRegisteredInSubNet", 9, set(&[(3, 1), (4, 1)])),
        ("NotEnoughStakeToSetWeights", 2, set(&[(3, 1), (4, 1)])),
        ("IncorrectWeightVersionKey", 1, Operation::SetWeights(old)),
        ("SettingWeightsTooFast", 1, set(&[(3, 1), (4, 1)])),
        ("NeuronNoValidatorPermit", 5, set(&[(3, 1), (4, 1)])),
        ("DuplicateUids", 0, set(&[(3, 1), (3, 1)])),
        ("UidVecContainInvalidOne", 0, set(&[(3, 1), (6, 1)])),
        ("UidVecContainInvalidOne", 0, set(&[(3, 1), (u16::MAX, 1)])),
        ("WeightVecLengthIsLow", 0, set(&[(3, 1)])),
        ("WeightVecLengthIsLow", 0, set(&[])),
        ("MaxWeightExceeded", 0, set(&[(3, 1), (4, 9)])),
        ("CommitRevealDisabled", 1, commit(1, &opening(vec![3, 4]))),
        ("CommitRevealDisabled", 1, Operation::RevealWeights(opening(vec![3, 4]))),
        ("CommitRevealDisabled", 1, sealed(4, 99)),
    ];
    let world = refused(world, cases, &mut seen).await;
    let unknown = world.remote.weights(6).await.unwrap_err();
    assert_eq!(unknown.refusal().unwrap().name(), "UidNotFound");
    seen.insert("UidNotFound");
    // Another network: what was meant for it is not sent to this one.
    let before = world.state();
    let foreign = RemoteLedger::new(&world.served.url(), DEADLINE).unwrap().on_subnet(7);
    for operation in [Operation::Register, Operation::AddStake(1), set(&[(3, 1), (4, 1)])] {
        let error = send(&foreign, 8, operation).await.unwrap_err();
        assert_eq!(error.refusal().unwrap().name(), "SubnetNotExists");
    }
    assert_eq!(*world.state(), *before);
    seen.insert("SubnetNotExists");

    let home = tempfile::tempdir().unwrap();
    let full = Overrides {
        max_allowed_uids: Some(1),
        ..overrides()
    };
    let cases = vec![("NoNeuronIdAvailable", 1, Operation::Register)];
    refused(World::open(home.path(), full).await, cases, &mut seen).await;

    let home = tempfile::tempdir().unwrap();
    let by_hash = Overrides {
        commit_reveal_weights_enabled: Some(true),
        commit_reveal_version: Some(2),
        ..overrides()
    };
    let world = peopled(home.path(), by_hash.clone()).await;
    let promised = opening(vec![3, 4]);
    send(&world.remote, 1, commit(1, &promised)).await.unwrap();
    let cases = vec![
        ("CommitRevealEnabled", 1, set(&[(3, 1), (4, 1)])),
        ("NoWeightsCommitFound", 5, Operation::RevealWeights(promised.clone())),
        (
            "InvalidRevealCommitHashNotMatch",
            1,
            Operation::RevealWeights(opening(vec![4, 3])),
        ),
        ("RevealTooEarly", 1, Operation::RevealWeights(promised.clone())),
        ("CommittingWeightsTooFast", 1, commit(1, &promised)),
        ("HotKeyNotRegisteredInSubNet", 9, commit(9, &promised)),
        ("IncorrectCommitRevealVersion", 1, sealed(4, 99)),
    ];
    let world = refused(world, cases, &mut seen).await;
    world.until(40).await;
    let late = vec![("ExpiredWeightCommit", 1, Operation::RevealWeights(promised))];
    refused(world, late, &mut seen).await;

    let home = tempfile::tempdir().unwrap();
    let hurried = Overrides {
        weights_set_rate_limit: Some(0),
        ..by_hash
    };
    let world = peopled(home.path(), hurried).await;
    for n in 0..10 {
        send(&world.remote, 1, commit(1, &opening(vec![n]))).await.unwrap();
    }
    let cases = vec![("TooManyUnrevealedCommits", 1, commit(1, &opening(vec![4])))];
    refused(world, cases, &mut seen).await;

    let home = tempfile::tempdir().unwrap();
    let sealing = Overrides {
        commit_reveal_weights_enabled: Some(true),
        commit_reveal_version: Some(4),
        ..overrides()
    };
    let world = peopled(home.path(), sealing).await;
    let cases = vec![
        ("InvalidRevealRound", 1, sealed(4, 7)),
        ("IncorrectCommitRevealVersion", 1, sealed(3, 99)),
        ("CommitRevealEnabled", 1, set(&[(3, 1), (4, 1)])),
    ];
    let world = refused(world, cases, &mut seen).await;
    let before = world.state();
    let huge = TimelockedCommit {
        ciphertext: vec![1; chain::ledger::CIPHERTEXT_LIMIT + 1],
        reveal_round: 99,
        version: 4,
    };
    let error = world.remote.commit_timelocked(&pair(1), huge).await.unwrap_err();
    assert!(
        matches!(&error, LedgerError::Invalid(reason) if reason.contains("ciphertext")),
        "{error}"
    );
    assert_eq!(*world.state(), *before);

    let all = Refusal::VARIANTS.iter().copied().filter(|name| *name != "Other");
    assert_eq!(seen, all.collect());
}
