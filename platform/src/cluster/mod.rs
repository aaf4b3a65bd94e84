//! Several platforms behind one database: each serves validators, one of them feeds the log.
//!
//! What always holds: the feed is one instance's, and the next one goes on exactly where the log says (a batch is refused whole when
//! the feed is elsewhere, so even two that both think it their turn log nothing twice); transactions are assigned to the validators
//! that are connected anywhere. An instance that has lost its turn ends with the code that asks for a restart.

pub mod rule;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::exit::{Code, Failure};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::rule::{Beat, Sightings, Turn};
use crate::store::Store;
use crate::validators::Validators;

/// How often an instance says that it lives, and looks at the others.
const EVERY: Duration = Duration::from_millis(500);
/// Who has not beaten for so long is taken for dead: its validators are not counted, its turn passes on.
const PATIENCE: Duration = Duration::from_secs(4);
/// After so long a dead instance's rows go.
const FORGET: Duration = Duration::from_secs(60);

/// This instance among the others.
#[derive(Debug)]
pub struct Cluster {
    store: Arc<Store>,
    validators: Arc<Validators>,
    name: String,
    feeds: watch::Sender<bool>,
}

impl Cluster {
    /// Under a name of its own.
    #[must_use]
    pub fn new(store: Arc<Store>, validators: Arc<Validators>) -> Arc<Self> {
        Arc::new(Self {
            store,
            validators,
            name: format!("{:016x}", rand::random::<u64>()),
            feeds: watch::Sender::new(false),
        })
    }

    /// Waits for this instance's turn to feed the log; false when the shutdown comes first.
    pub async fn turn(&self, shutdown: &CancellationToken) -> bool {
        let mut feeds = self.feeds.subscribe();
        tokio::select! {
            // The sender lives as long as `self`.
            turn = feeds.wait_for(|mine| *mine) => turn.is_ok(),
            () = shutdown.cancelled() => false,
        }
    }

    /// Lives among the others until `shutdown`, and then hands on its turn.
    ///
    /// # Errors
    /// When the database fails, or the turn was lost ([`Code::Restart`]).
    pub async fn live(&self, shutdown: CancellationToken) -> Result<(), Failure> {
        let mut sightings = Sightings::default();
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut beat = 0;
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = shutdown.cancelled() => break,
            }
            beat += 1;
            self.look(beat, &mut sightings).await?;
        }
        // The feed has stopped, or its next batch is refused: the others need not wait until this one is missed.
        self.store.replace_feeder(Some(&self.name), None).await?;
        let last = Beat {
            instance: self.name.clone(),
            beat,
        };
        Ok(self.store.forget_instance(&last).await?)
    }

    async fn look(&self, beat: i64, sightings: &mut Sightings) -> Result<(), Failure> {
        self.store.beat(&self.name, beat, &self.validators.live_here()).await?;
        let beats = self.store.beats().await?;
        let now = Instant::now();
        sightings.look(now, &beats);
        let elsewhere: BTreeSet<_> = self
            .store
            .presences()
            .await?
            .into_iter()
            .filter(|(instance, _)| *instance != self.name && sightings.lives(now, instance, PATIENCE))
            .map(|(_, hotkey)| hotkey)
            .collect();
        self.validators.set_elsewhere(elsewhere);
        self.take_turn(now, sightings).await?;
        for gone in sightings.gone(now, FORGET).filter(|gone| gone.instance != self.name) {
            self.store.forget_instance(&gone).await?;
        }
        Ok(())
    }

    async fn take_turn(&self, now: Instant, sightings: &Sightings) -> Result<(), Failure> {
        let feeder = self.store.feeder().await?;
        let turn = sightings.turn(now, &self.name, feeder.as_deref(), PATIENCE);
        let mine = *self.feeds.borrow();
        match (turn, mine) {
            (Turn::Mine, _) | (Turn::Others, false) => {}
            (Turn::Others | Turn::Free, true) => {
                return Err(Failure::new(
                    Code::Restart,
                    eyre::eyre!("another platform feeds the log now: this one was silent for too long; start it again"),
                ));
            }
            (Turn::Free, false) => {
                if self.store.replace_feeder(feeder.as_deref(), Some(&self.name)).await? {
                    tracing::info!(
                        instance = self.name,
                        before = feeder,
                        "this platform feeds the log from now on"
                    );
                    self.feeds.send_replace(true);
                }
            }
        }
        Ok(())
    }
}
