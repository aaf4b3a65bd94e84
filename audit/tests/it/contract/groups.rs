//! SK-01 to SK-03: who audits whom.

use std::collections::BTreeSet;

use alloy::primitives::B256;
use audit::rule::{Refusal, group};
use contracts::AuditManager;
use proptest::prelude::*;

use super::world::{STAKE, World, operator, terms};

fn duties(world: &mut World, auditor: u32) -> Vec<AuditManager::Duty> {
    let call = AuditManager::dutiesCall {
        auditor,
        from: 1,
        count: 1_000,
    };
    world.ask(&call)
}

#[test]
fn sk_01_with_thirty_nodes_every_group_has_24_others() {
    let mut world = World::network(terms(), 30);
    for subject in 1..=30 {
        let group = world.ask(&AuditManager::groupOfCall { subject });
        let members: BTreeSet<u32> = group.iter().copied().collect();
        assert_eq!((group.len(), members.len()), (24, 24));
        assert!(!members.contains(&subject) && members.iter().all(|id| (1..=30).contains(id)));
        assert_eq!(group, world.group(subject));
    }
    world.compare_all();
}

#[test]
fn only_active_nodes_are_drawn() {
    let mut world = World::network(terms(), 50);
    for id in (1..=50).filter(|id| id % 5 < 2) {
        world.exit(id, true).unwrap();
    }
    for subject in world.rule.active().to_vec() {
        // Members that left are replaced.
        world.fill(subject).ok();
        let group = world.group(subject);
        let members: BTreeSet<u32> = group.iter().copied().collect();
        assert_eq!(members.len(), 24);
        assert!(members.iter().all(|id| id % 5 >= 2 && *id != subject), "{members:?}");
    }
    world.compare_all();
}

#[test]
fn sk_02_with_ten_nodes_there_are_nine_others() {
    let mut world = World::network(terms(), 10);
    let size = |world: &mut World| world.ask(&AuditManager::groupOfCall { subject: 4 }).len();
    assert_eq!(size(&mut world), 9);
    // Another comes, the subject leaves: ten are active, and it is none of them.
    world.register(STAKE).unwrap();
    world.exit(4, true).unwrap();
    world.fill(4).unwrap();
    assert_eq!(size(&mut world), 10);
    assert_eq!(world.fill(4), Err(Refusal::GroupIsWhole));
}

#[test]
fn sk_03_an_auditor_that_is_drawn_again_has_one_duty_with_the_new_time() {
    let mut world = World::network(terms(), 3);
    let before = duties(&mut world, 1);
    assert_eq!(before.iter().map(|duty| duty.subject).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(before[0].endpoint, "http://10.0.0.2:50051");
    world.round(2, 0, 40_000);
    let after = duties(&mut world, 1);
    assert_eq!(after.iter().filter(|duty| duty.subject == 2).count(), 1);
    let (old, new) = (&before[0], after.iter().find(|duty| duty.subject == 2).unwrap());
    assert_eq!((old.epoch, new.epoch), (1, 2));
    let now = world.chain.now();
    assert_eq!(new.epochStart.to::<u64>(), now);
    let window = world.window(2);
    assert_eq!((new.windowStart.to(), new.windowEnd.to()), (window.start, window.end));
    assert_eq!(window.end, now + 2_592_000);
    assert!(!new.sent);
}

#[test]
fn what_was_sent_is_no_open_duty() {
    let mut world = World::network(terms(), 4);
    world.chain.warp(world.window(2).start);
    world.report(1, &[super::world::verdict(2, 1, 0, 0)]).unwrap();
    let sent: Vec<(u32, bool)> = duties(&mut world, 1)
        .iter()
        .map(|duty| (duty.subject, duty.sent))
        .collect();
    assert_eq!(sent, [(2, true), (3, false), (4, false)]);
    // Pages are parts of the same list.
    let page = AuditManager::dutiesCall {
        auditor: 1,
        from: 3,
        count: 1,
    };
    assert_eq!(
        world.ask(&page).iter().map(|duty| duty.subject).collect::<Vec<_>>(),
        [3]
    );
    let past_the_end = AuditManager::dutiesCall {
        auditor: 1,
        from: 5,
        count: u32::MAX,
    };
    assert!(world.ask(&past_the_end).is_empty());
}

#[test]
fn groups_are_completed_early_in_an_epoch_only() {
    let mut world = World::new(terms());
    for _ in 0..3 {
        world.register(STAKE).unwrap();
    }
    assert!(world.group(1).is_empty(), "nobody was there yet");
    assert_eq!(world.group(3).len(), 2);
    let until = world.rule.terms.fill_until(world.chain.now());
    world.chain.warp(until);
    world.fill(1).unwrap();
    assert_eq!(world.group(1).len(), 2);
    world.chain.warp(until + 1);
    assert_eq!(world.fill(2), Err(Refusal::TooLateToFill { until }));
    world.compare_all();
}

#[test]
fn who_stays_in_a_completed_group_keeps_its_place() {
    let mut world = World::network(terms(), 6);
    let before = world.group(1);
    world.register(STAKE).unwrap();
    world.exit(before[1], true).unwrap();
    world.fill(1).unwrap();
    let after = world.group(1);
    assert_eq!(after[..4], [before[0], before[2], before[3], before[4]]);
    assert_eq!(after[4], 7);
}

#[test]
fn a_group_from_when_groups_were_larger_is_completed_to_who_is_left() {
    let mut world = World::network(terms(), 7);
    world.set_terms(audit::rule::Terms {
        group_size: 2,
        ..terms()
    });
    let before = world.group(1);
    world.exit(before[0], true).unwrap();
    world.fill(1).unwrap();
    assert_eq!(world.group(1), before[1..]);
    world.compare_all();
}

/// W-SK-3: when a subject claims does not change who audits it next, once a verdict is there.
#[test]
fn a_subject_cannot_choose_its_group_by_choosing_when_to_claim() {
    let groups: Vec<Vec<u32>> = [0, 1, 17]
        .into_iter()
        .map(|blocks| {
            let mut world = World::network(terms(), 30);
            let window = world.window(5);
            world.chain.warp(window.start);
            world.all_report(5, 0, 0);
            world.chain.warp(window.end);
            for _ in 0..blocks {
                world.chain.pass(12);
            }
            world.claim(5).unwrap();
            world.group(5)
        })
        .collect();
    assert_eq!(groups[0], groups[1]);
    assert_eq!(groups[0], groups[2]);
}

#[test]
fn the_group_changes_with_each_claim() {
    let mut world = World::network(terms(), 40);
    let mut seen = BTreeSet::from([world.group(9)]);
    for _ in 0..3 {
        world.round(9, 0, 0);
        assert!(seen.insert(world.group(9)));
    }
}

#[test]
fn an_operator_has_one_node() {
    let mut world = World::network(terms(), 2);
    let call = AuditManager::changeCall {
        id: 2,
        operator: operator(1),
        hotkey: B256::ZERO,
        endpoint: "http://elsewhere:1".into(),
    };
    let refused = world.act(super::world::owner(2), &call).unwrap_err();
    assert!(refused.is::<AuditManager::OperatorTaken>(), "{refused:?}");
    let new = AuditManager::changeCall {
        operator: operator(77),
        ..call
    };
    world.act(super::world::owner(2), &new).unwrap();
    let node_of = |world: &mut World, operator| world.ask(&AuditManager::nodeOfCall { operator });
    assert_eq!(
        (node_of(&mut world, operator(77)), node_of(&mut world, operator(2))),
        (2, 0)
    );
    assert_eq!(
        world.ask(&AuditManager::nodeInfoCall { id: 2 }).endpoint,
        "http://elsewhere:1"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Any number of nodes, some of whom left, any seed and size: the contract draws as the rule does.
    #[test]
    fn the_contract_draws_as_the_rule_does(
        nodes in 1_u32..40,
        leaving in prop::collection::vec(1_u32..40, 0..8),
        size in 1_u8..=64,
        seeds in prop::collection::vec(any::<[u8; 32]>(), 1..4),
    ) {
        let mut world = World::new(audit::rule::Terms { group_size: size, ..terms() });
        for _ in 0..nodes {
            world.register(STAKE).unwrap();
        }
        for id in leaving {
            world.exit(id, true).ok();
        }
        let active = world.rule.active().to_vec();
        for seed in seeds.into_iter().map(B256::from) {
            for subject in [1, nodes, 99] {
                let wanted = group::wanted(size, active.len(), active.contains(&subject));
                let by_rule = group::draw(&active, subject, &[], seed, wanted);
                prop_assert_eq!(world.ask(&AuditManager::drawGroupCall { subject, seed }), by_rule);
            }
        }
        world.fill_all();
        world.compare_all();
    }
}
