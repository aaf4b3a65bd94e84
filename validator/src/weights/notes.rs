//! Why no weights are being sent: in the log when it is news, in a metric always, in the database for whoever asks later.

use chain::reporting::Why;
use chain::{Metagraph, Neuron, WeightsForm};

use crate::store::{Stage, Store, StoreError};

/// Says what stands in the way of weights.
#[derive(Debug)]
pub(super) struct Notes {
    store: Store,
    /// What was said last: why, what the ledger said, until when.
    last: Option<(Option<Why>, String, u64)>,
}

impl Notes {
    pub(super) const fn new(store: Store) -> Self {
        Self { store, last: None }
    }

    /// Nothing, as of `block`.
    pub(super) async fn nothing_in_the_way(&mut self, block: u64) -> Result<(), StoreError> {
        self.note(None, "", block, block).await
    }

    /// `why`, with what the ledger said, as of `block` and until another block.
    pub(super) async fn waiting(&mut self, why: Why, said: &str, block: u64, until: u64) -> Result<(), StoreError> {
        self.note(Some(why), said, block, until).await
    }

    async fn note(&mut self, why: Option<Why>, said: &str, block: u64, until: u64) -> Result<(), StoreError> {
        for known in Why::ALL {
            metrics::gauge!("validator_weights_waiting", "why" => known.name()).set(if why == Some(known) {
                1.0
            } else {
                0.0
            });
        }
        let before = self.last.as_ref();
        if before.is_some_and(|(last, heard, end)| *last == why && heard == said && *end == until) {
            return Ok(());
        }
        if let Some(why) = why
            && before.is_none_or(|(last, heard, _)| *last != Some(why) || heard != said)
        {
            match why {
                Why::NothingNew => tracing::debug!(block, until, "no new weights"),
                Why::RevealLater | Why::RateLimit => {
                    tracing::info!(block, until, said, why = why.name(), "{}", why.explanation());
                }
                _ => tracing::warn!(block, until, said, why = why.name(), "{}", why.explanation()),
            }
        }
        self.last = Some((why, said.to_owned(), until));
        let name = why.map_or("", Why::name);
        self.store.note_waiting(name, said, block, until).await
    }
}

/// A report came to a stage.
pub(super) fn count(form: WeightsForm, stage: Stage) {
    metrics::counter!("validator_weights_reports_total", "form" => form.name(), "stage" => stage.name()).increment(1);
}

/// How long ago the ledger last took something of the neuron.
#[allow(clippy::cast_precision_loss, reason = "gauges")]
pub(super) fn show_age(metagraph: &Metagraph, me: Option<&Neuron>) {
    if let Some(me) = me {
        metrics::gauge!("validator_weights_last_update_block").set(me.last_update as f64);
        metrics::gauge!("validator_weights_age_blocks").set(metagraph.block.saturating_sub(me.last_update) as f64);
    }
}
