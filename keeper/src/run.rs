//! `keeper run`: one keeper, from head to head, until it is told to end.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use alloy::primitives::Address;
use eyre::eyre;
use node::exit::{Code, Failure, OrConfiguration as _};
use sender::{Lane, Sender};
use state::{Node, NodeError, Reader, Unavailable};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::{AgentClient, ReadError};
use crate::config::{Config, Role};
use crate::desk::{Desk, DeskError, Worked};
use crate::follow::{FollowError, Follower, Scope};
use crate::heads::{self, Told as ToldHead};
use crate::health::{Health, Shown};
use crate::pending;
use crate::pool::Pending;
use crate::store::Store;

/// The worker's balance is read every so many heads.
const BALANCE_EVERY: u64 = 16;
/// After a failed head, when none newer comes.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// Exit code 3 for what a node did not say, 2 for an address without an Agent.
#[must_use]
pub fn unreachable(error: ReadError) -> Failure {
    match error {
        ReadError::NoAgent(..) => Failure::configuration(error),
        ReadError::Node(error) => node_failure(error),
    }
}

fn node_failure(error: NodeError) -> Failure {
    match error {
        NodeError::NoEndpoints | NodeError::Endpoint { .. } => Failure::configuration(error),
        error => Failure::new(Code::Indeterminate, error),
    }
}

/// A keeper's node, state and Agent.
pub struct Place {
    /// State of its heads.
    pub reader: Reader,
    /// The contract.
    pub agent: AgentClient,
}

/// Connects to the nodes and finds the Agent.
///
/// # Errors
/// Exit code 2 or 3.
pub async fn connect(config: &Config) -> Result<Place, Failure> {
    let node = Node::connect(config.nodes().or_configuration()?)
        .await
        .map_err(node_failure)?;
    let reader = Reader::new(node.clone(), config.state.clone()).await;
    let reader = reader.map_err(|error| match error {
        Unavailable::Node(error) => node_failure(error),
        error => Failure::new(Code::Indeterminate, error),
    })?;
    let agent = AgentClient::open(node, config.agent, reader.head().hash())
        .await
        .map_err(unreachable)?;
    Ok(Place { reader, agent })
}

/// Decrypts the key of a role and opens the sender over it; its journal is `NAME.db` in the data folder.
///
/// # Errors
/// Exit code 2, or 3 when no node answers.
pub async fn open_sender(config: &Config, role: Role, name: &str) -> Result<Sender, Failure> {
    let settings = config.clone();
    let keys = move || settings.keys(role);
    sender::client::open(&config.sender().or_configuration()?, keys, &config.data.join(name)).await
}

fn memory(config: &Config) -> PathBuf {
    config.data.join("keeper.db")
}

/// Runs the keeper until `shutdown`.
///
/// # Errors
/// With the exit code that a script can act on.
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), Failure> {
    let place = connect(&config).await?;
    let sender = Arc::new(open_sender(&config, Role::Worker, "worker.db").await?);
    let worker = sender.account(Lane::Claim);
    let keeper = identify(&config, &place, worker).await?;
    let chain_id = place.reader.chain_id();
    let shown = Shown {
        max_head_age: config.rpc.max_head_age,
        chain_id,
        agent: config.agent,
        keeper,
        worker,
        ..Shown::default()
    };
    let health = Health::new("no head was worked on yet", shown);
    let listener = node::server::bind(config.node.listen).await?;
    let address = listener.local_addr()?;
    let tasks = TaskTracker::new();
    let stop = shutdown.child_token();
    let serving = tasks.spawn(health.clone().serve(listener, stop.clone()));
    let store = Store::open(&memory(&config), chain_id, config.agent)
        .await
        .or_configuration()?;
    let scope = Scope {
        keeper,
        deployed_at: config.deployed_at,
        log_range: config.rpc.log_range,
        max_jobs: config.jobs.max_jobs,
    };
    let agent_node = place.agent.node().clone();
    let follower = Follower::new(place.reader, place.agent, store.clone(), scope).await?;
    let desk = Desk::new(follower, Arc::clone(&sender), worker, config.jobs.clone()).await?;
    let (guards, wanted) = watch::channel(pending::Guards::default());
    let told = Told {
        heads: heads::watch(&agent_node, config.rpc.poll, &tasks, &stop),
        pending: pending::watch(&agent_node, &wanted, &tasks, &stop),
        guards,
    };
    tracing::info!(keeper, %worker, agent = %config.agent, chain_id, %address, "the keeper runs; serving /health");
    if let Some(path) = &config.node.ready_file {
        node::server::announce(path, address)?;
    }
    let ended = work(desk, told, &health, &agent_node, worker, &stop).await;
    stop.cancel();
    tasks.close();
    // Every task looks at the token; none of them holds anything that is lost.
    if tokio::time::timeout(Duration::from_secs(5), tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("a task did not end within 5 s");
    }
    sender.shutdown().await?;
    store.close().await;
    if let Ok(Err(error)) = serving.await {
        tracing::warn!(%error, "serving /health ended with an error");
    }
    ended
}

/// The keeper's number, and that this worker is its worker.
async fn identify(config: &Config, place: &Place, worker: Address) -> Result<u64, Failure> {
    let at = place.reader.head().hash();
    let found = place.agent.keeper_of(worker, at).await.map_err(unreachable)?;
    match config.keeper {
        _ if found == 0 => Err(Failure::configuration(eyre!(
            "{worker} is no keeper's worker at the Agent {}; run `keeper register`, or give the right [worker]",
            config.agent
        ))),
        Some(wanted) if wanted != found => Err(Failure::configuration(eyre!(
            "{worker} is the worker of keeper {found}, not of keeper {wanted}"
        ))),
        _ => Ok(found),
    }
}

/// What a keeper is told, and whose pending callers it wants to be told of.
struct Told {
    heads: watch::Receiver<Option<ToldHead>>,
    pending: mpsc::Receiver<Pending>,
    guards: watch::Sender<pending::Guards>,
}

async fn work(
    mut desk: Desk,
    mut told: Told,
    health: &Health,
    node: &Node,
    worker: Address,
    shutdown: &CancellationToken,
) -> Result<(), Failure> {
    let mut failed: Option<ToldHead> = None;
    let mut counted = 0_u64;
    loop {
        let again = async {
            match failed {
                Some(_) => tokio::time::sleep(TRY_AGAIN).await,
                None => std::future::pending().await,
            }
        };
        let head = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ok(()),
            changed = told.heads.changed() => {
                if changed.is_err() {
                    return Err(Failure::new(Code::Restart, eyre!("nobody tells heads any more")));
                }
                *told.heads.borrow_and_update()
            }
            Some(pending) = told.pending.recv() => {
                let ahead = tokio::select! {
                    biased;
                    ahead = desk.on_pending(pending) => ahead,
                    () = shutdown.cancelled() => return Ok(()),
                };
                if let Err(error) = ahead {
                    tracing::warn!(%error, "a pending confirmation cannot be acted upon");
                    if let Some(failure) = fatal(error) {
                        return Err(failure);
                    }
                }
                continue;
            }
            () = again => failed,
        };
        let Some(head) = head else { continue };
        let worked = tokio::select! {
            biased;
            worked = desk.on_head(head.hash) => worked,
            () = shutdown.cancelled() => return Ok(()),
        };
        match worked {
            Ok(worked) => {
                failed = None;
                let guards = Arc::new(desk.guards());
                told.guards
                    .send_if_modified(|known| std::mem::replace(known, Arc::clone(&guards)) != guards);
                show(&desk, health, head, &worked);
            }
            Err(error) => {
                failed = Some(head);
                metrics::counter!("keeper_head_failures_total").increment(1);
                tracing::warn!(%error, head = %head.hash, "the head cannot be worked on");
                health.error(&error.to_string());
                if let Some(failure) = fatal(error) {
                    return Err(failure);
                }
            }
        }
        if counted.is_multiple_of(BALANCE_EVERY) {
            balance(health, node, worker).await;
        }
        counted += 1;
    }
}

/// What a newer head does not mend.
fn fatal(error: DeskError) -> Option<Failure> {
    match error {
        DeskError::Store(error) | DeskError::Follow(FollowError::Store(error)) => {
            Some(Failure::new(Code::Restart, error))
        }
        DeskError::Journal(error) => Some(Failure::new(Code::Restart, error)),
        DeskError::Follow(error @ FollowError::TooMany { .. }) => Some(Failure::configuration(error)),
        DeskError::Engine(_) | DeskError::Follow(_) => None,
    }
}

fn show(desk: &Desk, health: &Health, told: ToldHead, worked: &Worked) {
    let took = told.at.elapsed();
    metrics::histogram!("keeper_head_seconds").record(took.as_secs_f64());
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!("keeper_head").set(told.number as f64);
    let standing = desk.follower().standing();
    let assigned = desk
        .follower()
        .book()
        .jobs()
        .filter(|job| job.keeper == standing.me.id)
        .count();
    health.update(|shown| {
        shown.active = standing.me.active;
        shown.stake = standing.me.stake;
        shown.head = told.number;
        shown.head_timestamp = told.timestamp;
        shown.jobs = desk.follower().book().len();
        shown.assigned = assigned;
        shown.aside = desk.aside().count();
        shown.under_way = desk.under_way();
        shown.resolvers = worked.resolvers;
        shown.head_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        shown.done += worked.done.len() as u64;
    });
    health.judge(|shown| {
        (standing.me.worker != shown.worker)
            .then(|| format!("{} is no longer the worker of keeper {}", shown.worker, shown.keeper))
    });
}

/// A worker without ether cannot execute anything: that is seen before it happens.
async fn balance(health: &Health, node: &Node, worker: Address) {
    match node.balance(worker).await {
        Ok(wei) => {
            metrics::gauge!("keeper_worker_ether").set(f64::from(wei) / 1e18);
            health.update(|shown| shown.worker_wei = Some(wei));
        }
        Err(error) => health.error(&error.to_string()),
    }
}
