//! SK-08 and SK-09: which verdicts count.

use audit::rule::{Refusal, Verdict, VerdictOutcome as Outcome};
use contracts::AuditManager;

use super::world::{World, operator, outcomes_of, terms, verdict, who};

fn nothing(outcome: Outcome) -> Refusal {
    Refusal::NothingReported { outcome: Some(outcome) }
}

#[test]
fn sk_08_a_verdict_counts_in_its_window() {
    let mut world = World::network(terms(), 5);
    let window = world.window(1);
    let report = [verdict(1, 1, 3, 70)];
    world.chain.warp(window.start - 1);
    assert_eq!(world.report(2, &report), Err(nothing(Outcome::TooEarly)));
    // It was not used up.
    world.chain.warp(window.start);
    assert_eq!(world.report(2, &report), Ok(vec![Outcome::Stored]));
    world.chain.warp(window.end - 1);
    assert_eq!(world.report(3, &report), Ok(vec![Outcome::Stored]));
    world.chain.warp(window.end);
    assert_eq!(world.report(4, &report), Ok(vec![Outcome::Late]));
    assert_eq!(world.report(4, &report), Err(nothing(Outcome::AlreadySent)));
    assert_eq!(world.rule.settlement(1, window.end).unwrap().verdicts, 2);
    world.compare_all();
}

#[test]
fn sk_09_a_second_verdict_of_an_epoch_is_refused() {
    let mut world = World::network(terms(), 4);
    world.chain.warp(world.window(1).start);
    world.report(2, &[verdict(1, 1, 0, 10)]).unwrap();
    assert_eq!(
        world.report(2, &[verdict(1, 1, 0, 10)]),
        Err(nothing(Outcome::AlreadySent))
    );
    assert_eq!(
        world.report(2, &[verdict(1, 1, 9, 99)]),
        Err(nothing(Outcome::AlreadySent))
    );
    let twice = [verdict(3, 1, 0, 10), verdict(3, 1, 5, 10)];
    assert_eq!(world.report(2, &twice), Ok(vec![Outcome::Stored, Outcome::AlreadySent]));
    world.compare_all();
}

/// W-SK-7: one that cannot be taken does not keep the others back.
#[test]
fn a_batch_with_bad_verdicts_counts_the_good_ones() {
    let mut world = World::network(terms(), 5);
    world.chain.warp(world.window(1).start);
    let all = terms().intervals();
    let batch = [
        verdict(99, 1, 0, 0),
        verdict(2, 1, 0, 0),
        verdict(1, 2, 0, 0),
        Verdict {
            known: all + 1,
            ..verdict(3, 1, 0, 0)
        },
        Verdict {
            known: 5,
            ..verdict(3, 1, 6, 0)
        },
        verdict(4, 1, 0, 0),
    ];
    let outcomes = world.report(2, &batch).unwrap();
    let expected = [
        Outcome::NotAuditor,
        Outcome::NotAuditor, // itself
        Outcome::WrongEpoch,
        Outcome::Malformed,
        Outcome::Malformed,
        Outcome::Stored,
    ];
    assert_eq!(outcomes, expected);
    world.compare_all();
}

/// W-SK-5: who knows less than half of the epoch has no say, and what it does not know is not uptime.
#[test]
fn a_verdict_needs_coverage_and_is_scaled_to_the_epoch() {
    let mut world = World::network(terms(), 4);
    world.chain.warp(world.window(1).start);
    let of = |failed, known| Verdict {
        known,
        ..verdict(1, 1, failed, 5)
    };
    assert_eq!(world.report(2, &[of(0, 4_313)]), Ok(vec![Outcome::LowCoverage]));
    assert_eq!(world.report(3, &[of(144, 4_314)]), Ok(vec![Outcome::Stored]));
    assert_eq!(world.rule.node(1).unwrap().verdicts[0].downtime, 288);
    world.compare_all();
}

#[test]
fn what_was_measured_of_another_epoch_does_not_count() {
    let mut world = World::network(terms(), 4);
    world.round(1, 0, 10);
    // A report that was stuck for an epoch arrives in the next window.
    world.chain.warp(world.window(1).start);
    assert_eq!(
        world.report(2, &[verdict(1, 1, 0, 10)]),
        Err(nothing(Outcome::WrongEpoch))
    );
    assert_eq!(world.report(2, &[verdict(1, 2, 0, 10)]), Ok(vec![Outcome::Stored]));
}

#[test]
fn only_the_auditor_reports_in_its_name() {
    let mut world = World::network(terms(), 4);
    world.chain.warp(world.window(1).start);
    let call = AuditManager::reportCall {
        auditor: 2,
        verdicts: vec![(&verdict(1, 1, 0, 0)).into()],
    };
    for stranger in [who(7), operator(3), operator(1)] {
        assert!(world.act(stranger, &call).unwrap_err().is::<AuditManager::OnlyNode>());
    }
    let receipt = world.act(super::world::owner(2), &call).unwrap();
    assert_eq!(outcomes_of(&receipt), [Outcome::Stored], "its owner may as well");
}

#[test]
fn a_batch_has_a_limit() {
    let mut world = World::network(terms(), 4);
    world.chain.warp(world.window(1).start);
    assert_eq!(world.report(2, &[]), Err(Refusal::NothingReported { outcome: None }));
    let call = AuditManager::reportCall {
        auditor: 2,
        verdicts: vec![(&verdict(1, 1, 0, 0)).into(); 65],
    };
    assert!(
        world
            .act(operator(2), &call)
            .unwrap_err()
            .is::<AuditManager::BatchSize>()
    );
}
