//! The whole network in separate processes, end to end: found attacks, fair pay, real blocks, and processes killed in mid-run.

use crate::common::{Place, real};
use bots::localnet::chaos::Blow;
use bots::localnet::plan::Role;
use bots::localnet::report::Report;

/// The scenario's attack is in its eighth block; one comes before, one after.
const AROUND_THE_ATTACK: std::ops::Range<usize> = 6..9;

/// Every transaction was executed, and judged by both of its validators.
fn assert_all_judged(report: &Report) {
    let all = report.transactions;
    assert_eq!((report.judged, report.executed), (all, all));
    assert_eq!((report.assigned, report.reported), (2 * all, 2 * all));
}

#[test]
fn the_attack_is_confirmed_before_its_block_and_only_honest_work_pays_well() {
    let place = Place::new();
    let [feed, invariants] = place.scenario_blocks(AROUND_THE_ATTACK);
    let report = place.report(&["--feed", &feed, "--invariants", &invariants, "--pace", "30/s"]);

    assert!(report.complete);
    assert_all_judged(&report);
    assert_eq!(
        (report.gas_compared, report.gas_mismatches, report.disputed),
        (report.transactions, 0, 0)
    );
    assert_eq!(
        (report.undecided, report.verdicts.violated),
        (0, 2),
        "both validators of the attack say so"
    );

    let [incident] = report.incidents.as_slice() else {
        panic!("one incident: {:?}", report.incidents)
    };
    assert_eq!(incident.invariant, "vault-assets-cover-seed");
    assert!(incident.pre > incident.post, "the vault was drained");
    assert!(incident.confirmed_before_inclusion, "{incident:?}");
    assert_eq!(incident.confirmations, 2);

    assert_eq!((report.miners.len(), report.validators.len()), (10, 3));
    let incentives: f64 = report.miners.iter().map(|miner| miner.incentive).sum();
    assert!(
        (incentives - 1.0).abs() < 1e-6,
        "all of the incentive went to miners: {incentives}"
    );
    assert!(report.unpunished().is_empty(), "misbehaving pays: {:?}", report.miners);
    for role in [Role::Lazy, Role::Liar] {
        let miner = report.miners.iter().find(|miner| miner.role == role).unwrap();
        assert!(miner.asked > 0 && miner.accuracy < 0.5, "{miner:?}");
    }
    place.assert_clean();
}

#[test]
fn one_of_each_is_killed_and_everything_is_judged_once() {
    let place = Place::new();
    let [feed, invariants] = place.scenario_blocks(0..4);
    let report = place.report(&[
        "--feed",
        &feed,
        "--invariants",
        &invariants,
        "--pace",
        "40/s",
        "--kill",
        "all",
        "--settle-epochs",
        "0",
    ]);

    let mut killed: Vec<&str> = report
        .kills
        .iter()
        .map(|kill| kill.process.split('-').next().unwrap())
        .collect();
    killed.sort_unstable();
    assert_eq!(killed, ["miner", "platform", "validator"]);
    assert!(
        report.kills.iter().all(|kill| kill.at_judged < report.transactions),
        "in mid-run: {:?}",
        report.kills
    );

    assert_all_judged(&report);
    let in_the_scores: u64 = report.validators.iter().map(|validator| validator.judged).sum();
    assert_eq!(
        in_the_scores, report.assigned,
        "none twice, none lost: {:?}",
        report.validators
    );
    assert_eq!((report.gas_mismatches, report.disputed), (0, 0));
    place.assert_clean();
}

/// Short here, and five minutes long by `bots localnet --pace 2/s --chaos 10s`.
#[test]
fn in_a_storm_of_kills_and_freezes_nothing_is_left_unjudged_and_nothing_false_is_confirmed() {
    let place = Place::new();
    let [feed, invariants] = place.scenario_blocks(AROUND_THE_ATTACK);
    let calm = ["--feed", &feed, "--invariants", &invariants, "--settle-epochs", "0"];
    let undisturbed = place.report(&calm);
    let storm = ["--pace", "20/s", "--chaos", "700ms", "--freeze", "300ms", "--seed", "3"];
    let report = place.report(&[&calm[..], &storm[..]].concat());

    assert!(report.kills.len() >= 4, "{:?}", report.kills);
    for blow in [Blow::Killed, Blow::Frozen] {
        assert!(report.kills.iter().any(|kill| kill.blow == blow), "{:?}", report.kills);
    }
    assert_eq!(report.back_within_ms, Some(10_000));
    assert_eq!(
        (report.judged, report.transactions, report.reported),
        (
            undisturbed.judged,
            undisturbed.transactions,
            2 * undisturbed.transactions
        )
    );
    let confirmed = |report: &Report| -> Vec<_> {
        let mut all: Vec<_> = report
            .incidents
            .iter()
            .map(|incident| (incident.tx, incident.invariant.clone()))
            .collect();
        all.sort();
        all
    };
    assert!(!undisturbed.incidents.is_empty());
    assert_eq!(confirmed(&report), confirmed(&undisturbed));
    place.assert_clean();
}

#[test]
fn real_blocks_use_the_recorded_gas_through_the_whole_network() {
    let Some(blocks) = real("blocks") else { return };
    let place = Place::new();
    let some = place.file("blocks");
    std::fs::create_dir(&some).unwrap();
    // Frontier, Byzantium, London, Prague.
    for name in [
        "46147.json.gz",
        "4369999.json.gz",
        "19426587.json.gz",
        "22615247.json.gz",
        "codes.json.gz",
    ] {
        std::os::unix::fs::symlink(blocks.join(name).canonicalize().unwrap(), some.join(name)).unwrap();
    }
    let report = place.report(&["--feed", some.to_str().unwrap(), "--settle-epochs", "0"]);
    assert!(report.transactions > 60, "{} transactions", report.transactions);
    assert_all_judged(&report);
    assert_eq!(
        (report.gas_compared, report.gas_mismatches),
        (report.transactions, 0),
        "{:?}",
        report.gas_mismatch_list
    );
    place.assert_clean();
}
