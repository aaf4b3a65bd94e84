//! The pause: tried in the engine first, sent ahead of the attack, and followed until it is in a block.
//!
//! ```text
//! PauseRequest -> simulate: attack alone, then pause and attack -- does not stop it --> CannotWin
//!                     | stops it
//!                 offer: ahead of the attack within the cap? ------ no ---------------> CannotWin
//!                     | yes
//!                 submit, follow: in a block ahead of the attack ---- yes ------------> Included
//!                     | outbid meanwhile: raised      +-- the attack was mined first -> CannotWin, and the pause goes on
//! ```
//!
//! The rules are pure, each in a file of its own: [`simulate`], [`blocks`], [`timing`]. What always holds: only a pause that stops the
//! attack in the engine is sent; for one key at most one transaction has an effect (the sender's journal); one call under way serves
//! every incident that needs it.

pub mod blocks;
pub mod config;
mod layers;
pub mod simulate;
pub mod simulator;
pub mod timing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use defence::{PauseError, PauseOutcome, PauseProgress, PauseRequest, Pauser};
use engine::{Address, B256, Bytes, Invariant, Transaction};
use futures::FutureExt;
use futures::future::BoxFuture;
use sender::{Failure, Fees, Handle, IdempotencyKey, Inclusion, Lane, Outcome, Request, Sender, State};
use state::{Call, read};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use wire::InvariantSet;

use self::blocks::{Blocks, Place};
use self::config::PauseConfig;
use self::simulate::Found;
use self::simulator::{Sighting, Simulator, Trial};
use self::timing::{Latency, Marks};

/// Sightings that are remembered: an attack is paused within seconds of it.
const SIGHTINGS: u64 = 1024;
/// Transactions of an attack that a pause is tried against, the newest ones.
const ATTACK: usize = 8;
/// Requests under keys of their own that one pause may come to, when what was sent before came to nothing.
const TRIES: usize = 16;
/// How long the order within a pause's block is waited for.
const ORDER_WITHIN: Duration = Duration::from_secs(5);
/// Transactions of an attack whose place in the blocks is compared with the pause's, the newest ones.
const RACED: usize = 256;
/// Calls that are kept warm.
const WARM: usize = 1024;
/// Pauses that were too late and are still followed.
const LATE: usize = 64;

/// A pause that was mined after it had been given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Its incident.
    pub incident: u64,
    /// For the timeline.
    pub detail: String,
}

/// What serves one call: whom, and with what.
type Target = (Address, Bytes);

/// Sends pauses.
pub struct Gatekeeper {
    simulator: Simulator,
    sender: Arc<Sender>,
    config: PauseConfig,
    sightings: moka::sync::Cache<B256, Arc<Sighting>>,
    set: Mutex<Arc<InvariantSet>>,
    blocks: Mutex<Blocks>,
    /// Changes with every new head.
    heads: watch::Sender<u64>,
    /// A new head was streamed.
    streamed: Notify,
    newest: Mutex<B256>,
    flights: Mutex<HashMap<Target, Flight>>,
    late: mpsc::Sender<Late>,
    followers: TaskTracker,
    /// Which calls the configured actions make of an invariant.
    calls: Vec<PauseCall>,
}

/// A pause action, as far as it says which calls it makes.
#[derive(Debug, Clone)]
pub struct PauseCall {
    /// Whom; the invariant's contract when it is not given.
    pub contract: Option<Address>,
    /// With what.
    pub calldata: Bytes,
    /// Only for these invariants; all when it is empty.
    pub invariants: Vec<u64>,
}

/// A pause under way.
#[derive(Debug, Clone, Default)]
struct Flight {
    /// Pauses that wait for it.
    users: usize,
    /// Under which key; `None` until it is submitted.
    key: Option<IdempotencyKey>,
    /// What it must get ahead of.
    beat: Option<Fees>,
    /// The transactions that it must get ahead of, the newest ones.
    attack: Vec<B256>,
    /// Held by who decides whether to send.
    turn: Arc<tokio::sync::Mutex<()>>,
}

impl Flight {
    /// Another transaction that it must get ahead of.
    fn races(&mut self, transaction: B256) {
        if !self.attack.contains(&transaction) {
            self.attack.push(transaction);
        }
        if self.attack.len() > RACED {
            self.attack.remove(0);
        }
    }
}

impl std::fmt::Debug for Gatekeeper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gatekeeper")
            .field("account", &self.simulator.account())
            .field("chain_id", &self.simulator.chain_id())
            .finish_non_exhaustive()
    }
}

impl Gatekeeper {
    /// Ready to pause; what was given up and is mined after all comes out of the channel.
    #[must_use]
    pub fn new(
        simulator: Simulator,
        sender: Arc<Sender>,
        config: PauseConfig,
        calls: Vec<PauseCall>,
    ) -> (Self, mpsc::Receiver<Late>) {
        let (late, mined_late) = mpsc::channel(LATE);
        let gatekeeper = Self {
            simulator,
            sender,
            config,
            sightings: moka::sync::Cache::new(SIGHTINGS),
            set: Mutex::default(),
            blocks: Mutex::default(),
            heads: watch::channel(0).0,
            streamed: Notify::new(),
            newest: Mutex::default(),
            flights: Mutex::default(),
            late,
            followers: TaskTracker::new(),
            calls,
        };
        (gatekeeper, mined_late)
    }

    /// What the platform streams: the head and the invariants in force.
    pub fn saw(&self, head: B256, set: &Arc<InvariantSet>) {
        let mut newest = lock(&self.newest);
        if *newest != head {
            *newest = head;
            self.streamed.notify_one();
        }
        drop(newest);
        let mut known = lock(&self.set);
        if known.version != set.version || known.invariants.len() != set.invariants.len() {
            *known = Arc::clone(set);
            self.streamed.notify_one();
        }
    }

    /// Remembers how an attack was judged; before the incident is stored.
    pub fn remember(&self, transaction: B256, sighting: Sighting) {
        self.sightings.insert(transaction, Arc::new(sighting));
    }

    /// Another transaction of an attack: pauses under way that are for this contract's invariant get ahead of it too.
    pub async fn repeated(&self, invariant: &Invariant, transaction: &Transaction) {
        let fees = fees_of(transaction);
        for target in self.targets(invariant) {
            let key = {
                let mut flights = lock(&self.flights);
                let Some(flight) = flights.get_mut(&target) else {
                    continue;
                };
                flight.beat = Some(flight.beat.map_or(fees, |beat| higher(&beat, &fees)));
                flight.races(transaction.hash());
                flight.key.clone()
            };
            self.outbid(key.as_ref(), fees).await;
        }
    }

    async fn outbid(&self, key: Option<&IdempotencyKey>, fees: Fees) {
        if let Some(key) = key
            && let Err(error) = self.sender.outbid(key, fees).await
        {
            tracing::warn!(%key, %error, "a pause cannot be raised");
        }
    }

    /// The calls that the configured actions make for an invariant.
    fn targets(&self, invariant: &Invariant) -> Vec<Target> {
        let of = |call: &&PauseCall| call.invariants.is_empty() || call.invariants.contains(&invariant.id);
        let target = |call: &PauseCall| (call.contract.unwrap_or(invariant.contract), call.calldata.clone());
        self.calls.iter().filter(of).map(target).collect()
    }

    /// Follows the chain, and keeps warm what pauses read, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut warm: HashMap<Target, ()> = HashMap::new();
        loop {
            match self.simulator.follow().await {
                Ok(steps) if steps.is_empty() => {}
                Ok(steps) => {
                    self.sender.new_head();
                    let mut blocks = lock(&self.blocks);
                    for step in steps {
                        if step.reverted {
                            blocks.remove(step.block);
                        } else {
                            blocks.add(step.head.number, step.block, Arc::clone(&step.included));
                        }
                        if step.diff.everything {
                            warm.clear();
                        }
                    }
                    drop(blocks);
                    self.heads.send_modify(|count| *count = count.wrapping_add(1));
                }
                Err(error) => tracing::warn!(%error, "the pauser's node does not tell its head"),
            }
            self.keep_warm(&mut warm).await;
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = self.streamed.notified() => {}
                () = tokio::time::sleep(self.config.poll) => {}
            }
        }
        self.followers.close();
    }

    /// Reads what the pauses of the invariants in force would read, once each: a new head carries it over.
    async fn keep_warm(&self, warm: &mut HashMap<Target, ()>) {
        let set = Arc::clone(&lock(&self.set));
        let targets = set.invariants.iter().flat_map(|invariant| self.targets(invariant));
        for target in targets.take(WARM) {
            if warm.contains_key(&target) {
                continue;
            }
            let deadline = Instant::now() + self.config.simulation;
            match self.simulator.warm(target.0, &target.1, deadline).await {
                Ok(()) => {
                    warm.insert(target, ());
                }
                Err(error) => {
                    tracing::debug!(contract = %target.0, %error, "what a pause reads cannot be read now");
                    return;
                }
            }
        }
    }

    async fn send(&self, request: &PauseRequest, progress: &PauseProgress) -> Result<PauseOutcome, PauseError> {
        if request.chain_id != self.simulator.chain_id() {
            return Ok(cannot(format!(
                "the attack is on chain {}, the sender's nodes are on chain {}",
                request.chain_id,
                self.simulator.chain_id()
            )));
        }
        let asked = Instant::now();
        let attack = decode(request);
        // What was mined before now is past: the pause is for what is still to come.
        let hashes: Vec<B256> = {
            let blocks = lock(&self.blocks);
            let all = request.attack.iter().map(|suspect| suspect.tx_hash);
            all.filter(|hash| blocks.place(*hash).is_none()).collect()
        };
        let target = (request.contract, request.calldata.clone());
        let flight = self.enter(&target, &attack, &hashes);
        let turn = flight.turn.lock().await;
        let flying = lock(&self.flights).get(&target).and_then(|flight| flight.key.clone());
        let (handle, marks) = match self.sent_before(request, flying.as_ref()).await? {
            Sent::Goes(handle) => {
                let fees = attack.iter().map(fees_of).reduce(|a, b| higher(&a, &b));
                if let Some(fees) = fees {
                    self.outbid(Some(&handle.status().key), fees).await;
                }
                (handle, None)
            }
            Sent::Nothing(key) => match self.decide(request, &attack, asked).await? {
                Err(reason) => return Ok(cannot(reason)),
                Ok((gas, marks)) => match self.submit(key, request, &target, &attack, gas).await? {
                    Err(reason) => return Ok(cannot(reason)),
                    Ok(handle) => (handle, marks),
                },
            },
        };
        drop(turn);
        self.follow(handle, request.incident, &target, marks, progress).await
    }

    /// What was sent for this request before, or is under way for the same call.
    async fn sent_before(&self, request: &PauseRequest, flying: Option<&IdempotencyKey>) -> Result<Sent, PauseError> {
        let find = async |key: &IdempotencyKey| self.sender.find(key).await.map_err(|error| failed(&error));
        let mut free = None;
        for attempt in 0..TRIES {
            let name = match attempt {
                0 => request.key.clone(),
                _ => format!("{}#{attempt}", request.key),
            };
            let key = IdempotencyKey::new(name).map_err(|error| failed(&error))?;
            match find(&key).await? {
                None => {
                    free = Some(key);
                    break;
                }
                // What failed was not mined and will not be; what reverted had no effect: another one may be sent.
                Some(handle) if came_to_nothing(&handle.status().state) => {}
                Some(handle) => return Ok(Sent::Goes(handle)),
            }
        }
        let Some(free) = free else {
            return Err(failed(&"as many pauses as may be tried came to nothing"));
        };
        if let Some(flying) = flying
            && let Some(handle) = find(flying).await?
            && !came_to_nothing(&handle.status().state)
        {
            return Ok(Sent::Goes(handle));
        }
        Ok(Sent::Nothing(free))
    }

    /// Whether to send, with how much gas; or why not.
    async fn decide(
        &self,
        request: &PauseRequest,
        attack: &[Transaction],
        asked: Instant,
    ) -> Result<Result<(u64, Option<Marks>), String>, PauseError> {
        if attack.is_empty() {
            return Ok(Err(
                "the attack's transaction is not known, so no pause can be tried against it".to_owned(),
            ));
        }
        let set = Arc::clone(&lock(&self.set));
        let invariant = set.invariants.iter().find(|known| known.id == request.invariant.id);
        let Some(invariant) = invariant.cloned() else {
            return Err(failed(&format!(
                "invariant {} is not streamed (yet)",
                request.invariant.id
            )));
        };
        let newest = request.attack.last().map(|suspect| suspect.tx_hash).unwrap_or_default();
        let sighting = self.sightings.get(&newest);
        let trial = Trial {
            contract: request.contract,
            calldata: request.calldata.clone(),
            attack: attack.to_vec(),
            invariant,
            sighting: sighting.clone(),
        };
        let (found, block) = self
            .simulator
            .run(trial, asked + self.config.simulation)
            .await
            .map_err(|error| failed(&format!("the pause cannot be tried: {error}")))?;
        let decided = Instant::now();
        metrics::histogram!("validator_pause_simulation_seconds").record((decided - asked).as_secs_f64());
        let gas_used = match found {
            Found::Stops { gas_used } => gas_used,
            Found::Cannot(why) => return Ok(Err(format!("tried on block {block}: {why}"))),
            Found::Lacks(missing) => return Err(failed(&format!("the pause cannot be tried: {missing} is missing"))),
        };
        let marks = sighting.map(|sighting| Marks {
            seen: sighting.seen,
            claimed: sighting.claimed,
            confirmed: sighting.confirmed,
            asked,
            decided,
        });
        Ok(Ok((gas_limit(gas_used, self.config.gas_limit), marks)))
    }

    async fn submit(
        &self,
        key: IdempotencyKey,
        request: &PauseRequest,
        target: &Target,
        attack: &[Transaction],
        gas: u64,
    ) -> Result<Result<Handle, String>, PauseError> {
        let own = attack.iter().map(fees_of).reduce(|a, b| higher(&a, &b));
        // From here on a repeat raises it; what came before is in `beat`.
        let beat = self.fly(target, &key);
        let beat = own.into_iter().chain(beat).reduce(|a, b| higher(&a, &b));
        let cap = self.config.max_fee_cap.map(u128::from);
        if let Some(offer) = self.sender.offer(Lane::Pause, beat.as_ref(), cap)
            && !offer.ahead
        {
            return Ok(Err(format!(
                "the attack offers up to {} wei per gas, which cannot be beaten within the cap; raise sender.lanes.pause.max_fee_cap",
                beat.map_or(0, |beat| beat.max_fee)
            )));
        }
        let expires = self.simulator.reader().head().head().timestamp + self.config.expire_after.as_secs();
        let request = Request {
            gas: Some(gas),
            max_fee_cap: cap,
            deadline: Some(expires),
            beat,
            ..Request::call(key, Lane::Pause, request.contract, request.calldata.clone())
        };
        let handle = self.sender.submit(request).await.map_err(|error| failed(&error))?;
        let now = lock(&self.flights).get(target).and_then(|flight| flight.beat);
        if let Some(now) = now.filter(|now| beat != Some(*now)) {
            self.outbid(Some(&handle.status().key), now).await;
        }
        Ok(Ok(handle))
    }

    /// Until it is in a block, ahead of the attack.
    async fn follow(
        &self,
        handle: Handle,
        incident: u64,
        target: &Target,
        marks: Option<Marks>,
        progress: &PauseProgress,
    ) -> Result<PauseOutcome, PauseError> {
        let mut status = handle.watch();
        let mut heads = self.heads.subscribe();
        let mut told = None;
        loop {
            let now = status.borrow_and_update().clone();
            if let Some(transaction) = now.transaction.filter(|new| told != Some(*new))
                && let State::Broadcast { fees, .. } = &now.state
            {
                let mut detail = format!(
                    "offering {} wei per gas, {} to the builder",
                    fees.max_fee, fees.priority_fee
                );
                if told.is_none()
                    && let Some(marks) = &marks
                {
                    let latency = Latency::new(marks, &now.timing);
                    metrics::histogram!("validator_seen_to_broadcast_seconds").record(latency.total.as_secs_f64());
                    detail = format!("{detail}; {latency}");
                }
                told = Some(transaction);
                progress.broadcast(transaction, &detail);
            }
            match &now.state {
                State::Included(inclusion) | State::Final(inclusion) => {
                    if told.is_none() {
                        // It was so fast, or this process came later.
                        progress.broadcast(inclusion.transaction, "seen in its block");
                    }
                    return Ok(self.included(inclusion, target).await);
                }
                State::Failed { reason } => return Ok(cannot(format!("the pause {}", words(reason)))),
                _ => {}
            }
            if let Some((place, attacker)) = self.mined_first(target, None).await {
                self.follow_late(handle, incident);
                return Ok(cannot(format!(
                    "the attack {attacker} was mined in block {} before the pause; the pause goes on",
                    place.block
                )));
            }
            tokio::select! {
                changed = status.changed() => changed.map_err(|_| failed(&"the sender stopped"))?,
                _ = heads.changed() => {}
            }
        }
    }

    /// What an inclusion means: was the attack there before?
    async fn included(&self, inclusion: &Inclusion, target: &Target) -> PauseOutcome {
        if !inclusion.success {
            let why = inclusion.revert.as_deref().unwrap_or("without a reason");
            return cannot(format!("the pause reverted in block {}: {why}", inclusion.block));
        }
        let mut heads = self.heads.subscribe();
        let known = async {
            while lock(&self.blocks).place(inclusion.transaction).is_none() {
                self.streamed.notify_one();
                if heads.changed().await.is_err() {
                    return;
                }
            }
        };
        if tokio::time::timeout(ORDER_WITHIN, known).await.is_err() {
            tracing::warn!(transaction = %inclusion.transaction, "the node does not tell the order in the pause's block");
        }
        let pause = lock(&self.blocks).place(inclusion.transaction);
        match self.mined_first(target, pause).await {
            Some((place, attacker)) => cannot(format!(
                "the attack {attacker} was mined before the pause, in block {} (the pause in block {})",
                place.block, inclusion.block
            )),
            None => PauseOutcome::Included {
                tx_hash: inclusion.transaction,
                block: inclusion.block,
            },
        }
    }

    /// The first of the attack's transactions that is in a block before this place and had an effect.
    async fn mined_first(&self, target: &Target, before: Option<Place>) -> Option<(Place, B256)> {
        let attack = lock(&self.flights)
            .get(target)
            .map_or_else(Vec::new, |flight| flight.attack.clone());
        let mut found: Vec<(Place, B256)> = {
            let blocks = lock(&self.blocks);
            let places = attack.iter().filter_map(|hash| Some((blocks.place(*hash)?, *hash)));
            places
                .filter(|(place, _)| before.is_none_or(|before| *place < before))
                .collect()
        };
        found.sort_unstable();
        for (place, hash) in found {
            if !self.reverted(hash).await {
                return Some((place, hash));
            }
        }
        None
    }

    /// Whether a mined transaction reverted: then it did nothing. Not known is no.
    async fn reverted(&self, transaction: B256) -> bool {
        let node = self.simulator.reader().node();
        let call = Call::new("eth_getTransactionReceipt", serde_json::json!([transaction]));
        let answer = node.batch(vec![call], node.patience()).await;
        let receipt = answer.ok().and_then(|answers| {
            let answer = answers.into_iter().next()?;
            read::<serde_json::Value>("eth_getTransactionReceipt", &answer).ok()
        });
        receipt.is_some_and(|receipt| receipt.get("status").and_then(serde_json::Value::as_str) == Some("0x0"))
    }

    /// Follows a pause that was too late for its attack: it still stops the next one.
    fn follow_late(&self, handle: Handle, incident: u64) {
        if self.followers.len() >= LATE {
            return;
        }
        let (late, limit) = (self.late.clone(), self.config.expire_after);
        self.followers.spawn(async move {
            if let Ok(Outcome::Mined(inclusion)) = handle.included(limit).await
                && inclusion.success
            {
                let detail = format!(
                    "{} in block {}, too late for the first attack",
                    inclusion.transaction, inclusion.block
                );
                // Its receiver ends with the validator; the sender's journal knows it all the same.
                let _ended = late.try_send(Late { incident, detail });
            }
        });
    }

    /// A pause of this call begins.
    fn enter(&self, target: &Target, attack: &[Transaction], hashes: &[B256]) -> Entered<'_> {
        let mut flights = lock(&self.flights);
        let flight = flights.entry(target.clone()).or_default();
        flight.users += 1;
        hashes.iter().for_each(|hash| flight.races(*hash));
        for fees in attack.iter().map(fees_of) {
            flight.beat = Some(flight.beat.map_or(fees, |beat| higher(&beat, &fees)));
        }
        Entered {
            turn: Arc::clone(&flight.turn),
            gatekeeper: self,
            target: target.clone(),
        }
    }

    /// A pause of this call gets its key; gives what it must get ahead of.
    fn fly(&self, target: &Target, key: &IdempotencyKey) -> Option<Fees> {
        let mut flights = lock(&self.flights);
        let flight = flights.get_mut(target)?;
        flight.key = Some(key.clone());
        flight.beat
    }
}

/// A pause that waits for a call under way; when the last one goes, the call is no longer under way.
struct Entered<'a> {
    turn: Arc<tokio::sync::Mutex<()>>,
    gatekeeper: &'a Gatekeeper,
    target: Target,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut flights = lock(&self.gatekeeper.flights);
        if let Some(flight) = flights.get_mut(&self.target) {
            flight.users = flight.users.saturating_sub(1);
            if flight.users == 0 {
                flights.remove(&self.target);
            }
        }
    }
}

enum Sent {
    /// This one is under way, or is in a block.
    Goes(Handle),
    /// None; the next one may have this key.
    Nothing(IdempotencyKey),
}

impl Pauser for Gatekeeper {
    fn pause(&self, request: PauseRequest, progress: PauseProgress) -> BoxFuture<'_, Result<PauseOutcome, PauseError>> {
        async move { self.send(&request, &progress).await }.boxed()
    }

    fn rehearse(&self, request: PauseRequest) -> BoxFuture<'_, Result<String, PauseError>> {
        async move { rehearse(&self.simulator, &request, self.config.simulation).await }.boxed()
    }
}

/// Does everything of a pause but sending it: who would send it, with what balance, and how the call would end.
///
/// # Errors
/// The call would not succeed, or the node does not tell.
pub async fn rehearse(simulator: &Simulator, request: &PauseRequest, limit: Duration) -> Result<String, PauseError> {
    use engine::State as _;
    let deadline = Instant::now() + limit;
    simulator.follow().await.map_err(|error| failed(&error))?;
    let execution = simulator
        .alone(request.contract, &request.calldata, deadline)
        .await
        .map_err(|error| failed(&error))?;
    let snapshot = simulator.reader().head();
    let account = |address| snapshot.account(address).ok().flatten();
    let said = format!(
        "{} calls {} on chain {} with {}",
        simulator.account(),
        request.contract,
        simulator.chain_id(),
        request.calldata
    );
    if !account(request.contract).is_some_and(|account| account.has_code()) {
        return Err(failed(&format!("{said}: there is no contract")));
    }
    if execution.status != engine::Status::Success {
        return Err(failed(&format!("{said}: it would {}", execution.status)));
    }
    let balance = account(simulator.account())
        .map(|account| account.balance)
        .unwrap_or_default();
    Ok(format!(
        "{said}: it would succeed on block {} with {} gas; the account holds {balance} wei",
        snapshot.head().number,
        execution.gas_used
    ))
}

/// The transactions of the attack that a pause is tried against, in the order of confirmation.
fn decode(request: &PauseRequest) -> Vec<Transaction> {
    let skipped = request.attack.len().saturating_sub(ATTACK);
    let known = request
        .attack
        .iter()
        .skip(skipped)
        .filter(|suspect| !suspect.raw.is_empty());
    known
        .filter_map(|suspect| Transaction::with_sender(&suspect.raw, suspect.sender).ok())
        .collect()
}

/// What a transaction offers; before EIP-1559 both are its gas price.
fn fees_of(transaction: &Transaction) -> Fees {
    let max_fee = transaction.max_fee_per_gas();
    Fees {
        max_fee,
        priority_fee: transaction.max_priority_fee_per_gas().unwrap_or(max_fee),
    }
}

fn higher(a: &Fees, b: &Fees) -> Fees {
    Fees {
        max_fee: a.max_fee.max(b.max_fee),
        priority_fee: a.priority_fee.max(b.priority_fee),
    }
}

/// Gas to give for a call that used `used`: what was refunded at its end (at most a fifth, EIP-3529) had to be there, and a quarter on
/// top for a state that is another by then.
fn gas_limit(used: u64, limit: u64) -> u64 {
    let before_refunds = used.saturating_add(used / 4);
    before_refunds
        .saturating_add(before_refunds / 4)
        .saturating_add(10_000)
        .min(limit)
}

fn came_to_nothing(state: &State) -> bool {
    match state {
        State::Failed { .. } => true,
        State::Included(inclusion) | State::Final(inclusion) => !inclusion.success,
        _ => false,
    }
}

fn cannot(reason: String) -> PauseOutcome {
    PauseOutcome::CannotWin { reason }
}

fn failed(error: &dyn std::fmt::Display) -> PauseError {
    PauseError {
        reason: error.to_string(),
    }
}

fn words(failure: &Failure) -> String {
    match failure {
        Failure::Expired => "was not mined in time".to_owned(),
        Failure::Cancelled => "was cancelled".to_owned(),
        other => format!("was not sent: {other}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gas_covers_the_refund_and_a_margin_but_not_more_than_the_limit() {
        assert_eq!(gas_limit(40_000, 1_000_000), 72_500);
        assert_eq!(gas_limit(40_000, 60_000), 60_000);
        assert_eq!(gas_limit(u64::MAX, 1_000_000), 1_000_000);
    }
}
