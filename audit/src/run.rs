//! `audit run`: one node's duties, from head to head, until it is told to end; and `audit report`, `audit claim`: one of them, once.

use std::collections::VecDeque;
use std::fs::{File, TryLockError};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::primitives::Address;
use defence::clock::Clock;
use defence::notice::Notices;
use eyre::eyre;
use node::exit::{Code, Failure, OrConfiguration as _};
use sender::{Lane, Sender, SubmitError};
use state::{Node, NodeError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::duty::clock::Seen;
use crate::duty::measure::{Measurer, Sight};
use crate::duty::{Desk, DutyError, Office, View};
use crate::health::{Health, Shown};
use crate::manager::{Head, ManagerClient, ReadError};
use crate::probe::Prober;
use crate::probe::challenge::Challenger;
use crate::store::{Owner, Store};

/// While this operator is no node's, the contract is asked again after this time (SK-18).
const UNREGISTERED: Duration = Duration::from_secs(30);
/// The operator's balance is read every so many heads.
const BALANCE_EVERY: u64 = 16;
/// How long a single command waits for its transaction.
const PATIENCE: Duration = Duration::from_secs(600);

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

/// The data folder, this process's alone as long as this lives: two senders with one key would take each other's nonces.
#[derive(Debug)]
struct Folder {
    _lock: File,
}

impl Folder {
    fn take(config: &Config) -> Result<Self, Failure> {
        let fail = |what: &str, error: &dyn std::fmt::Display| {
            Failure::configuration(eyre!("data folder {}: {what}: {error}", config.data.display()))
        };
        std::fs::create_dir_all(&config.data).map_err(|error| fail("cannot be made", &error))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(config.data.join("lock"))
            .map_err(|error| fail("cannot be written", &error))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(Failure::configuration(eyre!(
                "data folder {}: another `audit` uses it; stop that one first, or give this one a folder and a key of its own",
                config.data.display()
            ))),
            Err(TryLockError::Error(error)) => Err(fail("cannot be locked", &error)),
        }
    }
}

/// Decrypts the operator's key and opens the sender over it.
async fn open_sender(config: &Config) -> Result<Sender, Failure> {
    let settings = config.clone();
    let keys = tokio::task::spawn_blocking(move || settings.keys()).await?.or_configuration()?;
    let journal = config.data.join("sender.db");
    Sender::open(&config.sender().or_configuration()?, &keys, &journal)
        .await
        .map_err(|error| match error {
            sender::OpenError::Unreachable(_) => Failure::new(Code::Indeterminate, error),
            error => Failure::configuration(error),
        })
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
                health.update(|shown| shown.reason = Some(reason));
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

async fn prober(config: &Config) -> Result<Prober, Failure> {
    let heads = match config.heads().or_configuration()? {
        Some(nodes) => Some(Node::connect(nodes).await.map_err(node_failure)?),
        None => None,
    };
    let challenger = if config.challenge.enabled {
        let hotkey = config.challenge.wallet.read_hotkey(config.challenge.hotkey.as_deref());
        let challenger = Challenger::new(hotkey.or_configuration()?);
        tracing::info!(hotkey = %challenger.account(), "miners are challenged as this hotkey");
        Some(challenger)
    } else {
        None
    };
    Ok(Prober::new(config.probe.clone(), heads, challenger))
}

/// Everything that a duty needs, with the node's id known.
async fn office(
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
    let _folder = Folder::take(&config)?;
    let store = Store::open(config.place()).await.or_configuration()?;
    let manager = connect(&config).await?;
    let prober = prober(&config).await?;
    let sender = Arc::new(open_sender(&config).await?);
    let operator = sender.account(Lane::Claim);
    let shown = Shown {
        chain_id: manager.node().chain_id(),
        contract: config.contract,
        operator,
        ..Shown::default()
    };
    let health = Health::new(config.rpc.max_head_age, shown);
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let tasks = TaskTracker::new();
    let stop = shutdown.child_token();
    let notices = Notices::open(&config.alerts.source, &config.alerts.actions, &Clock::system(), &stop).or_configuration()?;
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
    if tokio::time::timeout(Duration::from_secs(15), tasks.wait()).await.is_err() {
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
    let mut known: Option<Seen> = None;
    let mut count = 0_u64;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = polls.tick() => {}
        }
        // What is under way may end without a new head, and what failed is tried again.
        let step = step(&manager, &mut desk, &mut known, &sights, health);
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
    known: &mut Option<Seen>,
    sights: &watch::Sender<Option<Sight>>,
    health: &Health,
) -> Result<(), DutyError> {
    let head = manager.head().await?;
    let seen = match *known {
        Some(seen) if seen.timestamp == head.timestamp => seen,
        _ => Seen {
            timestamp: head.timestamp,
            at: Instant::now(),
        },
    };
    *known = Some(seen);
    let view = desk.view(head).await?;
    sights.send_replace(Some(Sight {
        seen,
        duties: Arc::clone(&view.duties),
    }));
    let worked = desk.work(&view).await;
    show(&view, head, health, worked.is_ok());
    worked
}

fn show(view: &View, head: Head, health: &Health, went_well: bool) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("audit_head").set(head.number as f64);
    health.update(|shown| {
        if went_well {
            shown.reason = (!view.member.life.may_claim())
                .then(|| format!("node {} is {}", view.member.id, view.member.life.name()));
        }
        shown.head = head.number;
        shown.head_timestamp = head.timestamp;
        shown.epoch = view.member.epoch;
        shown.next_reward = view.member.next_reward;
        shown.group = (view.member.group.len(), view.member.group_wanted);
        shown.duties = view.duties.len();
    });
}

/// Which duty a single command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Once {
    /// `audit report`.
    Report,
    /// `audit claim`.
    Claim,
}

/// Does what is due of one duty, and waits until it is final. Gives the node's view after it.
///
/// # Errors
/// Exit code 1 when nothing was due or it came to nothing, 2 or 3 as ever.
pub async fn once(mut config: Config, duty: Once) -> Result<String, Failure> {
    let _folder = Folder::take(&config)?;
    config.report.enabled = duty == Once::Report;
    config.claim.enabled = duty == Once::Claim;
    let store = Store::open(config.place()).await.or_configuration()?;
    let manager = connect(&config).await?;
    let sender = Arc::new(open_sender(&config).await?);
    let stop = CancellationToken::new();
    let notices = Notices::default();
    let operator = sender.account(Lane::Claim);
    let done = match identify(&config, &manager, operator).await {
        Ok(Some(me)) => match office(&config, manager, Arc::clone(&sender), store.clone(), notices, me).await {
            Ok(office) => until_final(&config, office, duty).await,
            Err(failure) => Err(failure),
        },
        Ok(None) => Err(Failure::configuration(eyre!(
            "{operator} is no node's operator at the AuditManager {}; its owner registers it first",
            config.contract
        ))),
        Err(failure) => Err(failure),
    };
    stop.cancel();
    let sent = sender.shutdown().await;
    store.close().await;
    done.and_then(|done| sent.map(|()| done).map_err(Failure::from))
}

async fn until_final(config: &Config, office: Office, duty: Once) -> Result<String, Failure> {
    let (manager, store, me) = (office.manager.clone(), office.store.clone(), office.me);
    let decimals = office.decimals;
    let mut desk = Desk::new(office, config);
    let deadline = Instant::now() + PATIENCE;
    let mut began = None;
    loop {
        let view = desk.view(manager.head().await.map_err(unreachable)?).await.map_err(unreachable)?;
        let epoch = *began.get_or_insert(u64::from(view.member.epoch));
        desk.work(&view).await?;
        let (busy, outcome) = match duty {
            Once::Report => (desk.reporter.is_busy(), report_outcome(&store, &view).await?),
            Once::Claim => (desk.claimer.is_busy(), claim_outcome(&store, &view, epoch, decimals).await?),
        };
        if !busy {
            return match outcome {
                Ok(done) => Ok(done),
                Err(why) => Err(Failure::new(Code::Negative, eyre!("node {me}: {why}"))),
            };
        }
        if Instant::now() >= deadline {
            return Err(Failure::new(
                Code::Indeterminate,
                eyre!("not final within {}; the next command, or `audit run`, goes on with it", humantime::format_duration(PATIENCE)),
            ));
        }
        tokio::time::sleep(config.rpc.poll.min(Duration::from_secs(1))).await;
    }
}

async fn report_outcome(store: &Store, view: &View) -> Result<Result<String, String>, DutyError> {
    let now = view.head.timestamp;
    let open: Vec<_> = view.duties.iter().filter(|duty| duty.window.contains(&now)).collect();
    if open.is_empty() {
        let next = view.duties.iter().map(|duty| duty.window.start).filter(|start| *start > now).min();
        return Ok(Err(next.map_or_else(
            || "nobody is to be reported".to_owned(),
            |next| format!("nothing is due; the next verdict window opens at {next} (block time, now {now})"),
        )));
    }
    let mut lines = Vec::new();
    let mut counted = true;
    for duty in open {
        if let Some(report) = store.report(duty.peer.id, duty.epoch.into()).await? {
            counted &= report.state == crate::store::ReportState::Counted;
            let reason = if report.reason.is_empty() { String::new() } else { format!(": {}", report.reason) };
            lines.push(format!("peer {} epoch {}: {}{reason}", report.subject, report.epoch, report.state.name()));
        }
    }
    let text = lines.join("\n");
    Ok(if counted { Ok(text) } else { Err(text.replace('\n', "; ")) })
}

async fn claim_outcome(
    store: &Store,
    view: &View,
    epoch: u64,
    decimals: u8,
) -> Result<Result<String, String>, DutyError> {
    Ok(match store.claim(epoch).await? {
        Some(claim) if claim.state == crate::store::ClaimState::Done => {
            let bounty = store.bounty_of(&claim.tx_hash).await?;
            let amount = bounty.map_or_else(
                || "how much it was cannot be read".to_owned(),
                |bounty| {
                    alloy::primitives::utils::format_units(bounty.amount, decimals)
                        .unwrap_or_else(|_| bounty.amount.to_string())
                },
            );
            Ok(format!("epoch {epoch}: {amount}, block {}, transaction {}", claim.block, claim.tx_hash))
        }
        Some(claim) => Err(format!("the claim of epoch {epoch} failed: {}", claim.reason)),
        None if !view.member.life.may_claim() => Err(format!("it is {}", view.member.life.name())),
        None => Err(format!(
            "the reward date is {} (block time, now {})",
            view.member.next_reward, view.head.timestamp
        )),
    })
}
