//! Whose agreement can be taken as it is: a rule over what miners did where the validator's own engine knew the answer.
//!
//! Miners that all say the same may all be lying. An agreement stands only when one of those who agree has *proven* itself: it found the
//! last few violations that it was asked about and that the validator knew of, and was wrong about nothing since. Violations that are
//! canaries look like any other, so whoever would hide a real one has hidden a canary first, and starts again from nothing. What always
//! holds: nobody is believed who has shown nothing; to forget what was shown only costs executions.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::store::{Hotkey, Sample};

/// The streak of found violations after one more sample of which the truth is known.
///
/// A found violation adds one; anything wrong, and a violation that it gave no answer to, sets it back. No answer where nothing was
/// violated is no lie.
pub fn after(streak: u32, sample: &Sample) -> u32 {
    match (sample.correct, sample.violating) {
        _ if !sample.known => streak,
        (true, true) => streak.saturating_add(1),
        (true, false) => streak,
        (false, _) if sample.latency.is_some() => 0,
        (false, true) => 0,
        (false, false) => streak,
    }
}

/// Whether an agreement of miners with these streaks stands without being executed again: one of them reaches `needed`.
pub fn stands(streaks: impl IntoIterator<Item = u32>, needed: u32) -> bool {
    needed == 0 || streaks.into_iter().any(|streak| streak >= needed)
}

/// The streaks of all miners, in memory; the database has them too.
#[derive(Debug, Default)]
pub struct Proofs {
    /// Bounded by the hotkeys that ever served on the subnet.
    streaks: Mutex<HashMap<Hotkey, u32>>,
    needed: u32,
}

impl Proofs {
    /// Goes on from what was stored. `needed` violations in a row are a proof; 0 takes every agreement as it is.
    pub fn new(stored: HashMap<Hotkey, u32>, needed: u32) -> Self {
        Self {
            streaks: Mutex::new(stored),
            needed,
        }
    }

    /// Takes samples into account.
    pub fn note(&self, samples: &[Sample]) {
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        for sample in samples.iter().filter(|sample| sample.known) {
            let streak = streaks.entry(sample.hotkey).or_default();
            *streak = after(*streak, sample);
        }
    }

    /// Whether an agreement of these miners stands.
    pub fn stands<'a>(&self, agreeing: impl IntoIterator<Item = &'a Hotkey>) -> bool {
        let streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |hotkey: &Hotkey| streaks.get(hotkey).copied().unwrap_or(0);
        stands(agreeing.into_iter().map(of), self.needed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(correct: bool, violating: bool, answered: bool) -> Sample {
        Sample {
            hotkey: [1; 32],
            latency: answered.then_some(1),
            correct,
            known: true,
            violating,
        }
    }

    #[test]
    fn only_found_violations_are_a_proof() {
        assert_eq!(after(2, &sample(true, true, true)), 3);
        assert_eq!(after(2, &sample(true, false, true)), 2);
        assert_eq!(after(2, &sample(false, true, true)), 0, "it hid one");
        assert_eq!(after(2, &sample(false, true, false)), 0, "it was silent about one");
        assert_eq!(after(2, &sample(false, false, true)), 0, "it lied");
        assert_eq!(after(2, &sample(false, false, false)), 2, "it only missed");
        let agreed = Sample {
            known: false,
            ..sample(true, true, true)
        };
        assert_eq!(after(2, &agreed), 2, "nobody but the miners says so");
    }

    #[test]
    fn one_proven_miner_carries_an_agreement_and_nine_unproven_do_not() {
        assert!(!stands([2; 9], 3));
        assert!(stands([0, 0, 3], 3));
        assert!(!stands([], 3));
        assert!(stands([], 0), "switched off");
    }

    #[test]
    fn a_miner_that_hides_one_violation_is_believed_no_more() {
        let proofs = Proofs::new(HashMap::from([([1; 32], 7)]), 3);
        assert!(proofs.stands([&[1; 32], &[2; 32]]));
        proofs.note(&[sample(false, true, true)]);
        assert!(!proofs.stands([&[1; 32], &[2; 32]]));
        proofs.note(&vec![sample(true, true, true); 3]);
        assert!(proofs.stands([&[1; 32]]), "and may earn it again");
    }
}
