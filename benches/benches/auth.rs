//! `cargo bench -p benches --bench auth`: what it costs to sign and to tag a challenge, and to verify and to check it, beside the
//! challenge itself.
//!
//! The challenge itself is the engine's judgement of it, and, in the last cases, its whole round trip between a real validator's
//! client and a real miner on loopback: there a request and an answer are tagged, and the answer is signed besides.
//! `target/bench/auth.json` holds the interleaved comparison; a ratio of 0.5 is half the time of the challenge.
#![allow(missing_docs)]

use std::process::ExitCode;
use std::time::Duration;

use benches::contest::{Contender, Contest};
use benches::loopback::{Caller, Loopback, sealed};
use benches::measure::{self, Done};
use chain::auth::{self, AuthError, BodyDigest, Caller as Signer, Scheme};
use chain::replay::{ReplayGuard, ReplayLimits};
use chain::wallet::{SharedKey, TagBytes};
use chain::{AccountId, Keypair};
use criterion::Criterion;
use prost::bytes::Bytes;
use protos::v1;
use tokio::runtime::Runtime;

const PATH: &str = "/portcullis.v1.Miner/Challenge";
const BUDGET: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    measure::ended("auth", run())
}

/// A validator, a miner, and one challenge between them.
struct Exchange {
    validator: Keypair,
    miner: AccountId,
    address: String,
    shared: SharedKey,
    payload: Bytes,
}

impl Exchange {
    fn new(contest: &Contest, contender: &Contender) -> Done<Self> {
        let validator = Keypair::from_seed([1; 32]);
        let miner = Keypair::from_seed([2; 32]).account();
        Ok(Self {
            shared: validator.shared_with(&miner).ok_or("the miner's account is no key")?,
            validator,
            miner,
            address: miner.to_ss58(),
            payload: sealed(contest, contender)?.request,
        })
    }

    fn sign(&self) -> v1::Signed {
        let (payload, now) = (self.payload.clone(), auth::now_ns());
        auth::seal(&self.validator, Some(&self.miner), PATH, payload, now)
    }

    /// With every check that the miner makes; the memory of nonces is new each time, since the same message comes again.
    fn verify(&self, signed: &v1::Signed) -> Result<Signer, AuthError> {
        let guard = ReplayGuard::new(ReplayLimits::default());
        auth::open(signed, &self.miner, PATH, signed.nonce_ns, &guard)
    }

    /// What is tagged, digest and all.
    fn lines(&self, nonce_ns: u64) -> String {
        let (digest, sender) = (BodyDigest::of(&self.payload), self.validator.address());
        let receiver = Some(self.address.as_str());
        auth::message(Scheme::Tag, auth::METHOD, PATH, &digest, nonce_ns, sender, receiver)
    }

    fn tag(&self) -> (u64, TagBytes) {
        let nonce_ns = auth::now_ns();
        (nonce_ns, self.shared.tag(self.lines(nonce_ns).as_bytes()))
    }

    /// With every check, as [`Self::verify`].
    fn holds(&self, (nonce_ns, tag): &(u64, TagBytes)) -> bool {
        let guard = ReplayGuard::new(ReplayLimits::default());
        self.shared.holds(self.lines(*nonce_ns).as_bytes(), tag)
            && guard.admit(self.validator.account(), *nonce_ns, *nonce_ns).is_ok()
    }
}

fn run() -> Done<()> {
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
        let tagged = exchange.tag();
        group.bench_function("tag", |bencher| bencher.iter(|| exchange.tag()));
        group.bench_function("check", |bencher| bencher.iter(|| exchange.holds(&tagged)));
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
        let tagged = exchange.tag();
        let name = format!("tag: {}", contender.name);
        cases.push(measure::compare(
            &name,
            BUDGET,
            || unjudged += judge(contender),
            || exchange.tag(),
        )?);
        let name = format!("check: {}", contender.name);
        cases.push(measure::compare(
            &name,
            BUDGET,
            || unjudged += judge(contender),
            || refused += usize::from(!exchange.holds(&tagged)),
        )?);
        measure::all_succeeded(contender.name, unjudged + refused)?;
    }

    let runtime = Runtime::new()?;
    let mut loopback = runtime.block_on(Loopback::start())?;
    let measured = contest.contenders.iter().try_for_each(|contender| {
        let caller = runtime.block_on(loopback.caller(&contest, contender))?;
        let exchange = Exchange::new(&contest, contender)?;
        let (mut missed, mut refused) = (0, 0);
        // One message each way, each tagged and checked; the answer is signed besides.
        let both = || {
            for _ in 0..2 {
                refused += usize::from(!exchange.holds(&exchange.tag()));
            }
            exchange.sign()
        };
        let name = format!("both ways: {}", contender.name);
        cases.push(measure::compare(
            &name,
            BUDGET,
            || missed += ask(&runtime, &caller),
            both,
        )?);
        Done::Ok(measure::all_succeeded(contender.name, missed + refused)?)
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
