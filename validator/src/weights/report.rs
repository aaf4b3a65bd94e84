//! Weights on their way to the ledger: the shell around [`chain::reporting`].
//!
//! At each new block it looks once: settles calls of which nobody saw the answer, follows what is sealed, reveals what is due, and
//! sends what is new, in the form that the subnet asks for. A report stands in the database before its call leaves; each call has a
//! deadline; whatever keeps weights from being sent is named in the log, in a metric and in the database.

use std::sync::Arc;
use std::time::Duration;

use chain::commit::{hash, timelock};
use chain::reporting::{self, Commit, Settled, Situation, Step, Unanswered, Why};
use chain::wallet::Keypair;
use chain::{
    Followed, Hyperparameters, Ledger, LedgerError, Metagraph, Neuron, TimelockedCommit, WeightsCall, WeightsForm,
    WeightsReveal,
};
use tokio_util::sync::CancellationToken;

use super::notes::{self, Notes};
use crate::store::{NewReport, Report, Stage, Store, StoreError};

/// How long an answer to a question may take.
const READ_DEADLINE: Duration = Duration::from_secs(20);
/// How long it may take until a call is in force: a little more than the real chain's own deadline for finality.
const CALL_DEADLINE: Duration = Duration::from_secs(150);
/// Blocks for which the subnet's parameters are taken as read, within one epoch.
const PARAMS_BLOCKS: u64 = 25;
/// The version from which on a sealed commit names its hotkey.
const VERSION_WITH_HOTKEY: u16 = 4;

/// Sends weights and follows what becomes of them.
#[derive(Debug)]
pub struct Reporter {
    store: Store,
    metagraph: Followed,
    ledger: Arc<dyn Ledger>,
    hotkey: Arc<Keypair>,
    version_key: u64,
    /// How long an answer to a question may take, and how long it may take until a call is in force.
    deadlines: (Duration, Duration),
    /// The parameters, with the epoch and the block at which they were read.
    params: Option<(u64, u64, Hyperparameters)>,
    /// Nothing is sent before this block, because of what the last attempt met.
    not_before: u64,
    notes: Notes,
}

/// What one look works with.
struct View<'a> {
    metagraph: &'a Metagraph,
    me: Option<&'a Neuron>,
    params: Hyperparameters,
}

impl Reporter {
    /// A reporter of `hotkey`'s weights.
    pub fn new(
        store: Store,
        metagraph: Followed,
        ledger: Arc<dyn Ledger>,
        hotkey: Arc<Keypair>,
        version_key: u64,
    ) -> Self {
        Self {
            notes: Notes::new(store.clone()),
            store,
            metagraph,
            ledger,
            hotkey,
            version_key,
            deadlines: (READ_DEADLINE, CALL_DEADLINE),
            params: None,
            not_before: 0,
        }
    }

    /// The same reporter, which gives an answer to a question `read` and a call `call` until it is in force, in place of twenty seconds
    /// and two and a half minutes.
    #[must_use]
    pub const fn with_deadlines(mut self, read: Duration, call: Duration) -> Self {
        self.deadlines = (read, call);
        self
    }

    /// Looks at every new block until `shutdown`, which ends it in the middle of a call too: the report is in the database, and the
    /// next start finds out what became of it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut seen = None;
        loop {
            let metagraph = Arc::clone(&self.metagraph.borrow_and_update());
            if seen != Some(metagraph.block) {
                seen = Some(metagraph.block);
                tokio::select! {
                    () = shutdown.cancelled() => return Ok(()),
                    looked = self.look(&metagraph) => looked?,
                }
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.metagraph.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    /// One look, at `metagraph`: does at most one thing that the ledger has to answer for.
    ///
    /// # Errors
    /// The database fails.
    pub async fn look(&mut self, metagraph: &Metagraph) -> Result<(), StoreError> {
        let me = metagraph.by_hotkey(&self.hotkey.account());
        notes::show_age(metagraph, me);
        if !self.settle(metagraph, me).await? {
            return self
                .wait(metagraph, Why::Unanswered, "", metagraph.block.saturating_add(1))
                .await;
        }
        let params = match self.parameters(metagraph).await {
            Ok(params) => params,
            Err(error) => {
                let until = metagraph.block.saturating_add(1);
                return self.wait(metagraph, Why::Unreachable, &error.to_string(), until).await;
            }
        };
        let view = View { metagraph, me, params };
        let sealed = self.follow_sealed(&view).await?;

        let mut situation = Situation::of(metagraph, me, &view.params, self.version_key);
        situation.not_before = self.not_before;
        // Each turn gives one commit up or is the last.
        loop {
            let commits = self.store.open_reports(Stage::Committed).await?;
            let window = self.store.unreported_window().await?;
            let weights = match window {
                Some(_) => super::weigh(&self.store.averages().await?, metagraph),
                None => Vec::new(),
            };
            situation.has_news = !weights.is_empty();
            situation.commit = commits.first().map(|report| Commit {
                id: report.id,
                epoch: report.epoch,
            });
            match (reporting::next(&situation), commits.first(), window) {
                (Step::Expire(_), Some(report), _) => {
                    let reason = "the epoch in which it could be revealed is over";
                    if !self
                        .close_unless_in_force(&view, report, Stage::Expired, reason)
                        .await?
                    {
                        return Ok(());
                    }
                }
                (Step::Reveal(_), Some(report), _) => return self.reveal(&view, report).await,
                (Step::Send(form), _, Some(window)) => {
                    let report = NewReport {
                        window,
                        epoch: metagraph.epoch_index,
                        block: metagraph.block,
                        form,
                        before_update: me.map_or(0, |me| me.last_update),
                        reveal_round: None,
                        version_key: self.version_key,
                        salt: Vec::new(),
                        weights,
                    };
                    return self.send(&view, report).await;
                }
                (Step::Wait(waiting), ..) => {
                    let why = match waiting.why {
                        Why::NothingNew if sealed => Why::RevealLater,
                        why => why,
                    };
                    return self.wait(metagraph, why, "", waiting.until).await;
                }
                // The rule names commits and weights only where there are some.
                (Step::Expire(_) | Step::Reveal(_) | Step::Send(_), ..) => return Ok(()),
            }
        }
    }

    /// Finds out what became of calls without an answer; false while that is open.
    async fn settle(&self, metagraph: &Metagraph, me: Option<&Neuron>) -> Result<bool, StoreError> {
        for report in self.store.open_reports(Stage::Sending).await? {
            let call = Unanswered {
                block: report.block,
                before_update: report.before_update,
            };
            match reporting::settle(call, metagraph, me) {
                Settled::Taken(block) => self.taken(metagraph, &report, block).await?,
                Settled::Lost => {
                    let reason = "the ledger never answered, and the metagraph shows that it had no effect";
                    self.end(&report, Stage::Lost, reason, metagraph.block).await?;
                }
                Settled::Open => return Ok(false),
            }
        }
        Ok(true)
    }

    async fn parameters(&mut self, metagraph: &Metagraph) -> Result<Hyperparameters, LedgerError> {
        let (epoch, block) = (metagraph.epoch_index, metagraph.block);
        if let Some((read_epoch, read_block, params)) = &self.params
            && *read_epoch == epoch
            && block.saturating_sub(*read_block) < PARAMS_BLOCKS
        {
            return Ok(params.clone());
        }
        let params = within(self.deadlines.0, self.ledger.hyperparameters()).await?;
        self.params = Some((epoch, block, params.clone()));
        Ok(params)
    }

    /// Looks whether the ledger has opened what is sealed; true while something still is.
    async fn follow_sealed(&self, view: &View<'_>) -> Result<bool, StoreError> {
        let mut waiting = false;
        for report in self.store.open_reports(Stage::Sealed).await? {
            let opens = report.epoch.saturating_add(view.params.reveal_period_epochs);
            let now = view.metagraph.epoch_index;
            if now < opens {
                waiting = true;
                continue;
            }
            match self.in_force(view, &report).await {
                Ok(true) => self.set(&report, view.metagraph.block).await?,
                Ok(false) if now > opens => {
                    let reason = "the epoch in which the ledger opens it is over, and other weights are in force";
                    self.end(&report, Stage::Lost, reason, view.metagraph.block).await?;
                }
                Ok(false) => waiting = true,
                Err(error) => {
                    tracing::warn!(%error, "whether sealed weights are in force cannot be read; looking again");
                    waiting = true;
                }
            }
        }
        Ok(waiting)
    }

    /// Whether the ledger holds the report's weights as this neuron's row.
    async fn in_force(&self, view: &View<'_>, report: &Report) -> Result<bool, LedgerError> {
        let Some(me) = view.me else { return Ok(false) };
        let row = within(self.deadlines.0, self.ledger.weights(me.uid)).await?;
        let (uids, values) = report.row();
        let upscaled = chain::weights::max_upscale(&values);
        Ok(uids.into_iter().zip(upscaled).eq(row))
    }

    /// Ends a commit that can no longer be revealed, unless it has been: its answer may have been lost. False if that cannot be told.
    async fn close_unless_in_force(
        &mut self,
        view: &View<'_>,
        report: &Report,
        stage: Stage,
        reason: &str,
    ) -> Result<bool, StoreError> {
        let block = view.metagraph.block;
        match self.in_force(view, report).await {
            Ok(true) => self.set(report, block).await?,
            Ok(false) => self.end(report, stage, reason, block).await?,
            Err(error) => {
                let until = block.saturating_add(1);
                self.wait(view.metagraph, Why::Unreachable, &error.to_string(), until)
                    .await?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn reveal(&mut self, view: &View<'_>, report: &Report) -> Result<(), StoreError> {
        let (uids, values) = report.row();
        let reveal = WeightsReveal {
            uids,
            values,
            salt: report.salt.clone(),
            version_key: report.version_key,
        };
        match within(self.deadlines.1, self.ledger.reveal_weights(&self.hotkey, reveal)).await {
            Ok(block) => {
                self.set(report, block).await?;
                self.nothing_in_the_way(view.metagraph.block).await
            }
            Err(error) if reporting::is_lost(&error) => {
                let reason = error.to_string();
                self.close_unless_in_force(view, report, Stage::Lost, &reason).await?;
                Ok(())
            }
            Err(error) => self.failed(view, &error).await,
        }
    }

    /// Writes the report down, then sends it.
    async fn send(&mut self, view: &View<'_>, mut report: NewReport) -> Result<(), StoreError> {
        let (uids, values): (Vec<u16>, Vec<u16>) =
            report.weights.iter().map(|weight| (weight.uid, weight.value)).unzip();
        let version_key = report.version_key;
        let (id, sent) = match report.form {
            WeightsForm::Plain => {
                let call = WeightsCall {
                    uids,
                    values,
                    version_key,
                };
                let id = self.store.begin_report(&report).await?;
                let sent = within(self.deadlines.1, self.ledger.set_weights(&self.hotkey, call));
                (id, sent.await)
            }
            WeightsForm::Hash => {
                report.salt = hash::salt();
                let reveal = WeightsReveal {
                    uids,
                    values,
                    salt: report.salt.clone(),
                    version_key,
                };
                let commit = hash::commit(&self.hotkey.account(), view.params.netuid, &reveal);
                let id = self.store.begin_report(&report).await?;
                let sent = within(self.deadlines.1, self.ledger.commit_weights(&self.hotkey, commit));
                (id, sent.await)
            }
            WeightsForm::Timelock => {
                let version = view.params.commit_reveal_version;
                let payload = timelock::Payload {
                    hotkey: (version >= VERSION_WITH_HOTKEY).then(|| self.hotkey.account()),
                    uids,
                    values,
                    version_key,
                };
                let commit = match self.seal(view, &payload).await {
                    Ok(commit) => commit,
                    Err(error) => return self.failed(view, &error).await,
                };
                report.reveal_round = Some(commit.reveal_round);
                let id = self.store.begin_report(&report).await?;
                let sent = within(self.deadlines.1, self.ledger.commit_timelocked(&self.hotkey, commit));
                (id, sent.await)
            }
        };
        let report = report.sending(id);
        match sent {
            Ok(block) => {
                self.taken(view.metagraph, &report, block).await?;
                self.nothing_in_the_way(view.metagraph.block).await
            }
            // It stays in the stage `sending`; the next blocks show what became of it.
            Err(error) if reporting::may_have_taken_effect(&error) => {
                let until = view.metagraph.block.saturating_add(1);
                let said = error.to_string();
                self.wait(view.metagraph, Why::Unanswered, &said, until).await
            }
            Err(error) => {
                let reason = error.to_string();
                self.end(&report, Stage::Refused, &reason, view.metagraph.block).await?;
                self.failed(view, &error).await
            }
        }
    }

    /// Seals the weights to the round that is signed when the ledger opens them.
    async fn seal(&self, view: &View<'_>, payload: &timelock::Payload) -> Result<TimelockedCommit, LedgerError> {
        let beacon = within(self.deadlines.0, self.ledger.beacon()).await?;
        let head = within(self.deadlines.0, self.ledger.block()).await?;
        let schedule = within(self.deadlines.0, self.ledger.schedule()).await?;
        let period = view.params.reveal_period_epochs;
        let Some(reveal_round) = schedule.reveal_round(head, period, beacon.now_ms, &beacon) else {
            let reason = format!("no epoch opens a commit made now (reveal period {period} epochs, {schedule:?})");
            return Err(LedgerError::Invalid(reason));
        };
        let ciphertext = timelock::seal(&beacon.public_key, reveal_round, &payload.encode())
            .map_err(|error| LedgerError::Invalid(error.to_string()))?;
        Ok(TimelockedCommit {
            ciphertext,
            reveal_round,
            version: view.params.commit_reveal_version,
        })
    }

    /// The ledger took the call in `block`.
    async fn taken(&self, metagraph: &Metagraph, report: &Report, block: u64) -> Result<(), StoreError> {
        let stage = match report.form {
            WeightsForm::Plain => return self.set(report, block).await,
            WeightsForm::Hash => Stage::Committed,
            WeightsForm::Timelock => Stage::Sealed,
        };
        let epoch = reporting::epoch_of(metagraph, block);
        notes::count(report.form, stage);
        tracing::info!(
            block,
            epoch,
            form = report.form.name(),
            miners = report.weights.len(),
            "weights committed"
        );
        self.store.report_committed(report.id, stage, block, epoch).await
    }

    /// The weights are in force.
    async fn set(&self, report: &Report, block: u64) -> Result<(), StoreError> {
        notes::count(report.form, Stage::Set);
        tracing::info!(
            block,
            form = report.form.name(),
            miners = report.weights.len(),
            "weights set"
        );
        self.store.report_set(report, block).await
    }

    /// The weights are not in force, and will not be.
    async fn end(&self, report: &Report, stage: Stage, reason: &str, block: u64) -> Result<(), StoreError> {
        notes::count(report.form, stage);
        tracing::warn!(
            block,
            form = report.form.name(),
            stage = stage.name(),
            reason,
            "weights not set"
        );
        self.store.report_ended(report.id, stage, reason, block).await
    }

    /// The ledger said no: asks again at the block that its reason names, with the parameters read anew.
    async fn failed(&mut self, view: &View<'_>, error: &LedgerError) -> Result<(), StoreError> {
        let metagraph = view.metagraph;
        self.params = None;
        self.not_before = reporting::retry_after(error, metagraph.block, metagraph.next_epoch_block());
        self.wait(metagraph, Why::of(error), &error.to_string(), self.not_before)
            .await
    }

    async fn nothing_in_the_way(&mut self, block: u64) -> Result<(), StoreError> {
        self.not_before = 0;
        self.notes.nothing_in_the_way(block).await
    }

    async fn wait(&mut self, metagraph: &Metagraph, why: Why, said: &str, until: u64) -> Result<(), StoreError> {
        self.notes.waiting(why, said, metagraph.block, until).await
    }
}

impl NewReport {
    /// The report as it is right after it was written down.
    fn sending(self, id: i64) -> Report {
        Report {
            id,
            window: self.window,
            epoch: self.epoch,
            block: self.block,
            form: self.form,
            stage: Stage::Sending,
            reason: None,
            before_update: self.before_update,
            taken_block: None,
            ended_block: None,
            reveal_round: self.reveal_round,
            version_key: self.version_key,
            salt: self.salt,
            weights: self.weights,
        }
    }
}

/// What `call` gives, or [`LedgerError::Deadline`] when it takes too long.
async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer,
        Err(_elapsed) => Err(LedgerError::Deadline {
            endpoint: "(the subnet's)".to_owned(),
            after_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        }),
    }
}
