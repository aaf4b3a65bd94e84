//! Whether a pause is sent: what was sent before, what the engine says, and whether it can be ahead.

use std::time::Instant;

use alloy::primitives::B256;
use defence::{PauseError, PauseOutcome, PauseProgress, PauseRequest, PauseTarget};
use sender::{Handle, IdempotencyKey, Lane, Request, State};

use super::attack::Attack;
use super::follow::Course;
use super::scheme::{self, Scheme, Worker, scheme};
use super::simulate::{AheadOf, Found};
use super::simulator::{Simulator, Trial};
use super::timing::Marks;
use super::{Gatekeeper, cannot, failed, guard, lock};

/// Requests under keys of their own that one pause may come to, when what was sent before came to nothing.
const TRIES: usize = 16;

/// A pause that is worth sending.
struct Decision {
    /// What it must be ahead of.
    ahead_of: AheadOf,
    /// Gas to give to our own transaction.
    gas: u64,
    /// Gas that the last of the pause's transactions used.
    last_used: u64,
    /// The block on whose state it was tried.
    block: u64,
    marks: Option<Marks>,
}

enum Sent {
    /// This one is under way, or is in a block.
    Goes(Handle),
    /// None; the next one may have this key.
    Nothing(IdempotencyKey),
}

impl Gatekeeper {
    pub(super) async fn send(
        &self,
        request: &PauseRequest,
        progress: &PauseProgress,
    ) -> Result<PauseOutcome, PauseError> {
        if request.chain_id != self.simulator.chain_id() {
            return Ok(cannot(format!(
                "the attack is on chain {}, the sender's nodes are on chain {}",
                request.chain_id,
                self.simulator.chain_id()
            )));
        }
        let asked = Instant::now();
        let (attack, mut rivals) = Attack::of(&request.attack);
        {
            // What was mined before now is past: the pause is for what is still to come.
            let blocks = lock(&self.blocks);
            rivals.hashes.retain(|hash| blocks.place(*hash).is_none());
        }
        let entered = self.flights.enter(&request.target, &rivals);
        let turn = entered.turn.lock().await;
        let flying = self.flights.key(&request.target);
        let mut course = match self.sent_before(request, flying.as_ref()).await? {
            Sent::Goes(handle) => {
                self.outbid(&[handle.status().key], &request.target).await;
                let from = self.first_block(request, &handle);
                Course::new(handle, request, from, progress)
            }
            Sent::Nothing(key) => match self.decide(request, attack, asked).await? {
                Err(reason) => return Ok(cannot(reason)),
                Ok(decision) => match self.submit(key, request, &decision).await? {
                    Err(reason) => return Ok(cannot(reason)),
                    Ok(handle) => Course {
                        marks: decision.marks,
                        fire_gas: Some(decision.last_used),
                        ..Course::new(handle, request, decision.block + 1, progress)
                    },
                },
            },
        };
        drop(turn);
        let mut span = node::trace::stage(request.opened_by, "pause.follow");
        let ended = match request.target {
            PauseTarget::Call { .. } => self.follow(&mut course).await,
            PauseTarget::Guard(guarded) => self.follow_guarded(&mut course, &guarded).await,
        };
        match &ended {
            Ok(PauseOutcome::CannotWin { reason }) => span.failed(reason.clone()),
            Ok(PauseOutcome::Included { block, .. }) => span.set("block", i64::try_from(*block).unwrap_or(i64::MAX)),
            Err(error) => span.failed(error.to_string()),
        }
        ended
    }

    /// The first block that what was sent before may have had an effect in.
    fn first_block(&self, request: &PauseRequest, handle: &Handle) -> u64 {
        let next = self.simulator.reader().head().head().number + 1;
        let seen = self.sighting(request).map_or(next, |sighting| sighting.env.number);
        match handle.status().state {
            State::Included(inclusion) | State::Final(inclusion) => seen.min(inclusion.block),
            _ => seen.min(next),
        }
    }

    /// What was sent for this request before, or is under way for the same target.
    async fn sent_before(&self, request: &PauseRequest, flying: Option<&IdempotencyKey>) -> Result<Sent, PauseError> {
        let find = async |key: &IdempotencyKey| self.sender.find(key).await.map_err(|error| failed(&error));
        let mut free = None;
        for attempt in 0..TRIES {
            let name = match attempt {
                0 => request.key.clone(),
                _ => format!("{}#{attempt}", request.key),
            };
            let key = IdempotencyKey::new(name).map_err(|error| failed(&error))?;
            match find(&key).await? {
                None => {
                    free = Some(key);
                    break;
                }
                // What failed was not mined and will not be; what reverted had no effect: another one may be sent.
                Some(handle) if came_to_nothing(&handle.status().state) => {}
                Some(handle) => return Ok(Sent::Goes(handle)),
            }
        }
        let Some(free) = free else {
            return Err(failed(&"as many pauses as may be tried came to nothing"));
        };
        if let Some(flying) = flying
            && let Some(handle) = find(flying).await?
            && !came_to_nothing(&handle.status().state)
        {
            return Ok(Sent::Goes(handle));
        }
        Ok(Sent::Nothing(free))
    }

    /// Whether to send; or why not.
    async fn decide(
        &self,
        request: &PauseRequest,
        attack: Attack,
        asked: Instant,
    ) -> Result<Result<Decision, String>, PauseError> {
        if attack.transactions.is_empty() {
            return Ok(Err(
                "the attack's transaction is not known, so no pause can be tried against it".to_owned(),
            ));
        }
        let set = std::sync::Arc::clone(&lock(&self.set));
        let invariant = set.invariants.iter().find(|known| known.id() == request.invariant.id);
        let Some(invariant) = invariant.cloned() else {
            return Err(failed(&format!(
                "invariant {} is not streamed (yet)",
                request.invariant.id
            )));
        };
        let pause = match self.scheme(&request.target, scheme::incident(request)).await? {
            Ok(pause) => pause,
            Err(reason) => return Ok(Err(reason)),
        };
        let sighting = self.sighting(request);
        let trial = Trial {
            pause,
            attack,
            invariant,
            sighting: sighting.clone(),
        };
        let mut span = node::trace::stage(request.opened_by, "pause.try");
        let (found, block) = self
            .simulator
            .run(trial, asked + self.config.simulation)
            .await
            .map_err(|error| failed(&format!("the pause cannot be tried: {error}")))?;
        let decided = Instant::now();
        metrics::histogram!("validator_pause_simulation_seconds").record((decided - asked).as_secs_f64());
        let (gas_used, ahead_of) = match found {
            Found::Stops { gas_used, ahead_of } => (gas_used, ahead_of),
            Found::Cannot(why) => {
                span.failed(why.to_string());
                return Ok(Err(format!("tried on block {block}: {why}")));
            }
            Found::Lacks(missing) => return Err(failed(&format!("the pause cannot be tried: {missing} is missing"))),
        };
        let marks = sighting.map(|sighting| Marks {
            seen: sighting.seen,
            claimed: sighting.claimed,
            confirmed: sighting.confirmed,
            asked,
            decided,
        });
        let own = gas_used.first().copied().unwrap_or_default();
        Ok(Ok(Decision {
            ahead_of,
            gas: gas_limit(own, self.config.gas_limit),
            last_used: gas_used.last().copied().unwrap_or_default(),
            block,
            marks,
        }))
    }

    /// The whole of a pause, or why there is none.
    pub(super) async fn scheme(
        &self,
        target: &PauseTarget,
        incident: B256,
    ) -> Result<Result<Scheme, String>, PauseError> {
        let known = target
            .job()
            .and_then(|job| lock(&self.workers).get(job).copied().flatten());
        scheme_of(&self.simulator, target, incident, known).await
    }

    async fn submit(
        &self,
        key: IdempotencyKey,
        request: &PauseRequest,
        decision: &Decision,
    ) -> Result<Result<Handle, String>, PauseError> {
        let target = &request.target;
        self.flights.needs(target, decision.ahead_of);
        // From here on a repeat raises it; what came before is in `beat`.
        let beat = self.flights.fly(target, &key);
        let cap = self.config.max_fee_cap.map(u128::from);
        if let Some(offer) = self.sender.offer(Lane::Pause, beat.as_ref(), cap)
            && !offer.ahead
        {
            return Ok(Err(format!(
                "the attack offers up to {} wei per gas, which cannot be beaten within the cap; raise sender.lanes.pause.max_fee_cap",
                beat.map_or(0, |beat| beat.max_fee)
            )));
        }
        let calldata = scheme::calldata(target, scheme::incident(request));
        let request = Request {
            gas: Some(decision.gas),
            beat,
            ..self.call(key, target.contract(), calldata)
        };
        let handle = self.sender.submit(request).await.map_err(|error| failed(&error))?;
        if self.flights.beat(target) != beat {
            self.outbid(&[handle.status().key], target).await;
        }
        Ok(Ok(handle))
    }

    /// A call in the lane of pauses, within the limits of the configuration.
    pub(super) fn call(&self, key: IdempotencyKey, to: engine::Address, calldata: engine::Bytes) -> Request {
        let expires = self.simulator.reader().head().head().timestamp + self.config.expire_after.as_secs();
        Request {
            max_fee_cap: self.config.max_fee_cap.map(u128::from),
            deadline: Some(expires),
            ..Request::call(key, Lane::Pause, to, calldata)
        }
    }
}

/// The whole of a pause, or why there is none; `known` executes the target's job, or whoever the node names.
pub(super) async fn scheme_of(
    simulator: &Simulator,
    target: &PauseTarget,
    incident: B256,
    known: Option<Worker>,
) -> Result<Result<Scheme, String>, PauseError> {
    let mut worker = known;
    if let Some(job) = target.job().filter(|_| known.is_none()) {
        let found = guard::workers(simulator.reader().node(), &[*job]).await;
        let found = found.map_err(|error| failed(&format!("the job's keeper: {error}")))?;
        worker = found.into_iter().next().flatten();
        if worker.is_none() {
            return Ok(Err(format!(
                "the job {} has no keeper, and no keeper is active",
                job.job
            )));
        }
    }
    scheme(target, incident, simulator.account(), simulator.gas_limit(), worker)
        .map(Ok)
        .map_err(|error| failed(&error))
}

/// Gas to give for a call that used `used`: what was refunded at its end (at most a fifth, EIP-3529) had to be there, and a quarter on
/// top for a state that is another by then.
pub(super) fn gas_limit(used: u64, limit: u64) -> u64 {
    let before_refunds = used.saturating_add(used / 4);
    before_refunds
        .saturating_add(before_refunds / 4)
        .saturating_add(10_000)
        .min(limit)
}

fn came_to_nothing(state: &State) -> bool {
    match state {
        State::Failed { .. } => true,
        State::Included(inclusion) | State::Final(inclusion) => !inclusion.success,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_covers_the_refund_and_a_margin_but_not_more_than_the_limit() {
        assert_eq!(gas_limit(40_000, 1_000_000), 72_500);
        assert_eq!(gas_limit(40_000, 60_000), 60_000);
        assert_eq!(gas_limit(u64::MAX, 1_000_000), 1_000_000);
    }
}
