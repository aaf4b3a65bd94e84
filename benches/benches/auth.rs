//! `cargo bench -p benches --bench auth`: what it costs to sign a challenge and to verify one, beside the challenge itself.
//!
//! The challenge itself is the engine's judgement of it, and, in the last cases, its whole round trip between a real validator's
//! client and a real miner on loopback. `target/bench/auth.json` holds the interleaved comparison; a ratio of 0.5 is half the time of
//! the challenge.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::Duration;

use benches::contest::{Contender, Contest, ContestError};
use benches::loopback::{Caller, Loopback, LoopbackError, sealed};
use benches::measure::{self, MeasureError};
use chain::auth::{self, AuthError, Caller as Signer};
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::{AccountId, Keypair};
use criterion::Criterion;
use protos::v1;
use tokio::runtime::Runtime;

const PATH: &str = "/portcullis.v1.Miner/Challenge";
const BUDGET: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench auth: {error}");
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
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error("tokio runtime: {0}")]
    Runtime(#[from] std::io::Error),
    #[error("{0}: {1} operations failed; their times would mean nothing")]
    Failed(String, usize),
}

/// A validator, a miner, and one challenge between them.
struct Exchange {
    validator: Keypair,
    miner: AccountId,
    payload: Vec<u8>,
}

impl Exchange {
    fn new(contest: &Contest, contender: &Contender) -> Result<Self, BenchError> {
        Ok(Self {
            validator: Keypair::from_seed([1; 32]),
            miner: Keypair::from_seed([2; 32]).account(),
            payload: sealed(contest, contender)?.request.to_vec(),
        })
    }

    fn sign(&self) -> v1::Signed {
        auth::seal(
            &self.validator,
            Some(&self.miner),
            PATH,
            self.payload.clone(),
            auth::now_ns(),
        )
    }

    /// With every check that the miner makes; the memory of nonces is new each time, since the same message comes again.
    fn verify(&self, signed: &v1::Signed) -> Result<Signer, AuthError> {
        let guard = ReplayGuard::new(ReplayLimits::default());
        auth::open(signed, &self.miner, PATH, signed.nonce_ns, &guard)
    }
}

fn run() -> Result<(), BenchError> {
    let contest = Contest::new()?;
    let mut engine = contest.engine();
    let mut judge = |contender: &Contender| {
        let judged = engine.judge(
            &contest.env,
            &contender.transaction,
            &contest.state,
            &contender.invariants,
        );
        usize::from(judged.is_err())
    };
    let mut criterion = Criterion::default().configure_from_args();
    for contender in &contest.contenders {
        let exchange = Exchange::new(&contest, contender)?;
        let signed = exchange.sign();
        exchange.verify(&signed)?;
        let mut group = criterion.benchmark_group(format!("auth: {}", contender.name));
        group
            .warm_up_time(Duration::from_secs(1))
            .measurement_time(Duration::from_secs(2))
            .sample_size(50);
        group.bench_function("judge", |bencher| bencher.iter(|| judge(contender)));
        group.bench_function("sign", |bencher| bencher.iter(|| exchange.sign()));
        group.bench_function("verify", |bencher| bencher.iter(|| exchange.verify(&signed)));
        group.finish();
    }
    criterion.final_summary();
    if measure::is_dry_run() {
        return Ok(());
    }

    let mut cases = Vec::new();
    for contender in &contest.contenders {
        let exchange = Exchange::new(&contest, contender)?;
        let signed = exchange.sign();
        let (mut unjudged, mut refused) = (0, 0);
        let name = format!("sign: {}", contender.name);
        cases.push(measure::compare(
            &name,
            BUDGET,
            || unjudged += judge(contender),
            || exchange.sign(),
        )?);
        let name = format!("verify: {}", contender.name);
        cases.push(measure::compare(
            &name,
            BUDGET,
            || unjudged += judge(contender),
            || refused += usize::from(exchange.verify(&signed).is_err()),
        )?);
        succeeded(contender.name, unjudged + refused)?;
    }

    let runtime = Runtime::new()?;
    let mut loopback = runtime.block_on(Loopback::start())?;
    let measured = contest.contenders.iter().try_for_each(|contender| {
        let caller = runtime.block_on(loopback.caller(&contest, contender))?;
        let exchange = Exchange::new(&contest, contender)?;
        let (mut missed, mut refused) = (0, 0);
        // One message each way: each is signed once and verified once.
        let twice = || {
            for _ in 0..2 {
                refused += usize::from(exchange.verify(&exchange.sign()).is_err());
            }
        };
        let name = format!("both ways: {}", contender.name);
        cases.push(measure::compare(
            &name,
            BUDGET,
            || missed += ask(&runtime, &caller),
            twice,
        )?);
        succeeded(contender.name, missed + refused)
    });
    let stopped = runtime.block_on(loopback.stop());
    measured?;
    stopped?;
    print!("{}", measure::table(&cases));
    println!("{}", measure::write("auth", &cases)?.display());
    Ok(())
}

fn ask(runtime: &Runtime, caller: &Caller) -> usize {
    usize::from(runtime.block_on(caller.round_trip()).is_err())
}

fn succeeded(name: &str, failed: usize) -> Result<(), BenchError> {
    if failed == 0 {
        Ok(())
    } else {
        Err(BenchError::Failed(name.to_owned(), failed))
    }
}
