//! A base fee that runs away from a transaction that is out.

use alloy::primitives::U256;
use contracts::TestJob;
use serde_json::{Value, json};

use super::world::World;

/// The number in a JSON-RPC quantity.
fn number(value: &Value) -> u128 {
    u128::from_str_radix(&value.as_str().unwrap()[2..], 16).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_mined_is_replaced_at_the_same_nonce_with_both_fees_raised() {
    let Some(world) = World::start().await else { return };
    world.join(1, 1_000, "").await;
    let (target, _) = world.every_twenty_seconds().await;
    world.by_hand().await;
    let keeper = world.run(1).await;
    let waiting = async || {
        let pool = world.rpc("txpool_content", json!([])).await;
        let worker = format!("{:#x}", world.account(4));
        let by_address = pool["pending"].as_object().cloned().unwrap_or_default();
        let of_worker = by_address
            .into_iter()
            .find(|(address, _)| address.to_lowercase() == worker)
            .map(|(_, of)| of);
        let of_worker = of_worker.unwrap_or_default();
        of_worker
            .as_object()
            .and_then(|by_nonce| by_nonce.values().next().cloned())
    };
    world.until(&[&keeper], 20, async || waiting().await.is_some()).await;
    let first = waiting().await.unwrap();

    // 50 gwei from now on: many times what was offered.
    let count = async || world.view(target, &TestJob::countCall {}).await;
    let mut blocks = 0;
    let mut last = first.clone();
    while count().await == U256::ZERO {
        last = waiting().await.unwrap_or(last);
        world
            .rpc("anvil_setNextBlockBaseFeePerGas", json!(["0xba43b7400"]))
            .await;
        let block = world.mine().await;
        world.worked(&[&keeper], block).await;
        blocks += 1;
        assert!(blocks < 30, "{}", keeper.log());
    }
    assert_ne!(first["hash"], last["hash"], "it was replaced");
    assert_eq!(first["nonce"], last["nonce"]);
    for fee in ["maxFeePerGas", "maxPriorityFeePerGas"] {
        let (before, after) = (number(&first[fee]), number(&last[fee]));
        assert!(after * 1000 >= before * 1125, "{fee}: {before} to {after}");
    }
    assert!(number(&last["maxFeePerGas"]) <= 150_000_000_000, "the lane's cap");
    let mined = world.rpc("eth_getTransactionReceipt", json!([last["hash"]])).await;
    assert_eq!(mined["status"], "0x1");
    println!("replaced and mined after {blocks} blocks");
}
