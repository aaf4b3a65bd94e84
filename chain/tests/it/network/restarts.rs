//! What was acknowledged is there after a crash, and everything after a restart.

use std::sync::Arc;

use chain::local::LocalLedger;
use chain::local::rules::Operation;
use chain::{Ledger, LedgerError};
use proptest::prelude::*;

use super::opening;
use crate::world::{TAO, axon, pair, weights};

#[test]
fn a_crash_in_the_middle_keeps_every_acknowledged_operation() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    let (acknowledged, before) = {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let acknowledged = Arc::new(std::sync::Mutex::new(Vec::new()));
        let ledger = runtime.block_on(LocalLedger::open(&path, &opening())).unwrap();
        let (enough, mut crash) = tokio::sync::watch::channel(0usize);
        let enough = Arc::new(enough);
        for n in 1..=8u8 {
            let (ledger, acknowledged, enough) = (ledger.clone(), Arc::clone(&acknowledged), Arc::clone(&enough));
            runtime.spawn(async move {
                ledger.register(&pair(n)).await.unwrap();
                for amount in 1.. {
                    let stake = ledger.add_stake(&pair(n), amount).await.unwrap();
                    acknowledged.lock().unwrap().push((n, stake));
                    enough.send_modify(|count| *count += 1);
                }
            });
        }
        // The process "dies" with operations in every stage: nobody closes anything.
        runtime
            .block_on(async { crash.wait_for(|count| *count >= 100).await.map(|count| *count) })
            .unwrap();
        drop(runtime);
        let acknowledged = acknowledged.lock().unwrap().clone();
        (acknowledged, ledger.state())
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let state = runtime.block_on(async {
        let ledger = LocalLedger::open(&path, &opening()).await.unwrap();
        let state = ledger.state();
        ledger.close().await;
        state
    });
    assert!(acknowledged.len() >= 100);
    for (n, stake) in acknowledged {
        let kept = state.by_hotkey(&pair(n).account()).unwrap().stake;
        assert!(kept >= stake, "hotkey {n} was told {stake}, the database has {kept}");
    }
    for neuron in &state.neurons {
        // Stakes are 1 + 2 + ... + k: no operation was stored by half or twice.
        let root = ((8 * neuron.stake + 1) as f64).sqrt().round() as u64;
        assert_eq!(root * root, 8 * neuron.stake + 1, "{neuron:?}");
        assert_eq!(state.purse(&neuron.hotkey).drawn, neuron.stake);
        let seen = before.by_hotkey(&neuron.hotkey).map_or(0, |n| n.stake);
        assert!(neuron.stake >= seen, "what readers saw was on disk");
    }
}

#[derive(Debug, Clone)]
enum Step {
    Act(u8, Operation),
    Blocks(u8),
    Restart,
}

fn any_step() -> impl Strategy<Value = Step> {
    let who = 0u8..6;
    let row = proptest::collection::btree_map(0u16..6, any::<u16>(), 1..4);
    prop_oneof![
        2 => who.clone().prop_map(|n| Step::Act(n, Operation::Register)),
        2 => (who.clone(), 0..5000 * TAO).prop_map(|(n, amount)| Step::Act(n, Operation::AddStake(amount))),
        1 => (who.clone(), any::<u16>()).prop_map(|(n, port)| Step::Act(n, Operation::ServeAxon(axon("127.0.0.1", port)))),
        3 => (who, row).prop_map(|(n, row)| {
            Step::Act(n, Operation::SetWeights(weights(&row.into_iter().collect::<Vec<_>>(), 0)))
        }),
        3 => (1u8..12).prop_map(Step::Blocks),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_restart_gives_the_same_state(steps in proptest::collection::vec(any_step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("ledger.db");
            let mut ledger = LocalLedger::open(&path, &opening()).await.unwrap();
            for step in steps.into_iter().chain([Step::Restart]) {
                match step {
                    Step::Act(n, operation) => match ledger.submit(pair(n).account(), operation, None).await {
                        Ok(_) | Err(LedgerError::Refused(_)) => {}
                        Err(error) => panic!("{error}"),
                    },
                    Step::Blocks(count) => {
                        for _ in 0..count {
                            ledger.advance().await.unwrap();
                        }
                    }
                    Step::Restart => {
                        let before = ledger.state();
                        ledger.close().await;
                        ledger = LocalLedger::open(&path, &opening()).await.unwrap();
                        assert_eq!(ledger.state(), before);
                    }
                }
            }
            ledger.close().await;
        });
    }
}
