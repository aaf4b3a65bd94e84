//! The commands of bot communities: `init`, `run`, `benchmark`, `simulate`, `faucet`, `phase`.
//!
//! A thin shell over the room `community`, which has the rules: files and flags in, tables and reports out. Nothing asks anything of
//! whoever starts it.

mod options;
mod scoring;
mod show;

use std::path::Path;
use std::time::Duration;

use community::arena::Contest;
use community::driver::{Decision, Patience};
use community::faucet::client::FaucetClient;
use community::faucet::rule::FaucetRules;
use community::mix::Mix;
use community::report::{Pause, Report};
use community::seed::Seed;
use community::simulate::{self, Outcome};
use community::spec::Spec;
use community::{Community, CommunityError, Faucet, Founding, Home, Means};
use node::exit::Failure;
use tokio_util::sync::CancellationToken;

use crate::localnet::race::{Attack, RaceReport};

pub use options::{
    BenchmarkOptions, FaucetOptions, FoundArgs, HomeArgs, InitOptions, PhaseOptions, RunOptions, SimulateOptions,
};
pub use scoring::ValidatorScoring;

/// RAO of a faucet that nobody limits.
const BUDGET: u64 = 1_000_000 * chain::ledger::RAO_PER_TAO;
/// Founders that set weights, where nobody says otherwise.
const VALIDATORS: u64 = 10;
/// Ceremonies of a benchmark that stay in memory for its report.
const KEPT: usize = 1_000;

impl From<&HomeArgs> for Home {
    fn from(args: &HomeArgs) -> Self {
        Self {
            folder: args.state.clone(),
            ledger: args.ledger.clone(),
        }
    }
}

fn means<'a>(scoring: &'a ValidatorScoring, faucet: Option<&str>, worker: &str) -> Result<Means<'a>, CommunityError> {
    Ok(Means {
        scoring,
        faucet: match faucet {
            Some(url) => Faucet::Http(FaucetClient::new(url)?),
            None => Faucet::Own(FaucetRules::default()),
        },
        contest: Contest::default(),
        worker: worker.to_owned(),
    })
}

/// The community of these flags; one that is drawn has `miners` beside its validators.
fn founding(args: &FoundArgs, seed: Seed, mix: Mix, miners: u64) -> Result<Founding, CommunityError> {
    let spec = match &args.community {
        Some(path) => Spec::read(path)?,
        None => {
            let mut spec = Spec::generate(&mut seed.rng("community", 0), args.locations);
            if miners > 0 {
                spec.bootstrappers = VALIDATORS + miners;
                spec.rules.max_population = Some(spec.bootstrappers);
            }
            spec
        }
    };
    Ok(Founding {
        spec,
        mix: args.mix.as_deref().map_or(Ok(mix), Mix::read)?,
        seed,
        budget: BUDGET,
        patience: Duration::ZERO,
    })
}

/// Turns an error into an end of the process.
fn failure(error: CommunityError) -> Failure {
    Failure::new(error.code(), error)
}

/// `bots init`.
///
/// # Errors
/// Something given is wrong (2), the ledger or the faucet does not answer (3), the faucet is exhausted (1).
pub async fn init(options: &InitOptions) -> Result<(), Failure> {
    found(options).await.map_err(failure)
}

async fn found(options: &InitOptions) -> Result<(), CommunityError> {
    let seed = options.seed.map_or_else(Seed::generate, Seed::of);
    let founding = Founding {
        budget: options.faucet_budget.rao(),
        patience: options.wait,
        ..founding(&options.found, seed, Mix::default(), 0)?
    };
    if let Some(path) = &options.write {
        write(path, &founding.spec.to_toml())?;
    }
    let scoring = ValidatorScoring::default();
    let means = means(&scoring, options.faucet.as_deref(), "bots")?;
    let community = Community::found(&Home::from(&options.home), founding, means).await?;
    let (book, network) = (&community.held.book, &community.held.network);
    println!(
        "{} ({}) lives on {network}: {} bootstrappers, {} locations, {} of ceremony {}",
        book.spec.name,
        book.spec.symbol,
        book.population(),
        book.spec.locations.len(),
        book.phase,
        book.now.number,
    );
    community.close().await;
    Ok(())
}

/// `bots run`.
///
/// # Errors
/// There is no community, or it is another network's (2); the ledger or the faucet does not answer (3).
pub async fn run(options: &RunOptions) -> Result<(), Failure> {
    let scoring = ValidatorScoring::default();
    let duties = async {
        let means = means(&scoring, options.faucet.as_deref(), &options.worker)?;
        let mut community = Community::open(&Home::from(&options.home), means).await?;
        let done = community.duties().await;
        community.close().await;
        done
    };
    let done = duties.await.map_err(failure)?;
    match options.json {
        true => println!("{}", serde_json::to_string(&done)?),
        false => println!("{}", show::done(&done)),
    }
    Ok(())
}

/// `bots simulate`.
///
/// # Errors
/// Something does not hold (1), something given is wrong (2).
pub async fn simulate(options: &SimulateOptions, shutdown: &CancellationToken) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let home = Home {
        folder: folder.path().to_owned(),
        ledger: None,
    };
    let outcome = simulated(options, &home, shutdown).await.map_err(failure)?;
    print!("{}", show::rows(&outcome.rows));
    let report = Report {
        title: format!("{} ceremonies, seed {}", outcome.rows.len(), options.seed),
        outcome,
        costs: Vec::new(),
        pauses: Vec::new(),
    };
    finish(&report, options.report.as_deref()).map_err(failure)?;
    if is_golden(options) {
        simulate::compare_golden(&report.outcome.rows).map_err(|deviation| failure(deviation.into()))?;
        println!("as the golden growth vector says");
    }
    Ok(())
}

/// Whether the community is that of the golden vector.
fn is_golden(options: &SimulateOptions) -> bool {
    let FoundArgs { community, mix, .. } = &options.found;
    options.golden || (community.is_none() && mix.is_none() && options.found.locations == 100)
}

async fn simulated(
    options: &SimulateOptions,
    home: &Home,
    shutdown: &CancellationToken,
) -> Result<Outcome, CommunityError> {
    let mut founding = founding(&options.found, Seed::of(options.seed), Mix::default(), 0)?;
    if options.found.community.is_none() {
        founding.spec = simulate::golden(founding.spec);
    }
    let scoring = ValidatorScoring::default();
    let mut community = Community::found(home, founding, means(&scoring, None, "simulate")?).await?;
    let mut broken = Vec::new();
    for _ceremony in 0..options.ceremonies {
        simulate::ceremony(&mut community, shutdown).await?;
        broken.extend(simulate::broken(&community.held.book, &newest(&community).await?));
        if options.fail_fast && !broken.is_empty() {
            break;
        }
    }
    let rows = newest_of(&community, options.ceremonies).await?;
    community.close().await;
    Ok(Outcome { rows, broken })
}

/// The last two ceremonies that are over.
async fn newest(community: &Community<'_>) -> Result<Vec<community::row::Row>, CommunityError> {
    newest_of(community, 2).await
}

async fn newest_of(community: &Community<'_>, count: u64) -> Result<Vec<community::row::Row>, CommunityError> {
    let now = community.held.book.now.number;
    let mut rows = community.store.rows(count.saturating_add(1)).await?;
    rows.retain(|row| row.ceremony < now);
    Ok(rows)
}

/// `bots benchmark`.
///
/// # Errors
/// Something does not hold (1), something given is wrong (2), the ledger does not answer (3).
pub async fn benchmark(options: &BenchmarkOptions, shutdown: &CancellationToken) -> Result<(), Failure> {
    let report = benchmarked(options, shutdown).await.map_err(failure)?;
    finish(&report, options.report.as_deref()).map_err(failure)
}

async fn benchmarked(options: &BenchmarkOptions, shutdown: &CancellationToken) -> Result<Report, CommunityError> {
    let home = Home::from(&options.home);
    let pauses = options.race.as_deref().map_or(Ok(Vec::new()), raids)?;
    let scoring = ValidatorScoring::default();
    let means = means(&scoring, None, "benchmark")?;
    let mut community = match Community::open(&home, means.clone()).await {
        Err(CommunityError::NotFounded(_)) => {
            let seed = Seed::of(options.seed);
            let founding = Founding {
                patience: Duration::from_secs(7_200),
                ..founding(&options.found, seed, Mix::mixed(), options.miners)?
            };
            Community::found(&home, founding, means).await?
        }
        opened => opened?,
    };
    let mut screen = options.screen.then(community::screen::Screen::open).transpose()?;
    let (mut rows, mut costs, mut broken) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = options.ceremonies.unwrap_or(u64::MAX);
    while left > 0 {
        left -= 1;
        let cost = match simulate::ceremony(&mut community, shutdown).await {
            Err(CommunityError::Interrupted) => break,
            ended => ended?,
        };
        let newest = newest(&community).await?;
        let found = simulate::broken(&community.held.book, &newest);
        let Some(row) = newest.last() else {
            continue;
        };
        match &mut screen {
            Some(screen) => {
                rows.push(row.clone());
                screen.draw(&community.held.book, &rows, &cost)?;
                if screen.is_left() {
                    left = 0;
                }
            }
            None => {
                print!("{}", show::ceremony(row, &cost));
                rows.push(row.clone());
            }
        }
        broken.extend(found);
        costs.push(cost);
        // A benchmark that runs for ever keeps the newest.
        rows.drain(..rows.len().saturating_sub(KEPT));
        costs.drain(..costs.len().saturating_sub(KEPT));
        broken.truncate(KEPT);
    }
    drop(screen);
    let title = format!(
        "{}: {} accounts",
        community.held.book.spec.name,
        community.held.book.population()
    );
    community.close().await;
    let outcome = Outcome { rows, broken };
    print!("{}{}", show::rows(&outcome.rows), show::trends(&costs));
    Ok(Report {
        title,
        outcome,
        costs,
        pauses,
    })
}

/// The raids of a race's report.
fn raids(path: &Path) -> Result<Vec<Pause>, CommunityError> {
    let fail = |reason: std::io::Error| CommunityError::File {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read(path).map_err(fail)?;
    let race: RaceReport = serde_json::from_slice(&text).map_err(|error| fail(error.into()))?;
    let pause = |attack: &Attack| Pause {
        pooled_ms: attack.sent_to_pooled_us.map(|micros| micros as f64 / 1e3),
        block_ms: attack.sent_to_block_ms as f64,
    };
    Ok(race.each.iter().map(pause).collect())
}

/// Writes the report where it is wanted, and fails when something does not hold.
fn finish(report: &Report, path: Option<&Path>) -> Result<(), CommunityError> {
    if let Some(path) = path {
        write(path, &report.to_json())?;
        write(&path.with_extension("html"), &report.to_html()?)?;
    }
    for broken in &report.outcome.broken {
        eprintln!("broken: {broken}");
    }
    match report.outcome.broken.is_empty() {
        true => Ok(()),
        false => Err(CommunityError::Broken(report.outcome.broken.clone())),
    }
}

fn write(path: &Path, text: &str) -> Result<(), CommunityError> {
    std::fs::write(path, text).map_err(|reason| CommunityError::File {
        path: path.to_owned(),
        reason,
    })
}

/// `bots faucet`.
///
/// # Errors
/// The folder cannot be used, or the address is taken (2).
pub async fn faucet(options: &FaucetOptions, shutdown: CancellationToken) -> Result<(), Failure> {
    let store = community::community::store(&options.state).await.map_err(failure)?;
    let listener = node::server::bind(options.listen).await?;
    let address = listener.local_addr()?;
    if let Some(path) = &options.ready_file {
        node::server::announce(path, address)?;
    }
    println!("the faucet is open: http://{address}/api");
    let rules = FaucetRules {
        amount: options.amount.rao(),
        allowance: options.allowance.rao(),
    };
    Ok(community::faucet::service::serve(listener, store, rules, shutdown).await?)
}

/// `bots phase`.
///
/// # Errors
/// There is no community, or its ledger is a remote one (2); the next phase does not begin.
pub async fn phase(options: &PhaseOptions, shutdown: &CancellationToken) -> Result<(), Failure> {
    driven(options, shutdown).await.map_err(failure)
}

async fn driven(options: &PhaseOptions, shutdown: &CancellationToken) -> Result<(), CommunityError> {
    let home = Home::from(&options.home);
    let scoring = ValidatorScoring::default();
    let means = means(&scoring, None, "phase")?;
    if options.show {
        let mut community = Community::open(&home, means).await?;
        community.follow().await?;
        println!("{} {}", community.held.book.now.number, community.held.book.phase);
        community.close().await;
        return Ok(());
    }
    if options.next {
        let mut community = Community::open(&home, means).await?;
        let advanced = community.advance().await;
        println!("{} {}", community.held.book.now.number, community.held.book.phase);
        community.close().await;
        return advanced;
    }
    let patience = Patience {
        idle_blocks: options.idle_blocks,
        lease_blocks: options.lease_blocks,
        ..Patience::default()
    };
    let told = |ceremony, phase, decision| {
        let why = match decision {
            Decision::Barrier => "everybody is done",
            _ => "nothing happens any more",
        };
        println!("ceremony {ceremony}: {phase} ended ({why})");
    };
    Community::drive(&home, patience, options.block_time, options.once, means, told, shutdown).await
}
