//! What always holds of the pure rules, whatever the numbers.

use keeper::rule::{Caller, Credits, Keeper, Kind, Limits, Periods, Retry, Slashing, Turn, fee};
use proptest::prelude::*;

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        (1_u64..100).prop_map(Kind::Interval),
        Just(Kind::Resolver),
        (0_u64..4).prop_map(|window| Kind::Defence { window }),
    ]
}

fn turns() -> impl Strategy<Value = Turn> {
    let times = prop::array::uniform5(0_u64..200);
    (
        kinds(),
        prop::option::of(1_u32..4),
        times,
        prop::option::of(1_u32..4),
        0_u64..200,
    )
        .prop_map(
            |(kind, assigned, [assigned_at, last, anchor, retry, possible], reserved, open)| Turn {
                kind,
                assigned,
                assigned_at,
                last_execution_at: last,
                anchor_at: anchor,
                retry_at: retry,
                reserved_slasher: reserved,
                slashing_possible_after: possible,
                open_at: open,
            },
        )
}

const PERIODS: Periods = Periods {
    period1: 15,
    period2: 30,
};

proptest! {
    /// Whoever may execute, the assigned keeper may too; and nobody may before the job is due.
    #[test]
    fn the_assigned_keeper_may_whenever_anybody_may(
        turn in turns(), id in 1_u32..4, active: bool, slasher in prop::option::of(1_u32..4), now in 0_u64..300, block in 0_u64..300,
    ) {
        let may = |id, active| turn.may_execute(Caller { id, active }, slasher, PERIODS, now, block);
        if may(id, active).is_ok() {
            prop_assert!(now >= turn.due_at());
            if let Some(assigned) = turn.assigned {
                prop_assert!(may(assigned, false).is_ok());
            }
        }
    }

    /// Time only opens doors: who may now may later, as long as nothing else changes.
    #[test]
    fn nobody_loses_a_turn_by_waiting(
        turn in turns(), id in 1_u32..4, slasher in prop::option::of(1_u32..4), now in 0_u64..300, later in 0_u64..300, block in 0_u64..300,
    ) {
        let caller = Caller { id, active: true };
        if turn.may_execute(caller, slasher, PERIODS, now, block).is_ok() {
            prop_assert!(turn.may_execute(caller, slasher, PERIODS, now + later, block + later).is_ok());
        }
        if turn.may_release(true, true, PERIODS, now).is_ok() {
            prop_assert!(turn.may_release(true, true, PERIODS, now + later).is_ok());
        }
    }

    /// The keeper gets rid of a job only after somebody else had the time to execute it.
    #[test]
    fn an_active_keeper_gives_up_nothing_that_could_not_be_slashed(turn in turns(), now in 0_u64..300) {
        if turn.may_release(true, true, PERIODS, now).is_ok() {
            let slashable_from = match turn.kind {
                Kind::Interval(_) => turn.grace_from() + PERIODS.period1,
                Kind::Resolver | Kind::Defence { .. } => turn.slashing_possible_after,
            };
            prop_assert!(now >= slashable_from + PERIODS.period2);
        }
    }

    /// A slash and a debit take no more than there is, and lose nothing.
    #[test]
    fn nothing_takes_more_than_there_is(
        stake in 0_u128..u128::from(u64::MAX), fixed in 0_u128..1_000_000, bps in 0_u128..5_000, cap in 0_u128..1_000_000,
        credits in 0_u128..1_000_000, cost in 0_u128..2_000_000, ok: bool, defence: bool, ppm in 0_u128..=50_000,
    ) {
        let slash = Slashing { fixed, bps, max_stake: 0 }.of(stake, cap);
        prop_assert!(slash.taken <= stake);
        prop_assert!(slash.missing == 0 || slash.taken == stake);
        let mut left = Credits(credits);
        match left.debit(cost, ok, defence) {
            Ok(taken) => prop_assert!(taken <= cost && taken + left.0 == credits),
            Err(_) => prop_assert!(ok && !defence && cost > credits && left.0 == credits),
        }
        prop_assert!(fee(credits, ppm) <= credits / 20);
    }

    /// What came in is staked, pending, or left; whatever is asked for in whatever order.
    #[test]
    fn stake_is_never_lost_or_made(asks in prop::collection::vec((0_u8..5, 0_u128..2_000, 0_u64..40), 0..40)) {
        let limits = Limits { min_stake: 1_000, activation_timeout: 10, withdrawal_timeout: 30 };
        let mut now = 0;
        let mut keeper = Keeper::register(5_000, limits, now).unwrap();
        let mut left = 0;
        for (what, amount, wait) in asks {
            now += wait;
            let before = keeper;
            let refused = match what {
                0 => keeper.initiate_redeem(amount, limits, now).is_err(),
                1 => keeper.finalize_redeem(now).map(|out| left += out).is_err(),
                2 => keeper.owner_slash(amount / 4, amount / 8).map(|()| left += amount / 4 + amount / 8).is_err(),
                3 => keeper.finalize_activation(limits, now).or_else(|_| keeper.initiate_activation(limits, now).map(drop)).is_err(),
                _ => keeper.disable().is_err(),
            };
            if refused {
                prop_assert_eq!(keeper, before, "a refusal changed something");
            }
            prop_assert_eq!(keeper.stake + keeper.pending + left, 5_000);
            prop_assert!(!keeper.active || keeper.stake >= limits.min_stake || keeper.slashed > 0);
        }
    }

    #[test]
    fn delays_grow_to_the_cap(base in 1_u64..100, more in 0_u64..10_000, failures in 0_u32..300) {
        let retry = Retry { base, cap: base + more };
        let (this, next) = (retry.delay(failures, false), retry.delay(failures + 1, false));
        prop_assert!(base <= this && this <= next && next <= base + more);
        prop_assert_eq!(retry.delay(failures, true), base);
    }
}
