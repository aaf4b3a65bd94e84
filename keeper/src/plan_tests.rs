//! The plan in numbers: who does what about a job, and when.

use alloy::primitives::{Bytes, U256};
use proptest::prelude::*;

use super::*;
use crate::job::{ACTIVE, DEFENCE, Keeper, Source, Terms};
use crate::rule::{Caller, Periods};

const NOW: u64 = 1_700_000_000;

fn job() -> Job {
    Job {
        max_base_fee_gwei: 100,
        defence_window: 2,
        anchor_at: NOW,
        assigned_at: NOW,
        gas_limit: 100_000,
        credits: U256::from(100),
        ..Job::example()
    }
}

fn interval(seconds: u64) -> Job {
    Job {
        source: Source::Selector,
        interval: seconds,
        ..job()
    }
}

fn defence() -> Job {
    Job {
        flags: ACTIVE | DEFENCE,
        ..job()
    }
}

/// Keeper `id` of three active ones; grace 15 s, slasher's window 30 s.
fn standing(id: u64) -> Standing {
    Standing {
        terms: Terms {
            min_stake: U256::from(1000),
            period1: 15,
            period2: 30,
            ..Terms::default()
        },
        me: Keeper {
            id,
            stake: U256::from(1000),
            active: true,
            ..Keeper::default()
        },
        active: vec![1, 2, 3],
    }
}

fn at(seconds: u64) -> Next {
    Next {
        number: 100,
        timestamp: NOW + seconds,
        base_fee: 7_000_000_000,
    }
}

fn policy() -> Policy {
    Policy {
        confirm_heads: 3,
        accept_max_base_fee: false,
    }
}

fn ready(since: u64) -> Ready {
    Ready {
        calldata: Bytes::from_static(b"call"),
        since,
    }
}

fn said(heads: u32, since: u64) -> Streak {
    Streak {
        heads,
        since: NOW + since,
        newest: 99,
    }
}

fn step(job: &Job, id: u64, next: &Next, said: Option<(&Ready, Streak)>) -> Step {
    plan(job, &standing(id), next, said, &policy())
}

#[test]
fn an_interval_job_is_its_keepers_from_due_and_the_slashers_fifteen_seconds_later() {
    let job = interval(10);
    assert_eq!(step(&job, 1, &at(9), None), Step::Wait);
    assert_eq!(step(&job, 1, &at(10), None), Step::Execute);
    assert_eq!(step(&job, 2, &at(24), None), Step::Wait);
    assert_eq!(step(&job, 2, &at(25), None), Step::Slash);
    let reassigned = Job {
        assigned_at: NOW + 20,
        ..job
    };
    assert_eq!(step(&reassigned, 2, &at(34), None), Step::Wait);
    assert_eq!(step(&reassigned, 2, &at(35), None), Step::Slash);
}

#[test]
fn a_resolver_job_waits_for_three_heads_and_a_defence_job_for_one() {
    let yes = ready(0);
    for (heads, expected) in [(1, Step::Wait), (2, Step::Wait), (3, Step::Execute), (9, Step::Execute)] {
        assert_eq!(
            step(&job(), 1, &at(1), Some((&yes, said(heads, 0)))),
            expected,
            "{heads} heads"
        );
    }
    assert_eq!(step(&defence(), 1, &at(1), Some((&yes, said(1, 0)))), Step::Defend);
    assert_eq!(step(&job(), 1, &at(1), None), Step::Wait);
}

#[test]
fn a_late_keeper_is_announced_after_its_grace_and_slashed_by_whom_announced_it() {
    let yes = ready(0);
    let heard = |since| Some((&yes, said(5, since)));
    assert_eq!(step(&job(), 2, &at(14), heard(0)), Step::Wait);
    assert_eq!(step(&job(), 2, &at(15), heard(0)), Step::Announce);
    let announced = Job {
        reserved_slasher: 2,
        slashing_possible_after: NOW + 30,
        ..job()
    };
    assert_eq!(step(&announced, 2, &at(29), heard(0)), Step::Wait);
    assert_eq!(step(&announced, 2, &at(30), heard(0)), Step::Slash);
    assert_eq!(step(&announced, 3, &at(30), heard(0)), Step::Wait);
    assert_eq!(
        step(&announced, 1, &at(30), heard(0)),
        Step::Execute,
        "its keeper may all the time"
    );
    assert_eq!(
        step(&announced, 3, &at(60), heard(0)),
        Step::Announce,
        "the reservation lapsed"
    );
}

#[test]
fn a_defence_job_is_anybodys_when_its_window_is_over() {
    let told = ready(99);
    let next = |number| Next { number, ..at(1) };
    let heard = |ready| Some((ready, said(1, 0)));
    assert_eq!(step(&defence(), 2, &next(100), heard(&told)), Step::Wait);
    assert_eq!(step(&defence(), 2, &next(101), heard(&told)), Step::Defend);
    let opened = Job {
        defence_open_at: 98,
        ..defence()
    };
    let untold = ready(0);
    assert_eq!(step(&opened, 3, &next(99), heard(&untold)), Step::Wait);
    assert_eq!(step(&opened, 3, &next(100), heard(&untold)), Step::Defend);
    let orphan = Job { keeper: 0, ..defence() };
    assert_eq!(
        step(&orphan, 3, &next(100), heard(&untold)),
        Step::Defend,
        "nobody's is everybody's"
    );
}

#[test]
fn the_lane_is_opened_by_one_keeper_after_the_other() {
    let untold = ready(0);
    let opens = |heads: u32| -> Vec<u64> {
        let heard = Some((&untold, said(heads, 0)));
        [1, 2, 3]
            .into_iter()
            .filter(|id| step(&defence(), *id, &at(1), heard) == Step::Open)
            .collect()
    };
    assert_eq!(opens(1), [0_u64; 0]);
    assert_eq!(opens(2), [2]);
    assert_eq!(opens(3), [2, 3]);
}

#[test]
fn nobody_works_below_cost_but_for_defence() {
    let dear = Next {
        base_fee: 101_000_000_000,
        ..at(100)
    };
    let yes = ready(0);
    assert_eq!(step(&interval(10), 1, &dear, None), Step::Wait);
    assert_eq!(step(&interval(10), 2, &dear, None), Step::Wait);
    assert_eq!(step(&defence(), 1, &dear, Some((&yes, said(1, 0)))), Step::Defend);
    let brave = Policy {
        accept_max_base_fee: true,
        ..policy()
    };
    assert_eq!(plan(&interval(10), &standing(1), &dear, None, &brave), Step::Execute);
    assert_eq!(plan(&interval(10), &standing(2), &dear, None, &brave), Step::Wait);
}

#[test]
fn a_keeper_gives_back_what_cannot_be_paid_and_what_it_leaves_behind() {
    let poor = Job {
        eligible: false,
        ..interval(10)
    };
    assert_eq!(step(&poor, 1, &at(100), None), Step::Release);
    assert_eq!(step(&poor, 2, &at(100), None), Step::Wait);
    let poor_defence = Job {
        eligible: false,
        ..defence()
    };
    let yes = ready(1);
    assert_eq!(
        step(&poor_defence, 1, &at(1), Some((&yes, said(1, 0)))),
        Step::Defend,
        "a pause first"
    );
    assert_eq!(step(&poor_defence, 1, &at(1), None), Step::Release);
    let mut leaving = standing(1);
    leaving.me.active = false;
    assert_eq!(plan(&interval(10), &leaving, &at(9), None, &policy()), Step::Release);
    assert_eq!(
        plan(&interval(10), &leaving, &at(10), None, &policy()),
        Step::Execute,
        "what is due is done first"
    );
    assert_eq!(plan(&job(), &leaving, &at(1), None, &policy()), Step::Release);
}

#[test]
fn after_a_failure_everybody_waits() {
    let failed = Job {
        retry_at: NOW + 50,
        ..defence()
    };
    let yes = ready(1);
    assert_eq!(step(&failed, 1, &at(49), Some((&yes, said(3, 0)))), Step::Wait);
    assert_eq!(step(&failed, 1, &at(50), Some((&yes, said(3, 0)))), Step::Defend);
}

proptest! {
    /// Whatever a job looks like: what is planned is something that the contract's rules allow, by time and by person.
    #[test]
    fn nothing_is_tried_before_it_can_be_allowed(
        id in 0_u64..4, keeper in 0_u64..4, interval in prop_oneof![Just(0_u64), 1_u64..100], flags in 0_u8..64,
        possible in prop_oneof![Just(0_u64), 0_u64..200], reserved in 0_u64..4, retry in 0_u64..200, assigned in 0_u64..200,
        now in 0_u64..200, heads in 1_u32..6, since in 0_u64..200, eligible: bool, base_fee in 0_u64..200,
        told in prop_oneof![Just(0_u64), 95_u64..103], opened in prop_oneof![Just(0_u64), 95_u64..101], ready_now: bool,
    ) {
        let defence = interval == 0 && flags & DEFENCE != 0;
        let job = Job {
            keeper, flags: if defence { flags } else { flags & !DEFENCE }, interval, eligible,
            source: if interval == 0 { Source::Resolver } else { Source::Selector },
            slashing_possible_after: if possible == 0 { 0 } else { NOW + possible },
            reserved_slasher: reserved, retry_at: NOW + retry, assigned_at: NOW + assigned, defence_open_at: opened,
            ..job()
        };
        let next = Next { base_fee: base_fee * 1_000_000_000, ..at(now) };
        let answer = ready(told);
        let heard = (interval == 0 && ready_now).then_some((&answer, said(heads, since)));
        let me = u32::try_from(id).unwrap();
        let caller = Caller { id: me, active: true };
        let periods = Periods { period1: 15, period2: 30 };
        let open = [told, opened].into_iter().filter(|block| *block != 0 && *block <= 100).min().unwrap_or(0);
        let turn = job.turn(open);
        // By the contract's rules, were it this keeper's epoch.
        let allowed = turn.may_execute(caller, Some(me), periods, next.timestamp, next.number);
        match step(&job, id, &next, heard) {
            Step::Wait => {}
            Step::Execute => {
                prop_assert!(allowed.is_ok(), "{allowed:?}");
                prop_assert!(job.keeper == id && job.eligible && !defence && base_fee <= 100);
            }
            Step::Slash => {
                prop_assert!(allowed.is_ok(), "{allowed:?}");
                prop_assert!(job.keeper != id && job.keeper != 0 && !defence && base_fee <= 100);
            }
            Step::Defend => {
                prop_assert!(allowed.is_ok(), "{allowed:?}");
                prop_assert!(defence && ready_now);
            }
            Step::Announce => {
                let allowed = turn.may_initiate_slashing(caller, Some(me), periods, next.timestamp);
                prop_assert!(allowed.is_ok() && ready_now, "{allowed:?}");
            }
            Step::Open => prop_assert!(defence && ready_now && job.keeper != id && job.defence_open_at == 0 && open == 0),
            Step::Release => {
                let allowed = turn.may_release(job.eligible, true, periods, next.timestamp);
                prop_assert!(job.keeper == id && id != 0 && allowed.is_ok(), "{allowed:?}");
            }
        }
    }
}
