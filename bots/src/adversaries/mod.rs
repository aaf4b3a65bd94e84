//! Dishonest miners let loose on a validator: what they get away with, and what they earn.
//!
//! Two networks of ten miners each, of which one is honest: in the first every other one cheats in a way of its own, in the second the
//! other nine are in league and hide every violation. The traffic's truth is known by arithmetic ([`traffic`]); what is confirmed,
//! missed and fired falsely is counted against it, and each miner's weight is written down.

pub mod network;
pub mod platform;
pub mod traffic;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chain::AccountId;
use engine::B256;
use miner::behaviour::Behaviour;
use protos::v1;
use protos::v1::stream_item::Event;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use wire::{ShippedPrestate, Wire};

use network::{Network, NetworkError};
use platform::{Scripted, streamed};
use traffic::{BLOCK, CHAIN_ID, Pending, TILL, Traffic};

/// Waves of traffic, and so windows of the score.
const WAVES: usize = 10;

/// How large, and with which seed.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Transactions in each of the two networks; one in a hundred is an attack
    #[arg(long, value_name = "N", default_value_t = 5_000)]
    pub transactions: usize,
    /// The same seed gives the same traffic, and the same draws of miners
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write what came of it here, as JSON
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// What came of both networks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Each way to cheat, once; and the league.
    pub networks: Vec<NetworkReport>,
}

/// What came of one network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkReport {
    /// What it is called.
    pub name: String,
    /// Transactions of the stream.
    pub transactions: u64,
    /// Of those, attacks.
    pub attacks: u64,
    /// Attacks for which an incident was reported, on the right invariant.
    pub confirmed: u64,
    /// Incidents on what is no attack, or on the wrong invariant.
    pub false_incidents: u64,
    /// Transactions that the validator's own engine decided.
    pub arbitrated: u64,
    /// Canaries that were asked.
    pub canaries: u64,
    /// Of those, with a violation.
    pub violating_canaries: u64,
    /// Disputes that are kept with all their votes, at most a hundred.
    pub disputes: u64,
    /// How long it took, seconds.
    pub seconds: f64,
    /// The miners, by uid.
    pub miners: Vec<MinerReport>,
}

/// What came of one miner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MinerReport {
    /// Its uid.
    pub uid: u16,
    /// How it behaves.
    pub behaviour: Behaviour,
    /// Challenges that it was sent, canaries among them.
    pub asked: u64,
    /// Answers that count.
    pub answered: u64,
    /// Of those, the truth.
    pub correct: u64,
    /// Challenges with a violation.
    pub violating: u64,
    /// Of those, found.
    pub found: u64,
    /// Its share of all scores, after the last window, to six digits.
    pub score: f64,
    /// As the ledger has it: of 65535.
    pub weight: u16,
}

/// The two networks.
pub const NETWORKS: [(&str, [Behaviour; 10]); 2] = [
    (
        "one of each",
        [
            Behaviour::Lazy,
            Behaviour::Alarmist,
            Behaviour::Random,
            Behaviour::Late,
            Behaviour::Honest,
            Behaviour::Copycat,
            Behaviour::Colluder,
            Behaviour::Replayer,
            Behaviour::Misaddressed,
            Behaviour::Liar,
        ],
    ),
    (
        "nine in league",
        [
            Behaviour::Colluder,
            Behaviour::Colluder,
            Behaviour::Colluder,
            Behaviour::Colluder,
            Behaviour::Honest,
            Behaviour::Colluder,
            Behaviour::Colluder,
            Behaviour::Colluder,
            Behaviour::Colluder,
            Behaviour::Colluder,
        ],
    ),
];

/// Runs both networks, and writes the report where it is wanted.
///
/// # Errors
/// What does not start, or does not end in time.
pub async fn run(options: &Options) -> Result<Report, NetworkError> {
    let mut networks = Vec::new();
    for (name, behaviours) in NETWORKS {
        networks.push(one(name, &behaviours, options).await?);
    }
    let report = Report {
        seed: options.seed,
        networks,
    };
    if let Some(path) = &options.report {
        write(path, &report)?;
    }
    Ok(report)
}

fn write(path: &Path, report: &Report) -> Result<(), NetworkError> {
    let text = serde_json::to_string_pretty(report)?;
    let failed = |reason| NetworkError::Report {
        path: path.to_owned(),
        reason,
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, text + "\n").map_err(failed)
}

/// The stream of a traffic, and what is true of it.
struct Script {
    items: Vec<v1::StreamItem>,
    /// Transactions up to and including each item.
    pending: Vec<usize>,
    truth: BTreeSet<(B256, u64)>,
}

fn script(transactions: &[Pending]) -> Result<Script, NetworkError> {
    let mut script = Script {
        items: Vec::new(),
        pending: Vec::new(),
        truth: BTreeSet::new(),
    };
    let mut sent = 0;
    let mut add = |event, codes| {
        sent += usize::from(matches!(event, Event::Pending(_)));
        let cursor = script.items.len() as u64 + 1;
        script.items.push(streamed(cursor, event, codes));
        script.pending.push(sent);
    };
    let set = traffic::invariants()?;
    add(Event::InvariantSet(set.to_wire()), Vec::new());
    for (number, block) in (1u64..).zip(transactions.chunks(BLOCK)) {
        let hash = |number: u64| wire::hash_bytes(B256::from(engine::U256::from(number)));
        let head = v1::Head {
            chain_id: CHAIN_ID,
            number,
            hash: hash(number),
            parent_hash: hash(number - 1),
            next: Some(traffic::env(number).to_wire()),
            ..Default::default()
        };
        add(Event::Head(head), Vec::new());
        for one in block {
            let shipped = ShippedPrestate::from(one.prestate.clone());
            let till = alloy::primitives::keccak256(TILL);
            let carried = (number == 1).then(|| wire::code_to_wire(till, &engine::Bytes::from_static(TILL)));
            let pending = v1::PendingTransaction {
                transaction: Some(one.transaction.to_wire()),
                head_hash: hash(number),
                prestate: Some(shipped.to_wire()),
                predecessors: Vec::new(),
            };
            add(Event::Pending(pending), carried.into_iter().collect());
        }
    }
    let attacks = transactions
        .iter()
        .filter_map(|one| Some((one.transaction.hash(), one.breaks?)));
    script.truth.extend(attacks);
    Ok(script)
}

async fn one(name: &str, behaviours: &[Behaviour], options: &Options) -> Result<NetworkReport, NetworkError> {
    let start = Instant::now();
    let folder = tempfile::tempdir()?;
    let mut traffic = Traffic::new(options.seed, 100)?;
    let transactions = (0..options.transactions)
        .map(|_| traffic.make())
        .collect::<Result<Vec<Pending>, _>>()?;
    let Script { items, pending, truth } = script(&transactions)?;
    let (begin, begun) = watch::channel(0);
    let platform = Scripted::new(items, begun);
    let judged = platform.judged();
    let mut network = Network::start(folder.path(), behaviours, platform.clone(), options.seed).await?;

    for wave in 1..=WAVES {
        let wanted = options.transactions * wave / WAVES;
        let last = pending.partition_point(|sent| *sent < wanted);
        begin.send_replace((last + 1).min(pending.len()));
        let patience = Duration::from_secs(60) + Duration::from_millis(200) * u32::try_from(wanted).unwrap_or(u32::MAX);
        network
            .wait("the judging of a wave", patience, async |_| {
                Ok(*judged.borrow() >= wanted)
            })
            .await?;
        network.end_epoch().await?;
    }
    let weights = network.weights().await?;
    let report = report(name, behaviours, &network, &platform, &truth, &weights, start.elapsed()).await;
    network.stop().await;
    drop(begin);
    report
}

async fn report(
    name: &str,
    behaviours: &[Behaviour],
    network: &Network,
    platform: &Scripted,
    truth: &BTreeSet<(B256, u64)>,
    weights: &[(u16, u16)],
    took: Duration,
) -> Result<NetworkReport, NetworkError> {
    let totals = network.store().totals().await?;
    let canaries = network.store().canaries().await?;
    let disputes = network.store().disputes(0, None, 0, true).await?;
    let sum: f64 = totals.values().map(|total| total.average).sum();
    let miner = |(uid, (hotkey, behaviour)): (u16, (&AccountId, &Behaviour))| {
        let total = totals.get(hotkey.as_bytes()).cloned().unwrap_or_default();
        let weight = weights.iter().find(|(known, _)| *known == uid);
        MinerReport {
            uid,
            behaviour: *behaviour,
            asked: total.asked,
            answered: total.answered,
            correct: total.correct,
            violating: total.violating,
            found: total.found,
            score: if sum > 0.0 {
                (total.average / sum * 1e6).round() / 1e6
            } else {
                0.0
            },
            weight: weight.map_or(0, |(_, weight)| *weight),
        }
    };
    let (incidents, arbitrated): (BTreeSet<(B256, u64)>, usize) = platform.reported(|reported| {
        let arbitrated = reported.transactions.values().filter(|report| report.arbitrated);
        (reported.incidents.keys().copied().collect(), arbitrated.count())
    });
    Ok(NetworkReport {
        name: name.to_owned(),
        transactions: platform.reported(|reported| reported.transactions.len()) as u64,
        attacks: truth.len() as u64,
        confirmed: incidents.intersection(truth).count() as u64,
        false_incidents: incidents.difference(truth).count() as u64,
        arbitrated: arbitrated as u64,
        canaries: canaries.sent,
        violating_canaries: canaries.violating,
        disputes: disputes.len() as u64,
        seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        miners: (1u16..).zip(network.miners.iter().zip(behaviours)).map(miner).collect(),
    })
}

impl Report {
    /// Why the run is no success, in one line.
    pub fn failure(&self) -> Option<String> {
        self.networks.iter().find_map(NetworkReport::failure)
    }

    /// For people: a line and a table for each network, in Markdown.
    pub fn render(&self) -> String {
        let network = |network: &NetworkReport| {
            format!(
                "**{}**: {} of {} attacks confirmed and {} false incidents in {} transactions; {} executed by the validator, \
                 {} canaries, {} of them violating; {} s\n\n{}\n",
                network.name,
                network.confirmed,
                network.attacks,
                network.false_incidents,
                network.transactions,
                network.arbitrated,
                network.canaries,
                network.violating_canaries,
                network.seconds,
                network.table()
            )
        };
        self.networks.iter().map(network).collect()
    }
}

impl NetworkReport {
    /// Why this network is no success, in one line.
    pub fn failure(&self) -> Option<String> {
        let best = |of: &dyn Fn(&MinerReport) -> bool| {
            let scores = self.miners.iter().filter(|miner| of(miner)).map(|miner| miner.score);
            scores.fold(0.0, f64::max)
        };
        let honest = best(&|miner| miner.behaviour == Behaviour::Honest);
        let cheat = best(&|miner| miner.behaviour != Behaviour::Honest);
        let missed = self.attacks - self.confirmed.min(self.attacks);
        let why = if missed > 0 {
            format!("{missed} of {} attacks were missed", self.attacks)
        } else if self.false_incidents > 0 {
            format!("{} incidents are false", self.false_incidents)
        } else if honest <= cheat {
            format!("a dishonest miner earned {cheat:.3}, the honest one {honest:.3}")
        } else {
            return None;
        };
        Some(format!("{}: {why}", self.name))
    }

    /// The miners as a table in Markdown, the best first.
    pub fn table(&self) -> String {
        let mut miners: Vec<&MinerReport> = self.miners.iter().collect();
        miners.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.uid.cmp(&b.uid)));
        let mut text = String::from(
            "| uid | behaviour | asked | answered | right | violations asked | found | share of scores | weight |\n\
             |---:|---|---:|---:|---:|---:|---:|---:|---:|\n",
        );
        for miner in miners {
            let behaviour = format!("{:?}", miner.behaviour).to_lowercase();
            text += &format!(
                "| {} | {behaviour} | {} | {} | {} | {} | {} | {:.3} | {} |\n",
                miner.uid,
                miner.asked,
                miner.answered,
                miner.correct,
                miner.violating,
                miner.found,
                miner.score,
                miner.weight
            );
        }
        text
    }
}
