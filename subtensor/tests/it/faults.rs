//! What goes wrong between this room and the chain's nodes: connections lost in mid-wait, error answers, silence, foreign chains; and
//! that nothing then happens twice, or is believed before it is final.

use std::sync::Arc;
use std::time::Duration;

use chain::commit::hash;
use chain::{Keypair, Ledger, LedgerError, Refusal, TimelockedCommit, WeightsCall, WeightsReveal};
use subtensor::{Options, Subtensor};
use subxt::dynamic::{At, Value};

use crate::data::data;
use crate::node::{NEWS, Node};
use crate::world::{NETUID, World, account};

const SUBMIT: &str = "author_submitAndWatchExtrinsic";

fn keys() -> [Keypair; 2] {
    [1, 2].map(|seed| Keypair::from_seed([seed; 32]))
}

/// A subnet of two neurons.
fn world(instant: bool) -> Option<Arc<World>> {
    let world = World::new(&data()?, instant);
    let keys = keys();
    world.subnet(&[&keys[0], &keys[1]]);
    Some(Arc::new(world))
}

fn options() -> Options {
    Options {
        netuid: NETUID,
        deadline: Duration::from_secs(60),
        finality: Duration::from_secs(120),
        coldkey: None,
    }
}

fn chain_at(nodes: &[&Node], options: Options) -> Arc<Subtensor> {
    let endpoints: Vec<String> = nodes.iter().map(|node| node.url.clone()).collect();
    Arc::new(Subtensor::new(&endpoints, None, options))
}

fn weights() -> WeightsCall {
    WeightsCall {
        uids: vec![0, 1],
        values: vec![1, 65535],
        version_key: 3,
    }
}

#[tokio::test]
async fn weights_are_set_once_though_the_connection_is_lost_while_they_wait() {
    let Some(world) = world(false) else { return };
    let (first, second) = (Node::start(&world).await, Node::start(&world).await);
    let chain = chain_at(&[&first, &second], options());
    let setting = tokio::spawn({
        let chain = Arc::clone(&chain);
        async move { chain.set_weights(&keys()[0], weights()).await }
    });
    world.until(|world| world.pool() == 1).await;
    first.until_asked(SUBMIT, 1).await;
    first.cut(true);
    // The other node has it in its pool already: it is not taken twice.
    second.until_asked(SUBMIT, 1).await;
    assert_eq!((world.pool(), world.offered()), (1, 2));
    world.include();
    world.finalize();
    assert_eq!(setting.await.unwrap(), Ok(world.block()));

    let calls = world.calls().await;
    assert_eq!(calls.len(), 1, "{calls:?}");
    let (name, arguments) = &calls[0];
    assert_eq!(name, "SubtensorModule.set_weights");
    let numbers = |name: &str| -> Vec<u128> {
        let list = arguments.at(name).unwrap();
        (0..2).map(|at| list.at(at).and_then(Value::as_u128).unwrap()).collect()
    };
    assert_eq!((numbers("dests"), numbers("weights")), (vec![0, 1], vec![1, 65535]));
    assert_eq!(arguments.at("version_key").and_then(Value::as_u128), Some(3));
}

#[tokio::test]
async fn an_extrinsic_without_an_answer_is_looked_for_and_not_made_again() {
    let Some(world) = world(true) else { return };
    let (first, second) = (Node::start(&world).await, Node::start(&world).await);
    let chain = chain_at(&[&first, &second], options());
    // The node takes it, a block is made of it, and the connection is gone before a word about it.
    first.cut_after(SUBMIT);
    let commit = hash::commit(
        &keys()[0].account(),
        NETUID,
        &WeightsReveal {
            uids: vec![1],
            values: vec![1],
            salt: vec![1; 8],
            version_key: 0,
        },
    );
    assert_eq!(chain.commit_weights(&keys()[0], commit).await, Ok(world.block()));
    assert_eq!(world.calls().await.len(), 1);
    assert_eq!(
        (world.offered(), second.asked(SUBMIT)),
        (1, 0),
        "found on the chain, so not offered again"
    );
}

#[tokio::test]
async fn what_is_in_a_block_is_done_only_once_it_is_final() {
    let Some(world) = world(false) else { return };
    let node = Node::start(&world).await;
    let chain = chain_at(&[&node], options());
    let sealed = TimelockedCommit {
        ciphertext: vec![7; 300],
        reveal_round: 1_000,
        version: 4,
    };
    let committing = tokio::spawn({
        let chain = Arc::clone(&chain);
        async move { chain.commit_timelocked(&keys()[0], sealed).await }
    });
    // That it is in the pool.
    node.until_asked(NEWS, 1).await;
    world.include();
    let included_in = world.block();
    for _ in 0..3 {
        world.include();
    }
    // That it is in a block; what is read after that on the same connection is read with the news seen.
    node.until_asked(NEWS, 2).await;
    assert_eq!(
        chain.block().await,
        Ok(included_in - 1),
        "reads are of the newest final block"
    );
    assert!(!committing.is_finished(), "in a block, and not final");
    world.finalize();
    assert_eq!(committing.await.unwrap(), Ok(included_in));
}

#[tokio::test]
async fn an_old_nonce_is_renewed_and_a_refusal_is_not_asked_for_again() {
    let Some(world) = world(true) else { return };
    let node = Node::start(&world).await;
    let chain = chain_at(&[&node], options());
    let invalid = |why: &str| (1010, "Invalid Transaction", why.to_owned());
    node.refuse(SUBMIT, invalid("Transaction is outdated"));
    node.refuse(SUBMIT, (1014, "Priority is too low", "(1 vs 1)".to_owned()));
    assert_eq!(chain.set_weights(&keys()[0], weights()).await, Ok(world.block()));
    assert_eq!(node.asked(SUBMIT), 3);

    node.refuse(SUBMIT, invalid("Custom error: 15"));
    let sealed = TimelockedCommit {
        ciphertext: vec![7],
        reveal_round: 1,
        version: 4,
    };
    let refused = chain.commit_timelocked(&keys()[0], sealed).await.unwrap_err();
    assert_eq!(refused, Refusal::InvalidRevealRound.into());
    assert_eq!((node.asked(SUBMIT), world.calls().await.len()), (4, 1));
}

#[tokio::test]
async fn a_pool_that_never_takes_it_is_given_up_as_busy() {
    let Some(world) = world(true) else { return };
    let node = Node::start(&world).await;
    let chain = chain_at(&[&node], options());
    for _ in 0..10 {
        node.refuse(SUBMIT, (1016, "Immediately dropped", "The pool is full".to_owned()));
    }
    assert_eq!(chain.set_weights(&keys()[0], weights()).await, Err(LedgerError::Busy));
    assert_eq!(node.asked(SUBMIT), 5);
    assert!(world.calls().await.is_empty());
}

#[tokio::test]
async fn a_call_that_fails_in_its_block_is_a_refusal_by_the_chains_name() {
    let Some(world) = world(true) else { return };
    let node = Node::start(&world).await;
    let chain = chain_at(&[&node], options());
    let netuid = || Value::u128(NETUID.into());
    world.plant("WeightsSetRateLimit", vec![netuid()], &Value::u128(100));
    for (error, refusal) in [
        // Block 50 was the last update.
        (
            "SettingWeightsTooFast",
            Refusal::SettingWeightsTooFast { retry_at_block: 150 },
        ),
        ("NeuronNoValidatorPermit", Refusal::NeuronNoValidatorPermit),
        ("CommitRevealEnabled", Refusal::CommitRevealEnabled),
        ("UidVecContainInvalidOne", Refusal::UidVecContainInvalidOne),
        ("HotKeyNotRegisteredInSubNet", Refusal::HotKeyNotRegisteredInSubNet),
    ] {
        world.fail_next(error);
        assert_eq!(
            chain.set_weights(&keys()[0], weights()).await,
            Err(refusal.into()),
            "{error}"
        );
    }
    assert_eq!(
        chain.set_weights(&keys()[0], weights()).await,
        Ok(world.block()),
        "and then it goes on"
    );
}

#[tokio::test]
async fn a_node_that_is_down_is_passed_over_and_taken_again_when_it_is_back() {
    let Some(world) = world(true) else { return };
    let (first, second) = (Node::start(&world).await, Node::start(&world).await);
    first.cut(true);
    let chain = chain_at(&[&first, &second], options());
    assert_eq!(chain.block().await, Ok(world.block()));
    assert_eq!(first.asked("chain_getFinalizedHead"), 0);

    first.cut(false);
    second.cut(true);
    assert_eq!(chain.metagraph().await.unwrap().neurons.len(), 2);
    assert!(first.asked("chain_getFinalizedHead") > 0);

    first.cut(true);
    let gone = chain.block().await.unwrap_err();
    assert!(
        matches!(&gone, LedgerError::Unavailable { endpoint, .. } if endpoint.contains(&first.url) && endpoint.contains(&second.url)),
        "{gone:?}"
    );
}

#[tokio::test]
async fn a_node_that_falls_silent_is_left_for_one_that_answers() {
    let Some(world) = world(true) else { return };
    let (first, second) = (Node::start(&world).await, Node::start(&world).await);
    let hasty = Options {
        deadline: Duration::from_secs(12),
        ..options()
    };
    let chain = chain_at(&[&first, &second], hasty.clone());
    assert_eq!(chain.block().await, Ok(world.block()));
    assert_eq!(second.asked("chain_getFinalizedHead"), 0);
    first.fall_silent();
    assert_eq!(chain.block().await, Ok(world.block()), "within one deadline");
    assert_eq!(chain.set_weights(&keys()[0], weights()).await, Ok(world.block()));

    // Alone, its silence ends with the deadline.
    let alone = chain_at(
        &[&first],
        Options {
            deadline: Duration::from_millis(200),
            ..hasty
        },
    );
    let silent = alone.block().await.unwrap_err();
    assert!(
        matches!(silent, LedgerError::Deadline { .. } | LedgerError::Unavailable { .. }),
        "{silent:?}"
    );
}

#[tokio::test]
async fn an_extrinsic_of_which_nothing_is_heard_ends_with_the_deadline() {
    let Some(world) = world(false) else { return };
    let node = Node::start(&world).await;
    let chain = chain_at(
        &[&node],
        Options {
            finality: Duration::from_secs(5),
            ..options()
        },
    );
    // Connected: the time is the extrinsic's own.
    assert_eq!(chain.block().await, Ok(world.block()));
    let unheard = chain.set_weights(&keys()[0], weights()).await.unwrap_err();
    assert!(
        matches!(unheard, LedgerError::Deadline { after_ms: 5_000, .. }),
        "{unheard:?}"
    );
    // A validator that starts again signs with the same nonce; the pool holds the first, and only one of them is ever taken.
    let restarted = chain_at(&[&node], options());
    let setting = tokio::spawn(async move { restarted.set_weights(&keys()[0], weights()).await });
    node.until_asked(SUBMIT, 3).await;
    world.include();
    world.finalize();
    world.until(|world| world.pool() == 1).await;
    world.include();
    world.finalize();
    assert_eq!(setting.await.unwrap(), Ok(world.block()));
    assert_eq!(
        world.calls().await.len(),
        2,
        "one before the restart and one after it, each once"
    );
}

#[tokio::test]
async fn a_node_of_another_chain_is_never_used() {
    let Some(world) = world(true) else { return };
    let node = Node::start(&world).await;
    let foreign = Subtensor::new(std::slice::from_ref(&node.url), Some([7; 32]), options());
    for reason in [
        foreign.block().await.unwrap_err().to_string(),
        foreign
            .set_weights(&keys()[0], weights())
            .await
            .unwrap_err()
            .to_string(),
    ] {
        assert!(
            reason.contains("foreign network") && reason.contains(&hex::encode([7; 32])),
            "{reason}"
        );
    }
    assert_eq!(world.offered(), 0);
}

#[tokio::test]
async fn the_metagraph_is_read_out_of_the_storages_of_the_newest_runtime() {
    let Some(world) = world(true) else { return };
    let node = Node::start(&world).await;
    let chain = chain_at(&[&node], options());
    let [one, two] = keys();
    let axon = [
        ("block", Value::u128(77)),
        ("version", Value::u128(1)),
        ("ip", Value::u128(0xcb00_7107)),
        ("port", Value::u128(8091)),
        ("ip_type", Value::u128(4)),
        ("protocol", Value::u128(4)),
        ("placeholder1", Value::u128(0)),
        ("placeholder2", Value::u128(0)),
    ];
    let netuid = || Value::u128(NETUID.into());
    world.plant(
        "Axons",
        vec![netuid(), account(&two.account())],
        &Value::named_composite(axon),
    );
    let stake = vec![account(&one.account()), netuid()];
    world.plant("TotalHotkeyAlpha", stake, &Value::u128(5_000_000_000));
    world.include();
    world.finalize();
    let metagraph = chain.metagraph().await.unwrap();
    assert_eq!((metagraph.netuid, metagraph.block), (NETUID, world.block()));
    let neurons = &metagraph.neurons;
    assert_eq!((neurons[0].hotkey, neurons[0].stake), (one.account(), 5_000_000_000));
    assert_eq!(neurons[1].axon.unwrap().info.ip.to_string(), "203.0.113.7");
    assert!(
        neurons
            .iter()
            .all(|neuron| neuron.validator_permit && neuron.last_update == 50)
    );

    // Asked again at the same block, only the block is asked for.
    let asked = node.asked("state_getStorage");
    assert_eq!(chain.metagraph().await.unwrap(), metagraph);
    assert_eq!(node.asked("state_getStorage"), asked);
    let other = chain_at(
        &[&node],
        Options {
            netuid: 4_242,
            ..options()
        },
    );
    assert_eq!(other.metagraph().await.unwrap_err(), Refusal::SubnetNotExists.into());
}
