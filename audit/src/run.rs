//! `audit run`: one node's duties, from head to head, until it is told to end.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use defence::clock::Clock;
use defence::notice::Notices;
use eyre::eyre;
use node::database::lock::{self, Lock};
use node::exit::{Code, Failure, OrConfiguration as _};
use sender::{Lane, Sender, SubmitError};
use state::{Node, NodeError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{ChallengeConfig, Config};
use crate::duty::clock::Seen;
use crate::duty::measure::{Measurer, Sight};
use crate::duty::{Desk, DutyError, Office, View};
use crate::health::{Health, Shown};
use crate::manager::{ManagerClient, ReadError};
use crate::probe::Prober;
use crate::probe::challenge::Challenger;
use crate::store::{Owner, Store};

/// While this operator is no node's, the contract is asked again after this time (SK-18).
const UNREGISTERED: Duration = Duration::from_secs(30);
/// How often the subnet's ledger is read.
const METAGRAPH: Duration = Duration::from_secs(60);
/// The operator's balance is read every so many heads.
const BALANCE_EVERY: u64 = 16;

/// Exit code 3 for what a node did not say, 2 for an address without an AuditManager.
#[must_use]
pub fn unreachable(error: ReadError) -> Failure {
    match error {
        ReadError::NoManager(..) => Failure::configuration(error),
        ReadError::Node(error) => node_failure(error),
    }
}

fn node_failure(error: NodeError) -> Failure {
    match error {
        NodeError::NoEndpoints | NodeError::Endpoint { .. } => Failure::configuration(error),
        error => Failure::new(Code::Indeterminate, error),
    }
}

/// Connects to the nodes and finds the AuditManager.
///
/// # Errors
/// Exit code 2 or 3.
pub async fn connect(config: &Config) -> Result<ManagerClient, Failure> {
    let node = Node::connect(config.nodes().or_configuration()?)
        .await
        .map_err(node_failure)?;
    ManagerClient::open(node, config.contract).await.map_err(unreachable)
}

/// Takes the data folder for this process alone, for as long as the lock lives: two senders with one key would take each other's nonces.
pub(crate) fn take_folder(config: &Config) -> Result<Lock, Failure> {
    lock::alone(&config.data.join("audit")).or_configuration()?.ok_or_else(|| {
        Failure::configuration(eyre!(
            "data folder {}: another `audit` uses it; stop that one first, or give this one a folder and a key of its own",
            config.data.display()
        ))
    })
}

/// Decrypts the operator's key and opens the sender over it.
pub(crate) async fn open_sender(config: &Config) -> Result<Sender, Failure> {
    let settings = config.clone();
    let keys = move || settings.keys();
    sender::client::open(
        &config.sender().or_configuration()?,
        keys,
        &config.data.join("sender.db"),
    )
    .await
}

/// The node that this operator speaks for: the configured one, or the one that the contract knows it as the operator of. `None`: none
/// yet.
///
/// # Errors
/// Exit code 2 when the configured node is not there, 3 when nobody can say.
pub async fn identify(config: &Config, manager: &ManagerClient, operator: Address) -> Result<Option<u32>, Failure> {
    let at = manager.head().await.map_err(unreachable)?.hash;
    let Some(id) = config.id else {
        let found = manager.node_of(operator, at).await.map_err(unreachable)?;
        return Ok((found != 0).then_some(found));
    };
    let count = manager.node_count(at).await.map_err(unreachable)?;
    if id > count {
        return Err(Failure::configuration(eyre!(
            "id: there is no node {id}; the AuditManager {} has nodes 1 to {count}",
            config.contract
        )));
    }
    // Who only looks has no account.
    if operator != Address::ZERO && manager.node_of(operator, at).await.map_err(unreachable)? != id {
        let owner = manager.member(id, at).await.map_err(unreachable)?.owner;
        if owner != operator {
            return Err(Failure::configuration(eyre!(
                "{operator} is neither the operator nor the owner of node {id}: the contract would take nothing from it"
            )));
        }
    }
    Ok(Some(id))
}

/// [`identify`], without limit; warns once.
async fn wait_for_registration(
    config: &Config,
    manager: &ManagerClient,
    operator: Address,
    health: &Health,
    shutdown: &CancellationToken,
) -> Result<Option<u32>, Failure> {
    let mut warned = false;
    loop {
        match identify(config, manager, operator).await {
            Ok(Some(id)) => return Ok(Some(id)),
            Ok(None) if warned => {}
            Ok(None) => {
                warned = true;
                let reason = format!(
                    "{operator} is no node's operator at the AuditManager {}; waiting until its owner registers it",
                    config.contract
                );
                tracing::warn!(reason);
                health.judge(|_| Some(reason));
            }
            Err(failure) if failure.code() == Code::Configuration => return Err(failure),
            Err(failure) => {
                tracing::warn!(reason = %failure, "the contract cannot be asked who this node is");
                health.error(&failure.to_string());
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return Ok(None),
            () = tokio::time::sleep(UNREGISTERED) => {}
        }
    }
}

async fn prober(config: &Config, stop: &CancellationToken) -> Result<Prober, Failure> {
    let heads = match config.heads().or_configuration()? {
        Some(nodes) => Some(Node::connect(nodes).await.map_err(node_failure)?),
        None => None,
    };
    let challenger = challenger(&config.challenge, stop).await?;
    Ok(Prober::new(config.probe.clone(), heads, challenger))
}

/// `None` where miners are not challenged.
async fn challenger(config: &ChallengeConfig, stop: &CancellationToken) -> Result<Option<Challenger>, Failure> {
    let Some(ledger) = config.ledger.as_deref().filter(|_| config.enabled) else {
        return Ok(None);
    };
    let hotkey = config.wallet.read_hotkey(config.hotkey.as_deref()).or_configuration()?;
    let ledger = subtensor::open(ledger, config.netuid, subtensor::Options::default()).or_configuration()?;
    let metagraph = chain::follow(ledger, METAGRAPH, stop.clone())
        .await
        .map_err(|error| Failure::new(Code::Indeterminate, error))?;
    let challenger = Challenger::new(hotkey, metagraph);
    tracing::info!(hotkey = %challenger.account(), "miners are challenged as this hotkey");
    Ok(Some(challenger))
}

/// Everything that a duty needs, with the node's id known.
pub(crate) async fn office(
    config: &Config,
    manager: ManagerClient,
    sender: Arc<Sender>,
    store: Store,
    notices: Notices,
    me: u32,
) -> Result<Office, Failure> {
    let owner = Owner {
        chain_id: manager.node().chain_id(),
        contract: config.contract,
        node: me,
    };
    store
        .own(owner, config.deployed_at.saturating_sub(1))
        .await
        .or_configuration()?;
    let at = manager.head().await.map_err(unreachable)?.hash;
    let decimals = manager.decimals(at).await.map_err(unreachable)?;
    Ok(Office {
        manager,
        store,
        sender,
        notices,
        me,
        decimals,
    })
}

/// Runs the duties until `shutdown`.
///
/// # Errors
/// With the exit code that a script can act on.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let _folder = take_folder(&config)?;
    let store = Store::open(config.place()).await.or_configuration()?;
    let manager = connect(&config).await?;
    let stop = shutdown.child_token();
    let prober = prober(&config, &stop).await?;
    let sender = Arc::new(open_sender(&config).await?);
    let operator = sender.account(Lane::Claim);
    let shown = Shown {
        max_head_age: config.rpc.max_head_age,
        chain_id: manager.node().chain_id(),
        contract: config.contract,
        operator,
        ..Shown::default()
    };
    let health = Health::new("no head was worked on yet", shown);
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let tasks = TaskTracker::new();
    let notices =
        Notices::open(&config.alerts.source, &config.alerts.actions, &Clock::system(), &stop).or_configuration()?;
    let serving = tasks.spawn(health.clone().serve(listener, stop.clone()));
    tracing::info!(%operator, contract = %config.contract, %address, "the auditor runs; serving /health");
    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }
    let ended = match wait_for_registration(&config, &manager, operator, &health, &stop).await {
        Ok(Some(me)) => {
            let office = office(&config, manager, Arc::clone(&sender), store.clone(), notices, me).await;
            match office {
                Ok(office) => work(&config, office, prober, &health, &tasks, &stop).await,
                Err(failure) => Err(failure),
            }
        }
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    };
    stop.cancel();
    tasks.close();
    // Every task looks at the token; what none of them has written is measured again.
    if tokio::time::timeout(Duration::from_secs(15), tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("a task did not end within 15 s");
    }
    let sent = sender.shutdown().await;
    store.close().await;
    if let Ok(Err(error)) = serving.await {
        tracing::warn!(%error, "serving /health ended with an error");
    }
    ended.and(sent.map_err(Failure::from))
}

async fn work(
    config: &Config,
    office: Office,
    prober: Prober,
    health: &Health,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let me = office.me;
    health.update(|shown| shown.node = me);
    tracing::info!(node = me, "this is the node");
    let (sights, receiver) = watch::channel(None);
    if config.measure.enabled {
        let measurer = Measurer {
            config: config.measure.clone(),
            prober,
            store: office.store.clone(),
            sights: receiver,
            health: health.clone(),
            notices: office.notices.clone(),
            waiting: VecDeque::new(),
        };
        tasks.spawn(measurer.run(stop.clone()));
    }
    let manager = office.manager.clone();
    let operator = office.sender.account(Lane::Claim);
    let mut desk = Desk::new(office, config);
    let mut polls = tokio::time::interval(config.rpc.poll);
    polls.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut known = None;
    let mut count = 0_u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = polls.tick() => {}
        }
        // What is under way may end without a new head, and what failed is tried again.
        let step = step(&manager, &mut desk, &mut known, &sights, health, config.measure.every);
        let worked = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            worked = step => worked,
        };
        if let Err(error) = worked {
            metrics::counter!("audit_head_failures_total").increment(1);
            tracing::warn!(%error, "a head could not be worked on to its end; it is tried again");
            health.error(&error.to_string());
            if let DutyError::Submit(SubmitError::Stopped) = error {
                // Its journal failed under it: only a new start goes on from there.
                return Err(Failure::new(Code::Restart, error));
            }
        }
        if count.is_multiple_of(BALANCE_EVERY)
            && let Ok(wei) = manager.balance(operator).await
        {
            metrics::gauge!("audit_operator_ether").set(f64::from(wei) / 1e18);
            health.update(|shown| shown.operator_wei = Some(wei));
        }
        count += 1;
    }
}

async fn step(
    manager: &ManagerClient,
    desk: &mut Desk,
    known: &mut Option<(Seen, View)>,
    sights: &watch::Sender<Option<Sight>>,
    health: &Health,
    period: Duration,
) -> Result<(), DutyError> {
    let head = manager.head().await?;
    // The same head says the same; what is under way may have ended all the same.
    let (seen, view) = match known.take() {
        Some((seen, view)) if view.head == head => (seen, view),
        before => {
            let at = Instant::now();
            let seen = Seen {
                timestamp: head.timestamp,
                at,
            };
            let view = desk.view(head).await?;
            if before.is_none() {
                compare(&view, period);
            }
            (seen, view)
        }
    };
    sights.send_replace(Some(Sight {
        seen,
        duties: Arc::clone(&view.duties),
    }));
    let worked = desk.work(&view).await;
    show(&view, health, worked.is_ok());
    *known = Some((seen, view));
    worked
}

/// Who measures more seldom than the contract counts knows too little in the end.
fn compare(view: &View, period: Duration) {
    if period.as_secs() > u64::from(view.terms.check_time) {
        tracing::warn!(
            every = %humantime::format_duration(period),
            check_time = view.terms.check_time,
            "measure.every is longer than the contract's checkTime (seconds): intervals will be unknown"
        );
    }
}

fn show(view: &View, health: &Health, went_well: bool) {
    let head = view.head;
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("audit_head").set(head.number as f64);
    health.update(|shown| {
        shown.head = head.number;
        shown.head_timestamp = head.timestamp;
        shown.epoch = view.member.epoch;
        shown.next_reward = view.member.next_reward;
        shown.group = (view.member.group.len(), view.member.group_wanted);
        shown.duties = view.duties.len();
    });
    if went_well {
        let member = &view.member;
        health.judge(|_| (!member.life.may_claim()).then(|| format!("node {} is {}", member.id, member.life.name())));
    }
}
