//! SK-10 to SK-13 and SK-16, SK-17: what a claim pays.

use audit::rule::{NO_LATENCY, Refusal, Terms, VerdictOutcome as Outcome};
use proptest::prelude::*;

use super::world::{STAKE, WHOLE, World, terms, verdict};

/// Eight nodes, of which the first is judged; its bounty is a round number.
fn court() -> World {
    World::network(terms(), 8)
}

/// What the first node of an otherwise perfect network is paid when all its auditors say this.
fn paid(failed: u32, latency: u32, late: u64) -> (u128, u128) {
    let mut world = court();
    let window = world.window(1);
    world.chain.warp(window.start);
    world.all_report(1, failed, latency);
    world.chain.warp(window.end + late);
    let settlement = world.claim(1).unwrap();
    world.compare_all();
    (settlement.maximum, settlement.bounty)
}

#[test]
fn sk_10_medians_are_taken_apart_and_verdicts_are_cleared() {
    let mut world = court();
    let window = world.window(1);
    world.chain.warp(window.start);
    let group = world.group(1);
    for (auditor, (failed, latency)) in group.iter().zip([(10, 0), (10, 50), (100, 40)]) {
        world.report(*auditor, &[verdict(1, 1, failed, latency)]).unwrap();
    }
    world.chain.warp(window.end);
    let settlement = world.claim(1).unwrap();
    assert_eq!(
        (settlement.downtime, settlement.latency, settlement.verdicts),
        (10, 40, 3)
    );
    assert!(!settlement.quorum, "three of seven are too few");
    assert!(world.rule.node(1).unwrap().verdicts.is_empty());
    world.compare_all();
}

#[test]
fn an_even_number_of_verdicts_has_the_upper_median() {
    let mut world = court();
    let window = world.window(1);
    world.chain.warp(window.start);
    let group = world.group(1);
    for (auditor, failed) in group.iter().zip([4, 1, 3, 2]) {
        world.report(*auditor, &[verdict(1, 1, failed, failed * 10)]).unwrap();
    }
    world.chain.warp(window.end);
    let settlement = world.claim(1).unwrap();
    assert_eq!(
        (settlement.downtime, settlement.latency, settlement.quorum),
        (3, 30, true)
    );
}

#[test]
fn sk_11_288_of_8628_intervals_cost_and_287_do_not() {
    let (maximum, bounty) = paid(287, 100, 0);
    assert_eq!(bounty, maximum);
    for failed in [288, 431, 863] {
        let (maximum, bounty) = paid(failed, 100, 0);
        assert_eq!(bounty, maximum - maximum * u128::from(failed) / 8_628);
    }
    assert_eq!(paid(8_628, 100, 0).1, 0);
}

#[test]
fn sk_12_a_claim_ten_minutes_after_the_grace_counts_two_intervals_more() {
    let (maximum, bounty) = paid(286, 100, 3_600 + 600);
    assert_eq!(bounty, maximum - maximum * 288 / 8_628);
    let (maximum, bounty) = paid(286, 100, 3_600 + 599);
    assert_eq!(bounty, maximum, "287 with the one that is late");
}

#[test]
fn sk_13_twice_the_latency_pays_half() {
    let (maximum, bounty) = paid(0, 150_000, 0);
    assert_eq!(bounty, maximum);
    let (maximum, bounty) = paid(0, 300_000, 0);
    assert_eq!(bounty, maximum / 2);
    assert_eq!(paid(8_628, NO_LATENCY, 0).1, 0);
}

#[test]
fn nobody_claims_before_the_reward_date() {
    let mut world = court();
    let next_reward = world.window(1).end;
    world.chain.warp(next_reward - 1);
    assert_eq!(world.claim(1), Err(Refusal::TooEarly { next_reward }));
}

/// W-SK-1: silence is not a perfect score.
#[test]
fn too_few_verdicts_pay_nothing_and_the_money_stays() {
    for (reporting, pays) in [(0, false), (3, false), (4, true), (7, true)] {
        let mut world = court();
        let window = world.window(1);
        world.chain.warp(window.start);
        for auditor in world.group(1).into_iter().take(reporting) {
            world.report(auditor, &[verdict(1, 1, 0, 0)]).unwrap();
        }
        world.chain.warp(window.end);
        let settlement = world.claim(1).unwrap();
        assert!(settlement.maximum > 3_000 * WHOLE);
        assert_eq!(
            settlement.bounty,
            if pays { settlement.maximum } else { 0 },
            "{reporting}"
        );
        world.compare_money();
    }
}

#[test]
fn a_node_alone_earns_nothing() {
    let mut world = World::network(terms(), 1);
    world.chain.warp(world.window(1).end);
    let settlement = world.claim(1).unwrap();
    assert_eq!(
        (settlement.group_size, settlement.quorum, settlement.bounty),
        (0, false, 0)
    );
}

#[test]
fn sk_16_a_month_too_late_is_one_claim_that_pays_nothing() {
    let mut world = court();
    let window = world.window(1);
    world.chain.warp(window.start);
    world.all_report(1, 0, 0);
    world.chain.warp(window.end + 2_592_000);
    let settlement = world.claim(1).unwrap();
    assert_eq!((settlement.late, settlement.bounty), (8_628, 0));
    let next_reward = window.end + 2 * 2_592_000;
    assert_eq!(world.claim(1), Err(Refusal::TooEarly { next_reward }), "once");
    world.compare_all();
}

#[test]
fn sk_17_a_claim_begins_the_next_epoch() {
    let mut world = World::network(terms(), 40);
    let before = world.group(1);
    world.round(1, 0, 0);
    let now = world.chain.now();
    let node = world.rule.node(1).unwrap();
    assert_eq!((node.start, node.epoch), (now, 2));
    assert_ne!(node.group, before);
    assert_eq!(world.rule.next_reward(1), now + 2_592_000);
    world.compare_all();
}

#[test]
fn bounties_of_equal_nodes_are_equal_whoever_claims_first() {
    let mut world = court();
    let window = world.window(8);
    world.chain.warp(world.window(1).start);
    for subject in 1..=8 {
        world.all_report(subject, 0, 0);
    }
    world.chain.warp(window.end);
    let bounties: Vec<u128> = [5, 1, 8, 2, 3, 4, 7, 6]
        .map(|id| world.claim(id).unwrap().bounty)
        .to_vec();
    assert!(bounties.iter().all(|bounty| *bounty == bounties[0] && *bounty > 0));
    world.compare_all();
}

/// W-SK-2: a node loses a part of its own bounty for verdicts that it does not send, or that are far from the median.
#[test]
fn silence_and_lies_cost_the_auditor() {
    let mut world = court();
    let window = world.window(8);
    world.chain.warp(world.window(1).start);
    let (silent, liar) = (2, 3);
    for subject in 1..=8 {
        for auditor in world.group(subject) {
            let failed = if auditor == liar { 8_000 } else { 100 };
            if auditor != silent {
                world.report(auditor, &[verdict(subject, 1, failed, 500)]).unwrap();
            }
        }
    }
    world.chain.warp(window.end);
    // Those who claim first are judged by the next epoch's claims.
    for id in [1, 4, 5, 6, 7, 8] {
        let settlement = world.claim(id).unwrap();
        assert_eq!((settlement.downtime, settlement.bounty), (100, settlement.maximum));
    }
    for id in [silent, liar] {
        let settlement = world.claim(id).unwrap();
        assert_eq!(settlement.downtime, 100);
        let (owed, kept) = (settlement.owed, settlement.kept);
        // The first of the two was not audited by whoever claims after it.
        assert_eq!((owed, kept), if id == silent { (6, 0) } else { (7, 0) });
        assert_eq!(
            settlement.bounty,
            settlement.maximum - settlement.maximum * 2_000 / 10_000
        );
    }
    world.compare_all();
}

#[test]
fn a_stake_below_the_minimum_halves_the_bounty() {
    let mut world = court();
    world.set_terms(Terms {
        min_stake: STAKE + 1,
        ..terms()
    });
    assert_eq!(
        world.register(STAKE),
        Err(Refusal::InsufficientStake {
            amount: STAKE,
            needed: STAKE + 1
        })
    );
    world.add_stake(2, 1).unwrap();
    let window = world.window(1);
    world.chain.warp(window.start);
    for id in [1, 2] {
        world.all_report(id, 0, 0);
    }
    world.chain.warp(window.end);
    let (poor, rich) = (world.claim(1).unwrap(), world.claim(2).unwrap());
    assert_eq!((poor.bounty, rich.bounty), (poor.maximum / 2, rich.maximum));
}

#[test]
fn who_leaves_is_paid_for_what_it_stayed_and_gets_its_stake() {
    let mut world = court();
    let window = world.window(1);
    let middle = world.chain.now() + 1_000_000;
    world.chain.warp(middle);
    world.exit(1, true).unwrap();
    let next_reward = window.end;
    assert_eq!(world.withdraw_stake(1), Err(Refusal::TooEarly { next_reward }));
    world.chain.warp(window.start);
    world.all_report(1, 0, 0);
    // It still owes its peers their verdicts.
    assert_eq!(world.report(1, &[verdict(2, 1, 0, 0)]), Ok(vec![Outcome::Stored]));
    world.chain.warp(window.end);
    let settlement = world.claim(1).unwrap();
    assert_eq!(settlement.bounty, settlement.maximum);
    world.compare_all();
    assert_eq!(world.withdraw_stake(1), Ok(STAKE));
    assert!(matches!(
        world.withdraw_stake(1),
        Err(Refusal::WrongState { id: 1, .. })
    ));
    assert!(matches!(world.claim(1), Err(Refusal::WrongState { id: 1, .. })));
    world.compare_all();
}

#[test]
fn a_dead_node_is_put_out_by_anybody_after_a_whole_period() {
    let mut world = court();
    let overdue = world.window(1).end + 2_592_000;
    world.chain.warp(overdue - 1);
    assert_eq!(world.exit(1, false), Err(Refusal::OnlyNodeOwner));
    world.chain.warp(overdue);
    world.exit(1, false).unwrap();
    assert_eq!(world.rule.active().len(), 7);
    assert_eq!(world.withdraw_stake(1), Ok(STAKE), "its stake is its own");
    world.compare_all();
}

#[test]
fn what_is_kept_back_is_released_again() {
    let mut world = court();
    world.chain.warp(world.window(1).end);
    for id in 1..=8 {
        assert_eq!(world.claim(id).unwrap().bounty, 0);
    }
    let before = *world.rule.pool();
    let end = START_OF_RELEASE + 365 * 86_400;
    world.release(end).unwrap();
    assert!(world.rule.pool().rate() > before.rate());
    world.compare_all();
    assert!(matches!(
        world.release(world.chain.now()),
        Err(Refusal::NothingToRelease(_))
    ));
}

const START_OF_RELEASE: u64 = super::world::START;

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// Any verdicts, lateness, parameters: the contract pays what the rule says.
    #[test]
    fn the_contract_pays_what_the_rule_says(
        verdicts in prop::collection::vec((0_u32..600, 0_u32..600, any::<u32>()), 0..12),
        late in 0_u64..400_000,
        tolerance_divisor in 1_u16..60,
        quorum_bps in 1_u16..=10_000,
        coverage_bps in 0_u16..=10_000,
        duty_bps in 0_u16..=10_000,
        allowable_latency in prop_oneof![1_u32..1_000_000, Just(u32::MAX)],
    ) {
        let terms = Terms {
            reward_period: 153_600,
            tolerance_divisor,
            quorum_bps,
            coverage_bps,
            duty_bps,
            allowable_latency,
            ..terms()
        };
        prop_assert_eq!(terms.intervals(), 500);
        let mut world = World::network(terms, 10);
        let window = world.window(1);
        world.chain.warp(window.start);
        for subject in [1, 2] {
            for (auditor, (failed, known, latency)) in world.group(subject).into_iter().zip(&verdicts) {
                let verdict = audit::rule::Verdict { subject, epoch: 1, failed: *failed, known: *known, latency: *latency };
                world.report(auditor, &[verdict]).ok();
            }
        }
        world.chain.warp(window.end + late);
        for id in [2, 1, 3] {
            let settlement = world.claim(id).unwrap();
            prop_assert!(settlement.bounty <= settlement.maximum);
        }
        world.compare_all();
    }
}
