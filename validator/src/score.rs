//! What a miner's work is worth: `confidence * n^a * accuracy^b * (T / L99)^g`, over a window, smoothed over epochs.
//!
//! The original's shape with its loopholes closed: n is relative to what the miner was asked, so that being drawn more often earns
//! nothing; a missed or late answer counts as a wrong one; and the latency term is bounded on both sides, so that the last
//! microseconds do not outweigh being right. Accuracy is a product: right where nothing is broken, times right where something
//! is. Violations are rare; of a plain share of right answers, hiding all of them would cost next to nothing.

use std::time::Duration;

/// The parameters of the score.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreParameters {
    /// a: weight of the answered share.
    pub throughput_exponent: f64,
    /// b: weight of the share of right answers.
    pub accuracy_exponent: f64,
    /// g: weight of the latency.
    pub latency_exponent: f64,
    /// T: the latency that is worth 1.
    #[serde(with = "humantime_serde")]
    pub target_latency: Duration,
    /// A 99th percentile below it earns no more.
    #[serde(with = "humantime_serde")]
    pub latency_floor: Duration,
    /// The share of the newest epoch in the moving average.
    pub smoothing: f64,
    /// A newly arrived miner earns in full once it was asked this often.
    pub probation_challenges: u64,
    /// A newly arrived miner earns in full once it was asked this often where something was violated.
    pub probation_violations: u64,
}

impl Default for ScoreParameters {
    fn default() -> Self {
        Self {
            throughput_exponent: 1.0,
            accuracy_exponent: 1.0,
            latency_exponent: 1.0,
            target_latency: Duration::from_secs(5),
            latency_floor: Duration::from_millis(100),
            smoothing: 0.1,
            probation_challenges: 50,
            probation_violations: 3,
        }
    }
}

impl ScoreParameters {
    /// Whether a score can be computed with them.
    ///
    /// # Errors
    /// Which one is out of its range, in one line.
    pub fn check(&self) -> Result<(), String> {
        let exponents = [self.throughput_exponent, self.accuracy_exponent, self.latency_exponent];
        if exponents.iter().any(|e| !e.is_finite() || *e < 0.0) {
            return Err("score: an exponent must be a number, 0 or more".into());
        }
        if !(self.smoothing > 0.0 && self.smoothing <= 1.0) {
            return Err(format!(
                "score.smoothing: {} is not in 0 < smoothing <= 1",
                self.smoothing
            ));
        }
        if self.latency_floor.is_zero() || self.latency_floor > self.target_latency {
            return Err("score.latency_floor: must be above 0 and at most score.target_latency".into());
        }
        Ok(())
    }
}

/// What one miner did in one window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Challenges sent to it.
    pub asked: u64,
    /// Answers that arrived in time, signed and well formed.
    pub answered: u64,
    /// Answers that were the truth.
    pub correct: u64,
    /// 99th percentile of the latency of its answers; `None` when there are none.
    pub l99: Option<Duration>,
    /// Of those asked, where the truth was that something is violated.
    pub violating: u64,
    /// Of those, the answers that were the truth.
    pub found: u64,
    /// What is known of it beyond this window.
    pub known: Known,
}

/// What is known of a miner from all that it was ever asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Known {
    /// Challenges sent to it since it arrived, this window's among them.
    pub asked: u64,
    /// Of those in the windows that are kept, where something was violated.
    pub violating: u64,
    /// Of those, the answers that were the truth.
    pub found: u64,
}

/// The share of `part` in `whole`; 1 where there is nothing to be wrong about.
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// How right it was: the share of right answers where nothing was violated (in this window), times the share of right answers where
/// something was. The latter are few, so they are taken from all windows that are kept.
pub fn accuracy(window: &Window) -> f64 {
    let safe = window.asked.saturating_sub(window.violating);
    let held = window.correct.saturating_sub(window.found);
    share(held, safe) * share(window.known.found, window.known.violating)
}

/// How much of its score a miner earns that arrived a short time ago: 0 to 1. What it shows is luck until it was asked often enough, and
/// until it was asked where something was violated.
pub fn confidence(known: &Known, parameters: &ScoreParameters) -> f64 {
    let part = |seen: u64, needed: u64| if seen >= needed { 1.0 } else { share(seen, needed) };
    part(known.asked, parameters.probation_challenges)
        * part(
            known.violating.saturating_add(1),
            parameters.probation_violations.saturating_add(1),
        )
}

/// The score of a window; `None` when the miner was not asked, and so showed nothing.
///
/// Between 0 and `(T / floor)^g`.
pub fn score(window: &Window, parameters: &ScoreParameters) -> Option<f64> {
    if window.asked == 0 {
        return None;
    }
    let asked = window.asked as f64;
    let throughput = window.answered as f64 / asked;
    let accuracy = accuracy(window);
    let l99 = window
        .l99
        .unwrap_or(parameters.target_latency)
        .max(parameters.latency_floor);
    let latency = parameters.target_latency.as_secs_f64() / l99.as_secs_f64();
    Some(
        confidence(&window.known, parameters)
            * throughput.powf(parameters.throughput_exponent)
            * accuracy.powf(parameters.accuracy_exponent)
            * latency.powf(parameters.latency_exponent),
    )
}

/// The moving average after a window: `(1 - smoothing) * before + smoothing * score`. A miner that was not asked keeps its own.
pub fn smooth(before: f64, score: Option<f64>, parameters: &ScoreParameters) -> f64 {
    match score {
        Some(score) => (1.0 - parameters.smoothing) * before + parameters.smoothing * score,
        None => before,
    }
}

/// Scales scores so that they add up to 1; all zero stays all zero.
pub fn normalise(scores: &[f64]) -> Vec<f64> {
    let sum: f64 = scores.iter().sum();
    if sum > 0.0 {
        scores.iter().map(|score| score / sum).collect()
    } else {
        vec![0.0; scores.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A miner that was asked often enough, and found every violation.
    const SETTLED: Known = Known {
        asked: 1_000,
        violating: 20,
        found: 20,
    };

    fn window(asked: u64, answered: u64, correct: u64, l99_ms: u64) -> Window {
        Window {
            asked,
            answered,
            correct,
            l99: Some(Duration::from_millis(l99_ms)),
            violating: 0,
            found: 0,
            known: SETTLED,
        }
    }
    fn worth(window: Window) -> f64 {
        score(&window, &ScoreParameters::default()).unwrap()
    }

    #[test]
    fn the_formula_in_numbers() {
        // 8/10 answered, 6/10 right, T/L99 = 5000/250 = 20
        assert!((worth(window(10, 8, 6, 250)) - 0.8 * 0.6 * 20.0).abs() < 1e-12);
    }

    #[test]
    fn being_drawn_more_often_earns_nothing() {
        assert_eq!(worth(window(10, 10, 10, 200)), worth(window(1_000, 1_000, 1_000, 200)));
    }

    #[test]
    fn a_miss_costs_throughput_and_accuracy() {
        assert!((worth(window(10, 9, 9, 200)) / worth(window(10, 10, 10, 200)) - 0.81).abs() < 1e-12);
    }

    #[test]
    fn the_latency_term_is_bounded() {
        assert_eq!(worth(window(10, 10, 10, 1)), worth(window(10, 10, 10, 100)));
        assert_eq!(worth(window(10, 10, 10, 100)), 50.0);
        assert_eq!(worth(window(10, 10, 10, 5_000)), 1.0);
    }

    #[test]
    fn who_never_answers_is_worth_nothing_and_who_is_never_asked_keeps_its_average() {
        let parameters = ScoreParameters::default();
        assert_eq!(
            worth(Window {
                asked: 5,
                ..Window::default()
            }),
            0.0
        );
        assert_eq!(score(&Window::default(), &parameters), None);
        assert_eq!(smooth(0.7, None, &parameters), 0.7);
        assert!((smooth(0.5, Some(1.0), &parameters) - 0.55).abs() < 1e-12);
    }

    #[test]
    fn hiding_violations_costs_everything_however_rare_they_are() {
        let hider = Window {
            violating: 10,
            found: 0,
            known: Known { found: 0, ..SETTLED },
            ..window(1_000, 1_000, 990, 200)
        };
        assert_eq!(worth(hider), 0.0);
        let half = Window {
            violating: 10,
            found: 5,
            known: Known { found: 10, ..SETTLED },
            ..window(1_000, 1_000, 995, 200)
        };
        assert_eq!(worth(half), 0.5 * worth(window(1_000, 1_000, 1_000, 200)));
    }

    #[test]
    fn a_window_without_a_violation_goes_by_those_before_it() {
        let hider = Window {
            known: Known { found: 0, ..SETTLED },
            ..window(10, 10, 10, 200)
        };
        assert_eq!(worth(hider), 0.0);
    }

    #[test]
    fn crying_wolf_costs_everything_too() {
        let alarmist = Window {
            violating: 10,
            found: 10,
            ..window(1_000, 1_000, 10, 200)
        };
        assert_eq!(worth(alarmist), 0.0);
    }

    #[test]
    fn the_newly_arrived_earn_in_full_once_they_were_asked_often_enough() {
        let parameters = ScoreParameters::default();
        let known = |asked, violating| Known {
            asked,
            violating,
            found: violating,
        };
        assert_eq!(confidence(&known(25, 3), &parameters), 0.5);
        assert_eq!(confidence(&known(50, 0), &parameters), 0.25);
        assert_eq!(confidence(&known(50, 3), &parameters), 1.0);
        assert_eq!(confidence(&known(5_000, 300), &parameters), 1.0);
        let none = ScoreParameters {
            probation_challenges: 0,
            probation_violations: 0,
            ..parameters
        };
        assert_eq!(confidence(&known(0, 0), &none), 1.0);
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let bad = ScoreParameters {
            smoothing: 0.0,
            ..Default::default()
        };
        assert!(bad.check().unwrap_err().contains("score.smoothing"));
        assert!(ScoreParameters::default().check().is_ok());
    }

    proptest! {
        #[test]
        fn better_in_anything_is_never_worth_less(asked in 1u64..1000, a in 0u64..1000, b in 0u64..1000, l in 1u64..20_000) {
            let answered = a.min(asked);
            let correct = b.min(answered);
            let base = worth(window(asked, answered, correct, l));
            prop_assert!(base.is_finite() && base >= 0.0);
            prop_assert!(worth(window(asked, answered, correct, l / 2)) >= base);
            if answered < asked {
                prop_assert!(worth(window(asked, answered + 1, correct, l)) >= base);
            }
            if correct < answered {
                prop_assert!(worth(window(asked, answered, correct + 1, l)) >= base);
            }
        }

        #[test]
        fn normalised_scores_add_up_to_one(scores in prop::collection::vec(0.0f64..100.0, 1..50)) {
            let sum: f64 = normalise(&scores).iter().sum();
            prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-9);
        }
    }
}
