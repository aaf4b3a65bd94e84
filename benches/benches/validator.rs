//! `cargo bench -p benches --bench validator`: challenges a second and p99 of one validator with 3, 9 and 100 miners on loopback, beside
//! bare tonic calls of the same size to as many servers. Writes `target/bench/validator.json`.
//!
//! Both sides run in turn, a while each, in one process and on one runtime, so that whatever slows the machine down slows down both.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::contest::{Contest, ContestError};
use benches::judging::{Judging, Measured, Side};
use benches::loopback::LoopbackError;
use benches::measure::{self, MeasureError};
use chain::{Keypair, auth};
use serde::Serialize;
use tokio::runtime::Runtime;

/// Miners on the subnet.
const MINERS: [u16; 3] = [3, 9, 100];
/// Items judged at the same time, as the validator does unless it is told otherwise; and one after the other.
const AT_ONCE: [usize; 2] = [64, 1];
/// One while of one side.
const WHILE: Duration = Duration::from_millis(700);
/// Whiles of each side.
const ROUNDS: usize = 6;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench validator: {error}");
            ExitCode::FAILURE
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    Contest(#[from] ContestError),
    #[error(transparent)]
    Loopback(#[from] LoopbackError),
    #[error(transparent)]
    Measure(#[from] MeasureError),
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("tokio runtime: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("{0}: no call succeeded")]
    Nothing(String),
}

/// One comparison, as it stands in the file.
#[derive(Debug, Serialize)]
struct Case {
    name: String,
    miners: u16,
    at_once: usize,
    /// Challenges a second, bare.
    baseline_per_second: f64,
    /// Challenges a second, by the validator.
    ours_per_second: f64,
    /// Time for a challenge, ours by the baseline's.
    ratio: f64,
    /// The same without the time in which the servers sign their answers, which is no work of the validator's.
    ratio_without_signing: f64,
    baseline_p50_us: u64,
    baseline_p99_us: u64,
    p50_us: u64,
    p99_us: u64,
}

fn run() -> Result<(), BenchError> {
    let contest = Contest::new()?;
    let runtime = Runtime::new()?;
    let signing = signing();
    let mut cases = Vec::new();
    // A dry run shows that everything answers.
    let (whiles, each) = if measure::is_dry_run() {
        (1, Duration::from_millis(20))
    } else {
        (ROUNDS, WHILE)
    };
    for side in [Side::Servers, Side::Miners] {
        for miners in MINERS {
            let contender = contest
                .contenders
                .get(1)
                .ok_or_else(|| BenchError::Nothing("contest".to_owned()))?;
            let judging = runtime.block_on(Judging::start(&contest, contender, miners, side))?;
            for at_once in AT_ONCE {
                let name = match side {
                    Side::Servers => format!("{miners} servers that sign, {at_once} at once"),
                    Side::Miners => format!("{miners} miners, {at_once} at once"),
                };
                let (bare, ours) = runtime.block_on(compare(&judging, at_once, whiles, each))?;
                if bare.challenges == 0 || ours.challenges == 0 {
                    return Err(BenchError::Nothing(name));
                }
                cases.push(case(name, miners, at_once, &bare, &ours, signing));
            }
            judging.stop();
        }
    }
    if measure::is_dry_run() {
        return Ok(());
    }
    print!("{}", table(&cases));
    println!("{}", measure::write("validator", &cases)?.display());
    Ok(())
}

async fn compare(
    judging: &Judging,
    at_once: usize,
    whiles: usize,
    each: Duration,
) -> Result<(Measured, Measured), BenchError> {
    // Connections are made, and caches filled.
    judging.bare(each / 4, at_once).await?;
    judging.ours(each / 4, at_once).await?;
    let (mut bare, mut ours) = (Measured::new()?, Measured::new()?);
    for round in 0..whiles {
        if round % 2 == 0 {
            bare.add(&judging.bare(each, at_once).await?);
            ours.add(&judging.ours(each, at_once).await?);
        } else {
            ours.add(&judging.ours(each, at_once).await?);
            bare.add(&judging.bare(each, at_once).await?);
        }
    }
    Ok((bare, ours))
}

/// Seconds of one core to sign one answer.
fn signing() -> f64 {
    let (key, other) = (Keypair::from_seed([1; 32]), Keypair::from_seed([2; 32]).account());
    let start = Instant::now();
    let mut made = 0_u32;
    while start.elapsed() < Duration::from_millis(200) {
        std::hint::black_box(auth::seal(&key, Some(&other), "/", vec![0; 200], auth::now_ns()));
        made += 1;
    }
    start.elapsed().as_secs_f64() / f64::from(made)
}

fn case(name: String, miners: u16, at_once: usize, bare: &Measured, ours: &Measured, signing: f64) -> Case {
    // One at a time, the answers of one item are signed beside each other on the cores there are.
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let (base, per) = (1.0 / bare.rate(), 1.0 / ours.rate());
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    Case {
        name,
        miners,
        at_once,
        baseline_per_second: bare.rate().round(),
        ours_per_second: ours.rate().round(),
        ratio: rounded(per / base),
        ratio_without_signing: rounded((per - signing / cores) / base),
        baseline_p50_us: bare.latency.value_at_quantile(0.5),
        baseline_p99_us: bare.latency.value_at_quantile(0.99),
        p50_us: ours.latency.value_at_quantile(0.5),
        p99_us: ours.latency.value_at_quantile(0.99),
    }
}

fn table(cases: &[Case]) -> String {
    let mut text = format!(
        "{:<36}{:>12}{:>12}{:>8}{:>10}{:>12}{:>12}\n",
        "", "bare /s", "ours /s", "ratio", "w/o sign", "bare p99", "ours p99"
    );
    for case in cases {
        text += &format!(
            "{:<36}{:>12}{:>12}{:>8}{:>10}{:>9} us{:>9} us\n",
            case.name,
            case.baseline_per_second,
            case.ours_per_second,
            case.ratio,
            case.ratio_without_signing,
            case.baseline_p99_us,
            case.p99_us
        );
    }
    text
}
