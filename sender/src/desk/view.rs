//! What a desk shows: to the plan all that it is made from, and to the front how its requests stand.

use super::Desk;
use crate::config::LaneSettings;
use crate::fees::Market;
use crate::lane::Lane;
use crate::machine::State;
use crate::nonce::Account;
use crate::plan::{Holder, LaneRule, LaneRules, Line, View, Waiting};

impl Desk {
    /// What the plan is made from; nothing before the chain was seen.
    pub(super) fn view(&self) -> Option<View> {
        let seen = self.seen.as_ref()?;
        let rule = |settings: &LaneSettings, priority_fee: u128| LaneRule {
            fees: settings.fees,
            patience: settings.patience,
            priority_fee,
        };
        let [pause, slash, claim, report] = &self.setup.lanes;
        let [pause_fee, slash_fee, claim_fee, report_fee] = seen.priority_fees;
        let lines = self.slots.iter().map(|(nonce, slot)| {
            let withdrawn = match slot.line.holder {
                Holder::Job(id) => self.jobs.get(&id).is_some_and(|job| job.withdrawn.is_some()),
                Holder::Cancel | Holder::Vacant => false,
            };
            (
                *nonce,
                Line {
                    withdrawn,
                    mined: slot.mined.is_some() || *nonce < seen.mined,
                    ..slot.line.clone()
                },
            )
        });
        let waiting = self
            .jobs
            .values()
            .filter(|job| job.state == State::Queued && job.gas.is_some());
        Some(View {
            head: seen.head.number,
            time: seen.head.time,
            base_fee: seen.base_fee,
            account: Account {
                mined: seen.mined,
                pending: seen.pending,
                settled: self.settled,
            },
            lines: lines.collect(),
            waiting: waiting
                .map(|job| Waiting {
                    job: job.id,
                    lane: job.request.lane,
                    cap: job.request.max_fee_cap,
                    beat: job.request.beat,
                    behind: job.request.behind,
                    deadline: job.request.deadline,
                })
                .collect(),
            rules: LaneRules {
                pause: rule(pause, pause_fee),
                slash: rule(slash, slash_fee),
                claim: rule(claim, claim_fee),
                report: rule(report, report_fee),
            },
            max_in_flight: self.setup.max_in_flight,
            publish_after: self
                .setup
                .relay
                .as_ref()
                .filter(|relay| !relay.never_public)
                .map(|relay| relay.public_after),
        })
    }

    pub(super) fn show(&self) {
        if let Some(seen) = &self.seen {
            let base_fee = seen.base_fee;
            self.market.send_replace(Some(
                seen.priority_fees.map(|priority_fee| Market { base_fee, priority_fee }),
            ));
        }
        for job in self.jobs.values() {
            job.publish(self.account);
        }
        self.queue
            .send_replace(self.jobs.values().map(|job| job.status.borrow().clone()).collect());
        for lane in Lane::ALL {
            let pending = self.jobs.values().filter(|job| job.request.lane == lane).count();
            // A count of at most a million.
            metrics::gauge!("sender_pending", "account" => self.account.to_string(), "lane" => lane.name())
                .set(u32::try_from(pending).unwrap_or(u32::MAX));
        }
    }
}
