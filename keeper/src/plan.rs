//! What a keeper does about a job in the next block: pure, over plain values.
//!
//! The contract decides what is allowed ([`rule`](crate::rule)); this decides what is worth trying, and a simulation on the head has the last word before
//! anything is sent. Time is block time: that of the next block.
//!
//! What always holds: a job that is set aside, not eligible, or beyond what this keeper may do is left alone; a defence job never
//! waits for more than one head; nothing is tried before it can be allowed.

use crate::job::{Job, Standing};
use crate::resolve::Ready;
use crate::streak::Streak;

/// The next block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its number.
    pub number: u64,
    /// Its time, Unix seconds.
    pub timestamp: u64,
    /// Its base fee, in wei.
    pub base_fee: u64,
}

/// What the keeper's operator decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Heads in a row at which a resolver must have said yes; a defence job needs one.
    pub confirm_heads: u32,
    /// Whether assigned jobs are executed above their cap on the base fee, paid up to the cap.
    pub accept_max_base_fee: bool,
}

/// What is to be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Wait,
    /// Execute as the assigned keeper.
    Execute,
    /// Execute in another keeper's place, and take a part of its stake.
    Slash,
    /// Execute a defence job; whoever is first.
    Defend,
    /// Announce that a resolver job's keeper is late.
    Announce,
    /// Open the defence lane: the assigned keeper did not act in the first block.
    Open,
    /// Give the job back: it cannot be paid for, or this keeper is leaving.
    Release,
}

impl Step {
    /// The name in keys, logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Execute => "execute",
            Self::Slash => "slash",
            Self::Defend => "defend",
            Self::Announce => "announce",
            Self::Open => "open",
            Self::Release => "release",
        }
    }
}

/// Decides. `said` is the resolver's newest answer with the heads in a row at which it said so; `None` when it does not say yes, and
/// for interval jobs.
#[must_use]
pub fn plan(job: &Job, standing: &Standing, next: &Next, said: Option<(&Ready, Streak)>, policy: &Policy) -> Step {
    let me = &standing.me;
    if me.id == 0 || !job.is_active() {
        return Step::Wait;
    }
    let mine = job.keeper == me.id;
    // A pause that is due is not the time to talk about money.
    let pressing = job.is_defence() && said.is_some();
    if mine && !pressing && gives_back(job, standing, next, said.is_some()) {
        return Step::Release;
    }
    if me.stake < standing.terms.min_stake {
        return Step::Wait;
    }
    if job.retry_at > next.timestamp {
        return Step::Wait;
    }
    if job.is_defence() {
        return said.map_or(Step::Wait, |(ready, streak)| defend(job, standing, next, ready, streak));
    }
    if !job.eligible || job.keeper == 0 {
        return Step::Wait;
    }
    if next.base_fee > job.max_base_fee() && !(mine && policy.accept_max_base_fee) {
        return Step::Wait;
    }
    if job.is_resolver() {
        let confirmed = said.filter(|(_, streak)| streak.heads >= policy.confirm_heads);
        return confirmed.map_or(Step::Wait, |(_, streak)| resolver(job, standing, next, streak, mine));
    }
    let late_at = job.grace_from().saturating_add(standing.terms.period1);
    if mine && next.timestamp >= job.due_at() {
        Step::Execute
    } else if !mine && me.active && next.timestamp >= late_at {
        Step::Slash
    } else {
        Step::Wait
    }
}

/// An eligible job is kept, unless this keeper is leaving and nothing is due.
fn gives_back(job: &Job, standing: &Standing, next: &Next, ready: bool) -> bool {
    if !job.eligible {
        return true;
    }
    let idle = if job.is_resolver() {
        job.slashing_possible_after == 0 && !ready
    } else {
        next.timestamp < job.grace_from()
    };
    !standing.me.active && idle
}

fn resolver(job: &Job, standing: &Standing, next: &Next, streak: Streak, mine: bool) -> Step {
    if mine {
        return Step::Execute;
    }
    if !standing.me.active {
        return Step::Wait;
    }
    let possible = job.slashing_possible_after;
    let lapsed = possible != 0 && next.timestamp >= possible.saturating_add(standing.terms.period2);
    if possible != 0 && !lapsed {
        let my_turn = job.reserved_slasher == standing.me.id && next.timestamp >= possible;
        return if my_turn { Step::Slash } else { Step::Wait };
    }
    let late = next.timestamp >= streak.since.max(job.assigned_at).saturating_add(standing.terms.period1);
    if late { Step::Announce } else { Step::Wait }
}

fn defend(job: &Job, standing: &Standing, next: &Next, ready: &Ready, streak: Streak) -> Step {
    let me = &standing.me;
    if job.keeper == me.id {
        return Step::Defend;
    }
    if !me.active {
        return Step::Wait;
    }
    if job.keeper == 0 || job.defence_window == 0 {
        return Step::Defend;
    }
    let told = (ready.since != 0 && ready.since <= next.number).then_some(ready.since);
    let opened = (job.defence_open_at != 0).then_some(job.defence_open_at);
    match told.into_iter().chain(opened).min() {
        Some(open) if next.number >= open.saturating_add(job.defence_window) => Step::Defend,
        Some(_) => Step::Wait,
        // Its keeper had a whole block. Then one keeper after the other opens the lane, each a block later: all at once would pay
        // for one effect many times.
        None if u64::from(streak.heads) > 1 + turn(job, standing) => Step::Open,
        None => Step::Wait,
    }
}

/// The place of this keeper among those that may open the lane, another one for each job.
fn turn(job: &Job, standing: &Standing) -> u64 {
    let others = standing.active.iter().filter(|id| **id != job.keeper);
    let count = others.clone().count() as u64;
    let place = others.clone().position(|id| *id == standing.me.id).unwrap_or_default() as u64;
    let shift = u64::from_be_bytes(job.key.0.first_chunk().copied().unwrap_or_default());
    if count == 0 { 0 } else { (place + shift % count) % count }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
