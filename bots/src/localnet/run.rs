//! One run from the first process to the report.
//!
//! The order: read the recording, or start the node and build the town on its chain; start the ledger, register everybody, fill the registry, start miners and platform, then the
//! validators (the platform holds its feed back until all of them listen), watch until everything is judged, wait for the epochs
//! in which weights become incentives, collect. However it ends, all processes end with it, and the folder goes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use protos::v1;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chaos::{Blow, Storm, Strike, strikes};
use super::clients::{LedgerView, PlatformView, serving, validator_status};
use super::error::LocalnetError;
use super::fleet::{Fleet, Folder};
use super::input::{Done, Input, Stillness};
use super::live::anvil::Surroundings;
use super::live::{self, Endpoint, Living};
use super::members::{FeedWiring, Wiring};
use super::options::Options;
use super::plan::{Member, NetworkPlan};
use super::progress::{Progress, Standing};
use super::recording::{Recording, Source};
use super::report::{KillRecord, Observed, Report, is_complete};
use crate::scenario::CHAIN_ID;

/// How often the network is asked where it stands.
const POLL: Duration = Duration::from_millis(150);
/// How often it is asked while a process is to be struck in a certain moment.
const POLL_FOR_STRIKE: Duration = Duration::from_millis(25);
/// How long all miners may take to say on the ledger where they serve.
const AXONS_WITHIN: Duration = Duration::from_secs(60);
/// How soon whoever `--chaos` strikes must serve again.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Any free port of this machine.
const ANY_PORT: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

/// Runs the network that `options` ask for, until it is done or `shutdown` is cancelled.
///
/// # Errors
/// [`LocalnetError`]; a run that came to a report, however bad, is none.
pub async fn run(options: &Options, shutdown: &CancellationToken) -> Result<Report, LocalnetError> {
    let plan = NetworkPlan::new(options.shape())?;
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

    let place = tempfile::Builder::new().prefix("portcullis-localnet-").tempdir();
    let place = place.map_err(|error| LocalnetError::File {
        path: std::env::temp_dir(),
        reason: error.to_string(),
    })?;
    let folder = Folder::new(place.path());
    let mut fleet = Fleet::new(binaries, folder.clone());
    let ended = {
        let played = async {
            let (input, feed) = match recording {
                Some(recording) => recorded(options, recording, &folder)?,
                None => living(options, &folder, &mut fleet, &mut progress).await?,
            };
            let network = Network::new(options, plan, input, feed, folder, &mut fleet, &mut progress);
            network.play().await
        };
        tokio::select! {
            ended = Box::pin(played) => ended,
            () = shutdown.cancelled() => Err(LocalnetError::Interrupted),
        }
    };
    progress.phase("ending all processes");
    fleet.stop().await;
    if options.keep {
        progress.say(&format!(
            "everything that the run wrote is in {}",
            place.keep().display()
        ));
    }
    progress.clear();
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
    Ok(recording)
}

/// A recording as input.
fn recorded(options: &Options, recording: Recording, folder: &Folder) -> Result<(Input, FeedWiring), LocalnetError> {
    let path = options.source().place(folder.path())?;
    let pace = options.pace();
    Ok((
        Input::Recorded(Box::new(recording)),
        FeedWiring::Recording { path, pace },
    ))
}

/// A living chain as input: the node is started, unless one is named, and the town is built on it.
async fn living(
    options: &Options,
    folder: &Folder,
    fleet: &mut Fleet,
    progress: &mut Progress,
) -> Result<(Input, FeedWiring), LocalnetError> {
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
    let building = async { Ok::<_, LocalnetError>(Living::build(&endpoint, plan).await?) };
    let living = fleet.guard(building).await?;
    let (people, invariants) = (living.people(), living.invariants.len());
    progress.say(&format!(
        "the town stands: {people} people, {invariants} invariants, a block each {:?}",
        plan.block_time
    ));
    Ok((Input::Living(Box::new(living)), FeedWiring::Node(endpoint)))
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

/// Everything that a run consists of.
struct Network<'a> {
    options: &'a Options,
    plan: NetworkPlan,
    input: Input,
    wiring: Wiring,
    fleet: &'a mut Fleet,
    progress: &'a mut Progress,
    /// Still to come, the next one last.
    strikes: Vec<Strike>,
    /// From the first transaction on, where there is one.
    storm: Option<Storm>,
    kills: Vec<KillRecord>,
    standing: Standing,
    give_up_at: Instant,
}

/// What the watching of the traffic came to.
struct Judging {
    status: v1::StatusResponse,
    took: Duration,
    complete: bool,
}

impl<'a> Network<'a> {
    fn new(
        options: &'a Options,
        plan: NetworkPlan,
        input: Input,
        feed: FeedWiring,
        folder: Folder,
        fleet: &'a mut Fleet,
        progress: &'a mut Progress,
    ) -> Self {
        let mut strikes = options
            .kill
            .map_or_else(Vec::new, |kill| strikes(kill, &plan, options.seed));
        strikes.reverse();
        let wiring = Wiring {
            folder,
            feed,
            ledger: None,
            platform: None,
        };
        Self {
            options,
            strikes,
            storm: None,
            kills: Vec::new(),
            standing: Standing {
                total: Some(input.transactions()),
                ..Standing::default()
            },
            give_up_at: Instant::now() + options.timeout,
            plan,
            input,
            wiring,
            fleet,
            progress,
        }
    }

    async fn play(mut self) -> Result<Report, LocalnetError> {
        let ledger = self.start_ledger().await?;
        self.fill_registry().await?;
        let platform = self.start_platform_and_miners(&ledger).await?;
        self.start_validators().await?;
        let judging = self.judge(&platform, &ledger).await?;
        self.settle(&ledger).await?;
        self.collect(&platform, &ledger, judging).await
    }

    async fn start_ledger(&mut self) -> Result<LedgerView, LocalnetError> {
        self.progress.phase("starting the ledger");
        self.start(Member::Ledger)?;
        let address = self.fleet.ready(Member::Ledger).await?;
        self.wiring.ledger = Some(address);
        let ledger = LedgerView::new(address)?;
        let (validators, miners) = (self.plan.validators.len(), self.plan.miners.len());
        self.progress
            .phase(&format!("registering {validators} validators and {miners} miners"));
        self.fleet
            .guard(ledger.register(&self.plan, &self.wiring.folder))
            .await?;
        Ok(ledger)
    }

    async fn fill_registry(&mut self) -> Result<(), LocalnetError> {
        let file = match &self.options.invariants {
            Some(file) => file.clone(),
            None if self.input.invariants().is_empty() => {
                self.progress
                    .say("no invariant watches this recording; --invariants FILE names some");
                return Ok(());
            }
            None => self.input.write_invariants(self.wiring.folder.path())?,
        };
        let left_out = self.input.inexpressible();
        if self.options.invariants.is_none() && left_out > 0 {
            self.progress.say(&format!(
                "{left_out} invariants of the cases are not about one storage slot and are left out"
            ));
        }
        let args = self.wiring.add_invariants(&file);
        Ok(self.fleet.run_once("invariants", Member::Platform, args).await?)
    }

    async fn start_platform_and_miners(&mut self, ledger: &LedgerView) -> Result<PlatformView, LocalnetError> {
        self.progress.phase("starting the platform and the miners");
        self.start(Member::Platform)?;
        let miners: Vec<Member> = self.plan.miners.iter().map(|miner| Member::Miner(miner.uid)).collect();
        for miner in &miners {
            self.start(*miner)?;
        }
        for miner in miners {
            self.fleet.ready(miner).await?;
        }
        let address = self.fleet.ready(Member::Platform).await?;
        self.wiring.platform = Some(address);
        self.await_axons(ledger).await?;
        PlatformView::new(address)
    }

    /// A validator that looked before all miners said where they serve would draw from too few.
    async fn await_axons(&self, ledger: &LedgerView) -> Result<(), LocalnetError> {
        let until = Instant::now() + AXONS_WITHIN;
        loop {
            let serving = self.fleet.guard(ledger.axons()).await?;
            if serving >= self.plan.miners.len() {
                return Ok(());
            }
            if Instant::now() > until {
                let reason = format!(
                    "only {serving} of {} miners said where they serve",
                    self.plan.miners.len()
                );
                return Err(LocalnetError::Silent {
                    who: Member::Ledger.to_string(),
                    reason,
                });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn start_validators(&mut self) -> Result<(), LocalnetError> {
        self.progress.phase("starting the validators");
        let validators: Vec<Member> = self
            .plan
            .validators
            .iter()
            .map(|planned| Member::Validator(planned.uid))
            .collect();
        for validator in &validators {
            self.start(*validator)?;
        }
        for validator in validators {
            self.fleet.ready(validator).await?;
        }
        Ok(())
    }

    fn start(&mut self, member: Member) -> Result<(), LocalnetError> {
        let args = self.wiring.args(member, &self.plan);
        Ok(self.fleet.start(member, SocketAddr::from(ANY_PORT), args)?)
    }

    /// Watches until everything is judged, or it takes too long.
    async fn judge(&mut self, platform: &PlatformView, ledger: &LedgerView) -> Result<Judging, LocalnetError> {
        self.progress.phase(match &self.input {
            Input::Recorded(_) => "replaying",
            Input::Living(_) => "judging what waits in the node's pool",
        });
        let mut still = Stillness::new();
        let mut first_seen = None;
        let mut shown = 0;
        loop {
            let status = self.fleet.guard(platform.status()).await?;
            if status.transactions > 0 && first_seen.is_none() {
                first_seen = Some(Instant::now());
                let storm = |every| Storm::new(every, &self.plan, self.options.seed);
                self.storm = self.options.chaos.map(storm);
            }
            let took = first_seen.map_or(Duration::ZERO, |first| first.elapsed());
            self.show(&status, took, ledger).await?;
            if status.incidents > shown {
                shown = self.tell_incidents(platform, shown).await?;
            }
            self.input.begin(&status, self.plan.validators.len(), &still)?;
            let done = self.input.done(&status, &mut still).await?;
            if done != Done::NotYet {
                for missed in &self.strikes {
                    self.progress.say(&format!(
                        "everything was judged before {} could be killed",
                        missed.victim
                    ));
                }
                return Ok(Judging {
                    status,
                    took,
                    complete: done == Done::Complete,
                });
            }
            if Instant::now() >= self.give_up_at {
                self.progress.say(&format!(
                    "giving up after {} s (--timeout)",
                    self.options.timeout.as_secs()
                ));
                return Ok(Judging {
                    status,
                    took,
                    complete: false,
                });
            }
            self.strike_if_due(status.judged).await?;
            self.storm_if_due(status.judged).await?;
            tokio::time::sleep(if self.strikes.is_empty() { POLL } else { POLL_FOR_STRIKE }).await;
        }
    }

    async fn show(
        &mut self,
        status: &v1::StatusResponse,
        took: Duration,
        ledger: &LedgerView,
    ) -> Result<(), LocalnetError> {
        let chain = self.fleet.guard(ledger.chain()).await?;
        let seconds = took.as_secs_f64();
        self.standing = Standing {
            total: self.standing.total,
            logged: status.transactions,
            judged: status.judged,
            tx_per_s: if seconds > 0.0 {
                status.judged as f64 / seconds
            } else {
                0.0
            },
            incidents: status.incidents,
            block: chain.block,
            epoch: chain.epoch_index,
        };
        self.progress.update(&self.standing);
        Ok(())
    }

    /// Tells of the incidents after the one that was told of last.
    async fn tell_incidents(&self, platform: &PlatformView, shown: u64) -> Result<u64, LocalnetError> {
        let mut last = shown;
        for incident in self.fleet.guard(platform.incidents(shown)).await? {
            last = last.max(incident.id);
            self.progress.say(&format!(
                "INCIDENT: \"{}\" is broken by 0x{}, confirmed in {:.1} ms",
                incident.invariant_name,
                hex::encode(&incident.tx_hash),
                incident.seen_to_confirmed_us as f64 / 1_000.0
            ));
        }
        Ok(last)
    }

    async fn strike_if_due(&mut self, judged: u64) -> Result<(), LocalnetError> {
        let total = self.input.transactions();
        let Some(strike) = self.strikes.pop_if(|next| next.is_due(judged, total)) else {
            return Ok(());
        };
        self.strike(strike.victim, Blow::Killed, judged).await
    }

    async fn storm_if_due(&mut self, judged: u64) -> Result<(), LocalnetError> {
        match self.storm.as_mut().and_then(|storm| storm.due(Instant::now())) {
            Some((victim, blow)) => self.strike(victim, blow, judged).await,
            None => Ok(()),
        }
    }

    async fn strike(&mut self, victim: Member, blow: Blow, judged: u64) -> Result<(), LocalnetError> {
        let down = match blow {
            Blow::Killed => {
                self.progress.say(&format!(
                    "killing {victim} (SIGKILL) after {judged} judged transactions"
                ));
                let args = self.wiring.args(victim, &self.plan);
                self.fleet.strike(victim, args).await?
            }
            Blow::Frozen => {
                let time = self.options.freeze;
                self.progress.say(&format!(
                    "freezing {victim} (SIGSTOP) for {} after {judged} judged transactions",
                    humantime::format_duration(time)
                ));
                let address = self.fleet.freeze(victim, time).await?;
                let thawed = Instant::now();
                self.fleet.guard(serving(victim, address)).await?;
                thawed.elapsed()
            }
        };
        let down_ms = u64::try_from(down.as_millis()).unwrap_or(u64::MAX);
        self.progress.say(&format!("{victim} serves again after {down_ms} ms"));
        self.kills.push(KillRecord {
            process: victim.to_string(),
            at_judged: judged,
            blow,
            down_ms,
        });
        Ok(())
    }

    /// Waits for the epochs in which weights become incentives.
    async fn settle(&mut self, ledger: &LedgerView) -> Result<(), LocalnetError> {
        let enough = self
            .fleet
            .guard(ledger.chain())
            .await?
            .epoch_index
            .saturating_add(self.options.settle_epochs);
        self.progress.phase("waiting for weights and incentives");
        loop {
            let chain = self.fleet.guard(ledger.chain()).await?;
            (self.standing.block, self.standing.epoch) = (chain.block, chain.epoch_index);
            self.progress.update(&self.standing);
            if chain.epoch_index >= enough || Instant::now() >= self.give_up_at {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn collect(
        &self,
        platform: &PlatformView,
        ledger: &LedgerView,
        judging: Judging,
    ) -> Result<Report, LocalnetError> {
        let nonsense = |error: protos::DecodeError| LocalnetError::Nonsense {
            who: Member::Platform.to_string(),
            reason: error.to_string(),
        };
        let asking = async {
            let mut validators = std::collections::BTreeMap::new();
            for planned in &self.plan.validators {
                let address = self.fleet.address(Member::Validator(planned.uid))?;
                validators.insert(planned.uid, validator_status(planned.uid, address).await?);
            }
            let (executions, disputed) = platform.executions().await?;
            let gas = self.input.gas().compare(executions.iter().copied());
            let incidents = platform.incidents(0).await?;
            let chain = ledger.chain().await?;
            // What came in after a run that gave up still counts.
            let (status, complete) = if judging.complete {
                (judging.status, true)
            } else {
                let status = platform.status().await?;
                let complete = matches!(self.input, Input::Recorded(_)) && is_complete(&status);
                (status, complete)
            };
            let live = match &self.input {
                Input::Recorded(_) => None,
                Input::Living(living) => {
                    let report = living.report(&executions, &incidents, status.feed.as_ref());
                    Some(report.map_err(nonsense)?)
                }
            };
            Ok::<_, LocalnetError>(Observed {
                data: match &self.input {
                    Input::Recorded(_) => self.options.source().name(),
                    Input::Living(living) => living.name(),
                },
                pace: self.options.pace(),
                seed: self.options.seed,
                status,
                incidents,
                disputed,
                gas,
                validators,
                standings: ledger.standings().await?,
                kills: self.kills.clone(),
                back_within: self.options.chaos.map(|_| BACK_WITHIN),
                judging: judging.took,
                ledger_block: chain.block,
                ledger_epochs: chain.epoch_index,
                complete,
                live,
            })
        };
        let seen = self.fleet.guard(asking).await?;
        Report::new(&self.plan, seen).map_err(nonsense)
    }
}
