//! Following the head: what the snapshot says is what the node says, whatever happened.

use std::time::Duration;

use alloy::primitives::U256;
use contracts::Token;
use engine::State as _;
use serde_json::{Value, json};
use state::{Change, Prefetch, Reader};
use testkit::Fault;

use crate::world::{World, soon};

/// Everybody moves something, and the market moves.
async fn traffic(world: &World, round: u64) {
    for (index, trader) in world.traders.iter().enumerate().skip(1).take(5) {
        let to = world.traders[(index + usize::try_from(round).unwrap()) % world.traders.len()];
        let value = U256::from(1000 + round);
        world.send(*trader, world.a, Token::transferCall { to, value }).await;
    }
    let swap = contracts::Router::swapCall {
        path: vec![world.pair],
        tokenIn: world.a,
        amountIn: U256::from(5_000_000_u64 + round),
        minOut: U256::ZERO,
        deadline: U256::MAX,
    };
    world.send(world.traders[6], world.router, swap).await;
}

/// The value after a change; `None` when that is not known.
fn after<T>(change: Change<T>, was: Option<T>) -> Option<T> {
    match change {
        Change::Kept => was,
        Change::Now(now) => Some(now),
        Change::Unknown => None,
    }
}

async fn read_all(world: &World, reader: &Reader) {
    for trader in 1..9 {
        let swap = world.swap(trader).await;
        reader.prestate(reader.head().hash(), &swap, soon()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_blocks_are_followed_by_what_they_changed() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    let reader = world.reader(proxy.url(), Prefetch::Trace).await;
    read_all(&world, &reader).await;
    let before = reader.head();
    for round in 0..4 {
        traffic(&world, round).await;
        let head = world.mine().await;
        let asked = proxy.round_trips();
        let changes = reader.advance(head).await.unwrap();
        assert_eq!(proxy.round_trips() - asked, 1, "one round trip for a block");
        assert_eq!(changes.len(), 1);
        assert!(!changes[0].reverted && changes[0].included.len() == 6 && !changes[0].diff.everything);
        assert_eq!(reader.head().hash(), head);
        assert!(reader.head().size() >= before.size() / 2, "nothing is fetched anew");
        assert!(world.assert_true(&reader.head()).await > 40);
    }
    assert!(reader.advance(reader.head().hash()).await.unwrap().is_empty());
    // What was given out before still answers for its own block.
    assert_eq!(reader.at(before.hash()).unwrap().hash(), before.hash());
    world.assert_true(&before).await;
    // The environment foretold is the one that came.
    let foretold = reader.head().head().next.clone();
    world.mine().await;
    let block: alloy::rpc::types::Block = world.rpc("eth_getBlockByNumber", json!(["latest", false])).await;
    assert_eq!(
        (foretold.number, Some(foretold.base_fee)),
        (block.header.number, block.header.base_fee_per_gas)
    );
    assert_eq!(foretold.excess_blob_gas, block.header.excess_blob_gas);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_steps_back_to_the_common_ancestor_and_leaves_true_state() {
    let Some(world) = World::new().await else { return };
    let reader = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    read_all(&world, &reader).await;
    let ancestor = reader.head().hash();
    for round in 1..4 {
        traffic(&world, round).await;
        let head = world.mine().await;
        reader.advance(head).await.unwrap();
    }
    let left = reader.head();
    let _: Value = world.rpc("anvil_reorg", json!([3, []])).await;
    let changes = reader.advance(world.newest().await).await.unwrap();
    let reverted: Vec<bool> = changes.iter().map(|change| change.reverted).collect();
    assert_eq!(reverted, [true, true, true, false, false, false]);
    assert_eq!(changes[0].block, left.hash());
    assert_eq!(changes[2].head.hash, ancestor);
    assert!(world.assert_true(&reader.head()).await > 40);
    // The way back names what it changed: the slot of a trader who had spent.
    let balance = contracts::layout::variable(contracts::Contract::Token, "balanceOf").unwrap();
    let slot = balance.of(world.traders[1]);
    assert!(matches!(changes[2].diff.slot(world.a, slot), Change::Now(_)));
    // Several blocks at once, after the reorg.
    for round in 0..3 {
        traffic(&world, round).await;
        world.mine().await;
    }
    assert_eq!(reader.advance(world.newest().await).await.unwrap().len(), 3);
    world.assert_true(&reader.head()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_node_does_not_tell_the_block_is_executed() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    let unsupported = |methods: &[&str]| Some(Fault::Unsupported(methods.iter().map(|m| (*m).to_owned()).collect()));
    let reader = world.reader(proxy.url(), Prefetch::Trace).await;
    read_all(&world, &reader).await;
    proxy.set_fault(unsupported(&["debug_traceBlockByHash"]));
    let told = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    for round in 0..2 {
        traffic(&world, round).await;
        let head = world.mine().await;
        let below = reader.head();
        let executed = reader.advance(head).await.unwrap();
        let traced = told.advance(head).await.unwrap();
        assert!(!executed[0].diff.everything);
        // It comes to what the node tells.
        let (executed, traced) = (&executed[0].diff, &traced[0].diff);
        for (address, change) in &traced.accounts {
            let was = below.account(*address).ok();
            assert_eq!(
                after(executed.account(*address), was),
                after(change.account, was),
                "{address}"
            );
            for slot in change.storage.keys() {
                let was = below.storage(*address, *slot).ok();
                let of = |diff: &state::Diff| after(diff.slot(*address, *slot), was);
                assert_eq!(of(executed), of(traced), "slot {slot:#x} of {address}");
            }
        }
        assert!(world.assert_true(&reader.head()).await > 40);
    }
    // And where even that cannot be checked, nothing is claimed.
    proxy.set_fault(unsupported(&["debug_traceBlockByHash", "eth_getBlockReceipts"]));
    traffic(&world, 9).await;
    let changes = reader.advance(world.mine().await).await.unwrap();
    assert!(changes[0].diff.everything);
    assert_eq!(reader.head().size(), 0);
    read_all(&world, &reader).await;
    assert!(world.assert_true(&reader.head()).await > 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_restarted_is_followed_on() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    let reader = world.reader(proxy.url(), Prefetch::Trace).await;
    read_all(&world, &reader).await;
    let dump: Value = world.rpc("anvil_dumpState", json!([])).await;
    let kept = reader.head().hash();
    // This block is lost with the old process.
    traffic(&world, 1).await;
    reader.advance(world.mine().await).await.unwrap();
    let restarted = testkit::anvil(testkit::Mining::Manual, &["--auto-impersonate"]).unwrap();
    let World {
        a,
        b,
        pair,
        router,
        traders,
        anvil,
        ..
    } = world;
    drop(anvil);
    proxy.set_upstream(&restarted.http());
    let world = World {
        provider: restarted.provider(),
        anvil: restarted,
        traders,
        a,
        b,
        pair,
        router,
    };
    let _: Value = world.rpc("anvil_loadState", json!([dump])).await;
    assert_eq!(world.newest().await, kept, "it comes back where it was saved");
    let changes = reader.advance(kept).await.unwrap();
    assert!(changes.len() == 1 && changes[0].reverted);
    traffic(&world, 2).await;
    let head = world.mine().await;
    reader.advance(head).await.unwrap();
    assert_eq!(reader.head().hash(), head);
    assert!(world.assert_true(&reader.head()).await > 40);
    read_all(&world, &reader).await;
    world.assert_true(&reader.head()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_nobody_knows_changes_nothing() {
    let Some(world) = World::new().await else { return };
    let reader = world.reader(&world.anvil.http(), Prefetch::Trace).await;
    let head = reader.head().hash();
    let unknown = engine::B256::repeat_byte(0xee);
    assert_eq!(
        reader.advance(unknown).await.unwrap_err(),
        state::Unavailable::UnknownHead(unknown)
    );
    assert_eq!(reader.head().hash(), head);
    let swap = world.swap(1).await;
    let error = reader.prestate(unknown, &swap, soon()).await.unwrap_err();
    assert_eq!(error, state::Unavailable::UnknownHead(unknown));
}
