//! `cargo bench -p benches --bench validator`: challenges a second and p99 of one validator with 3, 9 and 100 miners on loopback, beside
//! bare tonic calls of the same size to as many servers. Writes `target/bench/validator.json`.
//!
//! Both sides run in turn, a while each, in one process and on one runtime, so that whatever slows the machine down slows down both.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::Duration;

use benches::contest::Contest;
use benches::judging::{Judging, Measured, Side};
use benches::measure::{self, Done};
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
    measure::ended("validator", run())
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
    baseline_p50_us: u64,
    baseline_p99_us: u64,
    p50_us: u64,
    p99_us: u64,
}

fn run() -> Done<()> {
    let contest = Contest::new()?;
    let runtime = Runtime::new()?;
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
                .ok_or("the contest has no second transaction")?;
            let judging = runtime.block_on(Judging::start(&contest, contender, miners, side))?;
            for at_once in AT_ONCE {
                let name = match side {
                    Side::Servers => format!("{miners} servers, {at_once} at once"),
                    Side::Miners => format!("{miners} miners, {at_once} at once"),
                };
                let (bare, ours) = runtime.block_on(compare(&judging, at_once, whiles, each))?;
                if bare.challenges == 0 || ours.challenges == 0 {
                    return Err(format!("{name}: no call succeeded").into());
                }
                cases.push(case(name, miners, at_once, &bare, &ours));
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

async fn compare(judging: &Judging, at_once: usize, whiles: usize, each: Duration) -> Done<(Measured, Measured)> {
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

fn case(name: String, miners: u16, at_once: usize, bare: &Measured, ours: &Measured) -> Case {
    let (base, per) = (1.0 / bare.rate(), 1.0 / ours.rate());
    let rounded = |value: f64| measure::rounded(value, 100.0);
    Case {
        name,
        miners,
        at_once,
        baseline_per_second: bare.rate().round(),
        ours_per_second: ours.rate().round(),
        ratio: rounded(per / base),
        baseline_p50_us: bare.latency.us(0.5),
        baseline_p99_us: bare.latency.us(0.99),
        p50_us: ours.latency.us(0.5),
        p99_us: ours.latency.us(0.99),
    }
}

fn table(cases: &[Case]) -> String {
    let mut text = format!(
        "{:<24}{:>12}{:>12}{:>8}{:>12}{:>12}\n",
        "", "bare /s", "ours /s", "ratio", "bare p99", "ours p99"
    );
    for case in cases {
        text += &format!(
            "{:<24}{:>12}{:>12}{:>8}{:>9} us{:>9} us\n",
            case.name, case.baseline_per_second, case.ours_per_second, case.ratio, case.baseline_p99_us, case.p99_us
        );
    }
    text
}
