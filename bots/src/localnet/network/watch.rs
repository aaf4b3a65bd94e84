//! Watching: until everything is judged, with what strikes meanwhile, and then until weights are incentives and bounties are claimed.

use std::time::Duration;

use protos::v1;
use tokio::time::Instant;

use super::{Judging, Network, POLL};
use crate::localnet::chaos::{Blow, Storm};
use crate::localnet::clients::{LedgerView, PlatformView, serving};
use crate::localnet::error::LocalnetError;
use crate::localnet::input::{Done, Input, Stillness};
use crate::localnet::plan::Member;
use crate::localnet::progress::Standing;
use crate::localnet::report::{Growth, KillRecord};

/// How often it is asked while a process is to be struck in a certain moment.
const POLL_FOR_STRIKE: Duration = Duration::from_millis(25);
/// How often the chain is asked what the services did.
const ASK_CHAIN: Duration = Duration::from_secs(1);
/// Epochs of the audits in which everybody has to have claimed; then it is not waited any more.
const CLAIM_WITHIN: u32 = 3;

impl Network<'_> {
    /// Watches until everything is judged, or it takes too long.
    pub(super) async fn judge(
        &mut self,
        platform: &PlatformView,
        ledger: &LedgerView,
    ) -> Result<Judging, LocalnetError> {
        self.progress.phase(match &self.input {
            Input::Recorded(_) => "replaying",
            Input::Living(_) => "judging what waits in the node's pool",
        });
        let mut still = Stillness::new();
        let mut first_seen = None;
        let mut shown = 0;
        loop {
            let status = self.fleet.guard(platform.status()).await?;
            if status.transactions > 0 && first_seen.is_none() {
                first_seen = Some(Instant::now());
                let others = self
                    .services
                    .as_ref()
                    .map(|services| [services.members(), services.auditors()].concat());
                let others = others.unwrap_or_default();
                let storm = |every| Storm::new(every, &self.plan, &others, self.options.shape.seed);
                self.storm = self.options.chaos.map(storm);
            }
            let took = first_seen.map_or(Duration::ZERO, |first| first.elapsed());
            self.show(&status, took, ledger).await?;
            if status.incidents > shown {
                shown = self.tell_incidents(platform, shown).await?;
            }
            self.input.begin(&status, self.plan.validators.len(), &still)?;
            let done = self.input.done(&status, &mut still).await?;
            if done != Done::NotYet {
                for missed in &self.strikes {
                    self.progress.say(&format!(
                        "everything was judged before {} could be killed",
                        missed.victim
                    ));
                }
                return Ok(Judging {
                    status,
                    took,
                    complete: done == Done::Complete,
                });
            }
            if Instant::now() >= self.give_up_at {
                self.progress.say(&format!(
                    "giving up after {} s (--timeout)",
                    self.options.timeout.as_secs()
                ));
                return Ok(Judging {
                    status,
                    took,
                    complete: false,
                });
            }
            self.strike_if_due(status.judged).await?;
            self.storm_if_due(status.judged).await?;
            tokio::time::sleep(if self.strikes.is_empty() { POLL } else { POLL_FOR_STRIKE }).await;
        }
    }

    async fn show(
        &mut self,
        status: &v1::StatusResponse,
        took: Duration,
        ledger: &LedgerView,
    ) -> Result<(), LocalnetError> {
        let chain = self.fleet.guard(ledger.chain()).await?;
        self.grow(ledger, chain.epoch_index).await?;
        self.ask_services().await?;
        let seconds = took.as_secs_f64();
        self.standing = Standing {
            total: self.standing.total,
            logged: status.transactions,
            judged: status.judged,
            tx_per_s: if seconds > 0.0 {
                status.judged as f64 / seconds
            } else {
                0.0
            },
            incidents: status.incidents,
            block: chain.block,
            epoch: chain.epoch_index,
            services: self.services.as_ref().map(|_| self.achieved.tally()),
        };
        self.progress.update(&self.standing, self.fleet.alive());
        Ok(())
    }

    /// Tells of the incidents after the one that was told of last.
    async fn tell_incidents(&mut self, platform: &PlatformView, shown: u64) -> Result<u64, LocalnetError> {
        let mut last = shown;
        for incident in self.fleet.guard(platform.incidents(shown)).await? {
            last = last.max(incident.id);
            self.progress.say(&format!(
                "INCIDENT: \"{}\" is broken by 0x{}, confirmed in {:.1} ms",
                incident.invariant_name,
                hex::encode(&incident.tx_hash),
                incident.seen_to_confirmed_us as f64 / 1_000.0
            ));
        }
        Ok(last)
    }

    async fn strike_if_due(&mut self, judged: u64) -> Result<(), LocalnetError> {
        let total = self.input.transactions();
        let Some(strike) = self.strikes.pop_if(|next| next.is_due(judged, total)) else {
            return Ok(());
        };
        self.strike(strike.victim, Blow::Killed, judged).await
    }

    async fn storm_if_due(&mut self, judged: u64) -> Result<(), LocalnetError> {
        match self.storm.as_mut().and_then(|storm| storm.due(Instant::now())) {
            Some((victim, blow)) => self.strike(victim, blow, judged).await,
            None => Ok(()),
        }
    }

    async fn strike(&mut self, victim: Member, blow: Blow, judged: u64) -> Result<(), LocalnetError> {
        let down = match blow {
            Blow::Killed => {
                self.progress.say(&format!(
                    "killing {victim} (SIGKILL) after {judged} judged transactions"
                ));
                let args = self.wiring.args(victim, &self.plan);
                self.fleet.strike(victim, args).await?
            }
            Blow::Frozen => {
                let time = self.options.freeze;
                self.progress.say(&format!(
                    "freezing {victim} (SIGSTOP) for {} after {judged} judged transactions",
                    humantime::format_duration(time)
                ));
                let address = self.fleet.freeze(victim, time).await?;
                let thawed = Instant::now();
                self.fleet.guard(serving(victim, address)).await?;
                thawed.elapsed()
            }
        };
        let down_ms = u64::try_from(down.as_millis()).unwrap_or(u64::MAX);
        self.progress.say(&format!("{victim} serves again after {down_ms} ms"));
        self.kills.push(KillRecord {
            process: victim.to_string(),
            at_judged: judged,
            blow,
            down_ms,
        });
        Ok(())
    }

    /// Asks the chain what keepers, auditors and protocols did, if that was not a moment ago. A node that is busy is asked again later.
    async fn ask_services(&mut self) -> Result<(), LocalnetError> {
        if self.asked.is_some_and(|asked| asked.elapsed() < ASK_CHAIN) {
            return Ok(());
        }
        self.asked = Some(Instant::now());
        match self.note_services().await {
            Err(LocalnetError::Live(error)) => tracing::warn!(%error, "what the services did is not known"),
            noted => noted?,
        }
        Ok(())
    }

    /// Asks the chain what keepers, auditors and protocols did.
    pub(super) async fn note_services(&mut self) -> Result<(), LocalnetError> {
        let Some(services) = &self.services else {
            return Ok(());
        };
        let asking = async { Ok::<_, LocalnetError>(services.achieved().await?) };
        let achieved = self.fleet.guard(asking).await?;
        if let (None, Some(pause)) = (self.achieved.pause, achieved.pause) {
            self.progress.say(&format!(
                "PAUSED: {} closed the vault in block {}",
                pause.by, pause.place.0
            ));
        }
        self.achieved = achieved;
        Ok(())
    }

    /// Notes how large the subnet is in an epoch that was not seen yet.
    async fn grow(&mut self, ledger: &LedgerView, epoch: u64) -> Result<(), LocalnetError> {
        if self.growth.last().is_some_and(|last| last.epoch >= epoch) {
            return Ok(());
        }
        let standings = self.fleet.guard(ledger.standings()).await?;
        self.growth.push(Growth::of(epoch, &standings));
        Ok(())
    }

    /// Waits for the epochs in which weights become incentives, and for the bounties of those who audit.
    pub(super) async fn settle(&mut self, ledger: &LedgerView) -> Result<(), LocalnetError> {
        let enough = self
            .fleet
            .guard(ledger.chain())
            .await?
            .epoch_index
            .saturating_add(self.options.settle_epochs);
        self.progress.phase("waiting for weights, incentives and bounties");
        let epoch = self.services.as_ref().and_then(|services| services.audit_epoch());
        let claimed_until = Instant::now() + epoch.unwrap_or_default() * CLAIM_WITHIN;
        loop {
            let chain = self.fleet.guard(ledger.chain()).await?;
            self.grow(ledger, chain.epoch_index).await?;
            self.ask_services().await?;
            (self.standing.block, self.standing.epoch) = (chain.block, chain.epoch_index);
            self.standing.services = self.services.as_ref().map(|_| self.achieved.tally());
            self.progress.update(&self.standing, self.fleet.alive());
            let auditors = self.services.as_ref().map_or(0, |services| services.auditors().len());
            let late = Instant::now() >= claimed_until;
            let claimed = self.achieved.all_claimed(auditors);
            let settled = chain.epoch_index >= enough && (claimed || late);
            if settled && !claimed {
                self.progress.say(&format!(
                    "not every auditor has claimed a bounty after {CLAIM_WITHIN} epochs"
                ));
            }
            if settled || Instant::now() >= self.give_up_at {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
}
