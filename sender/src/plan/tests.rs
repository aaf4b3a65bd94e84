//! The plan in numbers, and what holds of any plan.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::fees::FeePolicy;
use crate::nonce::Account;

const GWEI: u128 = 1_000_000_000;

fn rule(patience: u64, priority_fee: u128, cap: u128) -> LaneRule {
    LaneRule {
        fees: FeePolicy {
            cap: cap * GWEI,
            min_priority_fee: 1,
            horizon: 1,
            margin_percent: 0,
        },
        patience,
        priority_fee: priority_fee * GWEI,
    }
}

fn view() -> View {
    View {
        head: 100,
        time: 1_000,
        base_fee: 8 * GWEI,
        account: Account {
            mined: 5,
            pending: 5,
            settled: 5,
        },
        lines: BTreeMap::new(),
        waiting: Vec::new(),
        rules: LaneRules {
            pause: rule(1, 8, 500),
            slash: rule(2, 4, 200),
            claim: rule(3, 2, 100),
            report: rule(5, 1, 50),
        },
        max_in_flight: 4,
        publish_after: Some(2),
    }
}

fn line(job: JobId, lane: Lane, max_fee: u128, changed: u64) -> Line {
    Line {
        holder: Holder::Job(job),
        lane,
        top: Fees {
            max_fee: max_fee * GWEI,
            priority_fee: GWEI,
        },
        cap: None,
        beat: None,
        behind: None,
        deadline: None,
        withdrawn: false,
        since: changed,
        changed,
        underpriced: false,
        refused: None,
        private_since: None,
        mined: false,
    }
}

fn waiting(job: JobId, lane: Lane) -> Waiting {
    Waiting {
        job,
        lane,
        cap: None,
        beat: None,
        behind: None,
        deadline: None,
    }
}

#[test]
fn the_urgent_are_given_the_first_nonces() {
    let mut view = view();
    view.waiting = vec![
        waiting(1, Lane::Report),
        waiting(2, Lane::Claim),
        waiting(3, Lane::Pause),
        waiting(4, Lane::Claim),
    ];
    let given: Vec<(JobId, u64)> = plan(&view)
        .into_iter()
        .map(|action| match action {
            Action::Assign { job, nonce, .. } => (job, nonce),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(given, [(3, 5), (2, 6), (4, 7), (1, 8)]);
}

#[test]
fn a_pause_takes_the_lowest_nonce_of_a_report_at_once() {
    let mut view = view();
    view.lines = BTreeMap::from([(5, line(1, Lane::Report, 10, 100)), (6, line(2, Lane::Report, 10, 100))]);
    view.waiting = vec![waiting(3, Lane::Pause)];
    let actions = plan(&view);
    let [
        Action::TakeOver {
            job: 3,
            nonce: 5,
            offer,
            victim: Some(1),
        },
    ] = actions.as_slice()
    else {
        panic!("{actions:?}")
    };
    // 8 gwei a block later at most 9, and the lane's 8.
    assert_eq!(
        offer.fees,
        Fees {
            max_fee: 17 * GWEI,
            priority_fee: 8 * GWEI
        }
    );
}

#[test]
fn a_slash_waits_until_the_report_is_stuck() {
    let mut view = view();
    view.lines = BTreeMap::from([(5, line(1, Lane::Report, 10, 99))]);
    view.waiting = vec![waiting(3, Lane::Slash)];
    assert!(matches!(
        plan(&view).as_slice(),
        [Action::Assign { job: 3, nonce: 6, .. }]
    ));
    view.head = 101;
    assert!(matches!(
        plan(&view).as_slice(),
        [Action::TakeOver {
            job: 3,
            nonce: 5,
            victim: Some(1),
            ..
        }]
    ));
}

#[test]
fn a_report_never_takes_anything() {
    let mut view = view();
    view.head = 200;
    view.lines = BTreeMap::from([(5, line(1, Lane::Report, 10, 199))]);
    view.waiting = vec![waiting(3, Lane::Report)];
    assert!(matches!(plan(&view).as_slice(), [Action::Assign { nonce: 6, .. }]));
}

#[test]
fn what_stands_ahead_of_a_pause_is_raised_with_the_pauses_means() {
    let mut view = view();
    // The report is at its own cap of 50 gwei, the base fee rose to 60; the pause behind it may pay 500.
    view.base_fee = 60 * GWEI;
    view.head = 102;
    view.lines = BTreeMap::from([(5, line(1, Lane::Report, 50, 101)), (6, line(2, Lane::Pause, 90, 102))]);
    let actions = plan(&view);
    let [Action::Bump { nonce: 5, fees }] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert!(fees.max_fee > 60 * GWEI);
    // Alone it stays where it is, and says so.
    view.lines.remove(&6);
    view.head = 107;
    assert_eq!(plan(&view), [Action::Repeat { nonce: 5 }]);
}

#[test]
fn only_the_front_is_raised_unless_no_block_could_take_the_price() {
    let mut view = view();
    view.head = 110;
    view.lines = BTreeMap::from([(5, line(1, Lane::Claim, 10, 100)), (6, line(2, Lane::Claim, 10, 100))]);
    assert!(matches!(plan(&view).as_slice(), [Action::Bump { nonce: 5, .. }]));
    view.base_fee = 11 * GWEI;
    assert!(matches!(
        plan(&view).as_slice(),
        [Action::Bump { nonce: 5, .. }, Action::Bump { nonce: 6, .. }]
    ));
}

#[test]
fn a_passed_deadline_withdraws_what_is_out_and_expires_what_waits() {
    let mut view = view();
    view.lines = BTreeMap::from([(
        5,
        Line {
            deadline: Some(999),
            ..line(1, Lane::Claim, 10, 100)
        },
    )]);
    view.waiting = vec![Waiting {
        deadline: Some(999),
        ..waiting(2, Lane::Claim)
    }];
    let actions = plan(&view);
    assert!(
        matches!(
            actions.as_slice(),
            [
                Action::Withdraw {
                    nonce: 5,
                    reason: Some(Failure::Expired),
                    ..
                },
                Action::Expire { job: 2 }
            ]
        ),
        "{actions:?}"
    );
}

#[test]
fn a_gap_is_filled_when_nobody_waits_for_it() {
    let mut view = view();
    view.lines = BTreeMap::from([
        (
            5,
            Line {
                holder: Holder::Vacant,
                ..line(1, Lane::Report, 10, 100)
            },
        ),
        (6, line(2, Lane::Slash, 10, 100)),
    ]);
    assert!(matches!(
        plan(&view).as_slice(),
        [Action::Fill {
            nonce: 5,
            lane: Lane::Slash,
            ..
        }]
    ));
    view.waiting = vec![waiting(3, Lane::Report)];
    assert!(matches!(
        plan(&view).as_slice(),
        [Action::Assign { job: 3, nonce: 5, .. }]
    ));
}

#[test]
fn a_full_key_makes_reports_wait_but_not_a_pause() {
    let mut view = view();
    view.lines = (5..9)
        .map(|nonce| (nonce, line(nonce as JobId, Lane::Slash, 400, 100)))
        .collect();
    view.waiting = vec![waiting(20, Lane::Report)];
    assert_eq!(plan(&view), []);
    view.waiting = vec![waiting(21, Lane::Pause)];
    assert!(matches!(
        plan(&view).as_slice(),
        [Action::TakeOver { job: 21, .. } | Action::Assign { job: 21, .. }]
    ));
}

#[test]
fn what_the_relay_does_not_get_mined_is_published() {
    let mut view = view();
    view.lines = BTreeMap::from([(
        5,
        Line {
            private_since: Some(99),
            ..line(1, Lane::Pause, 400, 100)
        },
    )]);
    assert_eq!(plan(&view), []);
    view.head = 101;
    assert!(plan(&view).contains(&Action::Publish { nonce: 5 }));
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![
        Just(Lane::Pause),
        Just(Lane::Slash),
        Just(Lane::Claim),
        Just(Lane::Report)
    ]
}

prop_compose! {
    fn any_line()(
        job in 0i64..1000, kind in 0u8..6, lane in lane(), max_fee in 1u128..600, changed in 80u64..=100,
        flags in any::<(bool, bool, bool)>(), deadline in proptest::option::of(990u64..1010), refused in any::<bool>(),
    ) -> Line {
        Line {
            holder: match kind { 0 => Holder::Cancel, 1 => Holder::Vacant, _ => Holder::Job(job) },
            withdrawn: flags.0, underpriced: flags.1, mined: false, deadline,
            refused: refused.then_some(changed), private_since: flags.2.then_some(changed),
            ..line(job, lane, max_fee, changed)
        }
    }
}

proptest! {
    #[test]
    fn no_plan_gives_a_nonce_twice_or_underbids(
        lines in proptest::collection::vec(any_line(), 0..8),
        requests in proptest::collection::vec((lane(), proptest::option::of(1u128..600)), 0..8),
        base_fee in 1u128..700, max_in_flight in 1usize..10,
    ) {
        let mut view = view();
        view.base_fee = base_fee * GWEI;
        view.max_in_flight = max_in_flight;
        view.lines = (5u64..).zip(lines).collect();
        view.waiting = (2000i64..).zip(&requests)
            .map(|(job, (lane, cap))| Waiting { cap: cap.map(|cap| cap * GWEI), ..waiting(job, *lane) }).collect();
        let mut tops: BTreeMap<u64, Fees> = view.lines.iter().map(|(nonce, line)| (*nonce, line.top)).collect();
        let mut served = BTreeSet::new();
        let mut lanes = Vec::new();
        for action in plan(&view) {
            let (nonce, fees) = match action {
                Action::Assign { job, nonce, offer } => {
                    prop_assert!(served.insert(job), "twice");
                    prop_assert!(view.lines.get(&nonce).is_none_or(|line| line.holder == Holder::Vacant));
                    lanes.push(view.waiting.iter().find(|w| w.job == job).map(|w| w.lane));
                    // A vacant nonce's refused offer need not be beaten.
                    tops.insert(nonce, offer.fees);
                    continue;
                }
                Action::TakeOver { job, nonce, offer, .. } => {
                    prop_assert!(served.insert(job), "twice");
                    lanes.push(view.waiting.iter().find(|w| w.job == job).map(|w| w.lane));
                    (nonce, offer.fees)
                }
                Action::Bump { nonce, fees } | Action::Withdraw { nonce, fees, .. } => (nonce, fees),
                Action::Fill { nonce, fees, .. } => {
                    prop_assert!(view.lines.get(&nonce).is_none_or(|line| line.holder == Holder::Vacant));
                    tops.insert(nonce, fees);
                    continue;
                }
                Action::Repeat { .. } | Action::Expire { .. } | Action::Publish { .. } => continue,
            };
            let old = tops.insert(nonce, fees).unwrap_or_default();
            prop_assert!(fees.max_fee - old.max_fee >= old.max_fee.div_ceil(8));
            prop_assert!(fees.priority_fee - old.priority_fee >= old.priority_fee.div_ceil(8));
            prop_assert!(fees.max_fee <= 500 * GWEI, "above every cap");
        }
        prop_assert!(lanes.windows(2).all(|pair| pair.first() >= pair.last()), "{lanes:?}");
    }
}

#[test]
fn a_pause_that_was_outbid_is_raised_at_once_and_only_where_that_helps() {
    let mut view = view();
    let beat = |tip| Fees {
        max_fee: 200 * GWEI,
        priority_fee: tip * GWEI,
    };
    let mut pause = line(1, Lane::Pause, 250, 100);
    pause.top.priority_fee = 50 * GWEI;
    pause.beat = Some(beat(40));
    view.lines = BTreeMap::from([(5, pause.clone())]);
    assert_eq!(plan(&view), [], "it is ahead");

    pause.beat = Some(beat(60));
    view.lines = BTreeMap::from([(5, pause.clone())]);
    let raised = plan(&view);
    let [Action::Bump { nonce: 5, fees }] = raised.as_slice() else {
        panic!("{raised:?}")
    };
    assert!(fees::stands_ahead(fees, view.base_fee, &beat(60)));

    // Beyond the cap nothing is paid for nothing.
    pause.beat = Some(Fees {
        max_fee: 900 * GWEI,
        priority_fee: 600 * GWEI,
    });
    view.lines = BTreeMap::from([(5, pause)]);
    assert_eq!(plan(&view), []);
}

#[test]
fn what_builds_on_another_transaction_stays_right_behind_it_until_it_is_told_otherwise() {
    let mut view = view();
    let front = |gwei: u128| Fees {
        max_fee: 2 * gwei * GWEI,
        priority_fee: gwei * GWEI,
    };
    let behind = |gwei: u128| Fees {
        max_fee: 2 * gwei * GWEI - 1,
        priority_fee: gwei * GWEI - 1,
    };
    let mut follower = waiting(1, Lane::Pause);
    follower.behind = Some(front(60));
    view.waiting = vec![follower];
    let assigned = plan(&view);
    let [Action::Assign { offer, .. }] = assigned.as_slice() else {
        panic!("{assigned:?}")
    };
    assert_eq!(offer.fees, behind(60));

    // However long it waits, it does not pass; and it goes along.
    view.waiting.clear();
    let mut line = line(1, Lane::Pause, 120, view.head - 50);
    (line.top, line.behind, line.underpriced) = (behind(60), Some(front(60)), true);
    view.lines = BTreeMap::from([(5, line.clone())]);
    assert_eq!(plan(&view), []);
    line.behind = Some(front(90));
    view.lines = BTreeMap::from([(5, line.clone())]);
    let fees = behind(90);
    assert_eq!(plan(&view), [Action::Bump { nonce: 5, fees }]);
    line.behind = None;
    view.lines = BTreeMap::from([(5, line)]);
    assert!(matches!(plan(&view).as_slice(), [Action::Bump { nonce: 5, .. }]));
}
