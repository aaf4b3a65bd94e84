//! Signatures that are ready at the same moment are verified together: of many, one costs about a third of what it costs alone.
//!
//! Nobody waits for a fuller batch. Whoever comes first lets those tasks run that are ready now, and then verifies what they brought;
//! on an idle machine that is its own signature alone. A batch with a bad signature in it is verified one by one, so a bad one spoils
//! nobody else's, and costs the others no more than if each had come alone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use moka::sync::Cache;
use tokio::sync::oneshot;

use crate::account::AccountId;
use crate::wallet::{self, SignatureBytes, VerifyingKey};

/// Signatures that are verified together at most: more would hold up the thread for longer than a call takes.
const BATCH: usize = 32;
/// Decoded keys that are kept.
const KEYS: u64 = 4_096;

/// Verifies for many tasks.
#[derive(Debug)]
pub(super) struct Verifier {
    keys: Cache<AccountId, VerifyingKey>,
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    key: VerifyingKey,
    message: String,
    signature: SignatureBytes,
    verdict: oneshot::Sender<bool>,
}

/// What waits is verified when this ends, also when its task is given up meanwhile.
struct Turn<'a>(&'a Verifier);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        settle(std::mem::take(&mut *self.0.waiting()));
    }
}

impl Verifier {
    pub(super) fn new() -> Self {
        Self {
            keys: Cache::new(KEYS),
            waiting: Mutex::default(),
        }
    }

    /// Whether `signature` over `message` is by `key`.
    pub(super) async fn verify(&self, key: VerifyingKey, message: String, signature: SignatureBytes) -> bool {
        let (verdict, told) = oneshot::channel();
        let waiting = {
            let mut waiting = self.waiting();
            waiting.push(Waiting {
                key,
                message,
                signature,
                verdict,
            });
            waiting.len()
        };
        match waiting {
            1 => {
                let _turn = Turn(self);
                tokio::task::yield_now().await;
            }
            BATCH.. => drop(Turn(self)),
            _ => {}
        }
        // Whoever has the turn answers all.
        told.await.unwrap_or(false)
    }

    /// The key of an account; `None` where its bytes are no key.
    pub(super) fn key(&self, hotkey: &AccountId) -> Option<VerifyingKey> {
        self.keys.get(hotkey).or_else(|| {
            let key = VerifyingKey::of(hotkey)?;
            self.keys.insert(*hotkey, key.clone());
            Some(key)
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn settle(mut batch: Vec<Waiting>) {
    // Signatures of one key next to each other are cheaper.
    batch.sort_unstable_by_key(|waiting| *waiting.key.account().as_bytes());
    let claims: Vec<wallet::Claim<'_>> = batch
        .iter()
        .map(|waiting| wallet::Claim {
            key: &waiting.key,
            message: waiting.message.as_bytes(),
            signature: &waiting.signature,
        })
        .collect();
    let verdicts = wallet::verify_each(&claims);
    for (waiting, verdict) in batch.into_iter().zip(verdicts) {
        // Who does not wait any more does not need it.
        let _gone = waiting.verdict.send(verdict);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt;

    use super::*;
    use crate::wallet::Keypair;

    fn signed(seed: u8, text: &str) -> (VerifyingKey, String, SignatureBytes) {
        let pair = Keypair::from_seed([seed; 32]);
        let key = VerifyingKey::of(&pair.account()).unwrap();
        (key, text.to_owned(), pair.sign(text.as_bytes()))
    }

    #[tokio::test]
    async fn each_of_many_gets_its_own_verdict() {
        let verifier = Arc::new(Verifier::new());
        let verdicts = (0..100u8).map(|n| {
            let verifier = Arc::clone(&verifier);
            let (key, mut text, signature) = signed(n % 7, &format!("message {n}"));
            let good = n % 10 != 3;
            if !good {
                text.push('!');
            }
            tokio::spawn(async move { (good, verifier.verify(key, text, signature).await) })
        });
        for (good, found) in futures::future::try_join_all(verdicts).await.unwrap() {
            assert_eq!(found, good);
        }
        assert!(verifier.waiting().is_empty());
    }

    #[tokio::test]
    async fn one_that_is_given_up_leaves_nobody_waiting() {
        let verifier = Verifier::new();
        let (first, second) = (signed(1, "first"), signed(2, "second"));
        let mut given_up = Box::pin(verifier.verify(first.0, first.1, first.2));
        assert!(
            given_up.as_mut().now_or_never().is_none(),
            "it has the turn, and lets others run"
        );
        let mut waits = Box::pin(verifier.verify(second.0, second.1, second.2));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(given_up);
        assert_eq!(waits.as_mut().now_or_never(), Some(true));
    }

    #[test]
    fn a_key_that_is_none_has_none() {
        let verifier = Verifier::new();
        assert!(verifier.key(&AccountId::new([0xff; 32])).is_none());
        let (key, ..) = signed(1, "x");
        assert_eq!(verifier.key(key.account()).unwrap().account(), key.account());
    }
}
