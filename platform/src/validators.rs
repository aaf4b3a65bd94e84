//! Who may stream, and who does.
//!
//! The metagraph, as it was last read from the ledger, says who holds a validator permit; an open stream makes a validator
//! live. A validator has one stream: a new one ends the one before, so that streams are bounded by the number of permits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chain::Ledger;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::assignment::Hotkey;
use crate::log::LogError;
use crate::store::{NeuronRow, Store};

/// How long the ledger may take to answer.
const LEDGER_DEADLINE: Duration = Duration::from_secs(10);

/// The validators of the subnet, as the platform sees them.
#[derive(Debug, Default)]
pub struct Validators {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct State {
    permitted: BTreeSet<Hotkey>,
    /// Everybody who ever had a permit.
    seen: BTreeSet<Hotkey>,
    live: HashMap<Hotkey, Stream>,
    /// Connected to another platform on the same database.
    elsewhere: BTreeSet<Hotkey>,
    streams: u64,
}

impl State {
    /// Those with a stream open, here or elsewhere.
    fn connected(&self) -> BTreeSet<Hotkey> {
        self.live.keys().chain(&self.elsewhere).copied().collect()
    }
}

#[derive(Debug)]
struct Stream {
    number: u64,
    end: CancellationToken,
}

/// A validator's open stream; it is live until this is dropped.
#[derive(Debug)]
pub struct Presence {
    validators: Arc<Validators>,
    hotkey: Hotkey,
    number: u64,
    end: CancellationToken,
}

impl Validators {
    /// With everybody who ever had a permit, and nobody live.
    #[must_use]
    pub fn new(seen: impl IntoIterator<Item = Hotkey>) -> Arc<Self> {
        let validators = Self::default();
        validators.lock().seen.extend(seen);
        Arc::new(validators)
    }

    /// Whether this hotkey is on the metagraph with a validator permit.
    pub fn is_permitted(&self, hotkey: &Hotkey) -> bool {
        self.lock().permitted.contains(hotkey)
    }

    /// How many have a stream open, here or at another platform on the same database.
    pub fn live(&self) -> usize {
        self.lock().connected().len()
    }

    /// Those that have a stream open here.
    pub fn live_here(&self) -> Vec<Hotkey> {
        self.lock().live.keys().copied().collect()
    }

    /// Takes over who is connected to other platforms on the same database.
    pub fn set_elsewhere(&self, elsewhere: BTreeSet<Hotkey>) {
        let mut state = self.lock();
        let changed = state.elsewhere != elsewhere;
        state.elsewhere = elsewhere;
        drop(state);
        if changed {
            self.changed.send_replace(());
        }
    }

    /// Makes a validator live; its stream before, if it has one, is told to end. `None` without a permit.
    pub fn enter(self: &Arc<Self>, hotkey: Hotkey) -> Option<Presence> {
        let mut state = self.lock();
        if !state.permitted.contains(&hotkey) {
            return None;
        }
        state.streams += 1;
        let (number, end) = (state.streams, CancellationToken::new());
        if let Some(before) = state.live.insert(
            hotkey,
            Stream {
                number,
                end: end.clone(),
            },
        ) {
            before.end.cancel();
        }
        drop(state);
        self.changed.send_replace(());
        Some(Presence {
            validators: self.clone(),
            hotkey,
            number,
            end,
        })
    }

    /// Takes over who holds a permit now. Streams of those who do not are told to end.
    pub fn update(&self, permitted: BTreeSet<Hotkey>) {
        let mut state = self.lock();
        for (hotkey, stream) in &state.live {
            if !permitted.contains(hotkey) {
                stream.end.cancel();
            }
        }
        state.seen.extend(permitted.iter().copied());
        let changed = state.permitted != permitted;
        state.permitted = permitted;
        drop(state);
        if changed {
            self.changed.send_replace(());
        }
    }

    /// Waits until at least `n` validators have a stream open.
    pub async fn at_least(&self, n: usize) {
        let mut changed = self.changed.subscribe();
        while self.live() < n {
            // The sender lives as long as `self`.
            let _closed = changed.changed().await;
        }
    }

    /// To whom transactions are assigned now: those with an open stream; when there is none, those with a permit; when the
    /// ledger was not reached yet, those who ever had one; waits when there is nobody at all.
    pub async fn candidates(&self) -> Vec<Hotkey> {
        let mut changed = self.changed.subscribe();
        loop {
            {
                let state = self.lock();
                let mut candidates = Vec::from_iter(state.connected());
                if candidates.is_empty() {
                    candidates.extend(&state.permitted);
                }
                if candidates.is_empty() {
                    candidates.extend(&state.seen);
                }
                if !candidates.is_empty() {
                    return candidates;
                }
            }
            let _closed = changed.changed().await;
        }
    }

    /// Follows the ledger's metagraph, looking every `interval`, until `shutdown`. While the ledger does not answer, what was
    /// known stays in force.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn follow(
        &self,
        ledger: &dyn Ledger,
        store: &Store,
        interval: Duration,
        shutdown: CancellationToken,
    ) -> Result<(), LogError> {
        let mut reached = true;
        let mut noted = None;
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let metagraph = async {
                ticks.tick().await;
                tokio::time::timeout(LEDGER_DEADLINE, ledger.metagraph()).await
            };
            let metagraph = tokio::select! {
                metagraph = metagraph => metagraph,
                () = shutdown.cancelled() => return Ok(()),
            };
            let problem = match metagraph {
                Ok(Ok(metagraph)) => {
                    let permitted: BTreeSet<Hotkey> = metagraph
                        .neurons
                        .iter()
                        .filter(|neuron| neuron.validator_permit)
                        .map(|neuron| *neuron.hotkey.as_bytes())
                        .collect();
                    store.remember(&Vec::from_iter(permitted.iter().copied())).await?;
                    self.update(permitted);
                    let neurons: Vec<NeuronRow> = metagraph.neurons.iter().map(NeuronRow::from).collect();
                    let epoch = (metagraph.last_epoch_block, neurons);
                    if noted.as_ref() != Some(&epoch) {
                        store.note_neurons(epoch.0, &epoch.1).await?;
                        noted = Some(epoch);
                    }
                    if !reached {
                        tracing::info!(block = metagraph.block, "the ledger answers again");
                    }
                    reached = true;
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {LEDGER_DEADLINE:?}"),
            };
            // Said once, not every interval.
            if reached {
                tracing::warn!(
                    problem,
                    "the metagraph cannot be read; the last known one stays in force"
                );
            }
            reached = false;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Presence {
    /// Cancelled when this stream has to end: the validator opened another, or lost its permit.
    #[must_use]
    pub const fn end(&self) -> &CancellationToken {
        &self.end
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut state = self.validators.lock();
        // A newer stream of the same validator stays.
        if state
            .live
            .get(&self.hotkey)
            .is_some_and(|stream| stream.number == self.number)
        {
            state.live.remove(&self.hotkey);
        }
        drop(state);
        self.validators.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn permitted(hotkeys: impl IntoIterator<Item = u8>) -> BTreeSet<Hotkey> {
        hotkeys.into_iter().map(|n| [n; 32]).collect()
    }

    #[test]
    fn only_a_permit_opens_a_stream_and_losing_it_ends_the_stream() {
        let validators = Validators::new([]);
        assert!(validators.enter([1; 32]).is_none());
        validators.update(permitted([1, 2]));
        let (one, two) = (validators.enter([1; 32]).unwrap(), validators.enter([2; 32]).unwrap());
        assert_eq!(validators.live(), 2);
        validators.update(permitted([2]));
        assert!(one.end().is_cancelled() && !two.end().is_cancelled());
    }

    #[test]
    fn a_second_stream_ends_the_first_and_outlives_it() {
        let validators = Validators::new([]);
        validators.update(permitted([1]));
        let first = validators.enter([1; 32]).unwrap();
        let second = validators.enter([1; 32]).unwrap();
        assert!(first.end().is_cancelled() && !second.end().is_cancelled());
        drop(first);
        assert_eq!(validators.live(), 1);
        drop(second);
        assert_eq!(validators.live(), 0);
    }

    #[tokio::test]
    async fn transactions_go_to_the_live_ones_else_to_those_with_a_permit_else_to_those_of_old() {
        let validators = Validators::new([[9; 32]]);
        assert_eq!(validators.candidates().await, [[9; 32]]);
        validators.update(permitted([1, 2]));
        assert_eq!(validators.candidates().await, [[1; 32], [2; 32]]);
        let _open = validators.enter([2; 32]).unwrap();
        assert_eq!(validators.candidates().await, [[2; 32]]);
    }

    #[tokio::test]
    async fn who_is_connected_to_another_platform_is_live_as_well_and_counts_once() {
        let validators = Validators::new([]);
        validators.update(permitted([1, 2, 3]));
        let _open = validators.enter([1; 32]).unwrap();
        validators.set_elsewhere(permitted([1, 2]));
        assert_eq!((validators.live(), validators.live_here()), (2, vec![[1; 32]]));
        assert_eq!(validators.candidates().await, [[1; 32], [2; 32]]);
        validators.set_elsewhere(permitted([]));
        assert_eq!(validators.candidates().await, [[1; 32]]);
    }

    #[tokio::test]
    async fn where_there_is_nobody_the_feed_waits() {
        let validators = Validators::new([]);
        assert!(validators.candidates().now_or_never().is_none());
        let waiting = tokio::spawn({
            let validators = validators.clone();
            async move {
                validators.at_least(2).await;
                validators.candidates().await.len()
            }
        });
        validators.update(permitted([1, 2, 3]));
        let _one = validators.enter([1; 32]).unwrap();
        let _two = validators.enter([2; 32]).unwrap();
        assert_eq!(waiting.await.unwrap(), 2);
    }
}
