//! What is due at a head: pure.
//!
//! All of it goes by the time of the head's block. A wall clock that jumps changes nothing here.

use crate::manager::{Duty, Member};
use crate::rule::measure::{Measured, Row, aggregate};
use crate::rule::terms::Terms;
use crate::store::{Report, ReportState};

/// The duties whose verdict the contract takes at `now`, and has not taken.
pub fn reportable(duties: &[Duty], now: u64) -> impl Iterator<Item = &Duty> {
    duties
        .iter()
        .filter(move |duty| !duty.sent && duty.window.contains(&now))
}

/// The verdict of a duty by the samples of its epoch. One that the contract would not count is not sent.
#[must_use]
pub fn verdict(terms: &Terms, duty: &Duty, rows: impl IntoIterator<Item = Row>, wall_ms: u64) -> Report {
    let measured: Measured = aggregate(terms, duty.start, rows);
    let enough = terms.covers(measured.known);
    Report {
        subject: duty.peer.id,
        epoch: duty.epoch.into(),
        failed: measured.failed,
        known: measured.known,
        latency_us: measured.verdict_latency(),
        closes: duty.window.end,
        state: if enough {
            ReportState::Open
        } else {
            ReportState::NotCounted
        },
        batch: 0,
        tx_hash: String::new(),
        block: 0,
        reason: if enough {
            String::new()
        } else {
            format!(
                "{} of {} intervals are known, too few",
                measured.known,
                terms.intervals()
            )
        },
        wall_ms,
    }
}

/// Whether a claim is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    /// Now.
    Due,
    /// At this chain time, not before.
    At(u64),
    /// Never again.
    Never,
}

/// Whether `member` may claim in a block after one of the time `now`.
#[must_use]
pub const fn claiming(member: &Member, now: u64) -> Claiming {
    if !member.life.may_claim() {
        Claiming::Never
    } else if now >= member.next_reward {
        Claiming::Due
    } else {
        Claiming::At(member.next_reward)
    }
}

/// Whether the group that audits `member` should be completed: without enough auditors there is no bounty.
#[must_use]
pub fn lacks_auditors(terms: &Terms, member: &Member, now: u64) -> bool {
    matches!(member.life, crate::manager::Life::Active)
        && now <= terms.fill_until(member.start)
        && (member.group.len() < member.group_wanted || !member.group_active)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manager::Life;
    use crate::probe::Peer;
    use crate::rule::measure::Outcome;

    fn duty(sent: bool) -> Duty {
        Duty {
            peer: Peer {
                id: 4,
                kind: None,
                hotkey: [0; 32],
                endpoint: String::new(),
            },
            epoch: 3,
            sent,
            start: 1_000,
            window: 2_000..2_300,
        }
    }

    fn member(life: Life) -> Member {
        Member {
            id: 1,
            owner: alloy::primitives::Address::ZERO,
            kind: None,
            life,
            epoch: 2,
            start: 1_000,
            next_reward: 3_592_000,
            group: vec![2, 3],
            group_wanted: 2,
            group_active: true,
            stake: 0,
            duties: (0, 0),
        }
    }

    #[test]
    fn sk_08_a_verdict_is_due_from_the_windows_beginning_to_before_its_end() {
        let due = |sent, now| reportable(&[duty(sent)], now).count() == 1;
        assert_eq!(
            [1_999, 2_000, 2_299, 2_300].map(|now| due(false, now)),
            [false, true, true, false]
        );
        assert!(!due(true, 2_000), "what was consumed is not sent again");
    }

    #[test]
    fn sk_14_a_claim_waits_for_the_blocks_time_whatever_a_clock_says() {
        let member = member(Life::Active);
        assert_eq!(
            claiming(&member, member.next_reward - 1),
            Claiming::At(member.next_reward)
        );
        assert_eq!(claiming(&member, member.next_reward), Claiming::Due);
        assert_eq!(claiming(&self::member(Life::Left), u64::MAX), Claiming::Never);
        assert_eq!(claiming(&self::member(Life::Leaving), u64::MAX), Claiming::Due);
    }

    #[test]
    fn too_little_known_is_not_sent() {
        let terms = Terms::default();
        let rows = |count: u64| {
            (0..count).map(|n| Row {
                at: 1_000 + n * 300,
                outcome: Outcome::Up,
                latency: Some(7),
            })
        };
        let few = verdict(&terms, &duty(false), rows(4_313), 5);
        assert_eq!(few.state, ReportState::NotCounted);
        assert!(few.reason.contains("4313 of 8628"), "{}", few.reason);
        let enough = verdict(&terms, &duty(false), rows(4_314), 5);
        assert_eq!(
            (enough.state, enough.known, enough.failed, enough.latency_us),
            (ReportState::Open, 4_314, 0, 7)
        );
    }

    #[test]
    fn a_group_is_completed_in_the_first_quarter_of_an_epoch_only() {
        let terms = Terms::default();
        let lonely = Member {
            group_wanted: 3,
            ..member(Life::Active)
        };
        let until = terms.fill_until(lonely.start);
        assert!(lacks_auditors(&terms, &lonely, until) && !lacks_auditors(&terms, &lonely, until + 1));
        assert!(!lacks_auditors(&terms, &member(Life::Active), 1_000));
        let lost = Member {
            group_active: false,
            ..member(Life::Active)
        };
        assert!(lacks_auditors(&terms, &lost, 1_000));
        assert!(!lacks_auditors(
            &terms,
            &Member {
                life: Life::Leaving,
                ..lost
            },
            1_000
        ));
    }

    proptest! {
        #[test]
        fn a_claim_is_due_once_however_long_nobody_looked(now in 0_u64..10_000_000) {
            let member = member(Life::Active);
            prop_assert_eq!(claiming(&member, now) == Claiming::Due, now >= member.next_reward);
        }
    }
}
