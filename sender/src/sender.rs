//! The front: opens the journal, starts a desk for each key, takes requests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, RelayConfig};
use crate::desk::restore::revive;
use crate::desk::slot::{Job, status_of};
use crate::desk::{Cancelled, Command, Desk, Registry, Relay, Setup, Shown, look};
use crate::error::{OpenError, SubmitError};
use crate::fees::{self, FeePolicy, Fees, Market, Offer};
use crate::journal::{Journal, JournalError};
use crate::keys::{KeyError, Keys, parse};
use crate::lane::Lane;
use crate::request::{Handle, IdempotencyKey, Request, Status};
use crate::rpc::{Endpoint, Nodes};

/// How long the desks may take to end.
const SHUTDOWN: Duration = Duration::from_secs(10);

struct DeskPort {
    commands: mpsc::Sender<Command>,
    queue: watch::Receiver<Vec<Status>>,
    market: watch::Receiver<Option<[Market; 4]>>,
}

/// Gets transactions mined. See the crate's own page.
pub struct Sender {
    journal: Arc<Journal>,
    registry: Registry,
    resumed: Vec<IdempotencyKey>,
    desks: BTreeMap<Address, DeskPort>,
    lanes: [Address; 4],
    policies: [FeePolicy; 4],
    limit: usize,
    intake: Mutex<()>,
    tasks: Mutex<JoinSet<Result<(), JournalError>>>,
    stop: CancellationToken,
    chain_id: u64,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender")
            .field("chain_id", &self.chain_id)
            .field("lanes", &self.lanes)
            .finish_non_exhaustive()
    }
}

impl Sender {
    /// Opens the journal at `journal` (a SQLite file of its own), asks the nodes which chain they serve, and goes on with
    /// what was unfinished.
    ///
    /// # Errors
    /// [`OpenError`] names what is missing or does not fit.
    pub async fn open(config: &Config, keys: &Keys, journal: &Path) -> Result<Self, OpenError> {
        config.check()?;
        let mut endpoints = Vec::new();
        for address in &config.endpoints {
            endpoints.push(Endpoint::new(&address.reveal()?, config.timeout, None)?);
        }
        let nodes = Nodes::new(endpoints);
        let relay = config
            .relay
            .as_ref()
            .map(|relay| open_relay(relay, config.timeout))
            .transpose()?;
        let settings = Lane::ALL.map(|lane| config.lanes.of(lane));
        let mut signers = Vec::new();
        for (lane, settings) in Lane::ALL.into_iter().zip(&settings) {
            let missing = || OpenError::NoKey {
                lane,
                name: settings.key.clone(),
            };
            signers.push(keys.get(&settings.key).cloned().ok_or_else(missing)?);
        }
        let (chain_id, genesis) = look::origin(&nodes).await.map_err(OpenError::Unreachable)?;
        if let Some(expected) = config.chain_id.filter(|expected| *expected != chain_id) {
            return Err(OpenError::WrongChain {
                expected,
                found: chain_id,
            });
        }
        let journal = Arc::new(Journal::open(journal, config.keep).await?);
        journal.bind(chain_id, genesis).await?;
        let (jobs, attempts) = journal.unfinished().await?;
        // A key that was in use before and serves no lane now still has to finish what it began.
        for (name, address) in keys.addresses() {
            let unfinished = jobs.iter().any(|job| job.account == address && !job.state.is_end());
            if unfinished && let Some(signer) = keys.get(name) {
                signers.push(signer.clone());
            }
        }
        let registry: Registry = Arc::default();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut desks = BTreeMap::new();
        let lanes: [Address; 4] =
            std::array::from_fn(|lane| signers.get(lane).map(|s| s.address()).unwrap_or_default());
        for signer in signers {
            let account = signer.address();
            if desks.contains_key(&account) {
                continue;
            }
            let revived: Vec<Job> = jobs
                .iter()
                .filter(|job| job.account == account)
                .map(|job| revive(job.clone(), &registry))
                .collect();
            let attempts = attempts
                .iter()
                .filter(|attempt| attempt.account == account)
                .cloned()
                .collect();
            let settled = journal.settled(account).await?;
            let setup = Setup {
                signer,
                chain_id,
                nodes: nodes.clone(),
                relay: relay.clone(),
                journal: Arc::clone(&journal),
                lanes: settings.clone(),
                confirmations: config.confirmations,
                poll: config.poll,
                max_in_flight: config.max_in_flight,
                registry: Arc::clone(&registry),
                stop: stop.clone(),
            };
            // As many as may be unfinished, with the pauses' reserve, and some cancellations.
            let (commands, receiver) = mpsc::channel(config.queue.saturating_mul(2).max(16));
            let (queue, queue_shown) = watch::channel(Vec::new());
            let (market, market_shown) = watch::channel(None);
            let shown = Shown { queue, market };
            let desk = Desk::new(setup, receiver, shown, settled, revived, attempts);
            tasks.spawn(async move {
                let ended = desk.run().await;
                if let Err(error) = &ended {
                    tracing::error!(%error, %account, "the sender stops: without its journal it must not send");
                }
                ended
            });
            let port = DeskPort {
                commands,
                queue: queue_shown,
                market: market_shown,
            };
            desks.insert(account, port);
        }
        for job in jobs
            .iter()
            .filter(|job| !job.state.is_end() && !desks.contains_key(&job.account))
        {
            tracing::warn!(key = %job.request.key, account = %job.account, "unfinished, but its private key is not configured");
        }
        let resumed = jobs.into_iter().filter(|job| !job.state.is_end());
        Ok(Self {
            journal,
            registry,
            resumed: resumed.map(|job| job.request.key).collect(),
            desks,
            lanes,
            policies: settings.map(|settings| settings.fees),
            limit: config.queue,
            intake: Mutex::new(()),
            tasks: Mutex::new(tasks),
            stop,
            chain_id,
        })
    }

    /// The chain that it sends to.
    #[must_use]
    pub const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The account that sends for `lane`.
    #[must_use]
    pub fn account(&self, lane: Lane) -> Address {
        Lane::ALL
            .into_iter()
            .zip(self.lanes)
            .find(|(of, _)| *of == lane)
            .map(|(_, account)| account)
            .unwrap_or_default()
    }

    /// What `lane` would offer now, and whether that stands ahead of a transaction with the fees `beat` under the cap: asked
    /// before a request that is worth nothing behind it. Costs no round trip. `None`: the chain was not seen yet.
    #[must_use]
    pub fn offer(&self, lane: Lane, beat: Option<&Fees>, max_fee_cap: Option<u128>) -> Option<Offer> {
        let markets = (*self.desks.get(&self.account(lane))?.market.borrow())?;
        let mut lanes = Lane::ALL.into_iter().zip(self.policies.iter().zip(markets));
        let (_, (policy, market)) = lanes.find(|(of, _)| *of == lane)?;
        Some(fees::offer(policy, &market, beat, max_fee_cap))
    }

    /// Accepts a request: when this returns it is on disk, and will be mined once at most, across restarts. A key that was
    /// submitted before gives the handle of what it already does or did.
    ///
    /// # Errors
    /// [`SubmitError`]: full, stopped, the key stands for something else, or the journal failed.
    pub async fn submit(&self, request: Request) -> Result<Handle, SubmitError> {
        let start = Instant::now();
        // Serialises the look into the registry with the entry into it.
        let _turn = self.intake.lock().await;
        let account = self.account(request.lane);
        let port = self.desks.get(&account).ok_or(SubmitError::Stopped)?;
        let unfinished = self.registry.lock().unwrap_or_else(PoisonError::into_inner).len();
        let limit = if request.lane.hurries() {
            self.limit + self.limit / 4
        } else {
            self.limit
        };
        if unfinished >= limit {
            // A repeated key is no new work.
            return match self.find(&request.key).await? {
                Some(handle) => Ok(handle),
                None => Err(SubmitError::Full(unfinished)),
            };
        }
        if self.stop.is_cancelled() {
            return Err(SubmitError::Stopped);
        }
        let permit = match port.commands.try_reserve() {
            Ok(permit) => permit,
            Err(mpsc::error::TrySendError::Full(())) => return Err(SubmitError::Full(unfinished)),
            Err(mpsc::error::TrySendError::Closed(())) => return Err(SubmitError::Stopped),
        };
        let (stored, new) = self.journal.insert(account, &request).await?;
        if stored.digest != request.digest() {
            return Err(SubmitError::Conflict(request.key));
        }
        if !new {
            return Ok(self.known(&request.key).unwrap_or_else(|| ended(status_of(&stored))));
        }
        let (job, receiver) = Job::new(stored, Some(start));
        self.registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(request.key.clone(), receiver.clone());
        permit.send(Command::New(Box::new(job)));
        Ok(Handle { status: receiver })
    }

    /// The handle of a key that was submitted before.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn find(&self, key: &IdempotencyKey) -> Result<Option<Handle>, JournalError> {
        if let Some(handle) = self.known(key) {
            return Ok(Some(handle));
        }
        Ok(self.journal.find(key).await?.map(|stored| ended(status_of(&stored))))
    }

    fn known(&self, key: &IdempotencyKey) -> Option<Handle> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        registry.get(key).map(|status| Handle { status: status.clone() })
    }

    /// Withdraws a request: what is not out is dropped; what is out is raced for its nonce by a transfer of nothing, and
    /// its handle tells who won.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`] or [`SubmitError::Journal`].
    pub async fn cancel(&self, key: &IdempotencyKey) -> Result<Cancelled, SubmitError> {
        let Some(handle) = self.known(key) else {
            return Ok(if self.journal.find(key).await?.is_some() {
                Cancelled::TooLate
            } else {
                Cancelled::Unknown
            });
        };
        let port = self.desks.get(&handle.status().account).ok_or(SubmitError::Stopped)?;
        let (answer, answered) = oneshot::channel();
        port.commands
            .send(Command::Cancel(key.clone(), answer))
            .await
            .map_err(|_| SubmitError::Stopped)?;
        answered.await.map_err(|_| SubmitError::Stopped)
    }

    /// The names of what was unfinished when this was opened, whatever has become of it since.
    #[must_use]
    pub fn resumed(&self) -> &[IdempotencyKey] {
        &self.resumed
    }

    /// What the request is to get ahead of has raised its own offer, or another one has come: raises what is on its way at once, within
    /// the cap. Kept in memory only: who goes on with a request after a restart says it again. Of what has ended nothing changes.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn outbid(&self, key: &IdempotencyKey, fees: Fees) -> Result<(), SubmitError> {
        let Some(handle) = self.known(key) else { return Ok(()) };
        let port = self.desks.get(&handle.status().account).ok_or(SubmitError::Stopped)?;
        let command = Command::Outbid(key.clone(), fees);
        port.commands.send(command).await.map_err(|_| SubmitError::Stopped)
    }

    /// What the request builds on has changed its offer: what is on its way is raised along with it, and stays right behind it. `None`: it
    /// is in a block, or given up; from now on the request is raised by itself. One that is not known or has ended is left alone.
    ///
    /// # Errors
    /// [`SubmitError::Stopped`].
    pub async fn follow(&self, key: &IdempotencyKey, front: Option<Fees>) -> Result<(), SubmitError> {
        let Some(handle) = self.known(key) else { return Ok(()) };
        let port = self.desks.get(&handle.status().account).ok_or(SubmitError::Stopped)?;
        let follow = Command::Follow(key.clone(), front);
        port.commands.send(follow).await.map_err(|_| SubmitError::Stopped)
    }

    /// What is unfinished, the most urgent first, in the order of acceptance; for display.
    #[must_use]
    pub fn queue(&self) -> Vec<Status> {
        let mut all: Vec<Status> = self
            .desks
            .values()
            .flat_map(|port| port.queue.borrow().clone())
            .collect();
        all.sort_by_key(|status| std::cmp::Reverse(status.lane));
        all
    }

    /// Look at the chain now: the caller saw a new head. Without it the next poll does.
    pub fn new_head(&self) {
        for port in self.desks.values() {
            // Full means that it is about to wake up anyway.
            let _ = port.commands.try_send(Command::Look);
        }
    }

    /// Stops: nothing more is signed. What is unfinished goes on with the next [`Sender::open`].
    ///
    /// # Errors
    /// [`JournalError`] of a desk that had failed.
    pub async fn shutdown(&self) -> Result<(), JournalError> {
        let _turn = self.intake.lock().await;
        self.stop.cancel();
        let mut tasks = self.tasks.lock().await;
        let mut result = Ok(());
        let deadline = tokio::time::Instant::now() + SHUTDOWN;
        while let Ok(Some(ended)) = tokio::time::timeout_at(deadline, tasks.join_next()).await {
            if let Ok(Err(error)) = ended {
                result = Err(error);
            }
        }
        tasks.abort_all();
        self.registry.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.journal.close().await;
        result
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A handle of what ended before.
fn ended(status: Status) -> Handle {
    Handle {
        status: watch::channel(status).1,
    }
}

fn open_relay(relay: &RelayConfig, timeout: Duration) -> Result<Relay, OpenError> {
    let identity = match &relay.identity {
        Some(secret) => {
            let text = zeroize::Zeroizing::new(secret.reveal()?);
            Some(parse(&text).ok_or_else(|| KeyError::Form("relay.identity".to_owned()))?)
        }
        None => None,
    };
    Ok(Relay {
        endpoint: Arc::new(Endpoint::new(&relay.url.reveal()?, timeout, identity)?),
        method: relay.method,
        lanes: relay.lanes.clone(),
        public_after: relay.public_after,
        never_public: relay.never_public,
    })
}
