//! The validator's defence: opened from the configuration, told of confirmed violations, and told on to the platform.
//!
//! What always holds: the defence knows a violation before the platform is told of it, so that after a crash in between it is
//! confirmed again, and nothing is done twice; the platform hears each change of an incident, signed, after the incident itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use defence::clock::Clock;
use defence::incident::Moment;
use defence::violation::NetworkView;
use defence::{Defence, IncidentId, Pauser, TimelineEntry};
use engine::{Address, B256, Prestate, Watched, Witness};
use node::exit::{Code, Failure, OrConfiguration};
use sender::{Keys, Lane, Sender};
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use wire::{Challenge, InvariantSet};

use crate::config::Config;
use crate::incident::{Confirmed, Times};
use crate::pause::simulator::{Sighting, Simulator};
use crate::pause::{Gatekeeper, Late, PauseWay};
use crate::rerun::{Rerun, rerun};
use crate::store::{Store, StoreError, Told};
use crate::timeline;

/// After a change, what is told to the platform waits so long for more of it: the pause goes first.
const QUIET: Duration = Duration::from_millis(150);
/// Transactions with incidents whose last answers are waited for.
const UNDER_WAY: u64 = 4096;
/// Lines of timelines that are read at once.
const LINES: u32 = 10_000;

/// A violation that the validator's own engine has just confirmed.
#[derive(Debug)]
pub struct Finding<'a> {
    /// The question that it is the answer to.
    pub challenge: &'a Challenge,
    /// With bytecode.
    pub prestate: Option<&'a Prestate>,
    /// What is broken.
    pub invariant: &'a Watched,
    /// The own engine's evidence.
    pub witness: &'a Witness,
    /// When the transaction reached the validator.
    pub seen: Instant,
    /// When the first answer claimed the violation.
    pub claimed: Instant,
    /// When the engine confirmed it.
    pub confirmed: Instant,
    /// What the miners had said by then.
    pub view: NetworkView,
}

/// The defence of one validator.
#[derive(Debug)]
pub struct Defender {
    defence: Arc<Defence>,
    gatekeeper: Option<Arc<Gatekeeper>>,
    sender: Option<Arc<Sender>>,
    severity: crate::config::SeverityConfig,
    store: Store,
    reports: Arc<Notify>,
    /// Incidents of the transactions that are being judged.
    incidents: moka::sync::Cache<B256, Vec<IncidentId>>,
    /// Incidents whose view has changed.
    views: mpsc::Sender<IncidentId>,
}

/// What the defender's task needs.
#[derive(Debug)]
pub struct Background {
    late: Option<mpsc::Receiver<Late>>,
    views: mpsc::Receiver<IncidentId>,
}

impl Defender {
    /// Opens what the configuration asks for; `None` when there is no `[defence]` in it.
    ///
    /// # Errors
    /// The configuration (code 2), a node that does not answer (3), a database.
    pub async fn open(
        config: &Config,
        store: Store,
        reports: Arc<Notify>,
    ) -> Result<Option<(Self, Background)>, Failure> {
        let Some(actions) = &config.defence else {
            return Ok(None);
        };
        let ways = PauseWay::all(actions);
        let (mut gatekeeper, mut sender, mut late) = (None, None, None);
        if !ways.is_empty() {
            let opened = open_sender(config).await?;
            let simulator = open_simulator(config, opened.account(Lane::Pause), Some(opened.chain_id())).await?;
            let opened = Arc::new(opened);
            let (keeper, mined_late) = Gatekeeper::new(simulator, Arc::clone(&opened), config.pause.clone(), ways);
            (gatekeeper, sender, late) = (Some(Arc::new(keeper)), Some(opened), Some(mined_late));
        }
        let pauser = gatekeeper.clone().map(|gatekeeper| gatekeeper as Arc<dyn Pauser>);
        let defence = Defence::open(actions.clone(), &config.defence_database(), pauser)
            .await
            .or_configuration()?;
        tracing::info!(
            actions = actions.actions.len(),
            pauses = gatekeeper.is_some(),
            "the defence is ready"
        );
        let (views, viewed) = mpsc::channel(1024);
        let defender = Self {
            defence: Arc::new(defence),
            gatekeeper,
            sender,
            severity: config.severity.clone(),
            store,
            reports,
            incidents: moka::sync::Cache::new(UNDER_WAY),
            views,
        };
        Ok(Some((defender, Background { late, views: viewed })))
    }

    /// The defence itself.
    #[must_use]
    pub fn defence(&self) -> &Arc<Defence> {
        &self.defence
    }

    /// What the stream says is in force.
    pub fn saw(&self, head: B256, set: &Arc<InvariantSet>) {
        if let Some(gatekeeper) = &self.gatekeeper {
            gatekeeper.saw(head, set);
        }
    }

    /// Tells the defence; when this returns the incident is on disk, and its actions are under way.
    ///
    /// # Errors
    /// The defence's database fails.
    pub async fn confirmed(&self, finding: &Finding<'_>) -> Result<IncidentId, StoreError> {
        let Finding {
            challenge, invariant, ..
        } = *finding;
        let tx = &challenge.transaction;
        let Rerun { path, moved } = rerun(finding).await;
        if let Some(gatekeeper) = &self.gatekeeper {
            let sighting = Sighting {
                seen: finding.seen,
                claimed: finding.claimed,
                // Finding the way is the engine's work too.
                confirmed: Instant::now(),
                head: challenge.head_hash,
                env: challenge.env.clone(),
                prestate: finding.prestate.cloned(),
            };
            gatekeeper.remember(tx.hash(), sighting);
        }
        let now_ms = Clock::system().now_ms();
        let ago = |at: Instant| now_ms.saturating_sub(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX));
        let violation = Confirmed {
            chain_id: challenge.chain_id,
            transaction: tx,
            predecessors: &challenge.predecessors,
            invariant,
            set_version: challenge.invariant_set_version,
            witness: finding.witness,
            path: &path,
            moved: &moved,
            severity: self.severity.of(invariant.id()),
            times: Times {
                seen_ms: ago(finding.seen),
                judged_ms: ago(finding.claimed),
                confirmed_ms: ago(finding.confirmed),
            },
            view: finding.view,
        }
        .violation();
        let incident = self.defence.confirmed(&violation).await?;
        let mut incidents = self.incidents.get(&tx.hash()).unwrap_or_default();
        incidents.push(incident);
        self.incidents.insert(tx.hash(), incidents);
        if let Some(gatekeeper) = &self.gatekeeper {
            gatekeeper.repeated(invariant, &challenge.predecessors, tx).await;
        }
        Ok(incident)
    }

    /// What the miners said of a transaction in the end. Of one that opened no incident nothing changes.
    ///
    /// # Errors
    /// The defence's database fails.
    pub async fn concluded(&self, transaction: B256, view: NetworkView) -> Result<(), StoreError> {
        for id in self.incidents.remove(&transaction).unwrap_or_default() {
            // The view is that of the transaction that opened it.
            let opened = self.defence.incident(id).await?;
            if opened.is_some_and(|incident| incident.violation.suspect.tx_hash == transaction && incident.view != view)
            {
                self.defence.network_view(id, view).await?;
                // Full: the next change of the incident tells it too.
                let _full = self.views.try_send(id);
            }
        }
        Ok(())
    }

    /// Tells the platform of incidents, follows the chain for the pauses, and ends the defence at `shutdown`.
    ///
    /// # Errors
    /// A database fails.
    pub async fn run(self: Arc<Self>, background: Background, shutdown: CancellationToken) -> Result<(), StoreError> {
        let Background { mut late, mut views } = background;
        let following = async {
            match &self.gatekeeper {
                Some(gatekeeper) => gatekeeper.run(shutdown.clone()).await,
                None => shutdown.cancelled().await,
            }
            Ok::<(), StoreError>(())
        };
        let telling = self.tell(&mut views, &mut late, &shutdown);
        let ended = futures::future::try_join(following, telling).await.map(|_| ());
        self.defence.shutdown().await;
        if let Some(sender) = &self.sender
            && let Err(error) = sender.shutdown().await
        {
            tracing::error!(%error, "the sender did not end as it should");
        }
        ended
    }

    async fn tell(
        &self,
        views: &mut mpsc::Receiver<IncidentId>,
        late: &mut Option<mpsc::Receiver<Late>>,
        shutdown: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut changes = self.defence.changes();
        let mut line = 0;
        // Those that came before their own report, or whose view changed.
        let mut again: BTreeSet<IncidentId> = BTreeSet::new();
        loop {
            changes.mark_unchanged();
            let (changed, covered) = self.defence.changed_after(line, LINES).await?;
            let more = covered > line;
            line = covered;
            let mut due = std::mem::take(&mut again);
            due.extend(changed);
            let mut posted = false;
            for id in due {
                let Some(incident) = self.defence.incident(id).await? else {
                    continue;
                };
                match self.store.post_timeline(timeline::of(&incident)).await? {
                    Told::Posted => posted = true,
                    Told::Same => {}
                    Told::TooEarly => {
                        again.insert(id);
                    }
                }
            }
            if posted {
                self.reports.notify_one();
            }
            if more {
                continue;
            }
            let waits = !again.is_empty();
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                Some(id) = views.recv() => { again.insert(id); }
                Some(mined) = next(late) => self.mined_late(&mined).await?,
                () = tokio::time::sleep(QUIET), if waits => {}
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(QUIET) => {}
            }
        }
    }

    async fn mined_late(&self, mined: &Late) -> Result<(), StoreError> {
        let event = TimelineEntry {
            at_ms: Clock::system().now_ms(),
            moment: Moment::Included,
            action: None,
            detail: mined.detail.clone(),
        };
        Ok(self.defence.timeline_event(mined.incident, &event).await?)
    }
}

async fn next(late: &mut Option<mpsc::Receiver<Late>>) -> Option<Late> {
    match late {
        Some(late) => late.recv().await,
        None => std::future::pending().await,
    }
}

/// The keys, off the runtime's threads: a key file takes about a second.
pub(crate) async fn load_keys(config: &sender::Config) -> Result<Keys, Failure> {
    let keys = config.keys.clone();
    let loaded = tokio::task::spawn_blocking(move || Keys::load(&keys)).await?;
    loaded.or_configuration()
}

async fn open_sender(config: &Config) -> Result<Sender, Failure> {
    let settings = config.sender_config()?;
    let keys = load_keys(settings).await?;
    Sender::open(settings, &keys, &config.sender_journal())
        .await
        .map_err(sender::OpenError::into_failure)
}

/// The simulator on the configured nodes.
pub(crate) async fn open_simulator(
    config: &Config,
    account: Address,
    chain_id: Option<u64>,
) -> Result<Simulator, Failure> {
    let nodes = config.pause_nodes()?;
    Simulator::open(nodes, chain_id, account, config.pause.gas_limit, config.pause.timeout)
        .await
        .map_err(|error| Failure::new(Code::Indeterminate, error))
}
