//! Ours beside a baseline, in one run, as numbers that can be compared.
//!
//! Absolute times of a shared machine say little, so both sides are timed in turn, round after round, the order changing
//! every time: whatever slows the machine down slows down both. Medians are taken over batches long enough that reading
//! the clock does not count; percentiles over single operations, with the clock in them.
//!
//! And what every bench does around it: whether anything is to be measured, its settings, its file, its end.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// A batch should take at least this long.
const BATCH: Duration = Duration::from_micros(50);
/// Operations in a batch at most.
const BATCH_MOST: u32 = 4096;
/// Rounds that are always run, however long they take.
const ROUNDS_LEAST: usize = 25;
/// The longest time that a single operation is recorded with.
const LONGEST: Duration = Duration::from_secs(600);

/// One comparison, as it stands in the file. Times are nanoseconds per operation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// What was measured.
    pub name: String,
    /// Median of the baseline.
    pub baseline_ns: f64,
    /// Median of ours.
    pub ours_ns: f64,
    /// `ours_ns / baseline_ns`.
    pub ratio: f64,
    /// Ours: half of the operations took at most this.
    pub p50_ns: u64,
    /// Ours: 99 % of the operations took at most this.
    pub p99_ns: u64,
}

/// What a bench's parts come to; whatever goes wrong ends it ([`ended`]).
pub type Done<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Why a measurement could not be made or kept.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The histogram refused its bounds.
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    /// There is nothing to report.
    #[error("{0}: no sample was taken")]
    NoSample(String),
    /// What was measured did not work.
    #[error("{name}: {failed} operations failed; their times would mean nothing")]
    Failed {
        /// What was measured.
        name: String,
        /// How many operations.
        failed: usize,
    },
    /// A setting from the environment is not understood.
    #[error("{0}={1} is no whole number")]
    Setting(&'static str, String),
    /// The file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// Times `baseline` and `ours` in turn for about `budget`.
///
/// # Errors
/// When no sample could be taken.
pub fn compare<A, B>(
    name: &str,
    budget: Duration,
    mut baseline: impl FnMut() -> A,
    mut ours: impl FnMut() -> B,
) -> Result<Case, MeasureError> {
    let batch = batch_size(&mut baseline).max(batch_size(&mut ours));
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut singles = Times::new()?;
    let start = Instant::now();
    let mut rounds = 0_usize;
    while rounds < ROUNDS_LEAST || start.elapsed() < budget {
        let [base_times, our_times] = &mut times;
        if rounds.is_multiple_of(2) {
            base_times.push(time_batch(batch, &mut baseline));
            our_times.push(time_batch(batch, &mut ours));
        } else {
            our_times.push(time_batch(batch, &mut ours));
            base_times.push(time_batch(batch, &mut baseline));
        }
        // Directly after a batch of the other side's in every second round, so caches are warm as often as cold.
        for _ in 0..8 {
            let single = Instant::now();
            black_box(ours());
            singles.record(single.elapsed());
        }
        rounds += 1;
    }
    let [base_times, our_times] = &mut times;
    let missing = || MeasureError::NoSample(name.to_owned());
    let baseline_ns = median(base_times).ok_or_else(missing)?;
    let ours_ns = median(our_times).ok_or_else(missing)?;
    Ok(Case::new(
        name,
        baseline_ns,
        ours_ns,
        [singles.ns(0.50), singles.ns(0.99)],
    ))
}

impl Case {
    /// A comparison of two medians, with ours in percentiles (p50, p99), nanoseconds.
    #[must_use]
    pub fn new(name: &str, baseline_ns: f64, ours_ns: f64, [p50_ns, p99_ns]: [u64; 2]) -> Self {
        Self {
            name: name.to_owned(),
            baseline_ns: rounded(baseline_ns, 10.0),
            ours_ns: rounded(ours_ns, 10.0),
            ratio: rounded(ours_ns / baseline_ns, 1000.0),
            p50_ns,
            p99_ns,
        }
    }
}

/// Times of single operations, in percentiles of three digits; what takes longer than ten minutes counts as that.
#[derive(Debug, Clone)]
pub struct Times(Histogram<u64>);

impl Times {
    /// None yet.
    ///
    /// # Errors
    /// Never in practice: the bounds are constant.
    pub fn new() -> Result<Self, MeasureError> {
        Ok(Self(Histogram::new_with_bounds(1, nanoseconds(LONGEST), 3)?))
    }

    /// One more.
    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(nanoseconds(time));
    }

    /// All of the others.
    pub fn add(&mut self, others: &Self) {
        // The same bounds: adding cannot fail.
        let _same = self.0.add(&others.0);
    }

    /// This part of them took at most so many nanoseconds; 0 of none.
    #[must_use]
    pub fn ns(&self, part: f64) -> u64 {
        self.0.value_at_quantile(part)
    }

    /// As [`Self::ns`], in microseconds.
    #[must_use]
    pub fn us(&self, part: f64) -> u64 {
        self.ns(part) / 1_000
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Ours by the baseline's, to four digits; a baseline of nothing counts as one.
#[must_use]
pub fn ratio(ours: u64, baseline: u64) -> f64 {
    rounded(ours as f64 / baseline.max(1) as f64, 10_000.0)
}

/// That nothing of what was timed failed.
///
/// # Errors
/// [`MeasureError::Failed`] when some did.
pub fn all_succeeded(name: &str, failed: usize) -> Result<(), MeasureError> {
    if failed == 0 {
        return Ok(());
    }
    Err(MeasureError::Failed {
        name: name.to_owned(),
        failed,
    })
}

/// Warms up and finds how many operations make a batch.
fn batch_size<T>(operation: &mut impl FnMut() -> T) -> u32 {
    let mut size = 1;
    while size < BATCH_MOST {
        let start = Instant::now();
        for _ in 0..size {
            black_box(operation());
        }
        if start.elapsed() >= BATCH {
            break;
        }
        size *= 2;
    }
    size
}

/// Nanoseconds per operation.
fn time_batch<T>(size: u32, operation: &mut impl FnMut() -> T) -> f64 {
    let start = Instant::now();
    for _ in 0..size {
        black_box(operation());
    }
    start.elapsed().as_nanos() as f64 / f64::from(size)
}

/// The middle one, or the mean of the two in the middle; `None` of nothing. Sorts.
fn median(times: &mut [f64]) -> Option<f64> {
    times.sort_by(f64::total_cmp);
    let upper = *times.get(times.len() / 2)?;
    if times.len().is_multiple_of(2) {
        Some(f64::midpoint(*times.get(times.len() / 2 - 1)?, upper))
    } else {
        Some(upper)
    }
}

/// To so many parts of one.
#[must_use]
pub fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round() / parts
}

/// Writes `{"cases":[..]}` to `bench/NAME.json` in the target folder and gives its path.
///
/// # Errors
/// When it cannot be written.
pub fn write<C: Serialize>(name: &str, cases: &[C]) -> Result<PathBuf, MeasureError> {
    write_in(&target_folder(), name, cases)
}

fn write_in<C: Serialize>(target: &Path, name: &str, cases: &[C]) -> Result<PathBuf, MeasureError> {
    #[derive(Serialize)]
    struct Report<'a, C> {
        cases: &'a [C],
    }
    let folder = target.join("bench");
    let path = folder.join(format!("{name}.json"));
    let failed = |source| MeasureError::Write {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let text = serde_json::to_string_pretty(&Report { cases }).map_err(|error| failed(error.into()))?;
    std::fs::write(&path, text + "\n").map_err(failed)?;
    Ok(path)
}

/// The target folder that this program was built into: cargo marks it with a `CACHEDIR.TAG`. That holds wherever the folder
/// was put (flag, environment, configuration) and for every profile and target triple.
fn target_folder() -> PathBuf {
    let marked = std::env::current_exe().ok().and_then(|program| {
        program
            .ancestors()
            .find(|folder| folder.join("CACHEDIR.TAG").is_file())
            .map(Path::to_owned)
    });
    marked
        .or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from))
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")))
}

/// True when nothing is to be measured: `cargo bench` passes `--bench`, and what runs the bench as a test or lists it does
/// not, or says so.
#[must_use]
pub fn is_dry_run() -> bool {
    let arguments: Vec<_> = std::env::args().collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    !has("--bench") || has("--test") || has("--list")
}

/// A number from the environment, or `default` where it is not set.
///
/// # Errors
/// [`MeasureError::Setting`]: it is set, and is no number.
pub fn setting(name: &'static str, default: u64) -> Result<u64, MeasureError> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| MeasureError::Setting(name, text)),
        Err(_) => Ok(default),
    }
}

/// The end of a bench's `main`: says on stderr why it failed.
pub fn ended<E: std::fmt::Display>(bench: &str, done: Result<(), E>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench {bench}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The cases as a table for people.
#[must_use]
pub fn table(cases: &[Case]) -> String {
    let mut text = format!(
        "{:<28}{:>14}{:>14}{:>8}{:>12}{:>12}\n",
        "", "baseline", "ours", "ratio", "p50", "p99"
    );
    for case in cases {
        text += &format!(
            "{:<28}{:>11.1} ns{:>11.1} ns{:>8.3}{:>9} ns{:>9} ns\n",
            case.name, case.baseline_ns, case.ours_ns, case.ratio, case.p50_ns, case.p99_ns
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(rounds: u64) -> u64 {
        (0..rounds).fold(1, |sum, n| black_box(sum ^ n.wrapping_mul(0x9e37_79b9)))
    }

    #[test]
    fn both_sides_run_and_the_ratio_is_that_of_the_medians() {
        let (mut base_runs, mut our_runs) = (0_u32, 0_u32);
        let case = compare(
            "spin",
            Duration::ZERO,
            || {
                base_runs += 1;
                spin(100)
            },
            || {
                our_runs += 1;
                spin(200)
            },
        )
        .unwrap();
        assert!(base_runs >= 25 && our_runs >= 25);
        assert!(case.baseline_ns > 0.0 && case.ours_ns > 0.0);
        assert!((case.ratio - case.ours_ns / case.baseline_ns).abs() < 0.1 * case.ratio);
        assert!(case.p50_ns <= case.p99_ns);
    }

    #[test]
    fn times_are_told_in_percentiles_and_those_of_others_count() {
        let (mut some, mut others) = (Times::new().unwrap(), Times::new().unwrap());
        assert_eq!((some.ns(0.5), some.count()), (0, 0));
        for ms in 1..=99 {
            some.record(Duration::from_millis(ms));
        }
        others.record(Duration::from_secs(3_600));
        some.add(&others);
        assert_eq!(some.count(), 100);
        assert!(some.us(0.5).abs_diff(50_000) < 100, "{}", some.us(0.5));
        assert!(Duration::from_nanos(some.ns(1.0)) >= LONGEST);
        assert!(Duration::from_nanos(some.ns(1.0)) < LONGEST + Duration::from_secs(2));
    }

    #[test]
    fn a_ratio_is_of_what_there_is() {
        assert_eq!([ratio(1, 3), ratio(6, 3), ratio(5, 0)], [0.3333, 2.0, 5.0]);
    }

    #[test]
    fn what_failed_is_no_figure() {
        assert!(all_succeeded("x", 0).is_ok());
        let error = all_succeeded("x", 2).unwrap_err().to_string();
        assert!(error.contains("x: 2 operations failed"), "{error}");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    #[test]
    fn the_file_has_the_promised_form() {
        let case = Case {
            name: "a".into(),
            baseline_ns: 2.0,
            ours_ns: 3.0,
            ratio: 1.5,
            p50_ns: 3,
            p99_ns: 4,
        };
        let target = tempfile::tempdir().unwrap();
        let path = write_in(target.path(), "x", &[case]).unwrap();
        assert_eq!(path, target.path().join("bench/x.json"));
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let expected = serde_json::json!({"cases": [
            {"name": "a", "baseline_ns": 2.0, "ours_ns": 3.0, "ratio": 1.5, "p50_ns": 3, "p99_ns": 4}
        ]});
        assert_eq!(report, expected);
    }

    #[test]
    fn the_target_folder_is_the_one_this_test_was_built_into() {
        let program = std::env::current_exe().unwrap();
        assert!(program.starts_with(target_folder()), "{}", target_folder().display());
    }
}
