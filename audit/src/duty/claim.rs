//! The node's own bounty: claimed at its date, without limit of tries; and its group, completed while that still helps.
//!
//! What always holds: one transaction for an epoch at a time, another only when the one before has come to nothing; who is told never holds
//! it up.

use alloy::primitives::{U256, utils::format_units};
use contracts::AuditManager;
use defence::violation::Severity;
use node::clock;
use sender::machine::Inclusion;
use sender::{Handle, Lane, Outcome};

use super::agenda::{Claiming, claiming, lacks_auditors};
use super::words::{is_benign, of_revert, reverted};
use super::{DutyError, Office, Pause, View};
use crate::config::DutyConfig;
use crate::events::{Said, said};
use crate::store::{Bounty, Claim, ClaimState};

/// Claims the bounty of one node.
#[derive(Debug)]
pub struct Claimer {
    office: Office,
    config: DutyConfig,
    handle: Option<(u64, Handle)>,
    filling: Option<Handle>,
    pause: Pause,
    fill_pause: Pause,
    /// The reward date that was told.
    told: u64,
}

impl Claimer {
    /// Goes on with what stands in the database.
    #[must_use]
    pub fn new(office: Office, config: DutyConfig) -> Self {
        Self {
            office,
            config,
            handle: None,
            filling: None,
            pause: Pause::default(),
            fill_pause: Pause::default(),
            told: 0,
        }
    }

    /// Whether a transaction is under way.
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.handle.is_some()
    }

    /// Does what is due at a head. What was begun is ended even where the duty is switched off.
    ///
    /// # Errors
    /// [`DutyError`]: it is tried again at the next head.
    pub async fn step(&mut self, view: &View) -> Result<(), DutyError> {
        let sent = self.office.store.sent_claims().await?;
        // The contract's events may have told first what became of it; then nobody waits for its transaction.
        self.handle
            .take_if(|(epoch, _)| !sent.iter().any(|claim| claim.epoch == *epoch));
        for claim in sent {
            self.follow(claim).await?;
        }
        if !self.config.enabled {
            return Ok(());
        }
        match claiming(&view.member, view.head.timestamp) {
            Claiming::Due => self.claim(view).await?,
            Claiming::At(date) if date != self.told => {
                self.told = date;
                tracing::info!(date, epoch = view.member.epoch, "the next reward date (block time)");
            }
            Claiming::At(_) | Claiming::Never => {}
        }
        self.fill(view).await
    }

    async fn claim(&mut self, view: &View) -> Result<(), DutyError> {
        let epoch = u64::from(view.member.epoch);
        let before = self.office.store.claim(epoch).await?;
        let (attempt, reason) = match before {
            None => (1, String::new()),
            Some(claim) if claim.state == ClaimState::Open => (claim.attempt + 1, claim.reason),
            // Claimed, final, and due all the same: its block has left the chain, deeper than was thought possible.
            Some(claim) if claim.state == ClaimState::Done && view.head.number > claim.block.saturating_add(64) => {
                tracing::error!(
                    epoch,
                    block = claim.block,
                    "a final claim is not on the chain; claiming again"
                );
                (claim.attempt + 1, "its block left the chain".to_owned())
            }
            Some(_) => return Ok(()),
        };
        if !self.pause.is_over() {
            return Ok(());
        }
        let claim = Claim {
            epoch,
            attempt,
            state: ClaimState::Sent,
            tx_hash: String::new(),
            block: 0,
            reason,
            wall_ms: clock::unix_ms(),
        };
        self.office.store.set_claim(&claim).await?;
        tracing::info!(epoch, attempt, "claiming");
        self.follow(claim).await
    }

    /// Submits a claim, where that was not done, and looks at what it came to.
    async fn follow(&mut self, claim: Claim) -> Result<(), DutyError> {
        let handle = match &self.handle {
            Some((epoch, handle)) if *epoch == claim.epoch => handle.clone(),
            _ => {
                let call = AuditManager::claimCall { id: self.office.me };
                let effect = format!("claim/{}/{}", claim.epoch, claim.attempt);
                let handle = self.office.submit(&effect, Lane::Claim, &call, None).await?;
                self.handle = Some((claim.epoch, handle.clone()));
                handle
            }
        };
        match handle.outcome() {
            None => return Ok(()),
            Some(Outcome::Mined(inclusion)) if inclusion.success => self.paid(claim, &inclusion).await?,
            Some(Outcome::Mined(inclusion)) => self.failed(claim, &reverted(&inclusion)).await?,
            Some(Outcome::Failed(reason)) => self.failed(claim, &of_revert(&reason.to_string())).await?,
        }
        self.handle = None;
        Ok(())
    }

    /// The claim is final and went through. An event that cannot be read is no reason to claim again.
    async fn paid(&self, claim: Claim, inclusion: &Inclusion) -> Result<(), DutyError> {
        let transaction = inclusion.transaction;
        let receipt = self.office.manager.receipt(transaction).await?;
        let bounty =
            receipt
                .iter()
                .flat_map(|receipt| receipt.inner.logs())
                .find_map(|log| match said(log, self.office.me) {
                    Some(Said::Paid(bounty)) => Some(bounty),
                    _ => None,
                });
        let done = Claim {
            state: ClaimState::Done,
            tx_hash: transaction.to_string(),
            block: inclusion.block,
            reason: String::new(),
            wall_ms: clock::unix_ms(),
            ..claim
        };
        match bounty {
            Some(mut bounty) => {
                if bounty.at == 0 {
                    bounty.at = self.office.manager.time_of(bounty.block).await?.unwrap_or_default();
                }
                self.office.store.advance(&[], std::slice::from_ref(&bounty), 0).await?;
                self.office.store.set_claim(&done).await?;
                self.tell_bounty(&bounty);
            }
            None => {
                self.office.store.set_claim(&done).await?;
                tracing::warn!(epoch = done.epoch, %transaction, "the bounty is claimed; how much it was cannot be read");
                let subject = format!(
                    "the bounty of epoch {} is claimed; how much it was cannot be read",
                    done.epoch
                );
                self.office.tell(Severity::Medium, subject, transaction.to_string());
            }
        }
        metrics::counter!("audit_claims_total", "result" => "paid").increment(1);
        Ok(())
    }

    fn tell_bounty(&self, bounty: &Bounty) {
        let amount = three_decimals(bounty.amount, self.office.decimals);
        let Bounty {
            epoch,
            downtime,
            latency_us,
            tx_hash,
            ..
        } = bounty;
        tracing::info!(epoch, amount, units = %bounty.amount, downtime, latency_us, tx_hash, "bounty received");
        self.office.tell(
            Severity::Low,
            format!("bounty of epoch {epoch}: {amount}"),
            format!("downtime {downtime} intervals, latency {latency_us} us, transaction {tx_hash}"),
        );
    }

    async fn failed(&mut self, claim: Claim, reason: &str) -> Result<(), DutyError> {
        let (epoch, attempt) = (claim.epoch, claim.attempt);
        self.office
            .store
            .set_claim(&Claim {
                state: ClaimState::Open,
                reason: reason.to_owned(),
                wall_ms: clock::unix_ms(),
                ..claim
            })
            .await?;
        self.pause.begin(self.config.retry);
        metrics::counter!("audit_claims_total", "result" => "failed").increment(1);
        tracing::error!(epoch, attempt, reason, "the claim failed; it is made again");
        self.office.tell(
            Severity::Critical,
            format!("the claim of epoch {epoch} failed (attempt {attempt}); it is made again"),
            reason,
        );
        Ok(())
    }

    /// Has the group completed that audits this node, while that is possible. Nothing of it is remembered: the contract says whether it is
    /// still needed.
    async fn fill(&mut self, view: &View) -> Result<(), DutyError> {
        if let Some(handle) = &self.filling {
            match handle.outcome() {
                None => return Ok(()),
                Some(Outcome::Mined(inclusion)) if inclusion.success => tracing::info!("the own group is complete"),
                Some(Outcome::Mined(inclusion)) => self.not_filled(&inclusion.revert.unwrap_or_default()),
                Some(Outcome::Failed(reason)) => self.not_filled(&reason.to_string()),
            }
            self.filling = None;
        }
        if !self.fill_pause.is_over() || !lacks_auditors(&view.terms, &view.member, view.head.timestamp) {
            return Ok(());
        }
        let call = AuditManager::fillGroupCall {
            subject: self.office.me,
        };
        let effect = format!("fill/{}/{}", view.member.epoch, view.head.number);
        let deadline = Some(view.terms.fill_until(view.member.start));
        self.fill_pause.begin(self.config.retry);
        self.filling = Some(self.office.submit(&effect, Lane::Report, &call, deadline).await?);
        Ok(())
    }

    fn not_filled(&self, words: &str) {
        if is_benign(words) {
            tracing::debug!(words, "the own group needed no completing");
        } else {
            tracing::warn!(reason = of_revert(words), "the own group could not be completed");
        }
    }
}

/// An amount with three decimals, cut.
pub(crate) fn three_decimals(amount: U256, decimals: u8) -> String {
    let text = format_units(amount, decimals).unwrap_or_else(|_| amount.to_string());
    match text.split_once('.') {
        Some((whole, fraction)) => format!("{whole}.{}", fraction.chars().take(3).collect::<String>()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_told_with_three_decimals() {
        let tokens = |milli: u64| U256::from(milli) * U256::from(10).pow(U256::from(15));
        assert_eq!(three_decimals(tokens(12_345), 18), "12.345");
        assert_eq!(three_decimals(tokens(12_345) + U256::from(999_999), 18), "12.345");
        assert_eq!(three_decimals(U256::from(7), 0), "7.0");
    }
}
