//! Operations timed in turn, in CPU time of the thread: other processes on the machine do not count in it.

use std::time::{Duration, Instant};

use benches::measure::{Case, MeasureError};
use cpu_time::ThreadTime;

/// How long each comparison is run.
const BUDGET: Duration = Duration::from_secs(3);

/// Nanoseconds of CPU time for one operation.
#[derive(Clone, Copy, Default)]
pub(crate) struct Samples {
    /// Of the means of batches.
    pub(crate) median: f64,
    /// Of single operations, with the two looks at the clock in them.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Samples {
    /// These beside a baseline's.
    pub(crate) fn beside(&self, baseline: &Self, name: &str) -> Case {
        Case::new(name, baseline.median, self.median, [self.p50 as u64, self.p99 as u64])
    }
}

/// Runs the operations in turn, in batches, beginning with another one each round.
pub(crate) fn interleaved<const N: usize>(mut operations: [&mut dyn FnMut(); N]) -> Result<[Samples; N], MeasureError> {
    let mut batch = 1_u32;
    for operation in &mut operations {
        while batch < 4096 && timed(batch, *operation) * f64::from(batch) < 100_000.0 {
            batch *= 2;
        }
    }
    let mut means: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    let mut singles: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    let start = Instant::now();
    let mut round = 0;
    while round < 30 || start.elapsed() < BUDGET {
        for turn in 0..N {
            let at = (round + turn) % N;
            let (Some(operation), Some(means), Some(singles)) =
                (operations.get_mut(at), means.get_mut(at), singles.get_mut(at))
            else {
                continue;
            };
            means.push(timed(batch, *operation));
            singles.extend((0..8).map(|_| timed(1, *operation)));
        }
        round += 1;
    }
    let mut samples = [Samples::default(); N];
    for ((samples, means), singles) in samples.iter_mut().zip(&mut means).zip(&mut singles) {
        *samples = Samples {
            median: quantile(means, 0.5)?,
            p50: quantile(singles, 0.5)?,
            p99: quantile(singles, 0.99)?,
        };
    }
    Ok(samples)
}

fn timed(batch: u32, operation: &mut dyn FnMut()) -> f64 {
    let start = ThreadTime::now();
    for _ in 0..batch {
        operation();
    }
    start.elapsed().as_nanos() as f64 / f64::from(batch)
}

/// Sorts.
pub(crate) fn quantile(samples: &mut [f64], part: f64) -> Result<f64, MeasureError> {
    samples.sort_by(f64::total_cmp);
    let last = samples.len().saturating_sub(1) as f64;
    samples
        .get((last * part).round() as usize)
        .copied()
        .ok_or_else(|| MeasureError::NoSample("interleaved".to_owned()))
}
