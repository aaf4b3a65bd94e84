//! What a behaviour needs beside its rule: what it remembers, and what it overhears of others.
//!
//! An honest miner keeps nothing here and waits for nothing. A [`Board`] is a leak that a test network opens on purpose: answers travel
//! in the clear, so that a miner may come to know another's answer before it gives its own; a copycat lives on that.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use chain::AccountId;
use engine::B256;
use protos::v1;
use tokio::sync::Notify;
use tonic::Status;
use wire::{Challenge, Verdicts};

use crate::behaviour::Behaviour;

/// Answers that a board remembers; the oldest are forgotten.
const REMEMBERED: usize = 1_024;

/// The part of a challenge's deadline for which a copycat listens.
const LISTENING: f64 = 0.8;

/// Where answers are overheard.
#[derive(Debug, Default)]
pub struct Board {
    heard: Mutex<Heard>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Heard {
    answers: HashMap<B256, Verdicts>,
    order: VecDeque<B256>,
}

impl Board {
    /// The first answer to a challenge becomes known.
    fn post(&self, challenge: B256, verdicts: &Verdicts) {
        {
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            if heard.answers.contains_key(&challenge) {
                return;
            }
            heard.answers.insert(challenge, verdicts.clone());
            heard.order.push_back(challenge);
            if heard.order.len() > REMEMBERED
                && let Some(oldest) = heard.order.pop_front()
            {
                heard.answers.remove(&oldest);
            }
        }
        self.news.notify_waiters();
    }

    /// The first answer to a challenge, as soon as it is known.
    async fn listen(&self, challenge: B256) -> Verdicts {
        loop {
            // Before looking, so that nothing that comes meanwhile is missed.
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            let known = {
                let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
                heard.answers.get(&challenge).cloned()
            };
            match known {
                Some(verdicts) => return verdicts,
                None => news.await,
            }
        }
    }
}

/// One miner's behaviour, with what it remembers.
#[derive(Debug)]
pub(crate) struct Conduct {
    behaviour: Behaviour,
    me: AccountId,
    board: Option<Arc<Board>>,
    first: OnceLock<v1::Signed>,
}

impl Conduct {
    pub(crate) fn new(behaviour: Behaviour, me: AccountId) -> Self {
        Self {
            behaviour,
            me,
            board: None,
            first: OnceLock::new(),
        }
    }

    pub(crate) fn overheard_on(mut self, board: Arc<Board>) -> Self {
        self.board = Some(board);
        self
    }

    /// The answer of one that does not execute.
    pub(crate) async fn without_execution(
        &self,
        challenge: &Challenge,
        deadline: Duration,
    ) -> Result<Option<Verdicts>, Status> {
        if self.behaviour != Behaviour::Copycat {
            let salt = self
                .me
                .as_bytes()
                .iter()
                .fold(0, |salt, byte| (salt << 1) ^ u64::from(*byte));
            return Ok(self.behaviour.without_execution(challenge, salt));
        }
        let nothing = || Status::unavailable("nobody's answer was overheard");
        let board = self.board.as_ref().ok_or_else(nothing)?;
        let heard = tokio::time::timeout(deadline.mul_f64(LISTENING), board.listen(challenge.id)).await;
        heard.map(Some).map_err(|_| nothing())
    }

    /// What is said of what was found.
    pub(crate) fn tell(&self, found: Verdicts) -> Verdicts {
        self.behaviour.tell(found)
    }

    /// Lets an answer be overheard.
    pub(crate) fn post(&self, challenge: B256, verdicts: &Verdicts) {
        if let Some(board) = &self.board
            && self.behaviour != Behaviour::Copycat
        {
            board.post(challenge, verdicts);
        }
    }

    /// How long an answer is held back.
    pub(crate) fn delay(&self, deadline: Duration) -> Option<Duration> {
        self.behaviour.delay(deadline)
    }

    /// Whom an answer to `asker` is addressed to.
    pub(crate) fn receiver(&self, asker: AccountId) -> AccountId {
        match self.behaviour {
            Behaviour::Misaddressed => self.me,
            _ => asker,
        }
    }

    /// What is sent in place of this answer.
    pub(crate) fn send(&self, answer: v1::Signed) -> v1::Signed {
        match self.behaviour {
            Behaviour::Replayer => self.first.get_or_init(|| answer).clone(),
            _ => answer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(version: &str) -> Verdicts {
        Verdicts {
            findings: Vec::new(),
            execution: None,
            engine_version: version.to_owned(),
            state_digest: None,
        }
    }

    #[tokio::test]
    async fn a_copycat_waits_for_the_first_answer_to_the_same_challenge() {
        let board = Arc::new(Board::default());
        let listening = {
            let board = Arc::clone(&board);
            tokio::spawn(async move { board.listen(B256::repeat_byte(1)).await })
        };
        tokio::task::yield_now().await;
        board.post(B256::repeat_byte(2), &answer("another's"));
        board.post(B256::repeat_byte(1), &answer("first"));
        board.post(B256::repeat_byte(1), &answer("second"));
        assert_eq!(listening.await.unwrap(), answer("first"));
    }

    #[test]
    fn a_board_forgets_the_oldest() {
        let board = Board::default();
        for n in 0..REMEMBERED as u64 + 10 {
            board.post(B256::from(engine::U256::from(n)), &answer("x"));
        }
        let heard = board.heard.lock().unwrap();
        assert_eq!((heard.answers.len(), heard.order.len()), (REMEMBERED, REMEMBERED));
        assert!(!heard.answers.contains_key(&B256::ZERO));
    }

    #[test]
    fn a_replayer_repeats_its_first_answer_and_an_honest_miner_none() {
        let me = AccountId::new([1; 32]);
        let signed = |nonce_ns| v1::Signed {
            nonce_ns,
            ..Default::default()
        };
        let replayer = Conduct::new(Behaviour::Replayer, me);
        assert_eq!([1, 2, 3].map(|n| replayer.send(signed(n)).nonce_ns), [1, 1, 1]);
        let honest = Conduct::new(Behaviour::Honest, me);
        assert_eq!([1, 2].map(|n| honest.send(signed(n)).nonce_ns), [1, 2]);
        let other = AccountId::new([2; 32]);
        assert_eq!(honest.receiver(other), other);
        assert_eq!(Conduct::new(Behaviour::Misaddressed, me).receiver(other), me);
    }
}
