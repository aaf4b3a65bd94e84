//! The report as data: what `--json` writes, and what table and page are made of.
//!
//! Named by `format`: fields may be added to it, but none is renamed, removed or given another meaning. Numbers that have up to 512
//! bits are decimal text. Everything but `timing` is the same in every run over the same recording and set.

use std::{collections::BTreeMap, path::Path, time::Duration};

use engine::{Address, B256, ENGINE_VERSION};
use serde::Serialize;

use super::{
    tally::{At, InvariantTally, Range, Tally},
    worker::Latency,
};
use crate::tool::{
    evidence::{Attempt, Evidence, values},
    exit::Answer,
    invariants::Invariants,
};

/// Percentiles that are reported.
const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// `portcullis-backtest/1`
    format: &'static str,
    /// `holds`, `violated` or `undecided`: the worst of all.
    pub(super) verdict: &'static str,
    pub(super) engine: &'static str,
    pub(super) recording: String,
    pub(super) cases: u64,
    pub(super) first_block: Option<u64>,
    pub(super) last_block: Option<u64>,
    pub(super) transactions: u64,
    /// Transactions of which nothing could be decided: each counts as undecided for every invariant.
    pub(super) undecided_transactions: u64,
    pub(super) gas_used: u64,
    pub(super) gas: Gas,
    pub(super) invariants: Vec<InvariantRow>,
    pub(super) violation_count: u64,
    /// At most 10,000.
    pub(super) violations: Vec<Violation>,
    pub(super) warning_count: u64,
    /// At most 10,000.
    pub(super) warnings: Vec<WarningRow>,
    /// Why something was undecided, and how often.
    pub(super) undecided_reasons: BTreeMap<String, u64>,
    /// Cases whose end could not be executed.
    pub(super) unfinished: Vec<Unfinished>,
    pub(super) timing: Timing,
}

/// The record's gas, status and logs against those found.
#[derive(Debug, Serialize)]
pub(super) struct Gas {
    pub(super) compared: u64,
    pub(super) mismatched: u64,
    /// At most 10,000.
    pub(super) mismatches: Vec<MismatchRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct MismatchRow {
    #[serde(flatten)]
    pub(super) at: Where,
    pub(super) recorded_gas: u64,
    pub(super) gas_used: u64,
    pub(super) status: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Where {
    pub(super) case: String,
    pub(super) block: u64,
    /// Place of the transaction in its case, from 0.
    pub(super) index: usize,
    pub(super) tx: B256,
    pub(super) sender: Address,
}

#[derive(Debug, Serialize)]
pub(super) struct InvariantRow {
    pub(super) name: String,
    pub(super) expression: String,
    /// Transactions after which it was evaluated: all others could not have changed it.
    pub(super) evaluations: u64,
    pub(super) violations: u64,
    pub(super) undecided: u64,
    /// It had been broken, and the transaction mended it.
    pub(super) restored: u64,
    /// It had been broken, and stayed so.
    pub(super) stayed_broken: u64,
    /// `null` where it was never evaluated or compares no numbers.
    pub(super) margin: Option<MarginRow>,
    /// Block by block, those in which it was evaluated.
    pub(super) margins: Vec<BlockMargin>,
    #[serde(skip)]
    pub(super) ranges: Vec<(u64, Range)>,
}

#[derive(Debug, Serialize)]
pub(super) struct MarginRow {
    pub(super) min: String,
    pub(super) max: String,
    pub(super) last: String,
}

#[derive(Debug, Serialize)]
pub(super) struct BlockMargin {
    pub(super) block: u64,
    #[serde(flatten)]
    pub(super) margin: MarginRow,
}

#[derive(Debug, Serialize)]
pub(super) struct Violation {
    pub(super) invariant: String,
    #[serde(flatten)]
    pub(super) at: Where,
    /// Of the one thing, or the one number, that the invariant reads; of one that reads several see the readings of the witness.
    pub(super) pre: Option<String>,
    pub(super) post: Option<String>,
    pub(super) margin: Option<String>,
    pub(super) margin_before: Option<String>,
    pub(super) witness: Evidence,
}

#[derive(Debug, Serialize)]
pub(super) struct WarningRow {
    pub(super) invariant: String,
    #[serde(flatten)]
    pub(super) at: Where,
    #[serde(flatten)]
    pub(super) attempt: Attempt,
}

#[derive(Debug, Serialize)]
pub(super) struct Unfinished {
    pub(super) case: String,
    pub(super) why: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Timing {
    pub(super) threads: usize,
    pub(super) seconds: f64,
    pub(super) transactions_per_second: f64,
    /// How long judging one transaction took, explaining it where it violates or reverts included; microseconds.
    pub(super) latency_us: BTreeMap<String, f64>,
}

impl From<&At> for Where {
    fn from(at: &At) -> Self {
        Self {
            case: at.case.clone(),
            block: at.block,
            index: at.index,
            tx: at.tx,
            sender: at.sender,
        }
    }
}

impl From<&Range> for MarginRow {
    fn from(range: &Range) -> Self {
        Self {
            min: range.min.to_string(),
            max: range.max.to_string(),
            last: range.last.to_string(),
        }
    }
}

impl Report {
    pub(super) fn new(
        recording: &Path,
        invariants: &Invariants,
        tally: &Tally,
        latency: &Latency,
        (threads, took): (usize, Duration),
    ) -> Self {
        let counts = &tally.counts;
        let name = |place: usize| {
            invariants
                .set
                .watched()
                .get(place)
                .map_or("", |watched| watched.name())
                .to_owned()
        };
        let violations = counts.found.iter().map(|found| {
            let (pre, post) = values(&found.evidence.readings);
            Violation {
                invariant: name(found.place),
                at: Where::from(&found.at),
                pre,
                post,
                margin: found.margin.map(|(_, after)| after.to_string()),
                margin_before: found.margin.map(|(before, _)| before.to_string()),
                witness: found.evidence.clone(),
            }
        });
        let warnings = counts.warned.iter().map(|warned| WarningRow {
            invariant: name(warned.place),
            at: Where::from(&warned.at),
            attempt: warned.attempt.clone(),
        });
        let mismatches = counts.mismatches.iter().map(|mismatch| MismatchRow {
            at: Where::from(&mismatch.at),
            recorded_gas: mismatch.recorded_gas,
            gas_used: mismatch.gas,
            status: mismatch.status.clone(),
        });
        let unfinished = tally.unfinished.iter().map(|(case, why)| Unfinished {
            case: case.clone(),
            why: why.clone(),
        });
        let mut report = Self {
            format: "portcullis-backtest/1",
            verdict: "holds",
            engine: ENGINE_VERSION,
            recording: recording.display().to_string(),
            cases: tally.cases,
            first_block: tally.blocks.map(|(first, _)| first),
            last_block: tally.blocks.map(|(_, last)| last),
            transactions: counts.transactions,
            undecided_transactions: counts.undecided_transactions,
            gas_used: counts.gas,
            gas: Gas {
                compared: counts.compared,
                mismatched: counts.mismatched,
                mismatches: mismatches.collect(),
            },
            invariants: rows(invariants, tally),
            violation_count: counts.violations,
            violations: violations.collect(),
            warning_count: counts.warnings,
            warnings: warnings.collect(),
            undecided_reasons: counts.reasons.clone(),
            unfinished: unfinished.collect(),
            timing: timing(counts.transactions, latency, threads, took),
        };
        report.verdict = match report.answer() {
            Answer::Holds => "holds",
            Answer::Violated => "violated",
            Answer::Undecided => "undecided",
        };
        report
    }

    pub(super) fn answer(&self) -> Answer {
        let undecided = !self.unfinished.is_empty() || self.invariants.iter().any(|row| row.undecided > 0);
        match (self.violation_count, undecided) {
            (1.., _) => Answer::Violated,
            (0, true) => Answer::Undecided,
            (0, false) => Answer::Holds,
        }
    }
}

fn rows(invariants: &Invariants, tally: &Tally) -> Vec<InvariantRow> {
    let untouched = InvariantTally::default();
    let watched = invariants.set.watched().iter().zip(&invariants.expressions).enumerate();
    let row = |(place, (watched, expression)): (usize, (&engine::Watched, &String))| {
        let counted = tally.invariants.get(&place).unwrap_or(&untouched);
        let ranges = tally.margins.get(&place).cloned().unwrap_or_default();
        let margins = ranges.iter().map(|(block, range)| BlockMargin {
            block: *block,
            margin: MarginRow::from(range),
        });
        InvariantRow {
            name: watched.name().to_owned(),
            expression: expression.clone(),
            evaluations: counted.evaluations,
            violations: counted.violations,
            undecided: counted.undecided + tally.counts.undecided_transactions,
            restored: counted.restored,
            stayed_broken: counted.stayed_broken,
            margin: counted.margin.as_ref().map(MarginRow::from),
            margins: margins.collect(),
            ranges,
        }
    };
    watched.map(row).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a rate that people read")]
fn timing(transactions: u64, latency: &Latency, threads: usize, took: Duration) -> Timing {
    let seconds = took.as_secs_f64();
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    let mut latency_us = BTreeMap::new();
    if latency.count() > 0 {
        for (name, share) in PERCENTILES {
            latency_us.insert(name.to_owned(), rounded(latency.quantile(share)));
        }
        latency_us.insert("max".to_owned(), rounded(latency.max()));
        latency_us.insert("mean".to_owned(), rounded(latency.mean()));
    }
    Timing {
        threads,
        seconds: rounded(seconds),
        transactions_per_second: rounded(transactions as f64 / seconds.max(f64::EPSILON)),
        latency_us,
    }
}
