//! What was found, and how it adds up. Pure: the sum over cases in the order of their blocks.

use std::collections::BTreeMap;

use engine::{Address, B256, Judgement, Outcome, Reason, Transition, Verdict, Watched, lang::Wide};

use crate::tool::evidence::{Attempt, Evidence};

/// Violations and warnings that are kept with all that belongs to them; more are only counted.
const KEPT: usize = 10_000;
/// Different reasons that are told apart.
const REASONS: usize = 50;

/// Least, greatest and last margin after a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) min: Wide,
    pub(super) max: Wide,
    pub(super) last: Wide,
}

impl Range {
    const fn one(margin: Wide) -> Self {
        Self {
            min: margin,
            max: margin,
            last: margin,
        }
    }

    fn add(&mut self, later: Self) {
        self.min = self.min.min(later.min);
        self.max = self.max.max(later.max);
        self.last = later.last;
    }
}

/// One invariant over some transactions. Those it did not concern leave no trace here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct InvariantTally {
    /// Transactions after which it was evaluated.
    pub(super) evaluations: u64,
    pub(super) violations: u64,
    pub(super) undecided: u64,
    pub(super) restored: u64,
    pub(super) stayed_broken: u64,
    pub(super) margin: Option<Range>,
}

impl InvariantTally {
    fn judgement(&mut self, judgement: &Judgement) {
        if judgement.transition == Some(Transition::Untouched) {
            return;
        }
        match &judgement.verdict {
            Verdict::Undecided(_) => self.undecided += 1,
            Verdict::Violated(_) => self.violations += 1,
            Verdict::Holds => {}
        }
        if !matches!(judgement.verdict, Verdict::Undecided(_)) {
            self.evaluations += 1;
        }
        self.restored += u64::from(judgement.transition == Some(Transition::Restored));
        self.stayed_broken += u64::from(judgement.transition == Some(Transition::StayedBroken));
        if let Some(margin) = judgement.margin {
            self.margins(Range::one(margin.post));
        }
    }

    fn margins(&mut self, later: Range) {
        match &mut self.margin {
            Some(margin) => margin.add(later),
            None => self.margin = Some(later),
        }
    }

    fn add(&mut self, later: &Self) {
        self.evaluations += later.evaluations;
        self.violations += later.violations;
        self.undecided += later.undecided;
        self.restored += later.restored;
        self.stayed_broken += later.stayed_broken;
        if let Some(margin) = later.margin {
            self.margins(margin);
        }
    }
}

/// Which transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) case: String,
    pub(super) block: u64,
    pub(super) index: usize,
    pub(super) tx: B256,
    pub(super) sender: Address,
}

/// A violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) at: At,
    pub(super) place: usize,
    pub(super) margin: Option<(Wide, Wide)>,
    pub(super) evidence: Evidence,
}

/// What a frame that reverted would have violated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Warned {
    pub(super) at: At,
    pub(super) place: usize,
    pub(super) attempt: Attempt,
}

/// A transaction whose execution is not as recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) at: At,
    pub(super) recorded_gas: u64,
    pub(super) gas: u64,
    pub(super) status: String,
}

/// Everything that both one case and all of them count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) transactions: u64,
    /// Transactions of which nothing could be decided.
    pub(super) undecided_transactions: u64,
    pub(super) gas: u64,
    /// Transactions of which the record says how much gas they used.
    pub(super) compared: u64,
    pub(super) mismatched: u64,
    pub(super) mismatches: Vec<Mismatch>,
    pub(super) violations: u64,
    pub(super) found: Vec<Found>,
    pub(super) warnings: u64,
    pub(super) warned: Vec<Warned>,
    /// Why something was undecided, and how often.
    pub(super) reasons: BTreeMap<String, u64>,
}

/// One case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CaseTally {
    pub(super) id: String,
    pub(super) block: u64,
    pub(super) counts: Counts,
    /// By place in the set; only those that were evaluated or undecided.
    pub(super) invariants: BTreeMap<usize, InvariantTally>,
    /// Why the rest of the case could not be executed.
    pub(super) unfinished: Option<String>,
}

/// All cases.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) cases: u64,
    /// First and last block.
    pub(super) blocks: Option<(u64, u64)>,
    pub(super) counts: Counts,
    pub(super) invariants: BTreeMap<usize, InvariantTally>,
    /// Margins of each invariant over blocks.
    pub(super) margins: BTreeMap<usize, Vec<(u64, Range)>>,
    pub(super) unfinished: Vec<(String, String)>,
}

impl CaseTally {
    /// Counts the transaction that could not be executed, after which the rest of the case cannot either.
    pub(super) fn ends(&mut self, outcome: &Outcome, why: String) {
        self.counts.transactions += 1;
        if let Some(reason) = &outcome.undecided {
            self.counts.undecided_transactions += 1;
            self.counts.reason(reason);
        }
        self.unfinished = Some(why);
    }

    /// Adds what judging one transaction gave. `place` finds an invariant of the set by its id.
    pub(super) fn outcome<'w>(
        &mut self,
        at: &At,
        block_hash: Option<B256>,
        outcome: &Outcome,
        place: impl Fn(u64) -> Option<(usize, &'w Watched)>,
    ) {
        let counts = &mut self.counts;
        counts.transactions += 1;
        counts.gas += outcome.execution.as_ref().map_or(0, |execution| execution.gas_used);
        if let Some(reason) = &outcome.undecided {
            counts.undecided_transactions += 1;
            counts.reason(reason);
            return;
        }
        for judgement in &outcome.judgements {
            let Some((place, watched)) = place(judgement.invariant_id) else {
                continue;
            };
            self.invariants.entry(place).or_default().judgement(judgement);
            match &judgement.verdict {
                Verdict::Holds => {}
                Verdict::Undecided(reason) => counts.reason(reason),
                Verdict::Violated(witness) => {
                    counts.violations += 1;
                    if counts.found.len() < KEPT {
                        counts.found.push(Found {
                            at: at.clone(),
                            place,
                            margin: judgement.margin.map(|margin| (margin.pre, margin.post)),
                            evidence: Evidence::new(watched, witness, block_hash),
                        });
                    }
                }
            }
        }
        for warning in &outcome.warnings {
            let Some((place, watched)) = place(warning.invariant_id) else {
                continue;
            };
            counts.warnings += 1;
            if counts.warned.len() < KEPT {
                counts.warned.push(Warned {
                    at: at.clone(),
                    place,
                    attempt: Attempt::new(watched, warning),
                });
            }
        }
    }

    /// Adds how an execution compares with the record.
    pub(super) fn compared(&mut self, mismatch: Option<Mismatch>) {
        self.counts.compared += 1;
        if let Some(mismatch) = mismatch {
            self.counts.mismatched += 1;
            if self.counts.mismatches.len() < KEPT {
                self.counts.mismatches.push(mismatch);
            }
        }
    }
}

impl Counts {
    fn reason(&mut self, reason: &Reason) {
        self.reasons_of(reason.to_string(), 1);
    }

    fn reasons_of(&mut self, reason: String, times: u64) {
        let known = self.reasons.len() < REASONS || self.reasons.contains_key(&reason);
        let reason = if known { reason } else { "other reasons".to_owned() };
        *self.reasons.entry(reason).or_default() += times;
    }

    fn add(&mut self, later: Self) {
        self.transactions += later.transactions;
        self.undecided_transactions += later.undecided_transactions;
        self.gas += later.gas;
        self.compared += later.compared;
        self.mismatched += later.mismatched;
        self.violations += later.violations;
        self.warnings += later.warnings;
        extend(&mut self.mismatches, later.mismatches);
        extend(&mut self.found, later.found);
        extend(&mut self.warned, later.warned);
        for (reason, times) in later.reasons {
            self.reasons_of(reason, times);
        }
    }
}

fn extend<T>(kept: &mut Vec<T>, later: Vec<T>) {
    let room = KEPT.saturating_sub(kept.len());
    kept.extend(later.into_iter().take(room));
}

impl Tally {
    /// Adds a case; they must come in the order of their blocks.
    pub(super) fn add(&mut self, case: CaseTally) {
        self.cases += 1;
        let first = self.blocks.map_or(case.block, |(first, _)| first);
        self.blocks = Some((first, case.block));
        self.counts.add(case.counts);
        for (place, tally) in case.invariants {
            if let Some(margin) = tally.margin {
                let margins = self.margins.entry(place).or_default();
                match margins.last_mut() {
                    Some((block, known)) if *block == case.block => known.add(margin),
                    _ => margins.push((case.block, margin)),
                }
            }
            self.invariants.entry(place).or_default().add(&tally);
        }
        if let Some(why) = case.unfinished {
            self.unfinished.push((case.id, why));
        }
    }
}

#[cfg(test)]
mod tests {
    use engine::{Margins, ViewError};

    use super::*;

    fn wide(number: i64) -> Wide {
        number.to_string().parse().unwrap()
    }

    fn kept(margin: i64) -> Outcome {
        Outcome {
            judgements: vec![Judgement {
                invariant_id: 7,
                verdict: Verdict::Holds,
                transition: Some(Transition::Kept),
                margin: Some(Margins {
                    pre: wide(0),
                    post: wide(margin),
                }),
            }],
            ..Outcome::default()
        }
    }

    fn case(block: u64, outcomes: &[Outcome]) -> CaseTally {
        let watched = Watched::from(
            engine::Invariant::new(
                7,
                "x",
                Address::ZERO,
                engine::U256::ZERO,
                engine::ValueType::Uint(8),
                0,
                engine::Comparison::Ge,
                engine::U256::ZERO,
            )
            .unwrap(),
        );
        let mut tally = CaseTally {
            block,
            ..CaseTally::default()
        };
        let at = At {
            case: String::new(),
            block,
            index: 0,
            tx: B256::ZERO,
            sender: Address::ZERO,
        };
        for outcome in outcomes {
            tally.outcome(&at, None, outcome, |id| (id == 7).then_some((0, &watched)));
        }
        tally
    }

    #[test]
    fn margins_are_kept_block_by_block_and_over_all() {
        let mut tally = Tally::default();
        tally.add(case(10, &[kept(5), kept(-3), kept(4)]));
        tally.add(case(10, &[kept(9)]));
        tally.add(case(12, &[kept(6)]));
        let total = tally.invariants[&0].margin.unwrap();
        assert_eq!((total.min, total.max, total.last), (wide(-3), wide(9), wide(6)));
        assert_eq!(tally.invariants[&0].evaluations, 5);
        let blocks: Vec<_> = tally.margins[&0]
            .iter()
            .map(|(block, range)| (*block, range.min, range.last))
            .collect();
        assert_eq!(blocks, [(10, wide(-3), wide(9)), (12, wide(6), wide(6))]);
        assert_eq!((tally.cases, tally.blocks), (3, Some((10, 12))));
    }

    #[test]
    fn what_cannot_be_decided_is_counted_with_its_reason_and_is_no_evaluation() {
        let reason = Reason::View {
            contract: Address::ZERO,
            why: ViewError::NoCode,
        };
        let one = Outcome {
            judgements: vec![Judgement {
                invariant_id: 7,
                verdict: Verdict::Undecided(reason.clone()),
                transition: None,
                margin: None,
            }],
            ..Outcome::default()
        };
        let all = Outcome {
            undecided: Some(Reason::Deadline),
            ..Outcome::default()
        };
        let mut tally = Tally::default();
        tally.add(case(1, &[one, all]));
        assert_eq!(
            (tally.invariants[&0].evaluations, tally.invariants[&0].undecided),
            (0, 1)
        );
        assert_eq!(tally.counts.undecided_transactions, 1);
        assert_eq!(tally.counts.reasons[&reason.to_string()], 1);
        assert_eq!(tally.counts.reasons[&Reason::Deadline.to_string()], 1);
    }

    #[test]
    fn reasons_are_told_apart_only_so_far() {
        let mut counts = Counts::default();
        for number in 0..1000 {
            counts.reasons_of(format!("reason {number}"), 2);
        }
        assert_eq!(counts.reasons.len(), REASONS + 1);
        assert_eq!(counts.reasons.values().sum::<u64>(), 2000);
    }
}
