//! What people read at the end of networks that never ran.

use super::*;
use crate::localnet::plan::{Member, Role};
use crate::localnet::report::Service;
use crate::localnet::report::tests::{attack, network, observed};

fn report() -> Report {
    Report::new(&network(), observed()).unwrap()
}

#[test]
fn the_closing_says_what_a_newcomer_wants_to_know() {
    let text = closing(&report());
    assert!(text.contains("was confirmed 640 ms before its block"), "{text}");
    assert!(
        text.contains("50 transactions, every one judged; 0 gas mismatches in 50 compared"),
        "{text}"
    );
    assert!(
        text.contains("The lazy and the liar earn less than every honest miner."),
        "{text}"
    );
}

#[test]
fn an_attack_that_breaks_two_invariants_is_one_attack() {
    let mut seen = observed();
    seen.incidents.push(protos::v1::Incident {
        id: 2,
        invariant_id: 4,
        ..attack()
    });
    let text = closing(&Report::new(&network(), seen).unwrap());
    assert_eq!(text.matches("The attack").count(), 1);
    assert!(text.contains("and 1 more"), "{text}");
}

#[test]
fn of_a_living_chain_it_is_told_what_was_sent_and_what_became_of_the_attack() {
    let mut live = report();
    let attack = crate::localnet::report::live::Attack {
        tx: live.incidents[0].tx,
        sent_on: 19,
        included_in: Some(20),
        succeeded: true,
        confirmed: true,
        ms_before_inclusion: Some(640),
        false_alarms: 0,
    };
    live.live = Some(Live {
        sent: 240,
        blocks: 12,
        replaced: 9,
        attack: Some(attack),
        ..Live::default()
    });
    let text = render(&live);
    assert!(
        text.contains("240 transactions were sent to the chain in 12 blocks: 9 replaced"),
        "{text}"
    );
    assert!(
        text.contains("the attack was sent on block 19, included in block 20, and robbed the vault"),
        "{text}"
    );
    assert!(text.contains("judged anew"), "{text}");
}

#[test]
fn bad_news_is_not_hidden() {
    let mut bad = report();
    bad.complete = false;
    bad.judged = 49;
    bad.gas_mismatches = 2;
    bad.incidents[0].ms_before_inclusion = Some(-5);
    let honest = bad.least_honest().unwrap().incentive;
    let liar = bad.miners.iter_mut().find(|miner| miner.role == Role::Liar).unwrap();
    liar.incentive = honest + 0.1;
    let text = closing(&bad);
    for said in [
        "NOT FINISHED: 49 of 50",
        "2 GAS MISMATCHES",
        "5 ms too late",
        "MISBEHAVING PAYS: the liar",
    ] {
        assert!(text.contains(said), "{said} is missing in: {text}");
    }
}

#[test]
fn a_block_that_did_not_wait_is_not_called_late() {
    let mut fast = report();
    fast.pace = "max".to_owned();
    fast.incidents[0].ms_before_inclusion = Some(-203);
    let text = closing(&fast);
    assert!(text.contains("203 ms after its block: at the pace `max`"), "{text}");
}

#[test]
fn the_tables_have_a_row_for_everyone() {
    let text = render(&report());
    assert_eq!(
        text.lines().filter(|line| line.contains("honest")).count(),
        3,
        "two miners and the closing\n{text}"
    );
    assert!(
        text.contains("the vault holds what it owes") && text.contains("640 ms"),
        "{text}"
    );
}

#[test]
fn small_values_are_decimal_and_huge_ones_hex() {
    assert_eq!(value(U256::from(1_500_000)), "1500000");
    assert!(value(U256::MAX).starts_with("0xffff"));
}

#[test]
fn what_keepers_auditors_and_protocols_did_is_told() {
    let mut seen = observed();
    seen.services = vec![
        Service::new(Member::Keeper(1), "", &[("executions", 1)]),
        Service::new(
            Member::Auditor(1),
            "platform",
            &[("verdicts", 3), ("payouts", 1), ("bounty_tokens", 9)],
        ),
        Service::new(
            Member::Auditor(2),
            "validator-1",
            &[("verdicts", 4), ("payouts", 0), ("bounty_tokens", 0)],
        ),
        Service::new(Member::Monitor(1), "vault", &[("paid", 1), ("billed_s", 40)]),
        Service::new(Member::Monitor(2), "markets", &[("paid", 0), ("billed_s", 0)]),
    ];
    let report = Report::new(&network(), seen).unwrap();
    let text = closing(&report);
    for said in [
        "2 auditors sent 7 verdicts that count and claimed 1 bounties (9 tokens).",
        "The vault paid for its protection, 40 s so far.",
        "Nobody paid for the markets",
    ] {
        assert!(text.contains(said), "{said} is missing in: {text}");
    }
    let text = render(&report);
    assert!(
        text.contains("audit-2") && text.contains("validator-1") && text.contains("verdicts 4"),
        "{text}"
    );
}
