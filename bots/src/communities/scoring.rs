//! The validator's score, for the miners of a community.

use std::time::Duration;

use community::scoring::{Sample, Scoring};
use validator::score::{Known, ScoreParameters, Window, score, smooth};

/// The rule that the validators of the network run, with these parameters.
#[derive(Debug, Clone, Copy, Default)]
pub struct ValidatorScoring(pub ScoreParameters);

impl Scoring for ValidatorScoring {
    fn score(&self, sample: &Sample) -> Option<f64> {
        let window = Window {
            asked: sample.asked,
            answered: sample.answered,
            correct: sample.correct,
            l99: sample.l99.map(Duration::from_micros),
            violating: sample.violating,
            found: sample.found,
            known: Known {
                asked: sample.known_asked,
                violating: sample.known_violating,
                found: sample.known_found,
            },
        };
        score(&window, &self.0)
    }

    fn smooth(&self, before: f64, new: Option<f64>) -> f64 {
        smooth(before, new, &self.0)
    }
}
