//! Asking a canary: made, executed here, asked of miners like any other challenge, and held against what is known.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use engine::{B256, Bytes, Prestate};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use wire::{Challenge, ShippedPrestate, Verdicts};

use crate::canary::deck::Card;
use crate::canary::probe::{changes, probes};
use crate::canary::shape::{Means, shape};
use crate::canary::{self, Here, resign};
use crate::consensus::{self, Dispute};
use crate::judge::{Asked, Judge, dispute, sample};
use crate::miners::{Reply, Sealed};
use crate::store::{Canary, StoreError};

/// Cards that are tried for one canary.
const TRIES: usize = 12;

/// Of those, how many are tried by shifting the state before an invariant is planted.
const SHIFTS: usize = 8;

/// The share of canaries whose sender stays, where the head has moved since: a transaction that waits is asked about anew then.
const SAME_SENDER: f64 = 0.3;

/// A question, and its answer.
struct Known {
    challenge: Challenge,
    codes: HashMap<B256, Bytes>,
    answer: Verdicts,
}

impl Judge {
    /// Whether a canary goes beside this item.
    pub(crate) fn wants_canary(&self) -> bool {
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        draws.random_bool(self.canaries.rate)
    }

    /// A part of a pause, at random.
    pub(crate) fn part_of(&self, pause: std::time::Duration) -> std::time::Duration {
        let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
        pause.mul_f64(draws.random())
    }

    /// Makes a canary, asks it, and records what came of it. False when there is nothing yet to make one of.
    ///
    /// # Errors
    /// The validator's database fails.
    pub async fn canary(&self) -> Result<bool, StoreError> {
        let (violating, mut rng) = {
            let mut draws = self.draws.lock().unwrap_or_else(PoisonError::into_inner);
            (
                draws.random_bool(self.canaries.violating),
                ChaCha8Rng::from_rng(&mut *draws),
            )
        };
        let Some(known) = self.make(violating, &mut rng).await? else {
            metrics::counter!("validator_canaries_not_made_total").increment(1);
            return Ok(false);
        };
        let sealed = Arc::new(Sealed::new(&known.challenge, known.codes));
        let Asked { mut under_way, .. } = self.ask(&sealed);
        let mut replies: Vec<Reply> = Vec::new();
        while let Some(joined) = under_way.join_next().await {
            replies.extend(joined.ok());
        }
        replies.iter_mut().for_each(Reply::vouch);
        let canary = conclude(&known.challenge, &replies, &known.answer);
        self.proofs.note(&canary.samples);
        metrics::counter!("validator_canaries_total").increment(1);
        self.store.record_canary(&canary).await?;
        Ok(true)
    }

    /// A question and its answer, of the wanted kind. `None` when no card gives one.
    async fn make(&self, violating: bool, rng: &mut ChaCha8Rng) -> Result<Option<Known>, StoreError> {
        let plain = !violating && rng.random_bool(0.5);
        for attempt in 0..TRIES {
            let means = match attempt {
                _ if plain => Means::Plain,
                _ if attempt < SHIFTS => Means::Shift,
                _ => Means::Plant,
            };
            let drawn = {
                let deck = self.deck.lock().unwrap_or_else(PoisonError::into_inner);
                deck.draw(rng)
            };
            let Some((card, here)) = drawn else { return Ok(None) };
            if let Some(known) = self.try_card(card, &here, (means, violating), rng).await? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    /// One card, made into a canary; `None` when what it gives is not what was wanted.
    async fn try_card(
        &self,
        card: Card,
        here: &Here,
        wanted: (Means, bool),
        rng: &mut ChaCha8Rng,
    ) -> Result<Option<Known>, StoreError> {
        let needed: Vec<B256> = card
            .challenge
            .prestate
            .iter()
            .flat_map(ShippedPrestate::code_hashes)
            .collect();
        let codes = self.codes.get(&needed).await?;
        let moved = card.challenge.head_hash != here.head_hash;
        let Some((mut challenge, mut state)) =
            card.at(here, crate::judge::challenge_id(), |hash| codes.get(&hash).cloned())
        else {
            return Ok(None);
        };
        if !(moved && rng.random_bool(SAME_SENDER)) {
            let (before, transaction) = (&challenge.predecessors, &challenge.transaction);
            let Some(resigned) = resign::resign(before, transaction, &state, rng) else {
                return Ok(None);
            };
            (challenge.predecessors, challenge.transaction) = (resigned.predecessors, resigned.transaction);
            state = resigned.state;
        }
        let questions = match wanted.0 {
            Means::Plain => Vec::new(),
            Means::Shift | Means::Plant => probes(&state, &here.set.invariants),
        };
        let found = if questions.is_empty() {
            Vec::new()
        } else {
            let probe = Challenge {
                invariants: questions.iter().cloned().map(Into::into).collect(),
                ..with_state(&challenge, state.clone())
            };
            match self.arbiter.judge(&probe, &codes).await {
                Ok(own) => changes(&questions, &own.verdicts),
                Err(_) => return Ok(None),
            }
        };
        let Some((invariants, state)) = shape(&state, &here.set.invariants, &found, wanted, rng) else {
            return Ok(None);
        };
        let challenge = Challenge {
            invariants,
            ..with_state(&challenge, state)
        };
        let Ok(own) = self.arbiter.judge(&challenge, &codes).await else {
            return Ok(None);
        };
        let answer = own.verdicts;
        let fits = canary::ran(&answer) && consensus::claims_violation(&answer) == wanted.1;
        Ok(fits.then_some(Known {
            challenge,
            codes,
            answer,
        }))
    }
}

/// The same challenge on another state.
fn with_state(challenge: &Challenge, state: Prestate) -> Challenge {
    Challenge {
        prestate: Some(ShippedPrestate::from(state)),
        ..challenge.clone()
    }
}

/// Holds the replies against the known answer.
fn conclude(challenge: &Challenge, replies: &[Reply], known: &Verdicts) -> Canary {
    let comparable = |reply: &&Reply| {
        let answer = reply.verdicts.as_ref();
        answer.map_or(true, |answer| canary::comparable(answer, known))
    };
    Canary {
        violating: consensus::claims_violation(known),
        samples: replies
            .iter()
            .filter(comparable)
            .map(|reply| sample(reply, known, true))
            .collect(),
        dispute: replies
            .iter()
            .any(|reply| reply.verdicts.as_ref().is_ok_and(|answer| !answer.agrees_with(known)))
            .then(|| dispute(0, challenge.transaction.hash(), Dispute::Canary, replies, known))
            .flatten(),
    }
}
