//! One run from the first process to the report.
//!
//! The order: read the recording, or start the node and build the town on its chain, with keepers and payments; start the ledger,
//! register everybody, fill the registry, start miners and platform, keepers and monitors, then the validators (the platform holds
//! its feed back until all of them listen) and the auditors; watch until everything is judged, wait for the epochs in which weights
//! become incentives and bounties are claimed, collect. However it ends, all processes end with it, and the folder goes.

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::error::LocalnetError;
use super::fleet::{Fleet, Folder};
use super::grounds::Grounds;
use super::input::Input;
use super::live::anvil::Surroundings;
use super::live::{self, Endpoint, Living};
use super::members::FeedWiring;
use super::network::{self, Network};
use super::options::Options;
use super::plan::{Member, NetworkPlan};
use super::progress::Progress;
use super::recording::{Recording, Source};
use super::report::Report;
use super::services::{Extra, Services};
use crate::scenario::CHAIN_ID;
use crate::scenario::setup::Ownership;

/// Runs the network that `options` ask for, until it is done or `shutdown` is cancelled.
///
/// # Errors
/// [`LocalnetError`]; a run that came to a report, however bad, is none.
pub async fn run(options: &Options, shutdown: &CancellationToken) -> Result<Report, LocalnetError> {
    let plan = NetworkPlan::new(options.shape)?;
    let binaries = binaries(options.bin_dir.as_deref())?;
    if let Some(path) = &options.report {
        check_report_path(path)?;
    }
    let mut progress = Progress::new();
    // What is read is read before anything is started: a damaged recording is refused with nothing begun.
    let recording = match options.live {
        true => None,
        false => Some(read_recording(options, &mut progress, shutdown).await?),
    };

    let mut grounds = Grounds::new("portcullis-localnet-", binaries, progress)?;
    let ended = {
        let Grounds {
            folder,
            fleet,
            progress,
            ..
        } = &mut grounds;
        let played = async {
            let source = match recording {
                Some(recording) => recorded(options, recording, folder)?,
                None => living(options, &plan, folder, fleet, progress).await?,
            };
            let network = Network::new(options, plan, source, folder.clone(), fleet, progress);
            network.play().await
        };
        tokio::select! {
            ended = Box::pin(played) => ended,
            () = shutdown.cancelled() => Err(LocalnetError::Interrupted),
        }
    };
    grounds.end(options.keep).await;
    ended
}

async fn read_recording(
    options: &Options,
    progress: &mut Progress,
    shutdown: &CancellationToken,
) -> Result<Recording, LocalnetError> {
    progress.phase(&format!("reading {}", options.source().name()));
    let recording = read(options.source(), shutdown.clone()).await?;
    let (transactions, cases) = (recording.gas.transactions(), recording.cases);
    progress.say(&format!("{transactions} transactions in {cases} recorded cases"));
    progress.say("a recording has no chain to send to: no keepers, audits and payments (--live has them)");
    Ok(recording)
}

/// A recording as input.
fn recorded(options: &Options, recording: Recording, folder: &Folder) -> Result<network::Source, LocalnetError> {
    let path = options.source().place(folder.path())?;
    let pace = options.pace();
    Ok(network::Source {
        input: Input::Recorded(Box::new(recording)),
        feed: FeedWiring::Recording { path, pace },
        services: None,
    })
}

/// A living chain as input: the node is started, unless one is named, and the town is built on it.
async fn living(
    options: &Options,
    network: &NetworkPlan,
    folder: &Folder,
    fleet: &mut Fleet,
    progress: &mut Progress,
) -> Result<network::Source, LocalnetError> {
    let plan = options.live_plan();
    let endpoint = match &options.node {
        Some(url) => Endpoint::new(url),
        None => {
            let anvil = Surroundings::here(options.anvil.clone()).find()?;
            progress.phase(&format!("starting {}", anvil.display()));
            let config_out = folder.path().join("anvil.json");
            fleet.start_node(&anvil, live::anvil::args(plan.block_time, CHAIN_ID, &config_out))?;
            Endpoint::new(&format!("ws://{}", fleet.ready(Member::Node).await?))
        }
    };
    progress.phase("building the town on the chain");
    let ownership = match options.has(Extra::Keepers) {
        true => Ownership::Admin,
        false => Ownership::Person,
    };
    let building = async {
        let mut living = Living::build(&endpoint, plan, ownership).await?;
        let services = Services::build(options, network, &endpoint, &mut living).await?;
        Ok::<_, LocalnetError>((living, services))
    };
    let (living, services) = fleet.guard(building).await?;
    let (people, invariants) = (living.people(), living.invariants.len());
    progress.say(&format!(
        "the town stands: {people} people, {invariants} invariants, a block each {:?}",
        plan.block_time
    ));
    if !options.without.is_empty() {
        let without: Vec<String> = options.without.iter().map(Extra::to_string).collect();
        progress.say(&format!("without {}", without.join(", ")));
    }
    Ok(network::Source {
        input: Input::Living(Box::new(living)),
        feed: FeedWiring::Node(endpoint),
        services: Some(services),
    })
}

/// Reads the whole recording on a thread of its own; ends early on `shutdown`.
async fn read(source: Source, shutdown: CancellationToken) -> Result<Recording, LocalnetError> {
    let name = source.name();
    let reading = tokio::task::spawn_blocking(move || Recording::read(&source, |_, _| !shutdown.is_cancelled()));
    match reading.await {
        Ok(read) => Ok(read?),
        Err(error) => Err(LocalnetError::Nonsense {
            who: name,
            reason: error.to_string(),
        }),
    }
}

/// The folder of the network's binaries.
pub(super) fn binaries(named: Option<&Path>) -> Result<PathBuf, LocalnetError> {
    if let Some(folder) = named {
        return Ok(folder.to_owned());
    }
    let file = |reason: String| LocalnetError::File {
        path: "the folder of `bots`".into(),
        reason,
    };
    let own = std::env::current_exe().map_err(|error| file(error.to_string()))?;
    own.parent()
        .map(Path::to_owned)
        .ok_or_else(|| file("has no name; use --bin-dir".to_owned()))
}

/// A report that cannot be written is better known before the run than after it.
fn check_report_path(path: &Path) -> Result<(), LocalnetError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let reason = if path.is_dir() {
        "is a folder, expected a file for the report"
    } else if !folder.is_dir() {
        "cannot be written: its folder does not exist"
    } else {
        return Ok(());
    };
    Err(LocalnetError::File {
        path: path.to_owned(),
        reason: reason.to_owned(),
    })
}
