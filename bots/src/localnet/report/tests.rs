//! The report of networks that never ran: sums, shares, and what fails a run.

use std::collections::BTreeMap;
use std::time::Duration;

use protos::v1::{MinerScore, ValidatorStatusResponse, Witness};

use super::*;
use crate::localnet::gas::GasComparison;
use crate::localnet::plan::{NetworkPlan, Shape};

pub(crate) fn network() -> NetworkPlan {
    NetworkPlan::new(Shape {
        validators: 2,
        miners: 4,
        lazy: 1,
        liar: 1,
        slow: 0,
        replicas: 2,
        seed: 7,
    })
    .unwrap()
}

fn score(uid: u32, asked: u64, answered: u64, correct: u64, weight: u32) -> MinerScore {
    MinerScore {
        uid,
        asked,
        answered,
        correct,
        weight,
        score: f64::from(weight) / 100.0,
        ..Default::default()
    }
}

pub(crate) fn attack() -> v1::Incident {
    v1::Incident {
        id: 1,
        invariant_id: 3,
        invariant_name: "the vault holds what it owes".into(),
        contract: vec![0xaa; 20].into(),
        tx_hash: vec![0xbb; 32].into(),
        tx_sender: vec![0xcc; 20].into(),
        witness: Some(Witness {
            pre: vec![1; 32].into(),
            post: vec![2; 32].into(),
            digest: vec![3; 32].into(),
            readings: Vec::new(),
        }),
        seen_to_confirmed_us: 12_345,
        logged_at_ms: 10_000,
        reported_at_ms: 10_020,
        included_at_ms: 10_660,
        confirmations: 2,
        ..Default::default()
    }
}

pub(crate) fn observed() -> Observed {
    let plan = network();
    let uids: Vec<u32> = plan.miners.iter().map(|miner| miner.uid).collect();
    let view = |weights: [u32; 4]| ValidatorStatusResponse {
        judged: 50,
        weights_set: 3,
        miners: uids
            .iter()
            .zip(weights)
            .map(|(uid, weight)| score(*uid, 40, 20, 10, weight))
            .collect(),
        ..Default::default()
    };
    let incentive = |role| if role == Role::Honest { 0.4 } else { 0.1 };
    Observed {
        data: "a test".into(),
        pace: "60/s".into(),
        seed: 7,
        status: v1::StatusResponse {
            feed_ended: true,
            transactions: 50,
            judged: 50,
            executed: 50,
            assigned: 100,
            reported: 100,
            challenges: 400,
            answers: 200,
            agreed: 150,
            holds: 90,
            violated: 2,
            ..Default::default()
        },
        incidents: vec![attack()],
        disputed: 0,
        gas: GasComparison {
            compared: 50,
            mismatches: 0,
            listed: vec![],
        },
        validators: BTreeMap::from([(1, view([30, 10, 30, 30])), (2, view([10, 10, 40, 40]))]),
        standings: plan
            .miners
            .iter()
            .map(|miner| {
                (
                    miner.uid,
                    Standing {
                        stake: 0,
                        incentive: incentive(miner.role),
                    },
                )
            })
            .collect(),
        kills: vec![],
        back_within: None,
        judging: Duration::from_secs(4),
        ledger_block: 99,
        ledger_epochs: 4,
        complete: true,
        live: None,
        services: vec![],
        audited: BTreeMap::new(),
        growth: vec![],
    }
}

#[test]
fn sums_and_shares_come_out_as_by_hand() {
    let report = Report::new(&network(), observed()).unwrap();
    assert!(report.complete && report.passed());
    assert_eq!((report.agreement, report.tx_per_s), (0.75, 12.5));
    let first = &report.miners[0];
    assert_eq!((first.asked, first.answered, first.accuracy), (80, 40, 0.5));
    // Stakes 1250 and 1000: (1250 * 0.3 + 1000 * 0.1) / 2250.
    assert!((first.weight - 475.0 / 2250.0).abs() < 1e-12, "{}", first.weight);
    assert!((report.miners.iter().map(|miner| miner.weight).sum::<f64>() - 1.0).abs() < 1e-9);
}

#[test]
fn an_open_item_or_another_gas_fails_the_run() {
    let mut seen = observed();
    (seen.status.reported, seen.complete) = (99, false);
    let report = Report::new(&network(), seen).unwrap();
    assert!(!report.complete && !report.passed());

    let mut seen = observed();
    seen.gas.mismatches = 1;
    let report = Report::new(&network(), seen).unwrap();
    assert!(report.complete && !report.passed());
}

#[test]
fn who_misbehaves_and_earns_as_much_is_found() {
    let plan = network();
    let liar = plan.miners.iter().find(|miner| miner.role == Role::Liar).unwrap().uid;
    let mut seen = observed();
    assert!(Report::new(&plan, seen.clone()).unwrap().unpunished().is_empty());
    seen.standings.insert(
        liar,
        Standing {
            stake: 0,
            incentive: 0.4,
        },
    );
    let report = Report::new(&plan, seen).unwrap();
    assert_eq!(
        report.unpunished().iter().map(|miner| miner.uid).collect::<Vec<_>>(),
        [liar]
    );
}

#[test]
fn one_that_gave_way_before_its_turn_comes_back_without_a_judgement() {
    let mut status = v1::StatusResponse {
        transactions: 10,
        judged: 9,
        assigned: 20,
        reported: 20,
        ..Default::default()
    };
    assert!(!is_reported(&status));
    status.feed = Some(v1::FeedStatus {
        replaced: 1,
        ..Default::default()
    });
    assert!(is_reported(&status));
    status.reported = 19;
    assert!(!is_reported(&status), "an assignment is open");
}

#[test]
fn the_json_reads_back_and_has_the_promised_names() {
    let report = Report::new(&network(), observed()).unwrap();
    let json = serde_json::to_value(&report).unwrap();
    for name in [
        "transactions",
        "judged",
        "undecided",
        "executed",
        "gas_mismatches",
        "challenges",
        "agreement",
        "tx_per_s",
    ] {
        assert!(json[name].is_number(), "{name}");
    }
    for name in ["invariant", "tx", "pre", "post", "seen_to_confirmed_ms"] {
        assert!(!json["incidents"][0][name].is_null(), "incidents[].{name}");
    }
    for name in [
        "uid",
        "role",
        "asked",
        "answered",
        "accuracy",
        "p50_ms",
        "p99_ms",
        "score",
        "weight",
        "incentive",
    ] {
        assert!(!json["miners"][0][name].is_null(), "miners[].{name}");
    }
    assert!(json["validators"][0]["stake"].is_number());
    assert_eq!(serde_json::from_value::<Report>(json).unwrap(), report);
}
