//! `bots race`: a hundred attacks on a vault that can be robbed, with Portcullis and without.
//!
//! A real anvil with a mempool, a block every so many seconds, and ordering by fee; a ledger, a platform, a validator and miners as
//! processes of their own. Each attack is one raid on a vault of its own, sent at a moment of chance in the first half of a block's time;
//! the validator has to see it, have it judged, try a pause against it, and get that mined ahead. What always holds: however it ends,
//! all processes end with it.

mod field;
mod report;

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use alloy::primitives::{Address, B256, U256};
use protos::v1;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use validator::pause::timing::Latency;

pub use self::report::{Attack, Part, Percentiles, RaceReport};

use self::field::{Field, Raid, pause_calldata};
use super::clients::{LedgerView, PlatformView};
use super::error::LocalnetError;
use super::fleet::{Fleet, Folder};
use super::live::anvil::Surroundings;
use super::live::rpc::{BlockInfo, NodeClient, Sent};
use super::live::{self, Endpoint, LiveError};
use super::members::{FeedWiring, Wiring};
use super::plan::{Member, NetworkPlan, Shape};
use super::progress::Progress;
use crate::scenario::CHAIN_ID;

/// Any free port of this machine.
const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);
/// How often the chain is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the network is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// How long the network may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// Blocks after which a raid that is not mined is given up.
const PATIENCE_BLOCKS: u32 = 15;
/// Raids on unwatched vaults in one block.
const UNWATCHED_TOGETHER: usize = 10;
/// How long reports of the last incident may take to reach the platform.
const REPORTED_WITHIN: Duration = Duration::from_secs(20);

/// Races attacks against the pause, with Portcullis and without
#[derive(Debug, Clone, clap::Args)]
pub struct RaceOptions {
    /// Attacks with Portcullis, and as many without
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub attacks: u16,
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
    let binaries = super::run::binaries(options.bin_dir.as_deref())?;
    let anvil = Surroundings::here(options.anvil.clone()).find()?;
    let mut progress = Progress::new();
    let place = tempfile::Builder::new().prefix("portcullis-race-").tempdir();
    let place = place.map_err(|error| LocalnetError::File {
        path: std::env::temp_dir(),
        reason: error.to_string(),
    })?;
    let folder = Folder::new(place.path());
    let mut fleet = Fleet::new(binaries, folder.clone());
    let ended = {
        let race = Race {
            options,
            plan,
            folder,
            fleet: &mut fleet,
            progress: &mut progress,
            rng: ChaCha20Rng::seed_from_u64(options.seed),
        };
        tokio::select! {
            ended = Box::pin(race.run(&anvil)) => ended,
            () = shutdown.cancelled() => Err(LocalnetError::Interrupted),
        }
    };
    progress.phase("ending all processes");
    fleet.stop().await;
    if options.keep {
        progress.say(&format!(
            "everything that the race wrote is in {}",
            place.keep().display()
        ));
    }
    progress.clear();
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
        self.progress.phase(&format!("building {} vaults", count * 2));
        let building = Field::build(&node, self.options.seed, count);
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

    /// Ledger, platform, miners, and one validator that may pause the vaults.
    async fn start_network(
        &mut self,
        endpoint: &Endpoint,
        field: &Field,
        node: &NodeClient,
    ) -> Result<PlatformView, LocalnetError> {
        self.progress.phase("starting the network");
        let mut wiring = Wiring {
            folder: self.folder.clone(),
            feed: FeedWiring::Node(endpoint.clone()),
            ledger: None,
            platform: None,
        };
        self.start(&wiring, Member::Ledger, Vec::new())?;
        let ledger = self.fleet.ready(Member::Ledger).await?;
        wiring.ledger = Some(ledger);
        let ledger = LedgerView::new(ledger)?;
        self.fleet.guard(ledger.register(&self.plan, &self.folder)).await?;
        let invariants = self.folder.path().join("invariants.json");
        field.write_invariants(&invariants)?;
        let args = wiring.add_invariants(&invariants);
        self.fleet.run_once("invariants", Member::Platform, args).await?;
        self.start(&wiring, Member::Platform, Vec::new())?;
        let miners: Vec<Member> = self.plan.miners.iter().map(|miner| Member::Miner(miner.uid)).collect();
        for miner in &miners {
            self.start(&wiring, *miner, Vec::new())?;
        }
        for miner in &miners {
            self.fleet.ready(*miner).await?;
        }
        let address = self.fleet.ready(Member::Platform).await?;
        wiring.platform = Some(address);
        let until = Instant::now() + READY_WITHIN;
        while self.fleet.guard(ledger.axons()).await? < miners.len() {
            self.in_time(until, "not every miner said where it serves")?;
            tokio::time::sleep(ASK_EVERY).await;
        }
        let config = self.write_defence(endpoint, field)?;
        for validator in self.plan.validators.clone() {
            let member = Member::Validator(validator.uid);
            self.start(&wiring, member, vec!["--config".into(), config.clone().into()])?;
            self.fleet.ready(member).await?;
        }
        let platform = PlatformView::new(address)?;
        loop {
            let status = self.fleet.guard(platform.status()).await?;
            let head = node.head().await?;
            let follows = status
                .feed
                .as_ref()
                .is_some_and(|feed| feed.head_number + 2 >= head.number);
            if follows && status.validators_connected as usize == self.plan.validators.len() {
                return Ok(platform);
            }
            self.in_time(
                until,
                "the platform does not follow the chain, or the validator is not there",
            )?;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    fn in_time(&self, until: Instant, what: &str) -> Result<(), LocalnetError> {
        if Instant::now() <= until {
            return Ok(());
        }
        Err(LocalnetError::Silent {
            who: "the network".to_owned(),
            reason: format!("{what} after {} s", READY_WITHIN.as_secs()),
        })
    }

    fn start(&mut self, wiring: &Wiring, member: Member, more: Vec<OsString>) -> Result<(), LocalnetError> {
        let mut args = wiring.args(member, &self.plan);
        args.extend(more);
        Ok(self.fleet.start(member, SocketAddr::from(ANY_PORT), args)?)
    }

    /// The validator's configuration: one action, the pause, sent by the vaults' guardian.
    fn write_defence(&self, endpoint: &Endpoint, field: &Field) -> Result<PathBuf, LocalnetError> {
        let key = self.folder.path().join("guardian.key");
        write(&key, &format!("{:x}\n", field.guardian().key()))?;
        let path = self.folder.path().join("defence.toml");
        let text = format!(
            "[defence]\nsource = \"race\"\n\n\
             [[defence.actions]]\nid = \"stop\"\nkind = \"pause_agent\"\ncalldata = \"{}\"\n\n\
             [pause]\npoll = \"250ms\"\n\n\
             [sender]\nendpoints = [\"{}\"]\nchain_id = {CHAIN_ID}\npoll = \"250ms\"\nconfirmations = 2\n\n\
             [sender.keys.default]\nhex = \"file:{}\"\n",
            pause_calldata(),
            endpoint.rpc,
            key.display()
        );
        write(&path, &text)?;
        Ok(path)
    }

    /// Attacks the watched vaults, one a block; gives what was sent, and where everything stands that was mined.
    async fn with(
        &mut self,
        node: &NodeClient,
        field: &mut Field,
    ) -> Result<(Vec<Started>, HashMap<B256, Mined>), LocalnetError> {
        let vaults = field.watched.clone();
        let mut blocks = HashMap::new();
        let mut all: Vec<Started> = Vec::new();
        let mut head = node.head().await?;
        for (number, vault) in vaults.iter().enumerate() {
            self.progress
                .phase(&format!("attack {} of {}", number + 1, vaults.len()));
            head = self.next_head(node, &head, &mut blocks).await?;
            note_mined(&mut all, &blocks);
            let half = u64::try_from(self.options.block_time.as_millis() / 2).unwrap_or(1_000);
            tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..half.max(1)))).await;
            let raid = field.raid(*vault, head.next_base_fee, &mut self.rng)?;
            let (sent, sent_ms) = (Instant::now(), now_ms());
            send(node, &raid).await?;
            all.push(Started {
                raid,
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

    async fn collect(
        &mut self,
        node: &NodeClient,
        platform: &PlatformView,
        started: Vec<Started>,
        blocks: &HashMap<B256, Mined>,
    ) -> Result<Vec<Attack>, LocalnetError> {
        self.progress.phase("collecting what the validator reported");
        let incidents = self.reported(platform, &started).await?;
        let head = node.head().await?;
        let mut each = Vec::with_capacity(started.len());
        for Started {
            raid,
            sent,
            sent_ms,
            mined,
        } in started
        {
            let timeline = incidents.get(&raid.hash);
            let pause = timeline.and_then(pause_of);
            let place = |mined: Mined| (mined.block, mined.index);
            let raid_place = mined.map(|(_, mined)| place(mined));
            let pause_place = pause
                .and_then(|(hash, _)| blocks.get(&hash))
                .filter(|mined| mined.succeeded);
            let mut attack = Attack {
                vault: raid.vault,
                raid: raid.hash,
                tip: raid.tip,
                block: raid_place.map(|(block, _)| block),
                robbed: mined.is_some_and(|(_, mined)| mined.succeeded),
                pause: pause.map(|(hash, _)| hash),
                ahead: match (pause_place, raid_place) {
                    (Some(pause), Some(raid)) => place(*pause) < raid,
                    _ => false,
                },
                kept: balance(node, &head, raid.vault).await? >= Field::treasure(),
                sent_to_broadcast_ms: pause.map(|(_, at_ms)| at_ms.saturating_sub(sent_ms)),
                sent_to_block_ms: mined.map_or(0, |(at, _)| u64::try_from((at - sent).as_millis()).unwrap_or(u64::MAX)),
                seen_to_broadcast_us: None,
                parts_us: None,
                note: String::new(),
            };
            if let Some(timeline) = timeline {
                let moments = || timeline.timeline.iter();
                if let Some(latency) = moments().find_map(|moment| Latency::read(&moment.detail)) {
                    attack.measured(&latency);
                }
                let escalated = moments().rev().find(|moment| moment.moment == "escalated");
                attack.note = escalated.map(|moment| moment.detail.clone()).unwrap_or_default();
            } else {
                attack.note = format!("no incident was reported for the raid {}", raid.hash);
            }
            each.push(attack);
        }
        Ok(each)
    }

    /// The timelines of the raids' incidents, by raid, once all of them have ended.
    async fn reported(
        &self,
        platform: &PlatformView,
        started: &[Started],
    ) -> Result<HashMap<B256, v1::IncidentTimeline>, LocalnetError> {
        let until = Instant::now() + REPORTED_WITHIN;
        loop {
            let mut timelines = HashMap::new();
            for incident in self.fleet.guard(platform.incidents(0)).await? {
                if let (Ok(hash), Some(timeline)) = (
                    B256::try_from(incident.tx_hash.as_ref()),
                    incident.timelines.into_iter().next(),
                ) {
                    timelines.insert(hash, timeline);
                }
            }
            let ended = |started: &Started| {
                let timeline = timelines.get(&started.raid.hash);
                timeline.is_some_and(|timeline| matches!(timeline.state.as_str(), "contained" | "escalated" | "closed"))
            };
            if started.iter().all(ended) || Instant::now() > until {
                return Ok(timelines);
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    /// Waits for a block after `last`, and notes what the new ones include.
    async fn next_head(
        &self,
        node: &NodeClient,
        last: &BlockInfo,
        blocks: &mut HashMap<B256, Mined>,
    ) -> Result<BlockInfo, LocalnetError> {
        let patience = (self.options.block_time * 20).max(Duration::from_secs(60));
        let until = Instant::now() + patience;
        let head = loop {
            self.fleet.check()?;
            let head = node.head().await?;
            if head.number > last.number {
                break head;
            }
            if Instant::now() > until {
                let node = node.name().to_owned();
                let seconds = patience.as_secs();
                return Err(LiveError::Still { node, seconds }.into());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        for block in last.number + 1..=head.number {
            for (index, receipt) in node.receipts(block).await?.into_iter().enumerate() {
                let succeeded = receipt.succeeded;
                blocks.insert(
                    receipt.hash,
                    Mined {
                        block,
                        index,
                        succeeded,
                    },
                );
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

/// The pause that was broadcast last before one was included, and when the first was.
fn pause_of(timeline: &v1::IncidentTimeline) -> Option<(B256, u64)> {
    let hash = |moment: &v1::TimelineMoment| moment.detail.split_whitespace().next()?.parse::<B256>().ok();
    let first = timeline.timeline.iter().find(|moment| moment.moment == "broadcast")?;
    let included = timeline.timeline.iter().find(|moment| moment.moment == "included");
    let pause = included.and_then(hash).or_else(|| hash(first))?;
    Some((pause, first.at_ms))
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

fn write(path: &Path, text: &str) -> Result<(), LocalnetError> {
    std::fs::write(path, text).map_err(|error| LocalnetError::File {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
