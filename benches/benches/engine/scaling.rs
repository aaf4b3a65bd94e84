//! One engine on one thread beside two on two, on the same state and sets: what threads gain, and what they take from each other.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use benches::contest::{Contender, Contest};
use benches::measure::{self, Case, Done};
use cpu_time::ThreadTime;
use engine::{Context, Outcome, WatchSet};

use crate::samples::quantile;

/// The name of the comparison.
pub(crate) const TWO_THREADS: &str = "two threads";

/// What a number of threads did together.
#[derive(Clone, Copy)]
struct Pace {
    /// Transactions a second, by the clock on the wall.
    wall: f64,
    /// Transactions a second of processor time, added up over the threads: what they would have done had each had a processor
    /// of its own all the time.
    processor: f64,
    /// Processor time by time on the wall.
    processors: f64,
}

/// One thread beside two, medians over the rounds.
#[derive(Clone, Copy, serde::Serialize)]
pub(crate) struct Scaling {
    /// Transactions a second with one thread, on the wall.
    one_wall: f64,
    /// With two.
    two_wall: f64,
    /// How many times as many, on the wall: what counts where two processors were free.
    gain_wall: f64,
    /// How many times as many per processor time: what the engine's threads take from each other, other load left out.
    gain_processor: f64,
    /// Processors that one thread had.
    one_processors: f64,
    /// Processors that two threads had: at 2 the machine had two free ones, below it had not.
    two_processors: f64,
    /// Nanoseconds per transaction with two threads: half of the rounds took at most this, by processor time.
    #[serde(skip)]
    p50_ns: u64,
    #[serde(skip)]
    p99_ns: u64,
    #[serde(skip)]
    one_ns: f64,
    #[serde(skip)]
    two_ns: f64,
}

impl Scaling {
    pub(crate) fn case(&self) -> Case {
        Case::new(TWO_THREADS, self.one_ns, self.two_ns, [self.p50_ns, self.p99_ns])
    }
}

impl std::fmt::Display for Scaling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "two threads: {:.2} times one by processor time; on the wall {:.0} tx/s instead of {:.0}, {:.2} times, where they had \
             {:.2} processors instead of {:.2}",
            self.gain_processor, self.two_wall, self.one_wall, self.gain_wall, self.two_processors, self.one_processors
        )
    }
}

/// All four transactions in turn, each judged with its invariant, by engines that share the state and the sets.
pub(crate) fn scaling(contest: &Contest) -> Done<Scaling> {
    let mut jobs = Vec::new();
    for contender in &contest.contenders {
        jobs.push((contender, contest.crowd(contender, 0)?));
    }
    let rounds = 15;
    let mut paces: [Vec<Pace>; 2] = [Vec::new(), Vec::new()];
    for round in 0..rounds {
        for turn in 0..2_usize {
            let which = (round + turn) % 2;
            if let Some(paces) = paces.get_mut(which) {
                paces.push(race(contest, &jobs, which + 1));
            }
        }
    }
    let [one, two] = &paces;
    let at = |paces: &[Pace], part: f64, what: fn(&Pace) -> f64| {
        quantile(&mut paces.iter().map(what).collect::<Vec<_>>(), part)
    };
    let (one_wall, two_wall) = (at(one, 0.5, |pace| pace.wall)?, at(two, 0.5, |pace| pace.wall)?);
    let (one_processor, two_processor) = (
        at(one, 0.5, |pace| pace.processor)?,
        at(two, 0.5, |pace| pace.processor)?,
    );
    let rounded = |value: f64| measure::rounded(value, 1000.0);
    Ok(Scaling {
        one_wall: one_wall.round(),
        two_wall: two_wall.round(),
        gain_wall: rounded(two_wall / one_wall),
        gain_processor: rounded(two_processor / one_processor),
        one_processors: rounded(at(one, 0.5, |pace| pace.processors)?),
        two_processors: rounded(at(two, 0.5, |pace| pace.processors)?),
        p50_ns: at(two, 0.5, |pace| 1e9 / pace.processor)? as u64,
        p99_ns: at(two, 0.99, |pace| 1e9 / pace.processor)? as u64,
        one_ns: 1e9 / one_processor,
        two_ns: 1e9 / two_processor,
    })
}

/// Runs so many threads for a while, all beginning together.
fn race(contest: &Contest, jobs: &[(&Contender, WatchSet)], threads: usize) -> Pace {
    let start = Barrier::new(threads);
    let thread = || {
        let (mut engine, mut outcome, options) = (contest.engine(), Outcome::default(), contest.options());
        // Its own transactions, as in life: nothing is shared but state and sets.
        let own: Vec<_> = jobs
            .iter()
            .map(|(contender, set)| (contender.transaction.clone(), set))
            .collect();
        let mut all = || {
            for (tx, set) in &own {
                let judged = engine.judge_watched_into(
                    tx,
                    Context::new(&contest.env, &contest.state, set, &options),
                    &mut outcome,
                );
                drop(black_box(judged));
                black_box(&outcome);
            }
        };
        (0..200).for_each(|_| all());
        start.wait();
        let (wall, processor) = (Instant::now(), ThreadTime::now());
        let mut count = 0_u32;
        while wall.elapsed() < Duration::from_millis(150) {
            (0..8).for_each(|_| all());
            count += 8;
        }
        let done = f64::from(count) * own.len() as f64;
        (done, processor.elapsed().as_secs_f64(), wall.elapsed().as_secs_f64())
    };
    let ended: Vec<_> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(thread)).collect();
        running.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let sum = |what: fn(&(f64, f64, f64)) -> f64| ended.iter().map(what).sum::<f64>();
    Pace {
        wall: sum(|(done, _, wall)| done / wall),
        processor: sum(|(done, processor, _)| done / processor),
        processors: sum(|(_, processor, wall)| processor / wall),
    }
}
