//! `bots race`: a hundred attacks on a vault that can be robbed, with Portcullis and without.
//!
//! A real anvil with a mempool, a block every so many seconds, and ordering by fee; a ledger, a platform, a validator and miners as
//! processes of their own. Each attack is one raid on a vault of its own, sent at a moment of chance in the first half of a block's time;
//! the validator has to see it, have it judged, try a pause against it, and get that mined ahead. What always holds: however it ends,
//! all processes end with it.

mod collect;
mod field;
mod gates;
mod report;
mod setup;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use alloy::primitives::{Address, B256, U256};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::report::{Attack, Part, Percentiles, RaceReport, Side, Through};

use self::field::{Field, Raid, Target};
use super::error::LocalnetError;
use super::fleet::{Fleet, Folder};
use super::grounds::Grounds;
use super::live::anvil::Surroundings;
use super::live::rpc::{BlockInfo, NodeClient, Sent};
use super::live::{self, Endpoint, LiveError};
use super::plan::{Member, NetworkPlan, PlanError, Shape};
use super::progress::Progress;
use crate::scenario::CHAIN_ID;

/// How often the chain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the network is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// Blocks after which a raid that is not mined is given up.
const PATIENCE_BLOCKS: u32 = 15;
/// Raids on unwatched vaults in one block.
const UNWATCHED_TOGETHER: usize = 10;
/// Most vaults that are paused through keepers: a validator has at most a hundred actions.
const MOST_GATES: usize = 99;
/// How often the pool is looked at for the pause.
const POOL_EVERY: Duration = Duration::from_millis(2);

/// Races attacks against the pause, with Portcullis and without
#[derive(Debug, Clone, clap::Args)]
pub struct RaceOptions {
    /// Attacks with Portcullis, and as many without
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub attacks: u16,
    /// How the pause reaches the protocol; `keepers`: as many attacks again on vaults that a keeper pauses, each way in turn
    #[arg(long, value_enum, default_value_t = Through::Call)]
    pub through: Through,
    /// From block to block
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub block_time: Duration,
    /// Miners; one of them lies and one is lazy
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(3..=64))]
    pub miners: u16,
    /// Decides keys, tips and moments
    #[arg(long, value_name = "N", default_value_t = 7)]
    pub seed: u64,
    /// The anvil to start [default: that of `make tools`, else the one in PATH]
    #[arg(long, value_name = "PATH", env = "ANVIL")]
    pub anvil: Option<PathBuf>,
    /// Write the report as JSON into this file
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Keep the folder with all logs and databases, and print where it is
    #[arg(long)]
    pub keep: bool,
    /// The folder of the binaries ledger, platform, validator and miner [default: where `bots` is]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,
}

/// Runs the race until it is done or `shutdown` is cancelled.
///
/// # Errors
/// [`LocalnetError`]; a race that was lost is none.
pub async fn run(options: &RaceOptions, shutdown: &CancellationToken) -> Result<RaceReport, LocalnetError> {
    let shape = Shape {
        validators: 1,
        miners: options.miners.into(),
        lazy: 1,
        liar: 1,
        slow: 0,
        replicas: 1,
        seed: options.seed,
    };
    let plan = NetworkPlan::new(shape)?;
    if options.through == Through::Keepers && usize::from(options.attacks) > MOST_GATES {
        return Err(PlanError::Gates(MOST_GATES).into());
    }
    let binaries = super::run::binaries(options.bin_dir.as_deref())?;
    let anvil = Surroundings::here(options.anvil.clone()).find()?;
    let mut grounds = Grounds::new("portcullis-race-", binaries, Progress::new())?;
    let ended = {
        let race = Race {
            options,
            plan,
            folder: grounds.folder.clone(),
            fleet: &mut grounds.fleet,
            progress: &mut grounds.progress,
            rng: ChaCha20Rng::seed_from_u64(options.seed),
        };
        tokio::select! {
            ended = Box::pin(race.run(&anvil)) => ended,
            () = shutdown.cancelled() => Err(LocalnetError::Interrupted),
        }
    };
    grounds.end(options.keep).await;
    ended
}

struct Race<'a> {
    options: &'a RaceOptions,
    plan: NetworkPlan,
    folder: Folder,
    fleet: &'a mut Fleet,
    progress: &'a mut Progress,
    rng: ChaCha20Rng,
}

/// A raid that was sent.
struct Started {
    raid: Raid,
    through: Through,
    pooled: Option<Duration>,
    sent: Instant,
    sent_ms: u64,
    mined: Option<(Instant, Mined)>,
}

/// Where a transaction stands.
#[derive(Debug, Clone, Copy)]
struct Mined {
    block: u64,
    index: usize,
    succeeded: bool,
}

impl Race<'_> {
    async fn run(mut self, anvil: &Path) -> Result<RaceReport, LocalnetError> {
        self.progress.phase(&format!("starting {}", anvil.display()));
        let mut args = live::anvil::args(
            self.options.block_time,
            CHAIN_ID,
            &self.folder.path().join("anvil.json"),
        );
        args.extend(["--order", "fees"].map(OsString::from));
        self.fleet.start_node(anvil, args)?;
        let endpoint = Endpoint::new(&format!("ws://{}", self.fleet.ready(Member::Node).await?));
        let node = NodeClient::new(&endpoint.rpc)?;
        let count = usize::from(self.options.attacks);
        let keepers = self.options.through == Through::Keepers;
        let vaults = count * if keepers { 3 } else { 2 };
        self.progress.phase(&format!("building {vaults} vaults"));
        let building = Field::build(&node, self.options.seed, count, keepers);
        let mut field = self.fleet.guard(building).await?;
        let lost = self.without(&node, &mut field).await?;
        let platform = self.start_network(&endpoint, &field, &node).await?;
        let (started, blocks) = self.with(&node, &mut field).await?;
        let each = self.collect(&node, &platform, started, &blocks).await?;
        Ok(RaceReport::new(self.options.block_time, each, (count, lost)))
    }

    /// Robs the unwatched vaults; gives how many lost what they held.
    async fn without(&mut self, node: &NodeClient, field: &mut Field) -> Result<usize, LocalnetError> {
        let vaults = field.unwatched.clone();
        self.progress
            .phase(&format!("robbing {} vaults that nobody watches", vaults.len()));
        let mut head = node.head().await?;
        for together in vaults.chunks(UNWATCHED_TOGETHER) {
            let mut open = Vec::new();
            for vault in together {
                let raid = field.raid(*vault, head.next_base_fee, &mut self.rng)?;
                send(node, &raid).await?;
                open.push(raid.hash);
            }
            let mut blocks = HashMap::new();
            while open.iter().any(|hash| !blocks.contains_key(hash)) {
                head = self.next_head(node, &head, &mut blocks).await?;
            }
        }
        let mut lost = 0;
        for vault in vaults {
            lost += usize::from(balance(node, &head, vault).await? < Field::treasure());
        }
        self.progress
            .say(&format!("without Portcullis {lost} vaults lost their funds"));
        Ok(lost)
    }

    /// Attacks the watched vaults, one a block; gives what was sent, and where everything stands that was mined.
    async fn with(
        &mut self,
        node: &NodeClient,
        field: &mut Field,
    ) -> Result<(Vec<Started>, HashMap<B256, Mined>), LocalnetError> {
        let targets = field.targets();
        let mut blocks = HashMap::new();
        let mut all: Vec<Started> = Vec::new();
        let mut head = node.head().await?;
        for (number, target) in targets.iter().enumerate() {
            self.progress
                .phase(&format!("attack {} of {}", number + 1, targets.len()));
            head = self.next_head(node, &head, &mut blocks).await?;
            note_mined(&mut all, &blocks);
            let half = u64::try_from(self.options.block_time.as_millis() / 2).unwrap_or(1_000);
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..half.max(1)))).await;
            let raid = field.raid(target.vault, head.next_base_fee, &mut self.rng)?;
            let before = nonce(node, target.pauser).await?;
            let (sent, sent_ms) = (Instant::now(), node::clock::unix_ms());
            send(node, &raid).await?;
            all.push(Started {
                raid,
                through: target.through,
                pooled: self.pooled(node, target, before, sent).await?,
                sent,
                sent_ms,
                mined: None,
            });
        }
        let mut left = PATIENCE_BLOCKS;
        while left > 0 && all.iter().any(|started| started.mined.is_none()) {
            head = self.next_head(node, &head, &mut blocks).await?;
            note_mined(&mut all, &blocks);
            left -= 1;
        }
        Ok((all, blocks))
    }

    /// Waits until the target's pauser has another transaction in the pool, at most for a block's time; how long that was from `sent`.
    async fn pooled(
        &self,
        node: &NodeClient,
        target: &Target,
        before: u64,
        sent: Instant,
    ) -> Result<Option<Duration>, LocalnetError> {
        while sent.elapsed() < self.options.block_time {
            if nonce(node, target.pauser).await? > before {
                return Ok(Some(sent.elapsed()));
            }
            tokio::time::sleep(POOL_EVERY).await;
        }
        Ok(None)
    }

    /// Waits for a block after `last`, and notes what the new ones include.
    async fn next_head(
        &self,
        node: &NodeClient,
        last: &BlockInfo,
        blocks: &mut HashMap<B256, Mined>,
    ) -> Result<BlockInfo, LocalnetError> {
        let waiting = async {
            Ok(node
                .head_after(last.number, self.options.block_time, LOOK_EVERY)
                .await?)
        };
        let head = self.fleet.guard::<_, LocalnetError>(waiting).await?;
        for block in last.number + 1..=head.number {
            for (index, receipt) in node.receipts(block).await?.into_iter().enumerate() {
                let mined = Mined {
                    block,
                    index,
                    succeeded: receipt.succeeded,
                };
                blocks.insert(receipt.hash, mined);
            }
        }
        Ok(head)
    }
}

fn note_mined(all: &mut [Started], blocks: &HashMap<B256, Mined>) {
    for started in all.iter_mut().filter(|started| started.mined.is_none()) {
        started.mined = blocks.get(&started.raid.hash).map(|mined| (Instant::now(), *mined));
    }
}

async fn send(node: &NodeClient, raid: &Raid) -> Result<(), LocalnetError> {
    match node.send(&raid.raw).await? {
        Sent::Taken => Ok(()),
        Sent::Refused(reason) => {
            let node = node.name().to_owned();
            Err(LiveError::Refused {
                node,
                what: "a raid",
                reason,
            }
            .into())
        }
    }
}

async fn balance(node: &NodeClient, head: &BlockInfo, account: Address) -> Result<U256, LocalnetError> {
    let reads = crate::scenario::view::Reads {
        balances: [account].into_iter().collect(),
        ..Default::default()
    };
    let known = node.view(head, reads, head.timestamp).await?;
    Ok(known.balances.get(&account).copied().unwrap_or_default())
}

async fn nonce(node: &NodeClient, account: Address) -> Result<u64, LocalnetError> {
    Ok(node.nonces(&[account]).await?.first().copied().unwrap_or_default())
}
