//! Nodes that lie, hang, fail, talk nonsense or never stop: the reason is told, and another one takes over.

use std::time::{Duration, Instant};

use state::{BlockRef, Node, NodeConfig, NodeError, Reader, Unavailable};
use testkit::{Fault, Proxy};

use crate::world::{CHAIN, World, node_config, reader_config, soon};

/// For whoever answers, if wrongly: nobody else is asked meanwhile, however busy the machine is.
fn patient(endpoints: &[&str]) -> NodeConfig {
    NodeConfig {
        max_response_bytes: 1 << 20,
        recheck: Duration::ZERO,
        ..node_config(endpoints)
    }
}

/// For whoever never answers.
fn impatient(endpoints: &[&str]) -> NodeConfig {
    NodeConfig {
        request_timeout: Duration::from_secs(4),
        hedge_after: Duration::from_millis(500),
        ..patient(endpoints)
    }
}

fn config(fault: &Fault, endpoints: &[&str]) -> NodeConfig {
    match fault {
        Fault::Hang => impatient(endpoints),
        _ => patient(endpoints),
    }
}

fn faults() -> Vec<(Fault, &'static str)> {
    vec![
        (Fault::ChainId(5), "chain 5, not 31337"),
        (Fault::Hang, "no answer within"),
        (Fault::Unavailable, "HTTP 503"),
        (Fault::Garbage, "no JSON-RPC"),
        (Fault::Flood(4 << 20), "more than 1048576 bytes"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_wrong_with_the_first_endpoint_the_second_takes_over() {
    let Some(world) = World::new().await else { return };
    let good = world.anvil.http();
    for (number, (fault, reason)) in faults().into_iter().enumerate() {
        let proxy = Proxy::before(&good, Duration::ZERO).await;
        let node = Node::connect(config(&fault, &[proxy.url(), &good])).await.unwrap();
        let reader = Reader::new(node.clone(), reader_config()).await.unwrap();
        proxy.set_fault(Some(fault.clone()));
        let swap = world.swap(1 + number).await;
        let recording = reader.prestate(reader.head().hash(), &swap, soon()).await.unwrap();
        assert!(recording.outcome.execution.is_some());
        if fault != Fault::Hang {
            let health = &node.health()[0];
            assert!(!health.usable, "{fault:?}");
            assert!(
                health.reason.as_deref().unwrap().contains(reason),
                "{fault:?}: {health:?}"
            );
        }
        assert!(node.health()[1].usable);
        reader.advance(world.mine().await).await.unwrap();
        world.assert_true(&reader.head()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_nobody_else_the_reason_is_told_in_time_and_it_recovers() {
    let Some(world) = World::new().await else { return };
    for (fault, reason) in faults() {
        let proxy = world.proxy(Duration::ZERO).await;
        let node = Node::connect(config(&fault, &[proxy.url()])).await.unwrap();
        let reader = Reader::new(node, reader_config()).await.unwrap();
        proxy.set_fault(Some(fault.clone()));
        let swap = world.swap(1).await;
        let error = reader.prestate(reader.head().hash(), &swap, soon()).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{fault:?}: {error}");
        proxy.set_fault(None);
        let recovered = reader.prestate(reader.head().hash(), &swap, soon()).await;
        assert!(recovered.is_ok(), "{fault:?}: {recovered:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_slow_is_not_waited_for() {
    let Some(world) = World::new().await else { return };
    let (slow, quick) = (world.proxy(Duration::ZERO).await, world.proxy(Duration::ZERO).await);
    let config = NodeConfig {
        request_timeout: Duration::from_secs(120),
        // Long enough for a quick one on a busy machine: it alone is asked then.
        hedge_after: Duration::from_secs(3),
        recheck: Duration::from_secs(3600),
        ..node_config(&[slow.url(), quick.url()])
    };
    let node = Node::connect(config).await.unwrap();
    let reader = Reader::new(node.clone(), reader_config()).await.unwrap();
    // Longer than anybody here waits.
    slow.set_delay(Duration::from_secs(100));
    let (first, second) = (world.swap(1).await, world.swap(2).await);
    let before = quick.round_trips();
    let recording = reader.prestate(reader.head().hash(), &first, soon()).await.unwrap();
    assert_eq!((recording.round_trips, quick.round_trips() - before), (1, 1));
    // And it is known now: nothing is lost by asking it first again.
    let asked = slow.round_trips();
    reader.prestate(reader.head().hash(), &second, soon()).await.unwrap();
    assert_eq!(slow.round_trips(), asked, "the quick one is asked first");
    assert!(node.health().iter().all(|endpoint| endpoint.usable), "slow is no fault");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_waited_for_and_what_does_not_is_told_at_once() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    let busy = || Some(Fault::Once(Box::new(Fault::Unavailable)));
    let swap = world.swap(1).await;
    for (retries, answered) in [(0, false), (2, true)] {
        let config = NodeConfig {
            retries,
            retry_pause: Duration::from_millis(5),
            ..patient(&[proxy.url()])
        };
        let reader = Reader::new(Node::connect(config).await.unwrap(), reader_config())
            .await
            .unwrap();
        proxy.set_fault(busy());
        let recording = reader.prestate(reader.head().hash(), &swap, soon()).await;
        assert_eq!(recording.is_ok(), answered, "{recording:?}");
    }
    let node = Node::connect(patient(&[proxy.url()])).await.unwrap();
    proxy.set_fault(Some(Fault::ChainId(5)));
    let before = proxy.round_trips();
    let error = node.block(BlockRef::Latest, false, soon()).await.unwrap_err();
    assert!(error.to_string().contains("chain 5"), "{error}");
    assert_eq!(proxy.round_trips() - before, 1, "another chain does not pass");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_told_and_a_deadline_is_kept() {
    let Some(world) = World::new().await else { return };
    let proxy = world.proxy(Duration::ZERO).await;
    let node = Node::connect(patient(&[proxy.url()])).await.unwrap();
    let reader = Reader::new(node.clone(), reader_config()).await.unwrap();
    let swap = world.swap(1).await;
    proxy.set_fault(Some(Fault::Error(-32000, "database is locked".into())));
    let error = reader.prestate(reader.head().hash(), &swap, soon()).await.unwrap_err();
    assert!(error.to_string().contains("database is locked"), "{error}");
    proxy.set_fault(Some(Fault::Hang));
    let now = Instant::now();
    let error = reader.prestate(reader.head().hash(), &swap, now).await.unwrap_err();
    assert!(matches!(error, Unavailable::Deadline | Unavailable::Node(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_of_another_chain_is_never_used_and_none_at_all_is_an_error() {
    let Some(world) = World::new().await else { return };
    let good = world.anvil.http();
    let liar = world.proxy(Duration::ZERO).await;
    liar.set_fault(Some(Fault::ChainId(1)));
    let config = NodeConfig {
        chain_id: Some(CHAIN),
        ..patient(&[liar.url(), &good])
    };
    let node = Node::connect(config.clone()).await.unwrap();
    assert_eq!(node.chain_id(), CHAIN);
    assert!(!node.health()[0].usable);
    assert!(node.block(BlockRef::Latest, false, soon()).await.unwrap().is_some());
    let alone = NodeConfig {
        endpoints: config.endpoints[..1].to_vec(),
        ..config
    };
    let error = Node::connect(alone).await.unwrap_err();
    assert!(error.to_string().contains("chain 1, not 31337"), "{error}");
    assert_eq!(
        Node::connect(NodeConfig::default()).await.unwrap_err(),
        NodeError::NoEndpoints
    );
    let odd = patient(&["ftp://127.0.0.1"]);
    assert!(Node::connect(odd).await.unwrap_err().to_string().contains("ftp"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_does_the_same() {
    let Some(world) = World::new().await else { return };
    let node = Node::connect(patient(&[&world.anvil.ws()])).await.unwrap();
    let reader = Reader::new(node, reader_config()).await.unwrap();
    let swap = world.swap(1).await;
    let recording = reader.prestate(reader.head().hash(), &swap, soon()).await.unwrap();
    assert_eq!(recording.round_trips, 1);
    reader.advance(world.mine().await).await.unwrap();
    world.assert_true(&reader.head()).await;
}
