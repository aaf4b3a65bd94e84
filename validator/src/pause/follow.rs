//! A pause on its way: told as it goes, until it is in a block, and whether that was ahead of the attack.

use std::time::Duration;

use alloy::primitives::B256;
use defence::config::GuardedPause;
use defence::{PauseError, PauseOutcome, PauseProgress, PauseRequest, PauseTarget};
use sender::{Failure, Handle, IdempotencyKey, Inclusion, Outcome, Request, State, Status};
use serde_json::{Value, json};
use state::Call;
use tokio::time::Instant;

use super::blocks::Place;
use super::decide::gas_limit;
use super::guard::{self, Fired, Outlook};
use super::timing::{Latency, Marks};
use super::{Gatekeeper, LATE, Late, cannot, failed, lock};

/// How long the order within a pause's block is waited for.
const ORDER_WITHIN: Duration = Duration::from_secs(5);
/// How often the pending block is looked at, once keepers have had their time.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A pause that was sent.
pub(super) struct Course<'a> {
    pub(super) handle: Handle,
    pub(super) request: &'a PauseRequest,
    /// The first block in which it may have had an effect.
    pub(super) from: u64,
    pub(super) marks: Option<Marks>,
    /// Gas that pausing at a guard used in the trial.
    pub(super) fire_gas: Option<u64>,
    pub(super) progress: &'a PauseProgress,
    /// The newest transaction that was told of.
    pub(super) told: Option<B256>,
}

impl<'a> Course<'a> {
    pub(super) const fn new(handle: Handle, request: &'a PauseRequest, from: u64, progress: &'a PauseProgress) -> Self {
        Self {
            handle,
            request,
            from,
            marks: None,
            fire_gas: None,
            progress,
            told: None,
        }
    }

    /// Tells of a transaction that has left and was not told of.
    fn tell(&mut self, now: &Status) {
        if let Some(transaction) = now.transaction.filter(|new| self.told != Some(*new))
            && let State::Broadcast { fees, .. } = &now.state
        {
            let mut detail = format!(
                "offering {} wei per gas, {} to the builder",
                fees.max_fee, fees.priority_fee
            );
            if self.told.is_none()
                && let Some(marks) = &self.marks
            {
                let latency = Latency::new(marks, &now.timing);
                metrics::histogram!("validator_seen_to_broadcast_seconds").record(latency.total.as_secs_f64());
                let mut span = node::trace::stage(self.request.opened_by, "pause.send");
                span.set("transaction", transaction.to_string());
                drop(span.began_before(marks.confirmed.elapsed()));
                detail = format!("{detail}; {latency}");
            }
            self.told = Some(transaction);
            self.progress.broadcast(transaction, &detail);
        }
        if let State::Included(inclusion) | State::Final(inclusion) = &now.state
            && self.told.is_none()
        {
            // It was so fast, or this process came later.
            self.told = Some(inclusion.transaction);
            self.progress.broadcast(inclusion.transaction, "seen in its block");
        }
    }
}

impl Gatekeeper {
    /// Until our own transaction is in a block, ahead of the attack.
    pub(super) async fn follow(&self, course: &mut Course<'_>) -> Result<PauseOutcome, PauseError> {
        let target = &course.request.target;
        let mut status = course.handle.watch();
        let mut heads = self.heads.subscribe();
        loop {
            let now = status.borrow_and_update().clone();
            course.tell(&now);
            match &now.state {
                State::Included(inclusion) | State::Final(inclusion) if inclusion.success => {
                    return Ok(self.included(inclusion, target).await);
                }
                state => {
                    if let Some(reason) = failure(state) {
                        return Ok(cannot(reason));
                    }
                }
            }
            if let Some(lost) = self.lost(course).await {
                return Ok(lost);
            }
            tokio::select! {
                changed = status.changed() => changed.map_err(|_| failed(&"the sender stopped"))?,
                _ = heads.changed() => {}
            }
        }
    }

    /// Until the guard has paused, whoever made it: a keeper, another reporter, or in the end we.
    pub(super) async fn follow_guarded(
        &self,
        course: &mut Course<'_>,
        guarded: &GuardedPause,
    ) -> Result<PauseOutcome, PauseError> {
        let node = self.simulator.reader().node();
        let mut status = course.handle.watch();
        let mut heads = self.heads.subscribe();
        let mut looked = None;
        // When the keepers' time is over; nothing when there is nothing left to do about it.
        let mut impatient = None;
        let mut waits = guarded.keepers;
        loop {
            let now = status.borrow_and_update().clone();
            course.tell(&now);
            let head = *heads.borrow_and_update();
            if looked != Some(head) {
                match guard::fired(node, guarded.guard, course.from).await {
                    Ok(Some(fired)) => return Ok(self.fired(fired, course).await),
                    Ok(None) => looked = Some(head),
                    Err(error) => tracing::warn!(guard = %guarded.guard, %error, "whether a guard paused is not known"),
                }
            }
            if let Some(reason) = failure(&now.state) {
                return Ok(cannot(reason));
            }
            if let Some(lost) = self.lost(course).await {
                return Ok(lost);
            }
            if let Some(job) = waits.filter(|_| course.told.is_some()) {
                let at = *impatient.get_or_insert_with(|| Instant::now() + job.patience);
                if Instant::now() >= at {
                    match guard::outlook(node, guarded.guard).await {
                        Ok(Outlook::Due) => {
                            self.fire(course, guarded, job.patience).await?;
                            (waits, impatient) = (None, None);
                        }
                        Ok(Outlook::Fires | Outlook::Quiet) => impatient = Some(Instant::now() + LOOK_EVERY),
                        Err(error) => {
                            tracing::warn!(guard = %guarded.guard, %error, "whether a keeper acts is not known");
                            impatient = Some(Instant::now() + LOOK_EVERY);
                        }
                    }
                }
            }
            let again = async {
                match impatient {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = status.changed() => changed.map_err(|_| failed(&"the sender stopped"))?,
                _ = heads.changed() => {}
                () = again => {}
            }
        }
    }

    /// Pauses at the guard, since no keeper does. Behind our confirmation by its nonce, so both may stand in one block.
    async fn fire(&self, course: &Course<'_>, guarded: &GuardedPause, waited: Duration) -> Result<(), PauseError> {
        let name = format!("{}/fire", course.handle.status().key);
        let key = IdempotencyKey::new(name).map_err(|error| failed(&error))?;
        let beat = self.flights.fly(&course.request.target, &key);
        let limit = self.config.gas_limit;
        let request = Request {
            gas: Some(course.fire_gas.map_or(limit, |used| gas_limit(used, limit))),
            beat,
            ..self.call(key, guarded.guard, contracts::guard::fire())
        };
        self.sender.submit(request).await.map_err(|error| failed(&error))?;
        metrics::counter!("validator_pause_without_keepers_total").increment(1);
        let waited = humantime::format_duration(waited);
        course.progress.note(&format!(
            "no keeper was seen to act within {waited}: pausing at the guard itself"
        ));
        Ok(())
    }

    /// What the guard's pause means: was the attack there before?
    async fn fired(&self, fired: Fired, course: &Course<'_>) -> PauseOutcome {
        match self.mined_first(&course.request.target, Some(fired.place)).await {
            Some((place, attacker)) => first(attacker, place, fired.place.block),
            None => PauseOutcome::Included {
                tx_hash: fired.transaction,
                block: fired.place.block,
            },
        }
    }

    /// What an inclusion means: was the attack there before?
    async fn included(&self, inclusion: &Inclusion, target: &PauseTarget) -> PauseOutcome {
        let mut heads = self.heads.subscribe();
        let known = async {
            while lock(&self.blocks).place(inclusion.transaction).is_none() {
                self.streamed.notify_one();
                if heads.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(ORDER_WITHIN, known).await.is_err() {
            tracing::warn!(transaction = %inclusion.transaction, "the node does not tell the order in the pause's block");
        }
        let pause = lock(&self.blocks).place(inclusion.transaction);
        match self.mined_first(target, pause).await {
            Some((place, attacker)) => first(attacker, place, inclusion.block),
            None => PauseOutcome::Included {
                tx_hash: inclusion.transaction,
                block: inclusion.block,
            },
        }
    }

    /// The attack was mined, and no pause was: given up, and followed all the same.
    async fn lost(&self, course: &Course<'_>) -> Option<PauseOutcome> {
        let (place, attacker) = self.mined_first(&course.request.target, None).await?;
        self.follow_late(course.handle.clone(), course.request.incident);
        Some(cannot(format!(
            "the attack {attacker} was mined in block {} before the pause; the pause goes on",
            place.block
        )))
    }

    /// The first of the attack's transactions that is in a block before this place and had an effect.
    async fn mined_first(&self, target: &PauseTarget, before: Option<Place>) -> Option<(Place, B256)> {
        let attack = self.flights.attack(target);
        let mut found: Vec<(Place, B256)> = {
            let blocks = lock(&self.blocks);
            let places = attack.iter().filter_map(|hash| Some((blocks.place(*hash)?, *hash)));
            places
                .filter(|(place, _)| before.is_none_or(|before| *place < before))
                .collect()
        };
        found.sort_unstable();
        for (place, hash) in found {
            if !self.reverted(hash).await {
                return Some((place, hash));
            }
        }
        None
    }

    /// Whether a mined transaction reverted: then it did nothing. Not known is no.
    async fn reverted(&self, transaction: B256) -> bool {
        let node = self.simulator.reader().node();
        let call = Call::new("eth_getTransactionReceipt", json!([transaction]));
        let receipt = node.call::<Value>(call, node.patience()).await;
        receipt.is_ok_and(|receipt| receipt.get("status").and_then(Value::as_str) == Some("0x0"))
    }

    /// Follows a pause that was too late for its attack: it still stops the next one.
    fn follow_late(&self, handle: Handle, incident: u64) {
        if self.followers.len() >= LATE {
            return;
        }
        let (late, limit) = (self.late.clone(), self.config.expire_after);
        self.followers.spawn(async move {
            if let Ok(Outcome::Mined(inclusion)) = handle.included(limit).await
                && inclusion.success
            {
                let detail = format!(
                    "{} in block {}, too late for the first attack",
                    inclusion.transaction, inclusion.block
                );
                // Its receiver ends with the validator; the sender's journal knows it all the same.
                let _ended = late.try_send(Late { incident, detail });
            }
        });
    }
}

/// Why a transaction of ours comes to nothing, if it does.
fn failure(state: &State) -> Option<String> {
    match state {
        State::Failed { reason } => Some(format!("the pause {}", words(reason))),
        State::Included(inclusion) | State::Final(inclusion) if !inclusion.success => {
            let why = inclusion.revert.as_deref().unwrap_or("without a reason");
            Some(format!("the pause reverted in block {}: {why}", inclusion.block))
        }
        _ => None,
    }
}

fn first(attacker: B256, place: Place, pause: u64) -> PauseOutcome {
    cannot(format!(
        "the attack {attacker} was mined before the pause, in block {} (the pause in block {pause})",
        place.block
    ))
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Expired => "was not mined in time".to_owned(),
        Failure::Cancelled => "was cancelled".to_owned(),
        other => format!("was not sent: {other}"),
    }
}
