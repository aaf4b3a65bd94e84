//! Calls and their answers: what is done, what is refused, and what a server tells of itself.

use chain::{Ledger, LedgerError, Refusal, wire};

use super::TEMPO;
use crate::world::{TAO, World, axon, overrides, pair, weights};

#[tokio::test]
async fn a_subnet_lives_over_grpc() {
    let home = tempfile::tempdir().unwrap();
    let world = World::open(home.path(), overrides(TEMPO)).await;
    let ledger = &world.remote;
    world.until(1).await;

    for n in 1..=3 {
        let registration = ledger.register(&pair(n)).await.unwrap();
        assert_eq!((registration.uid, registration.block), (u16::from(n), 1));
    }
    assert_eq!(ledger.add_stake(&pair(1), 1500 * TAO).await.unwrap(), 1500 * TAO);
    assert_eq!(ledger.serve_axon(&pair(2), axon("127.0.0.1", 8091)).await.unwrap(), 1);
    world.until(5).await;
    assert_eq!(
        ledger
            .set_weights(&pair(1), weights(&[(2, 3), (3, 1)], 0))
            .await
            .unwrap(),
        5
    );
    assert_eq!(ledger.weights(1).await.unwrap(), [(2, 65535), (3, 21845)]);
    assert_eq!(ledger.weights(2).await.unwrap(), []);
    world.until(10).await;

    let metagraph = ledger.metagraph().await.unwrap();
    assert_eq!(
        metagraph,
        world.state().metagraph(),
        "what is read over the wire is what the ledger knows"
    );
    assert_eq!(
        (ledger.block().await.unwrap(), metagraph.block, metagraph.tempo),
        (10, 10, 10)
    );
    assert_eq!(metagraph.next_epoch_block(), 20);
    let shares: Vec<f64> = metagraph.neurons.iter().map(|n| n.incentive_share).collect();
    assert_eq!(shares, [0.0, 0.0, 0.75, 0.25]);
    let validator = metagraph.by_hotkey(&pair(1).account()).unwrap();
    assert!(validator.validator_permit && validator.weights_known && validator.dividends == 65535);
    let miner = metagraph.by_uid(2).unwrap();
    assert_eq!(
        (miner.axon.unwrap().info, miner.axon.unwrap().block),
        (axon("127.0.0.1", 8091), 1)
    );
    assert_eq!(ledger.hyperparameters().await.unwrap(), world.state().params);
}

#[tokio::test]
async fn refusals_arrive_by_name() {
    let home = tempfile::tempdir().unwrap();
    let world = World::open(home.path(), overrides(TEMPO)).await;
    let ledger = &world.remote;
    world.until(1).await;
    let refused = |refusal| Err(LedgerError::Refused(refusal));

    let nobody = ledger.set_weights(&pair(9), weights(&[(0, 1)], 0)).await;
    assert_eq!(nobody, refused(Refusal::HotKeyNotRegisteredInSubNet));
    assert_eq!(
        ledger.add_stake(&pair(9), 1).await,
        refused(Refusal::HotKeyAccountNotExists)
    );
    ledger.register(&pair(1)).await.unwrap();
    let again = ledger.register(&pair(1)).await.map(|r| r.block);
    assert_eq!(again, refused(Refusal::HotKeyAlreadyRegisteredInSubNet));
    ledger.add_stake(&pair(1), 1000 * TAO).await.unwrap();
    let too_fast = ledger.set_weights(&pair(1), weights(&[(0, 1)], 0)).await;
    assert_eq!(too_fast, refused(Refusal::SettingWeightsTooFast { retry_at_block: 5 }));
    assert_eq!(ledger.weights(7).await, Err(LedgerError::Refused(Refusal::UidNotFound)));
    let state = world.state();
    assert!(state.weights.is_empty() && state.count() == 2, "nothing of it happened");
}

#[tokio::test]
async fn health_and_reflection_are_served() {
    let home = tempfile::tempdir().unwrap();
    let world = World::open(home.path(), overrides(TEMPO)).await;
    let channel = tonic::transport::Endpoint::from_shared(world.served.url())
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest {
        service: wire::SERVICE.to_owned(),
    };
    let status = health.check(request).await.unwrap().into_inner().status();
    assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
    let descriptors = String::from_utf8_lossy(protos::FILE_DESCRIPTOR_SET).into_owned();
    assert!(descriptors.contains("SetWeightsCall"));
}
