//! Carrying out a plan: sign, write down, broadcast; and what the endpoints answer.

use std::time::{Duration, Instant};

use alloy::consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::primitives::{B256, Bytes, TxKind, U64, U256};
use alloy::signers::SignerSync as _;
use serde_json::json;

use super::slot::{Attempt, Slot};
use super::{Desk, Report, highest};
use crate::config::RelayMethod;
use crate::fees::Fees;
use crate::journal::{Change, JournalError, StoredAttempt};
use crate::lane::Lane;
use crate::machine::{Event, Failure};
use crate::plan::{Action, Holder, JobId, Line};
use crate::rpc::{CallError, Endpoint};
use crate::verdict::{self, Verdict};

/// The longest pause between two tries to send the same bytes.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Gas of a transfer without input.
const TRANSFER_GAS: u64 = 21_000;

impl Desk {
    pub(super) async fn act(&mut self, action: Action) -> Result<(), JournalError> {
        let block = self.seen.as_ref().map_or(0, |seen| seen.head.number);
        match action {
            Action::Assign { job, nonce, offer } => {
                if let Some(known) = self.jobs.get_mut(&job) {
                    (known.capped, known.ahead) = (offer.capped, offer.ahead);
                }
                let line = self.line(Holder::Job(job), Some(job), offer.fees, block);
                self.send(nonce, line, Some(job), offer.fees, Vec::new()).await
            }
            Action::TakeOver {
                job,
                nonce,
                offer,
                victim,
            } => {
                metrics::counter!("sender_takeovers_total").increment(1);
                tracing::info!(nonce, job, ?victim, "a more urgent transaction takes a nonce over");
                if let Some(known) = self.jobs.get_mut(&job) {
                    (known.capped, known.ahead) = (offer.capped, offer.ahead);
                }
                let mut changes = Vec::new();
                if let Some(victim) = victim {
                    self.happen(victim, Event::Displaced, &mut changes);
                }
                let line = self.line(Holder::Job(job), Some(job), offer.fees, block);
                self.send(nonce, line, Some(job), offer.fees, changes).await
            }
            Action::Bump { nonce, fees } => {
                let Some(slot) = self.slots.get(&nonce) else {
                    return Ok(());
                };
                let line = Line {
                    top: fees,
                    changed: block,
                    underpriced: false,
                    ..slot.line.clone()
                };
                let job = match line.holder {
                    Holder::Job(job) => Some(job),
                    Holder::Cancel | Holder::Vacant => None,
                };
                metrics::counter!("sender_bumps_total").increment(1);
                if let Some(known) = job.and_then(|id| self.jobs.get_mut(&id)) {
                    known.bumps = known.bumps.saturating_add(1);
                    known.capped = false;
                }
                self.send(nonce, line, job, fees, Vec::new()).await
            }
            Action::Withdraw { nonce, fees, reason } => {
                let Some(slot) = self.slots.get(&nonce) else {
                    return Ok(());
                };
                let line = Line {
                    holder: Holder::Cancel,
                    changed: block,
                    deadline: None,
                    beat: None,
                    behind: None,
                    cap: None,
                    ..slot.line.clone()
                };
                let mut changes = Vec::new();
                if let Holder::Job(job) = slot.line.holder {
                    if let Some(known) = self.jobs.get_mut(&job) {
                        known.withdrawn = known.withdrawn.take().or(reason);
                    }
                    self.happen(job, Event::Displaced, &mut changes);
                }
                self.send(nonce, line, None, fees, changes).await
            }
            Action::Fill { nonce, fees, lane } => {
                let line = Line {
                    lane,
                    ..self.line(Holder::Cancel, None, fees, block)
                };
                self.send(nonce, line, None, fees, Vec::new()).await
            }
            Action::Repeat { nonce } => {
                if let Some(slot) = self.slots.get_mut(&nonce) {
                    slot.line.changed = block;
                    if let Holder::Job(job) = slot.line.holder
                        && let Some(known) = self.jobs.get_mut(&job)
                    {
                        known.capped = true;
                        tracing::warn!(nonce, key = %known.request.key, "waits at its fee cap: raise max_fee_cap, or wait");
                    }
                }
                self.broadcast_newest(nonce);
                Ok(())
            }
            Action::Expire { job } => {
                let mut changes = Vec::new();
                self.happen(job, Event::Failed(Failure::Expired), &mut changes);
                self.setup.journal.write(&changes).await
            }
            Action::Publish { nonce } => {
                self.publish(nonce);
                Ok(())
            }
        }
    }

    /// Signs, writes down, then broadcasts.
    async fn send(
        &mut self,
        nonce: u64,
        line: Line,
        job: Option<JobId>,
        fees: Fees,
        mut changes: Vec<Change>,
    ) -> Result<(), JournalError> {
        let block = line.changed;
        let Some((hash, raw)) = self.sign(nonce, job, fees) else {
            return Ok(());
        };
        if let Some(known) = job.and_then(|id| self.jobs.get_mut(&id)) {
            known.transaction = Some(hash);
            known.first_block = known.first_block.or(Some(block));
            known.timing.signed = known.timing.signed.or_else(|| known.submitted.map(|at| at.elapsed()));
        }
        if let Some(id) = job {
            self.happen(id, Event::Signed { nonce, fees }, &mut changes);
        }
        changes.push(Change::Attempt(StoredAttempt {
            account: self.account,
            nonce,
            job,
            hash,
            raw: raw.clone(),
            fees,
            block,
        }));
        let lane = line.lane;
        let slot = self.slots.entry(nonce).or_insert_with(|| Slot::new(line.clone()));
        let top = highest(&slot.line.top, &fees);
        slot.line = Line {
            top,
            private_since: slot.line.private_since,
            ..line
        };
        slot.attempts.push(Attempt::new(job, hash, raw, fees));
        self.setup.journal.write(&changes).await?;
        if let Some(known) = job.and_then(|id| self.jobs.get_mut(&id)) {
            known.timing.sent = known.timing.sent.or_else(|| known.submitted.map(|at| at.elapsed()));
        }
        let slot = self.slots.get_mut(&nonce);
        let private = self
            .setup
            .relay
            .as_ref()
            .is_some_and(|relay| relay.lanes.contains(&lane))
            && job.is_some();
        if let Some(slot) = slot {
            // What is new at this nonce begins with the relay; what was published stays public.
            let first = slot.attempts.iter().filter(|attempt| attempt.job == job).count() == 1;
            slot.line.private_since = match slot.line.private_since {
                _ if !private => None,
                _ if first => Some(block),
                since => since,
            };
        }
        self.broadcast_newest(nonce);
        Ok(())
    }

    fn sign(&self, nonce: u64, job: Option<JobId>, fees: Fees) -> Option<(B256, Bytes)> {
        let request = job.and_then(|id| self.jobs.get(&id));
        let transaction = match (job, request) {
            (Some(_), None) => return None,
            (_, Some(known)) => TxEip1559 {
                chain_id: self.setup.chain_id,
                nonce,
                gas_limit: known.gas.unwrap_or(TRANSFER_GAS),
                max_fee_per_gas: fees.max_fee,
                max_priority_fee_per_gas: fees.priority_fee,
                to: known.request.to.map_or(TxKind::Create, TxKind::Call),
                value: known.request.value,
                access_list: alloy::eips::eip2930::AccessList::default(),
                input: known.request.data.clone(),
            },
            (None, None) => TxEip1559 {
                chain_id: self.setup.chain_id,
                nonce,
                gas_limit: TRANSFER_GAS,
                max_fee_per_gas: fees.max_fee,
                max_priority_fee_per_gas: fees.priority_fee,
                to: TxKind::Call(self.account),
                value: U256::ZERO,
                access_list: alloy::eips::eip2930::AccessList::default(),
                input: Bytes::new(),
            },
        };
        match self.setup.signer.sign_hash_sync(&transaction.signature_hash()) {
            Ok(signature) => {
                let envelope = TxEnvelope::from(transaction.into_signed(signature));
                Some((*envelope.tx_hash(), envelope.encoded_2718().into()))
            }
            Err(error) => {
                tracing::error!(%error, nonce, "signing failed");
                None
            }
        }
    }

    /// Hands the newest transaction of what a nonce carries to the relay or to every node.
    pub(super) fn broadcast_newest(&mut self, nonce: u64) {
        let Some(slot) = self.slots.get_mut(&nonce) else { return };
        let private = slot.line.private_since.is_some();
        let Some(attempt) = slot.newest() else { return };
        attempt.again = None;
        attempt.rounds = attempt.rounds.saturating_add(1);
        attempt.verdicts.clear();
        let (hash, raw) = (attempt.hash, attempt.raw.clone());
        if let Some(relay) = self.setup.relay.as_ref().filter(|_| private) {
            attempt.awaited = 1;
            let (relay, head) = (relay.clone(), self.seen.as_ref().map_or(0, |seen| seen.head.number));
            let last = U64::from(head.saturating_add(relay.public_after.max(1)).saturating_add(25));
            self.tasks.spawn(async move {
                let verdict = match relay.method {
                    RelayMethod::SendRawTransaction => {
                        told(&relay.endpoint, "eth_sendRawTransaction", json!([raw])).await
                    }
                    RelayMethod::SendPrivateTransaction => {
                        let order = json!([{ "tx": raw, "maxBlockNumber": last }]);
                        told(&relay.endpoint, "eth_sendPrivateTransaction", order).await
                    }
                };
                Report::Sent {
                    nonce,
                    hash,
                    private: true,
                    verdict,
                }
            });
            return;
        }
        attempt.awaited = self.setup.nodes.all().len();
        for endpoint in self.setup.nodes.all() {
            let (endpoint, raw) = (std::sync::Arc::clone(endpoint), raw.clone());
            self.tasks.spawn(async move {
                let verdict = told(&endpoint, "eth_sendRawTransaction", json!([raw])).await;
                Report::Sent {
                    nonce,
                    hash,
                    private: false,
                    verdict,
                }
            });
        }
    }

    /// From the relay alone to everybody.
    fn publish(&mut self, nonce: u64) {
        if let Some(slot) = self.slots.get_mut(&nonce) {
            slot.line.private_since = None;
            tracing::info!(nonce, "what the relay did not get mined goes to the public mempool");
        }
        self.broadcast_newest(nonce);
    }

    /// Sends again what nobody took.
    pub(super) fn retry(&mut self) {
        let now = Instant::now();
        let due: Vec<u64> = self
            .slots
            .iter_mut()
            .filter(|(_, slot)| slot.mined.is_none())
            .filter_map(|(nonce, slot)| slot.newest()?.again.is_some_and(|again| again <= now).then_some(*nonce))
            .collect();
        // What is not the newest any more is not sent again.
        for attempt in self.slots.values_mut().flat_map(|slot| slot.attempts.iter_mut()) {
            if attempt.again.is_some_and(|again| again <= now) {
                attempt.again = None;
            }
        }
        for nonce in due {
            self.broadcast_newest(nonce);
        }
    }

    pub(super) async fn answered(
        &mut self,
        nonce: u64,
        hash: B256,
        private: bool,
        verdict: Verdict,
    ) -> Result<(), JournalError> {
        let relay_is_all = self.setup.relay.as_ref().is_some_and(|relay| relay.never_public);
        let pause = self.setup.poll.min(LONGEST_PAUSE);
        let Some(slot) = self.slots.get_mut(&nonce) else {
            return Ok(());
        };
        let Some(attempt) = slot.attempt(hash) else {
            return Ok(());
        };
        attempt.awaited = attempt.awaited.saturating_sub(1);
        let job = attempt.job;
        let mut changes = Vec::new();
        if verdict == Verdict::Accepted {
            let first = !std::mem::replace(&mut attempt.accepted, true);
            attempt.again = None;
            let holds = job.is_some_and(|id| slot.line.holder == Holder::Job(id));
            let is_private = slot.line.private_since.is_some();
            if let Some(known) = job.and_then(|id| self.jobs.get_mut(&id)).filter(|_| holds && first) {
                known.timing.accepted = known.timing.accepted.or_else(|| known.submitted.map(|at| at.elapsed()));
                known.private = is_private;
                known.note = None;
                if let Some(id) = job
                    && matches!(known.state, crate::machine::State::Signed { .. })
                {
                    // The journal need not know: after a restart the same bytes are sent again anyway.
                    self.happen(id, Event::Accepted, &mut changes);
                }
            } else if let Some(known) = job.and_then(|id| self.jobs.get_mut(&id)) {
                known.private = is_private;
            }
            return Ok(());
        }
        attempt.verdicts.push(verdict.clone());
        let (accepted, awaited, rounds) = (attempt.accepted, attempt.awaited, attempt.rounds);
        let verdicts = attempt.verdicts.clone();
        if let Some(known) = job.and_then(|id| self.jobs.get_mut(&id)) {
            known.note = Some(format!("{verdict:?}").chars().take(300).collect());
        }
        if accepted || awaited > 0 {
            return Ok(());
        }
        if private && slot.line.private_since.is_some() && !relay_is_all {
            tracing::warn!(
                nonce,
                ?verdict,
                "the relay does not take it: it goes to the public mempool"
            );
            self.publish(nonce);
            return Ok(());
        }
        if verdicts.contains(&Verdict::NonceTooLow) {
            // Mined meanwhile, by us or by somebody else: the chain will tell.
            self.doubt = true;
        }
        if verdicts
            .iter()
            .any(|verdict| verdict.is_passing() || *verdict == Verdict::NonceTooLow)
        {
            let wait = pause
                .saturating_mul(1 << rounds.min(5))
                .min(LONGEST_PAUSE)
                .mul_f64(rand::random_range(0.8..1.2));
            if let Some(attempt) = slot.attempt(hash) {
                attempt.again = Some(Instant::now() + wait);
            }
            return Ok(());
        }
        self.refused(nonce, hash, verdicts).await
    }

    /// Every endpoint refused it for good.
    async fn refused(&mut self, nonce: u64, hash: B256, verdicts: Vec<Verdict>) -> Result<(), JournalError> {
        let head = self.seen.as_ref().map(|seen| seen.head.number);
        let account = self.account;
        let Some(slot) = self.slots.get_mut(&nonce) else {
            return Ok(());
        };
        if verdicts
            .iter()
            .any(|verdict| matches!(verdict, Verdict::Underpriced(_)))
        {
            slot.line.underpriced = true;
            return Ok(());
        }
        slot.line.refused = head;
        let failure = verdicts.into_iter().next().map_or_else(
            || Failure::Refused(String::new()),
            |verdict| match verdict {
                Verdict::InsufficientFunds(words) => {
                    Failure::InsufficientFunds(format!("{account}: {words}; send it ether"))
                }
                Verdict::Refused(words) => Failure::Refused(words),
                other => Failure::Refused(format!("{other:?}")),
            },
        );
        let job = slot.attempt(hash).and_then(|attempt| attempt.job);
        // An older transaction at this nonce that a node has: what is there stays.
        let kept = slot
            .attempts
            .iter()
            .rev()
            .find(|attempt| attempt.accepted)
            .map(|attempt| (attempt.job, attempt.fees));
        let mut changes = Vec::new();
        match kept {
            Some((owner, _)) if owner == job => {}
            Some((owner, fees)) => {
                slot.line.holder = owner.map_or(Holder::Cancel, Holder::Job);
                slot.line.lane = owner
                    .and_then(|id| self.jobs.get(&id))
                    .map_or(Lane::Report, |job| job.request.lane);
                if let Some(id) = owner {
                    self.happen(id, Event::Restored { fees }, &mut changes);
                }
                if let Some(id) = job {
                    self.happen(id, Event::Failed(failure), &mut changes);
                }
            }
            None => {
                slot.line.holder = Holder::Vacant;
                if let Some(id) = job {
                    self.happen(id, Event::Failed(failure), &mut changes);
                }
            }
        }
        self.setup.journal.write(&changes).await
    }
}

/// Sends a transaction to one endpoint.
async fn told(endpoint: &Endpoint, method: &'static str, params: serde_json::Value) -> Verdict {
    match endpoint.call::<serde_json::Value>(method, params).await {
        Ok(_) => Verdict::Accepted,
        Err(CallError::Answer { message, .. }) => verdict::of_message(&message),
        Err(error @ CallError::Unreachable { .. }) => Verdict::Unreachable(error.to_string()),
    }
}
