//! Dishonest miners earn nothing to speak of, hide no attack and invent none.
//!
//! `PORTCULLIS_ADVERSARY_TRANSACTIONS=5000` runs it in full; by default it is a tenth of that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use bots::adversaries::{Options, run};
use miner::behaviour::Behaviour;

fn size() -> usize {
    let given = std::env::var("PORTCULLIS_ADVERSARY_TRANSACTIONS").ok();
    given.map_or(500, |number| number.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_honest_miner_is_enough_and_earns_most() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        transactions: size(),
        seed: 1,
        report: Some(folder.path().join("report.json")),
    };
    let report = run(&options).await.unwrap();
    println!("{}", report.render());
    assert_eq!(report.failure(), None);
    let written = std::fs::read(options.report.unwrap()).unwrap();
    assert_eq!(
        serde_json::from_slice::<bots::adversaries::Report>(&written).unwrap(),
        report
    );

    for network in &report.networks {
        assert_eq!(
            network.transactions,
            size() as u64,
            "{}: everything was judged",
            network.name
        );
        assert_eq!(network.attacks, size() as u64 / 100);
        assert!(network.violating_canaries > 0 && network.violating_canaries < network.canaries);
        assert!(network.disputes > 0);
        for miner in &network.miners {
            match miner.behaviour {
                Behaviour::Honest => {
                    // A machine that others use too may hold up an answer beyond the deadline; it is never wrong.
                    let missed = miner.asked - miner.answered;
                    assert_eq!(miner.correct, miner.answered, "{miner:?}");
                    assert!(
                        missed * 10 <= miner.asked && miner.violating - miner.found <= missed,
                        "{miner:?}"
                    );
                    assert_eq!(miner.weight, u16::MAX, "the highest weight");
                }
                // Right only where there was somebody to copy from.
                Behaviour::Copycat => assert!(miner.answered < miner.asked && miner.weight < u16::MAX, "{miner:?}"),
                Behaviour::Late | Behaviour::Replayer | Behaviour::Misaddressed => {
                    // The replayer's first answer is a good one, once.
                    assert!(miner.answered <= 1 && miner.weight < 100, "{miner:?}");
                }
                Behaviour::Colluder => {
                    assert!(miner.found == 0 && miner.violating > 0, "{miner:?}");
                    assert!(miner.score < 0.1, "{miner:?}");
                }
                _ => assert!(miner.correct == 0 && miner.weight == 0, "{miner:?}"),
            }
        }
    }
}
