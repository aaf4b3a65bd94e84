//! Verdicts on their way: numbers, transaction, receipt.
//!
//! A verdict's numbers are fixed when its window opens. Verdicts go together, at most [`MAX_BATCH`] in a transaction whose content never
//! changes; one that comes to nothing gives its verdicts free for another. A verdict is marked as counted by the receipt of a final
//! transaction, or by the contract's events.

use std::collections::HashMap;

use alloy::primitives::B256;
use contracts::AuditManager;
use defence::violation::Severity;
use node::clock;
use sender::machine::{Failure, Inclusion};
use sender::{Handle, Lane, Outcome};

use super::agenda::{reportable, verdict};
use super::words::{of_revert, reverted};
use super::{DutyError, Office, Pause, View};
use crate::config::DutyConfig;
use crate::events::{Said, TOO_EARLY, outcome, said};
use crate::store::{Report, ReportState};

/// What the contract takes in one transaction (`MAX_BATCH`).
const MAX_BATCH: usize = 64;

/// Reports verdicts.
#[derive(Debug)]
pub struct Reporter {
    office: Office,
    config: DutyConfig,
    /// Transactions of this process, by the batch that they carry.
    handles: HashMap<u64, Handle>,
    pause: Pause,
}

impl Reporter {
    /// Goes on with what stands in the database.
    #[must_use]
    pub fn new(office: Office, config: DutyConfig) -> Self {
        Self {
            office,
            config,
            handles: HashMap::new(),
            pause: Pause::default(),
        }
    }

    /// Whether a transaction is under way.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.handles.is_empty()
    }

    /// Does what is due at a head. What was begun is ended even where the duty is switched off.
    ///
    /// # Errors
    /// [`DutyError`]: it is tried again at the next head.
    pub async fn step(&mut self, view: &View) -> Result<(), DutyError> {
        let now = view.head.timestamp;
        let sent = self.office.store.sent_batches().await?;
        // The contract's events may have told first what became of a batch; then nobody waits for its transaction.
        self.handles.retain(|batch, _| sent.contains(batch));
        for batch in sent {
            self.follow(batch).await?;
        }
        for missed in self.office.store.close_reports(now).await? {
            metrics::counter!("audit_reports_total", "result" => "missed").increment(1);
            tracing::error!(
                peer = missed.subject,
                epoch = missed.epoch,
                reason = missed.reason,
                "a verdict was not sent in time"
            );
            let subject = format!(
                "the verdict on peer {} for its epoch {} was not sent in time",
                missed.subject, missed.epoch
            );
            self.office.tell(Severity::High, subject, missed.reason);
        }
        if !self.config.enabled {
            return Ok(());
        }
        let due = self.fix(view).await?;
        if !self.pause.is_over() {
            return Ok(());
        }
        for chosen in due.chunks(MAX_BATCH) {
            if let Some((batch, reports)) = self.office.store.seal_batch(chosen).await? {
                tracing::info!(batch, verdicts = reports.len(), "reporting");
                self.follow(batch).await?;
            }
        }
        Ok(())
    }

    /// Fixes the numbers of what is due and has none; gives what is due and in no transaction.
    async fn fix(&self, view: &View) -> Result<Vec<(u32, u64)>, DutyError> {
        let store = &self.office.store;
        let mut open = Vec::new();
        for duty in reportable(&view.duties, view.head.timestamp) {
            let (subject, epoch) = (duty.peer.id, u64::from(duty.epoch));
            let state = match store.report(subject, epoch).await? {
                Some(report) => report.state,
                None => {
                    let last = duty.window.start.saturating_sub(1);
                    let samples = store.samples(Some(subject), duty.start, last).await?;
                    let report = verdict(
                        &view.terms,
                        duty,
                        samples.iter().map(|sample| sample.row),
                        clock::unix_ms(),
                    );
                    store.add_report(&report).await?;
                    tell_numbers(&report);
                    report.state
                }
            };
            if state == ReportState::Open {
                open.push((subject, epoch));
            }
        }
        Ok(open)
    }

    /// Submits a batch, where that was not done, and looks at what it came to.
    async fn follow(&mut self, batch: u64) -> Result<(), DutyError> {
        if !self.handles.contains_key(&batch) {
            let handle = self.submit(batch).await?;
            self.handles.insert(batch, handle);
        }
        // Until its end the sender raises its fees, and finds it again after a reorganisation.
        match self.handles.get(&batch).and_then(Handle::outcome) {
            None => return Ok(()),
            Some(Outcome::Mined(inclusion)) if inclusion.success => self.count(batch, &inclusion).await?,
            Some(Outcome::Mined(inclusion)) => self.reopen(batch, &reverted(&inclusion), Severity::High).await?,
            Some(Outcome::Failed(reason)) => {
                let severity = if reason == Failure::Expired {
                    Severity::Medium
                } else {
                    Severity::High
                };
                self.reopen(batch, &of_revert(&reason.to_string()), severity).await?;
            }
        }
        self.handles.remove(&batch);
        Ok(())
    }

    async fn submit(&self, batch: u64) -> Result<Handle, DutyError> {
        let reports = self.office.store.batch(batch).await?;
        let verdicts = reports.iter().map(|report| AuditManager::Verdict {
            subject: report.subject,
            epoch: u32::try_from(report.epoch).unwrap_or(u32::MAX),
            failed: report.failed,
            known: report.known,
            latency: report.latency_us,
        });
        let call = AuditManager::reportCall {
            auditor: self.office.me,
            verdicts: verdicts.collect(),
        };
        // The first window that closes is the whole batch's: what is left then goes in another one.
        let deadline = reports.iter().map(|report| report.closes.saturating_sub(1)).min();
        let effect = format!("report/{batch}");
        self.office.submit(&effect, Lane::Report, &call, deadline).await
    }

    /// A transaction is final and went through: its receipt tells what became of each verdict.
    async fn count(&self, batch: u64, inclusion: &Inclusion) -> Result<(), DutyError> {
        let store = &self.office.store;
        let transaction = inclusion.transaction;
        let Some(receipt) = self.office.manager.receipt(transaction).await? else {
            // Final for the sender's node, and not known to the reader's: the next head tells.
            return Err(not_there(transaction).into());
        };
        let mut counted = Vec::new();
        let mut skipped = HashMap::new();
        for log in receipt.inner.logs() {
            match said(log, self.office.me) {
                Some(Said::Counted(one)) => counted.push(one),
                Some(Said::Skipped { subject, outcome }) => {
                    skipped.insert(subject, outcome);
                }
                Some(Said::Paid(_)) | None => {}
            }
        }
        let taken = counted.iter().filter(|one| one.refused.is_none()).count();
        store.advance(&counted, &[], 0).await?;
        for report in store.batch(batch).await? {
            if report.state != ReportState::Sent {
                continue;
            }
            match skipped.get(&report.subject).copied() {
                // The block's own time decides; it is not what was seen.
                Some(TOO_EARLY) => {
                    store
                        .reopen_report(report.subject, report.epoch, outcome(TOO_EARLY))
                        .await?
                }
                Some(why) => store.refuse_report(report.subject, report.epoch, outcome(why)).await?,
                None => {
                    let why = format!("transaction {transaction} says nothing of it");
                    store.refuse_report(report.subject, report.epoch, &why).await?;
                }
            }
        }
        metrics::counter!("audit_reports_total", "result" => "counted").increment(taken as u64);
        metrics::counter!("audit_reports_total", "result" => "refused").increment(skipped.len() as u64);
        tracing::info!(batch, %transaction, block = inclusion.block, taken, skipped = skipped.len(), "verdicts are reported");
        Ok(())
    }

    async fn reopen(&mut self, batch: u64, reason: &str, severity: Severity) -> Result<(), DutyError> {
        self.office.store.reopen_batch(batch, reason).await?;
        self.pause.begin(self.config.retry);
        metrics::counter!("audit_reports_total", "result" => "failed").increment(1);
        tracing::warn!(batch, reason, "a report came to nothing; it is made anew");
        self.office
            .tell(severity, "a report came to nothing; it is made anew", reason);
        Ok(())
    }
}

fn not_there(transaction: B256) -> crate::manager::ReadError {
    let why = format!("the node does not know the final transaction {transaction} yet");
    state::NodeError::malformed("eth_getTransactionReceipt", why).into()
}

fn tell_numbers(report: &Report) {
    let Report {
        subject: peer,
        epoch,
        failed,
        known,
        latency_us,
        reason,
        ..
    } = report;
    if report.state == ReportState::Open {
        tracing::info!(peer, epoch, failed, known, latency_us, "a verdict stands");
    } else {
        metrics::counter!("audit_reports_total", "result" => "unknown").increment(1);
        tracing::warn!(peer, epoch, reason, "no verdict on this peer");
    }
}
