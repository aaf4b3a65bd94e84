//! The one task that changes the embedded ledger.
//!
//! For each command: ask the rules, store what they decided, take it over, publish it, answer. It runs by itself, so that
//! a caller who gives up in the middle cannot leave the state behind the database. It ends when it is told to, or when
//! nobody is left to send commands.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use super::block;
use super::rules::{self, Operation, Pulses};
use super::state::{Delta, State};
use super::store::Store;
use crate::account::AccountId;
use crate::commit::timelock::LocalBeacon;
use crate::error::LedgerError;

/// What an operation came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// The block at which it took effect.
    pub block: u64,
    /// The sender's uid.
    pub uid: u16,
    /// The sender's stake after it, in RAO.
    pub stake: u64,
}

type Reply = oneshot::Sender<Result<Done, LedgerError>>;

#[derive(Debug)]
pub(super) enum Command {
    /// An operation by an authenticated sender.
    Submit {
        sender: AccountId,
        operation: Operation,
        nonce: Option<u64>,
        reply: Reply,
    },
    /// The next block.
    Advance { reply: Reply },
    /// The end.
    Close { reply: oneshot::Sender<()> },
}

pub(super) async fn run(
    store: Store,
    beacon: LocalBeacon,
    mut state: Arc<State>,
    mut queue: mpsc::Receiver<Command>,
    publish: watch::Sender<Arc<State>>,
) {
    while let Some(command) = queue.recv().await {
        match command {
            Command::Submit {
                sender,
                operation,
                nonce,
                reply,
            } => {
                let answer = match rules::apply(&state, &sender, &operation) {
                    Ok(delta) => {
                        let nonce = nonce.map(|nonce| (sender, nonce));
                        take_over(&store, &mut state, &publish, delta, nonce)
                            .await
                            .map(|()| done(&state, &sender))
                    }
                    Err(refusal) => Err(refusal.into()),
                };
                // A caller who no longer waits finds the outcome in the metagraph.
                let _unheard = reply.send(answer);
            }
            Command::Advance { reply } => {
                let rounds = block::rounds_due(&state);
                let pulses: Pulses = rounds
                    .into_iter()
                    .map(|round| (round, beacon.sign(round).to_vec()))
                    .collect();
                let delta = rules::advance(&state, &pulses);
                let answer = take_over(&store, &mut state, &publish, delta, None).await;
                let _unheard = reply.send(answer.map(|()| Done {
                    block: state.clock.block,
                    uid: 0,
                    stake: 0,
                }));
            }
            Command::Close { reply } => {
                queue.close();
                store.close().await;
                let _unheard = reply.send(());
                return;
            }
        }
    }
    store.close().await;
}

/// Says in the log what became of sealed weights, once that is stored: nobody waits for an answer about them.
fn tell(delta: &Delta) {
    for opened in &delta.openings {
        let result = if opened.failure.is_some() { "dropped" } else { "ok" };
        metrics::counter!("ledger_openings_total", "result" => result).increment(1);
        match &opened.failure {
            None => tracing::info!(hotkey = %opened.hotkey, "sealed weights opened and set"),
            Some(reason) => tracing::warn!(hotkey = %opened.hotkey, reason, "sealed weights dropped"),
        }
    }
}

async fn take_over(
    store: &Store,
    state: &mut Arc<State>,
    publish: &watch::Sender<Arc<State>>,
    delta: Delta,
    nonce: Option<(AccountId, u64)>,
) -> Result<(), LedgerError> {
    store.commit(&delta, nonce).await.map_err(|error| {
        tracing::error!(%error, "an operation could not be stored and was dropped");
        LedgerError::Storage(error.to_string())
    })?;
    tell(&delta);
    Arc::make_mut(state).merge(delta);
    publish.send_replace(Arc::clone(state));
    Ok(())
}

fn done(state: &State, sender: &AccountId) -> Done {
    let (uid, stake) = state
        .by_hotkey(sender)
        .map_or((0, 0), |neuron| (neuron.uid, neuron.stake));
    Done {
        block: state.clock.block,
        uid,
        stake,
    }
}
