//! What canaries are drawn from: the newest transactions that were judged and ran to their end, with the state that they ran on.
//!
//! What always holds: at most [`CARDS`] of them and at most [`WORDS`] of state in each; the oldest make room.

use std::collections::VecDeque;
use std::sync::Arc;

use engine::{B256, Prestate};
use rand::Rng;
use wire::{Challenge, InvariantSet};

use super::Here;

/// Transactions that are remembered.
const CARDS: usize = 128;

/// Accounts, slots and block hashes of one: what needs more is not remembered.
const WORDS: usize = 4_096;

/// A transaction that was judged, complete with bytecode hashes; the bytecode itself is the validator's.
#[derive(Debug, Clone)]
pub struct Card {
    /// As it was asked, with its prestate.
    pub challenge: Arc<Challenge>,
}

/// The newest cards.
#[derive(Debug, Default)]
pub struct Deck {
    cards: VecDeque<Card>,
    here: Option<Here>,
}

impl Deck {
    /// Remembers a challenge that was judged. One without state, or with too much of it, only tells where the chain stands.
    pub fn put(&mut self, challenge: &Arc<Challenge>, set: &Arc<InvariantSet>, ran: bool) {
        self.here = Some(Here::of(challenge, set));
        if !ran || challenge.prestate.as_ref().is_none_or(|state| state.words() > WORDS) {
            return;
        }
        let hash = challenge.transaction.hash();
        self.cards.retain(|card| card.challenge.transaction.hash() != hash);
        if self.cards.len() >= CARDS {
            self.cards.pop_front();
        }
        self.cards.push_back(Card {
            challenge: Arc::clone(challenge),
        });
    }

    /// Any of them, and where the chain stands; `None` while there is none.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<(Card, Here)> {
        if self.cards.is_empty() {
            return None;
        }
        let card = self.cards.get(rng.random_range(0..self.cards.len()))?;
        Some((card.clone(), self.here.clone()?))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.cards.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }
}

impl Card {
    /// The card's challenge as it would be asked now: under a fresh id, at the newest head, on the state that it had, complete.
    ///
    /// `None` when bytecode is missing.
    pub fn at(
        self,
        here: &Here,
        id: B256,
        code: impl Fn(B256) -> Option<engine::Bytes>,
    ) -> Option<(Challenge, Prestate)> {
        let state = self.challenge.prestate.clone()?.complete(code).ok()?;
        let challenge = Challenge {
            id,
            chain_id: here.chain_id,
            head_hash: here.head_hash,
            env: here.env.clone(),
            invariant_set_version: here.set.version,
            ..Arc::unwrap_or_clone(self.challenge)
        };
        Some((challenge, state))
    }
}
