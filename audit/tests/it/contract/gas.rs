//! Gas of every function that changes something, as it stands in docs/audit.md.

use std::path::PathBuf;

use alloy::primitives::{Address, B256};
use alloy::sol_types::SolCall;
use contracts::{AuditManager, Contract};
use testkit::{GasTable, fits_the_chain};

use super::world::{STAKE, WHOLE, World, founder, operator, owner, terms, verdict, who};

/// Calls, and notes what it used.
fn spend<C: SolCall>(meter: &mut GasTable, name: &str, world: &mut World, from: Address, call: &C) {
    match world.act(from, call) {
        Ok(receipt) => meter.note(name, &receipt),
        Err(refused) => panic!("{name}: {refused:?}"),
    }
}

/// Every function in its ordinary course, among thirty nodes.
fn measure() -> GasTable {
    let mut table = GasTable::default();
    let meter = &mut table;
    let mut world = World::network(terms(), 30);
    let w = &mut world;
    w.endow(owner(31), 2 * STAKE);
    let register = AuditManager::registerCall {
        operator: operator(31),
        kind: 2,
        hotkey: B256::repeat_byte(7),
        endpoint: "http://10.0.0.31:50051".into(),
        stake: STAKE,
    };
    spend(meter, "register", w, owner(31), &register);
    let change = AuditManager::changeCall {
        id: 31,
        operator: operator(99),
        hotkey: B256::repeat_byte(8),
        endpoint: "http://10.0.0.99:50051".into(),
    };
    spend(meter, "change", w, owner(31), &change);
    spend(
        meter,
        "addStake",
        w,
        owner(31),
        &AuditManager::addStakeCall { id: 31, amount: 1 },
    );
    let gone = w.group(1)[5];
    spend(meter, "exit", w, owner(gone), &AuditManager::exitCall { id: gone });
    spend(
        meter,
        "fillGroup (one member)",
        w,
        who(7),
        &AuditManager::fillGroupCall { subject: 1 },
    );

    let window = w.window(1);
    w.chain.warp(window.start);
    let duties = |world: &mut World, auditor| {
        let call = AuditManager::dutiesCall {
            auditor,
            from: 1,
            count: 100,
        };
        world
            .ask(&call)
            .into_iter()
            .map(|duty| duty.subject)
            .collect::<Vec<_>>()
    };
    let report = |auditor, subjects: &[u32]| AuditManager::reportCall {
        auditor,
        verdicts: subjects
            .iter()
            .map(|subject| (&verdict(*subject, 1, 3, 40_000)).into())
            .collect(),
    };
    let mut measured = false;
    let present = || (1..=30).filter(|id| *id != gone);
    for auditor in present() {
        let subjects = duties(w, auditor);
        if measured {
            w.act(operator(auditor), &report(auditor, &subjects)).unwrap();
        } else {
            let (one, rest) = subjects.split_first().unwrap();
            spend(
                meter,
                "report (one verdict, the first of a first window)",
                w,
                operator(auditor),
                &report(auditor, &[*one]),
            );
            let rest = &rest[..20];
            spend(
                meter,
                "report (20 verdicts, each the first of a first window)",
                w,
                operator(auditor),
                &report(auditor, rest),
            );
            measured = true;
        }
    }
    w.chain.warp(window.end);
    let first = if gone == 2 { 3 } else { 2 };
    spend(
        meter,
        "claim (24 verdicts)",
        w,
        operator(first),
        &AuditManager::claimCall { id: first },
    );
    for id in present().filter(|id| *id != first) {
        w.act(operator(id), &AuditManager::claimCall { id }).unwrap();
    }
    // In later epochs storage is in use; most auditors are not the first.
    w.chain.pass(window.end - window.start + 2_592_000 - 7_200);
    let second = |auditor, world: &mut World| {
        let subjects: Vec<u32> = duties(world, auditor)
            .into_iter()
            .filter(|id| ![gone, 31].contains(id))
            .take(20)
            .collect();
        let mut call = report(auditor, &subjects);
        for verdict in &mut call.verdicts {
            verdict.epoch = 2;
        }
        call
    };
    for auditor in present().take(14) {
        let call = second(auditor, w);
        w.act(operator(auditor), &call).unwrap();
    }
    let call = second(30, w);
    spend(meter, "report (20 verdicts, in later epochs)", w, operator(30), &call);
    spend(
        meter,
        "withdrawStake",
        w,
        owner(gone),
        &AuditManager::withdrawStakeCall { id: gone, to: who(9) },
    );
    w.give(WHOLE);
    let end = w.chain.now() + 365 * 86_400;
    spend(meter, "release", w, founder(), &AuditManager::releaseCall { end });
    let config_ = (&audit::rule::Terms {
        duty_bps: 1_000,
        ..terms()
    })
        .into();
    spend(
        meter,
        "setConfig",
        w,
        founder(),
        &AuditManager::setConfigCall { config_ },
    );
    spend(
        meter,
        "transferOwnership",
        w,
        founder(),
        &AuditManager::transferOwnershipCall { to: who(9) },
    );
    spend(
        meter,
        "acceptOwnership",
        w,
        who(9),
        &AuditManager::acceptOwnershipCall {},
    );
    table
}

#[test]
fn gas_of_every_function_is_recorded() {
    let gas = measure();
    gas.covers(Contract::AuditManager, &[]);
    gas.stands_in(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/audit.md"));
}

#[test]
fn the_contract_fits_the_chain() {
    fits_the_chain(Contract::AuditManager);
}

/// Groups of 64, verdicts in the worst order for sorting: far below what one transaction may use (EIP-7825).
#[test]
fn the_largest_group_is_settled_within_one_transaction() {
    let terms = audit::rule::Terms {
        group_size: 64,
        ..terms()
    };
    let mut world = World::network(terms, 70);
    let window = world.window(1);
    world.chain.warp(window.start);
    for (failed, auditor) in (0..64).rev().zip(world.group(1)) {
        let verdict = verdict(1, 1, failed, failed * 1_000);
        world.report(auditor, &[verdict]).unwrap();
    }
    world.chain.warp(window.end);
    let receipt = world.act(operator(1), &AuditManager::claimCall { id: 1 }).unwrap();
    let settled = receipt.event::<AuditManager::BountyPaid>().unwrap().settlement;
    assert_eq!((settled.verdicts, settled.downtime, settled.latency), (64, 32, 32_000));
    println!("a claim of 64 verdicts: {} gas", receipt.gas);
    assert!(receipt.gas < 16_777_216 / 2);
}
