//! A community of a test's own.

use std::path::Path;
use std::time::Duration;

use community::arena::Contest;
use community::faucet::rule::FaucetRules;
use community::mix::Mix;
use community::scoring::{Sample, Scoring};
use community::seed::Seed;
use community::spec::Spec;
use community::{Community, CommunityError, Faucet, Founding, Home, Means};

/// The share of right answers: enough where a test is not about scores.
pub(crate) struct RightAnswers;

impl Scoring for RightAnswers {
    fn score(&self, sample: &Sample) -> Option<f64> {
        (sample.asked > 0).then(|| sample.correct as f64 / sample.asked as f64)
    }

    fn smooth(&self, before: f64, score: Option<f64>) -> f64 {
        score.map_or(before, |score| 0.9 * before + 0.1 * score)
    }
}

pub(crate) fn home(folder: &Path) -> Home {
    Home {
        folder: folder.to_owned(),
        ledger: None,
    }
}

pub(crate) fn means() -> Means<'static> {
    Means {
        scoring: &RightAnswers,
        faucet: Faucet::Own(FaucetRules::default()),
        contest: Contest::default(),
        worker: "test".to_owned(),
    }
}

/// A golden community, drawn from `seed`.
pub(crate) fn founding(seed: u64) -> Founding {
    let seed = Seed::of(seed);
    Founding {
        spec: community::simulate::golden(Spec::generate(&mut seed.rng("community", 0), 100)),
        mix: Mix::default(),
        seed,
        budget: 1_000_000_000_000,
        patience: Duration::ZERO,
    }
}

pub(crate) async fn founded(folder: &Path) -> Community<'static> {
    Community::found(&home(folder), founding(1), means()).await.unwrap()
}

/// What a founding or an opening failed with.
pub(crate) fn refused(result: Result<Community<'_>, CommunityError>) -> CommunityError {
    match result {
        Ok(_) => panic!("it should have been refused"),
        Err(error) => error,
    }
}
