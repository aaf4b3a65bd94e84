//! Once per tempo: windows become scores, scores become weights, weights go to the ledger.
//!
//! Scoring never waits for the ledger: what is scored stands in the database, from where [`report`] takes it. So a window rolls in
//! time however long a call takes, and a restart neither forgets weights nor sends them twice.

mod notes;
pub mod report;
pub mod show;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chain::wallet::Keypair;
use chain::{AccountId, Followed, Ledger, Metagraph};
use tokio_util::sync::CancellationToken;

use self::report::Reporter;
use crate::audits::Audits;
use crate::miners::{Miners, serving};
use crate::score::{ScoreParameters, normalise, score, smooth};
use crate::store::{Hotkey, Store, StoreError, Weight};

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
    /// What the audits say of miners; `None`: they say nothing.
    pub audits: Option<Arc<Audits>>,
    /// Goes with the weights.
    pub version_key: u64,
    /// Told who serves no more.
    pub miners: Arc<Miners>,
}

impl Weigher {
    /// Scores and reports until `shutdown`, woken by every new metagraph.
    ///
    /// # Errors
    /// The validator's database fails. A ledger that refuses or is silent is asked again, at the block that its answer names.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), StoreError> {
        let reporter = Reporter::new(
            self.store.clone(),
            self.metagraph.clone(),
            Arc::clone(&self.ledger),
            Arc::clone(&self.hotkey),
            self.version_key,
        );
        tokio::try_join!(self.weigh(shutdown.clone()), reporter.run(shutdown))?;
        Ok(())
    }

    async fn weigh(mut self, shutdown: CancellationToken) -> Result<(), StoreError> {
        loop {
            let metagraph = Arc::clone(&self.metagraph.borrow_and_update());
            self.miners.retain(&serving(&metagraph));
            self.store.roll_window(metagraph.epoch_index).await?;
            while let Some(window) = self.store.unscored_window().await? {
                self.score(window).await?;
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
        let addresses: BTreeMap<Hotkey, SocketAddr> = serving(&self.metagraph.borrow())
            .into_iter()
            .map(|miner| (*miner.hotkey.as_bytes(), miner.address))
            .collect();
        for (hotkey, window) in &windows {
            let average = averages.entry(*hotkey).or_insert(0.0);
            let audited = self
                .audits
                .as_ref()
                .map_or(1.0, |audits| audits.factor(hotkey, addresses.get(hotkey).copied()));
            let score = score(window, &self.parameters).map(|score| score * audited);
            *average = smooth(*average, score, &self.parameters);
        }
        self.store.save_averages(window, &averages).await
    }
}

/// The weights that the averages come to among those who are on the metagraph; none when nobody has earned one.
fn weigh(averages: &BTreeMap<Hotkey, f64>, metagraph: &Metagraph) -> Vec<Weight> {
    let known: Vec<(u16, f64)> = metagraph
        .neurons
        .iter()
        .filter_map(|neuron| Some((neuron.uid, *averages.get(neuron.hotkey.as_bytes())?)))
        .collect();
    let scores = normalise(&known.iter().map(|(_, average)| *average).collect::<Vec<_>>());
    let scores: Vec<(u16, f64)> = known.into_iter().map(|(uid, _)| uid).zip(scores).collect();
    let (uids, values) = chain::weights::normalize(&scores);
    let hotkey = |uid: u16| -> Option<AccountId> { Some(metagraph.by_uid(uid)?.hotkey) };
    uids.into_iter()
        .zip(values)
        .filter_map(|(uid, value)| {
            Some(Weight {
                uid,
                value,
                hotkey: hotkey(uid)?,
            })
        })
        .collect()
}
