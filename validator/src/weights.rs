//! Once per tempo: windows become scores, scores become weights, weights go to the ledger.

use std::collections::BTreeMap;
use std::sync::Arc;

use chain::wallet::Keypair;
use chain::{Followed, Ledger, Metagraph, WeightsCall};
use tokio_util::sync::CancellationToken;

use crate::miners::{Miners, serving};
use crate::score::{ScoreParameters, normalise, score, smooth};
use crate::store::{Hotkey, Store, StoreError};

/// What turns samples into weights.
#[derive(Debug)]
pub struct Weigher {
    /// Samples and averages.
    pub store: Store,
    /// Who is weighed.
    pub metagraph: Followed,
    /// Where weights go.
    pub ledger: Arc<dyn Ledger>,
    /// Who signs them.
    pub hotkey: Arc<Keypair>,
    /// The formula.
    pub parameters: ScoreParameters,
    /// Goes with the weights.
    pub version_key: u64,
    /// Told who serves no more.
    pub miners: Arc<Miners>,
}

impl Weigher {
    /// Runs until `shutdown`, woken by every new metagraph.
    ///
    /// # Errors
    /// The validator's database fails. A ledger that refuses is asked again with the next metagraph.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let mut due = false;
        loop {
            let metagraph = Arc::clone(&self.metagraph.borrow_and_update());
            self.miners.retain(&serving(&metagraph));
            self.store.roll_window(metagraph.epoch_index).await?;
            while let Some(window) = self.store.unscored_window().await? {
                self.score(window).await?;
                due = true;
            }
            if due {
                due = !self.report(&metagraph).await?;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = self.metagraph.changed() => if changed.is_err() { return Ok(()) },
            }
        }
    }

    async fn score(&self, window: u64) -> Result<(), StoreError> {
        let windows = self.store.window(window).await?;
        let mut averages = self.store.averages().await?;
        for (hotkey, window) in &windows {
            let average = averages.entry(*hotkey).or_insert(0.0);
            *average = smooth(*average, score(window, &self.parameters), &self.parameters);
        }
        self.store.save_averages(window, &averages).await
    }

    /// Reports the averages as weights; true when there is nothing more to do in this epoch.
    async fn report(&self, metagraph: &Metagraph) -> Result<bool, StoreError> {
        let averages = self.store.averages().await?;
        let scores = on_metagraph(&averages, metagraph);
        let (uids, values) = chain::weights::normalize(&scores);
        if uids.is_empty() {
            return Ok(true);
        }
        let taken: BTreeMap<Hotkey, u16> = uids
            .iter()
            .zip(&values)
            .filter_map(|(uid, value)| Some((*metagraph.by_uid(*uid)?.hotkey.as_bytes(), *value)))
            .collect();
        let call = WeightsCall {
            uids,
            values,
            version_key: self.version_key,
        };
        match self.ledger.set_weights(&self.hotkey, call).await {
            Ok(block) => {
                tracing::info!(
                    block,
                    epoch = metagraph.epoch_index,
                    miners = taken.len(),
                    "weights set"
                );
                self.store.weights_taken(&taken).await?;
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(%error, epoch = metagraph.epoch_index, "the ledger took no weights; trying again");
                Ok(false)
            }
        }
    }
}

/// The normalised scores of those who are still on the metagraph, by uid.
fn on_metagraph(averages: &BTreeMap<Hotkey, f64>, metagraph: &Metagraph) -> Vec<(u16, f64)> {
    let known: Vec<(u16, f64)> = metagraph
        .neurons
        .iter()
        .filter_map(|neuron| Some((neuron.uid, *averages.get(neuron.hotkey.as_bytes())?)))
        .collect();
    let scores = normalise(&known.iter().map(|(_, average)| *average).collect::<Vec<_>>());
    known.into_iter().map(|(uid, _)| uid).zip(scores).collect()
}
