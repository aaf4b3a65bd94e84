//! What a run came to: everybody is asked once more.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Judging, Network};
use crate::localnet::clients::{LedgerView, PlatformView, validator_status};
use crate::localnet::error::LocalnetError;
use crate::localnet::input::Input;
use crate::localnet::plan::Member;
use crate::localnet::report::live::Attack;
use crate::localnet::report::{Audited, Live, Observed, Pause, Report, Service, is_complete};
use crate::localnet::services::audits::Deeds;
use crate::localnet::services::{numbered, whole};

/// How soon whoever `--chaos` strikes must serve again.
const BACK_WITHIN: Duration = Duration::from_secs(10);

impl Network<'_> {
    pub(super) async fn collect(
        &mut self,
        platform: &PlatformView,
        ledger: &LedgerView,
        judging: Judging,
    ) -> Result<Report, LocalnetError> {
        self.note_services().await?;
        let nonsense = |error: protos::DecodeError| LocalnetError::Nonsense {
            who: Member::Platform.to_string(),
            reason: error.to_string(),
        };
        let asking = async {
            let mut validators = BTreeMap::new();
            for planned in &self.plan.validators {
                let address = self.fleet.address(Member::Validator(planned.uid))?;
                validators.insert(planned.uid, validator_status(planned.uid, address).await?);
            }
            let (executions, disputed) = platform.executions().await?;
            let gas = self.input.gas().compare(executions.iter().copied());
            let incidents = platform.incidents(0).await?;
            let chain = ledger.chain().await?;
            // What came in after a run that gave up still counts.
            let (status, complete) = if judging.complete {
                (judging.status, true)
            } else {
                let status = platform.status().await?;
                let complete = matches!(self.input, Input::Recorded(_)) && is_complete(&status);
                (status, complete)
            };
            let live = match &self.input {
                Input::Recorded(_) => None,
                Input::Living(living) => {
                    let report = living.report(&executions, &incidents, status.feed.as_ref());
                    let mut live = report.map_err(nonsense)?;
                    live.pause = self.pause(&live).await?;
                    Some(live)
                }
            };
            Ok::<_, LocalnetError>(Observed {
                data: match &self.input {
                    Input::Recorded(_) => self.options.source().name(),
                    Input::Living(living) => living.name(),
                },
                pace: self.options.pace(),
                seed: self.options.shape.seed,
                status,
                incidents,
                disputed,
                gas,
                validators,
                standings: ledger.standings().await?,
                kills: self.kills.clone(),
                back_within: self.options.chaos.map(|_| BACK_WITHIN),
                judging: judging.took,
                ledger_block: chain.block,
                ledger_epochs: chain.epoch_index,
                complete,
                live,
                services: self.services(),
                audited: self.said_by_auditors(),
                growth: self.growth.clone(),
            })
        };
        let seen = self.fleet.guard(asking).await?;
        Report::new(&self.plan, seen).map_err(nonsense)
    }

    /// The first pause, and whether it was ahead of the attack.
    async fn pause(&self, live: &Live) -> Result<Option<Pause>, LocalnetError> {
        let (Some(services), Some(pause)) = (&self.services, self.achieved.pause) else {
            return Ok(None);
        };
        let ahead = match &live.attack {
            Some(Attack {
                tx,
                included_in: Some(block),
                ..
            }) => services.is_ahead(&pause, *tx, *block).await?,
            _ => true,
        };
        Ok(Some(Pause {
            by: pause.by.to_string(),
            tx: pause.tx,
            block: pause.place.0,
            ahead,
        }))
    }

    /// What auditors say of each process.
    fn said_by_auditors(&self) -> BTreeMap<String, Audited> {
        let of = |(number, deeds): (&u32, &Deeds)| {
            let node = self.services.as_ref()?.audited(*number)?;
            let audited = Audited {
                audits: deeds.audits,
                intervals_down: deeds.down,
            };
            Some((node.to_string(), audited))
        };
        self.achieved.deeds.iter().filter_map(of).collect()
    }

    /// What keepers, auditors and monitors did.
    fn services(&self) -> Vec<Service> {
        let Some(services) = &self.services else {
            return Vec::new();
        };
        let row = |member| match member {
            Member::Keeper(number) => {
                let executions = self.achieved.executions.get(&number).copied().unwrap_or_default();
                Service::new(member, "", &[("executions", executions)])
            }
            Member::Auditor(number) => {
                let deeds = self.achieved.deeds.get(&number).copied().unwrap_or_default();
                let did = [
                    ("verdicts", deeds.verdicts),
                    ("payouts", deeds.payouts),
                    ("bounty_tokens", whole(deeds.bounty)),
                ];
                let of = services.audited(number).map(|node| node.to_string());
                Service::new(member, of.unwrap_or_default(), &did)
            }
            Member::Monitor(number) => {
                let name = numbered(services.protocols(), number).map_or("", |service| service.name);
                let account = numbered(&self.achieved.accounts, number);
                let did = [
                    ("paid", account.is_some_and(|account| account.paid).into()),
                    ("billed_s", account.map_or(0, |account| account.billed_s)),
                ];
                Service::new(member, name, &did)
            }
            other => Service::new(other, "", &[]),
        };
        let members = services.members().into_iter().chain(services.auditors());
        members.map(row).collect()
    }
}
