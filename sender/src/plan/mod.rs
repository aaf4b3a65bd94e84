//! What a key does next: who is given which nonce, who takes whose, what is raised, withdrawn, published, filled.
//!
//! A pure function of what is in flight, what waits, and what the chain asks for. What always holds of a [`plan`]:
//! - a request is given a nonce only while it has none, and a nonce carries one request at a time;
//! - whoever takes a nonce that carried something offers at least 12.5 % more in both fees than all that was sent there;
//! - requests are served lane by lane, in a lane in the order of their acceptance;
//! - whatever stands ahead of a more urgent request is raised as if it were that urgent (priority inheritance), so that
//!   a cheap transaction which cannot be taken never holds it up either.

#[cfg(test)]
mod tests;
mod view;

use std::collections::BTreeMap;

pub use self::view::{Action, Holder, JobId, LaneRule, LaneRules, Line, View, Waiting};
use crate::fees::{self, Fees, Market, Offer};
use crate::lane::Lane;
use crate::machine::Failure;
use crate::nonce;

/// The steps to take, in order.
#[must_use]
pub fn plan(view: &View) -> Vec<Action> {
    let mut lines = view.lines.clone();
    let mut actions = Vec::new();
    withdraw(view, &mut lines, &mut actions);
    serve(view, &mut lines, &mut actions);
    fill(view, &mut lines, &mut actions);
    raise(view, &mut lines, &mut actions);
    publish(view, &mut actions);
    actions
}

fn market(view: &View, lane: Lane) -> Market {
    Market {
        base_fee: view.base_fee,
        priority_fee: view.rules.of(lane).priority_fee,
    }
}

fn cap_of(view: &View, lane: Lane, own: Option<u128>) -> u128 {
    view.rules.of(lane).fees.cap_with(own)
}

fn withdraw(view: &View, lines: &mut BTreeMap<u64, Line>, actions: &mut Vec<Action>) {
    for (nonce, line) in lines
        .iter_mut()
        .filter(|(_, line)| !line.mined && matches!(line.holder, Holder::Job(_)))
    {
        let expired = line.deadline.is_some_and(|deadline| view.time > deadline);
        if !(expired || line.withdrawn) || line.refused == Some(view.head) {
            continue;
        }
        let offer = fees::offer(&view.rules.of(line.lane).fees, &market(view, line.lane), None, None);
        // The request's own limit is for the request; getting rid of it may cost what the lane may.
        if let Some(fees) = fees::replacement(&line.top, &offer.fees, view.rules.of(line.lane).fees.cap) {
            let reason = (!line.withdrawn).then_some(Failure::Expired);
            actions.push(Action::Withdraw {
                nonce: *nonce,
                fees,
                reason,
            });
            *line = Line {
                holder: Holder::Cancel,
                top: fees,
                changed: view.head,
                deadline: None,
                behind: None,
                ..line.clone()
            };
        }
    }
}

fn serve(view: &View, lines: &mut BTreeMap<u64, Line>, actions: &mut Vec<Action>) {
    let mut waiting: Vec<&Waiting> = view.waiting.iter().collect();
    // A stable sort: within a lane the order of acceptance stays.
    waiting.sort_by_key(|request| std::cmp::Reverse(request.lane));
    for request in waiting {
        if request.deadline.is_some_and(|deadline| view.time > deadline) {
            actions.push(Action::Expire { job: request.job });
            continue;
        }
        let rule = view.rules.of(request.lane);
        let offer = match &request.behind {
            Some(front) => fees::behind(&rule.fees, front, request.cap),
            None => fees::offer(
                &rule.fees,
                &market(view, request.lane),
                request.beat.as_ref(),
                request.cap,
            ),
        };
        let line = |fees: Fees| Line {
            cap: request.cap,
            beat: request.beat,
            behind: request.behind,
            deadline: request.deadline,
            ..Line::new(Holder::Job(request.job), request.lane, fees, view.head)
        };
        if let Some((nonce, victim, fees)) = takes(view, lines, request, &offer) {
            actions.push(Action::TakeOver {
                job: request.job,
                nonce,
                offer: Offer { fees, ..offer },
                victim,
            });
            lines.insert(nonce, line(fees));
            continue;
        }
        let in_flight = lines
            .values()
            .filter(|line| !line.mined && line.holder != Holder::Vacant)
            .count();
        if in_flight >= view.max_in_flight && !request.lane.hurries() {
            continue;
        }
        let nonce = nonce::next(&view.account, |nonce| {
            lines.get(&nonce).is_some_and(|line| line.holder != Holder::Vacant)
        });
        let fees = match lines.get(&nonce) {
            // Its refused predecessor is still somewhere, perhaps.
            Some(vacant) if vacant.refused == Some(view.head) => continue,
            Some(vacant) => fees::replacement(&vacant.top, &offer.fees, cap_of(view, request.lane, request.cap))
                .unwrap_or(offer.fees),
            None => offer.fees,
        };
        actions.push(Action::Assign {
            job: request.job,
            nonce,
            offer: Offer { fees, ..offer },
        });
        lines.insert(nonce, line(fees));
    }
}

/// The lowest nonce of a lower lane that `request` takes, what is there, and what it must offer.
fn takes(
    view: &View,
    lines: &BTreeMap<u64, Line>,
    request: &Waiting,
    offer: &Offer,
) -> Option<(u64, Option<JobId>, Fees)> {
    let patience = view.rules.of(request.lane).patience;
    let (nonce, line) = lines
        .iter()
        .find(|(_, line)| !line.mined && line.holder != Holder::Vacant && line.lane < request.lane)?;
    let in_the_way = request.lane.hurries() && !line.top.cover(&offer.fees);
    let stuck = view.head.saturating_sub(line.since) >= patience;
    if !(in_the_way || stuck) || line.refused == Some(view.head) {
        return None;
    }
    let fees = fees::replacement(&line.top, &offer.fees, cap_of(view, request.lane, request.cap))?;
    // Past what it builds on it would come to nothing.
    if request
        .behind
        .is_some_and(|front| fees.max_fee >= front.max_fee || fees.priority_fee >= front.priority_fee)
    {
        return None;
    }
    let victim = match line.holder {
        Holder::Job(job) => Some(job),
        Holder::Cancel | Holder::Vacant => None,
    };
    Some((*nonce, victim, fees))
}

/// The most urgent lane in flight at `nonce` or behind it, and the highest cap there.
fn inherited(view: &View, lines: &BTreeMap<u64, Line>, nonce: u64) -> Option<(Lane, u128)> {
    let behind = || {
        lines
            .range(nonce..)
            .map(|(_, line)| line)
            .filter(|line| !line.mined && line.holder != Holder::Vacant)
    };
    let lane = behind().map(|line| line.lane).max()?;
    let cap = behind()
        .filter(|line| line.lane == lane)
        .map(|line| cap_of(view, lane, line.cap))
        .max()?;
    Some((lane, cap))
}

fn fill(view: &View, lines: &mut BTreeMap<u64, Line>, actions: &mut Vec<Action>) {
    let Some(last) = lines
        .iter()
        .rev()
        .find(|(_, line)| !line.mined && line.holder != Holder::Vacant)
        .map(|(nonce, _)| *nonce)
    else {
        return;
    };
    loop {
        let nonce = nonce::next(&view.account, |nonce| {
            lines.get(&nonce).is_some_and(|line| line.holder != Holder::Vacant)
        });
        let Some((lane, cap)) = inherited(view, lines, nonce).filter(|_| nonce < last) else {
            return;
        };
        let vacant = lines.get(&nonce);
        if vacant.is_some_and(|line| line.refused == Some(view.head)) {
            return;
        }
        let offer = fees::offer(&view.rules.of(lane).fees, &market(view, lane), None, Some(cap)).fees;
        let fees = vacant
            .and_then(|line| fees::replacement(&line.top, &offer, cap))
            .unwrap_or(offer);
        actions.push(Action::Fill { nonce, fees, lane });
        lines.insert(nonce, Line::new(Holder::Cancel, lane, fees, view.head));
    }
}

fn raise(view: &View, lines: &mut BTreeMap<u64, Line>, actions: &mut Vec<Action>) {
    let mut first = true;
    let nonces: Vec<u64> = lines.keys().copied().collect();
    for nonce in nonces {
        let inherited = inherited(view, lines, nonce);
        let Some(line) = lines
            .get_mut(&nonce)
            .filter(|line| !line.mined && line.holder != Holder::Vacant)
        else {
            continue;
        };
        let at_the_front = std::mem::replace(&mut first, false);
        let Some((lane, inherited_cap)) = inherited else {
            continue;
        };
        if line.refused == Some(view.head) {
            continue;
        }
        let rule = view.rules.of(lane);
        let waited = view.head.saturating_sub(line.changed);
        // Behind the front a price is only to blame when no block could take it.
        let too_low = at_the_front || line.top.max_fee < view.base_fee;
        let cap = if lane > line.lane {
            inherited_cap
        } else {
            cap_of(view, line.lane, line.cap).max(inherited_cap)
        };
        if let Some(front) = &line.behind {
            // Only along with what it follows.
            let fees = fees::behind(&rule.fees, front, Some(cap)).fees;
            if fees::replacement(&line.top, &fees, cap) == Some(fees) {
                actions.push(Action::Bump { nonce, fees });
                line.top = fees;
            }
            continue;
        }
        let target = fees::offer(&rule.fees, &market(view, lane), line.beat.as_ref(), Some(cap));
        let replacement = fees::replacement(&line.top, &target.fees, cap);
        // What it is to beat has raised its offer: not a block may be lost. Only where it helps.
        let ahead = |fees: &Fees| {
            line.beat
                .is_none_or(|beat| fees::stands_ahead(fees, view.base_fee, &beat))
        };
        let outbid = !ahead(&line.top) && replacement.as_ref().is_some_and(ahead);
        if !(line.underpriced || outbid || (waited >= rule.patience.max(1) && too_low)) {
            continue;
        }
        match replacement {
            Some(fees) => {
                actions.push(Action::Bump { nonce, fees });
                line.top = fees;
            }
            None if waited >= rule.patience.max(1) => actions.push(Action::Repeat { nonce }),
            None => {}
        }
    }
}

fn publish(view: &View, actions: &mut Vec<Action>) {
    let Some(after) = view.publish_after else { return };
    for (nonce, line) in view.lines.iter().filter(|(_, line)| !line.mined) {
        if line
            .private_since
            .is_some_and(|since| view.head.saturating_sub(since) >= after)
        {
            actions.push(Action::Publish { nonce: *nonce });
        }
    }
}
