//! Single flight: what somebody is already asking for is not asked for again.
//!
//! Whoever comes second waits until the first one is done, and then looks at the snapshot. If the first one failed or was cancelled,
//! the second finds nothing there and asks itself: nobody waits for somebody who is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use engine::{B256, Missing};
use tokio::sync::watch;

/// Something that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// A piece of state.
    Key(Missing),
    /// Everything that a transaction reads.
    Transaction(B256),
}

type Flying = Mutex<HashMap<(B256, What), watch::Receiver<()>>>;

/// What is being asked for, by the head that it is pinned to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flights {
    flying: Arc<Flying>,
}

/// Held by who asks; dropping it lets the others go on.
#[derive(Debug)]
pub(crate) struct Claim {
    flying: Arc<Flying>,
    head: B256,
    mine: Vec<What>,
    _done: watch::Sender<()>,
}

impl Flights {
    /// Divides what is wanted into that which nobody asks for yet, now claimed, and the flights of others to wait for.
    pub(crate) fn claim(
        &self,
        head: B256,
        wanted: impl IntoIterator<Item = What>,
    ) -> (Claim, Vec<watch::Receiver<()>>) {
        let (done, landing) = watch::channel(());
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        for what in wanted {
            match flying.get(&(head, what)) {
                Some(other) => {
                    if !mine.contains(&what) {
                        others.push(other.clone());
                    }
                }
                None => {
                    flying.insert((head, what), landing.clone());
                    mine.push(what);
                }
            }
        }
        let claim = Claim {
            flying: Arc::clone(&self.flying),
            head,
            mine,
            _done: done,
        };
        (claim, others)
    }
}

impl Claim {
    /// What the holder must ask for.
    pub(crate) fn mine(&self) -> &[What] {
        &self.mine
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut flying = self.flying.lock().unwrap_or_else(PoisonError::into_inner);
        for what in &self.mine {
            flying.remove(&(self.head, *what));
        }
    }
}

/// Waits until these flights have ended, however they ended.
pub(crate) async fn landed(flights: Vec<watch::Receiver<()>>) {
    for mut flight in flights {
        // Nothing is ever sent: it ends when the sender is dropped.
        while flight.changed().await.is_ok() {}
    }
}

#[cfg(test)]
mod tests {
    use engine::{Address, U256};

    use super::*;

    const HEAD: B256 = B256::repeat_byte(1);
    const fn slot(number: u64) -> What {
        What::Key(Missing::Slot(Address::ZERO, U256::from_limbs([number, 0, 0, 0])))
    }

    #[tokio::test]
    async fn the_second_waits_for_the_first_and_asks_only_for_the_rest() {
        let flights = Flights::default();
        let (first, waits) = flights.claim(HEAD, [slot(1), slot(2), slot(2)]);
        assert_eq!((first.mine().len(), waits.len()), (2, 0));
        let (second, waits) = flights.claim(HEAD, [slot(2), slot(3)]);
        assert_eq!((second.mine(), waits.len()), (&[slot(3)][..], 1));
        let (other_head, waits_there) = flights.claim(B256::ZERO, [slot(2)]);
        assert_eq!((other_head.mine().len(), waits_there.len()), (1, 0));
        let waiting = tokio::spawn(landed(waits));
        drop(first);
        waiting.await.unwrap();
        let (third, waits) = flights.claim(HEAD, [slot(1), slot(2)]);
        assert_eq!((third.mine().len(), waits.len()), (2, 0), "landed: free again");
    }

    #[tokio::test]
    async fn one_who_is_cancelled_keeps_nobody_waiting() {
        let flights = Flights::default();
        let asking = flights.clone();
        let (begun, has_begun) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let (_claim, _) = asking.claim(HEAD, [slot(1)]);
            begun.send(()).unwrap();
            std::future::pending::<()>().await;
        });
        has_begun.await.unwrap();
        let (claim, waits) = flights.claim(HEAD, [slot(1)]);
        assert!(claim.mine().is_empty());
        task.abort();
        landed(waits).await;
        assert!(flights.flying.lock().unwrap().is_empty());
    }
}
