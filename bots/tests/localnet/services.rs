//! What only a living chain has: keepers that pause the vault, nodes that audit each other, protocols that pay. A real anvil, real
//! processes, the whole of it from one command.

use std::path::Path;

use bots::localnet::plan::Role;
use bots::localnet::report::{Report, Service};

use crate::common::{Place, anvil, signal};

/// A small network on a short story, with every part.
const ALL: &str =
    "--live --validators 2 --miners 3 --lazy 0 --liar 1 --slow 0 --attack-after 3 --per-block 6 --block-time=2s";

/// The command line of [`ALL`] on this anvil, with `more`.
fn all<'a>(anvil: &'a Path, more: &'a str) -> Vec<&'a str> {
    let mut args: Vec<&str> = ALL.split_whitespace().chain(more.split_whitespace()).collect();
    args.extend(["--anvil", anvil.to_str().unwrap()]);
    args
}

fn of<'a>(report: &'a Report, role: &str) -> Vec<&'a Service> {
    report.services.iter().filter(|service| service.role == role).collect()
}

fn did(service: &Service, what: &str) -> u64 {
    *service.did.get(what).unwrap_or_else(|| panic!("{what} of {service:?}"))
}

#[test]
fn keepers_pause_nodes_audit_each_other_and_only_what_is_paid_for_is_streamed() {
    let Some(anvil) = anvil("keepers, audits and payments") else {
        return;
    };
    let place = Place::new();
    let report = place.report(&all(&anvil, "--auditors 3 --settle-epochs 0"));
    assert!(report.complete && report.failure().is_none(), "{report:?}");

    // Each part runs as so many processes.
    let count = |role| of(&report, role).len();
    assert_eq!(
        ["ledger", "platform", "validator", "miner", "keeper", "audit", "billing"].map(count),
        [1, 1, 2, 3, 2, 3, 2]
    );

    // What two validators confirmed was paused once: by a keeper, or by a validator that saw none act in time.
    let live = report.live.as_ref().unwrap();
    let pause = live
        .pause
        .as_ref()
        .unwrap_or_else(|| panic!("nobody paused: {report:?}"));
    let executions: u64 = of(&report, "keeper")
        .into_iter()
        .map(|keeper| did(keeper, "executions"))
        .sum();
    assert_eq!(executions, u64::from(pause.by.starts_with("keeper")), "{report:?}");
    assert!(report.services.iter().any(|service| service.process == pause.by));
    let attack = live.attack.as_ref().unwrap();
    assert_eq!(pause.ahead, !attack.succeeded, "{pause:?} {attack:?}");
    assert_eq!(attack.false_alarms, 0);
    assert!(report.incidents[0].seen_to_broadcast_ms.is_some_and(|ms| ms > 0.0));

    // Auditors sent verdicts that count, and claimed for them.
    for auditor in of(&report, "audit") {
        assert!(
            did(auditor, "verdicts") > 0 && did(auditor, "payouts") > 0,
            "{auditor:?}"
        );
    }
    let audited: Vec<&str> = of(&report, "audit").iter().map(|auditor| auditor.of.as_str()).collect();
    assert_eq!(audited, ["platform", "validator-1", "validator-2"]);
    // The validators' auditors challenge miners: the one who lies is found out, and serves less than any honest one.
    let down = |role: Role| {
        let uids: Vec<String> = report
            .miners
            .iter()
            .filter(|miner| miner.role == role)
            .map(|miner| format!("miner-{}", miner.uid))
            .collect();
        let miners = of(&report, "miner")
            .into_iter()
            .filter(|miner| uids.contains(&miner.process));
        miners.map(|miner| did(miner, "intervals_down")).collect::<Vec<u64>>()
    };
    let (liars, honest) = (down(Role::Liar), down(Role::Honest));
    assert_eq!((liars.len(), honest.len()), (1, 2));
    assert!(liars[0] > honest[0] && liars[0] > honest[1], "{liars:?} {honest:?}");

    // The vault pays by the second; the markets do not.
    let [vault, markets] = of(&report, "billing")[..] else {
        panic!("{report:?}")
    };
    assert_eq!((vault.of.as_str(), did(vault, "paid")), ("vault", 1));
    assert!(did(vault, "billed_s") > 0, "{vault:?}");
    assert_eq!(
        (markets.of.as_str(), did(markets, "paid"), did(markets, "billed_s")),
        ("markets", 0, 0)
    );

    // The page beside the report needs nothing else, and names everybody.
    let page = std::fs::read_to_string(place.file("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 4);
    assert!(
        report.services.iter().all(|service| page.contains(&service.process)),
        "{page}"
    );
    assert!(report.growth.iter().all(|one| one.population == 6) && !report.growth.is_empty());
    place.assert_clean();
}

#[test]
fn an_interrupt_ends_every_service_and_one_that_does_not_react_is_killed() {
    let Some(anvil) = anvil("the end of all services") else {
        return;
    };
    let place = Place::new();
    let running = place.start_until(&all(&anvil, "--auditors 2"), "starting the auditors");
    let [keeper] = place.processes("keeper-1.ready")[..] else {
        panic!("one process is keeper-1")
    };
    // A process that stands still hears nobody.
    signal("STOP", keeper);
    signal("INT", running.pid());
    let ended = running.end();
    ended.assert_interrupted();
    assert!(ended.errors.contains("keeper-1 did not end"), "{}", ended.errors);
    place.assert_clean();
}

#[test]
fn what_it_goes_without_is_said_and_is_not_there() {
    let Some(anvil) = anvil("a living chain without the rest") else {
        return;
    };
    let place = Place::new();
    let running = place.start_until(&all(&anvil, "--without keepers,audit"), "starting the validators");
    let there = |word: &str| !place.processes(word).is_empty();
    assert!(there("billing-1.ready") && !there("keeper-1.ready") && !there("audit-1.ready"));
    signal("INT", running.pid());
    running.end().assert_interrupted();
    place.assert_clean();

    let [feed, invariants] = place.scenario_blocks(0..1);
    let ended = place.run(&["--feed", &feed, "--invariants", &invariants, "--settle-epochs", "0"]);
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(
        ended.errors.contains("a recording has no chain to send to"),
        "{}",
        ended.errors
    );
    place.assert_clean();
}
