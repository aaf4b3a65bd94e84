//! A ledger's database of the first version, as its users still have it, opened by this one: everything is there, and time goes on.

use std::path::Path;

use chain::local::params::Overrides;
use chain::local::{LocalLedger, Opening};
use chain::{AccountId, Ledger, WeightsCall};
use sqlx::migrate::Migrator;

use crate::world::{TAO, pair};

/// Hyperparameters as the first version wrote them, under its names.
const HYPERPARAMETERS: &str = r#"{"netuid":3,"tempo":20,"weights_rate_limit":5,"weights_version":2,"min_allowed_weights":1,
    "max_allowed_uids":256,"max_allowed_validators":128,"stake_threshold":1000000000000,"activity_cutoff":5000,
    "serving_rate_limit":50,"registration_burn":100000000,"emission_per_block":1000000000,
    "faucet_allowance":10000000000000,"loopback_axons":true}"#;

/// The first migration alone, and the rows of a subnet that has lived for five epochs.
async fn first_version(path: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let name = "0001_ledger.sql";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
    std::fs::copy(source, folder.path().join(name)).unwrap();
    let pool = node::database::open(path, &Migrator::new(folder.path()).await.unwrap())
        .await
        .unwrap();
    sqlx::query("INSERT INTO subnet VALUES (1, ?, ?, 107, 100, 5, 7000000001)")
        .bind([9u8; 32].as_slice())
        .bind(HYPERPARAMETERS)
        .execute(&pool)
        .await
        .unwrap();
    let axon = r#"{"block":9,"version":1,"ip":"203.0.113.7","port":8091,"protocol":4}"#;
    for (uid, stake, permit, share, earned, axon) in [
        (0u16, 0u64, true, 0.0f64, 0u64, None),
        (1, 2_050 * TAO, true, 0.0, 50 * TAO, None),
        (2, 37 * TAO, false, 0.75, 37 * TAO, Some(axon)),
        (3, 13 * TAO, false, 0.25, 13 * TAO, None),
    ] {
        sqlx::query("INSERT INTO neurons VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .bind(uid)
            .bind(pair(u8::try_from(uid).unwrap()).account().as_bytes().as_slice())
            .bind(i64::try_from(stake).unwrap())
            .bind(permit)
            .bind(i64::from(uid))
            .bind(if uid == 1 { 99i64 } else { i64::from(uid) })
            .bind((share * 65_535.0) as i64)
            .bind(if uid == 1 { 65_535i64 } else { 0 })
            .bind(share)
            .bind(i64::try_from(earned / 5).unwrap())
            .bind(i64::try_from(earned).unwrap())
            .bind(axon)
            .execute(&pool)
            .await
            .unwrap();
    }
    sqlx::query("INSERT INTO weights VALUES (1, '[[2,65535],[3,21845]]')")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO purses VALUES (?, 77, 2000000000000)")
        .bind(pair(1).account().as_bytes().as_slice())
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query("INSERT INTO nonces VALUES (?, 1234567)")
        .bind(pair(1).account().as_bytes().as_slice())
        .execute(&pool)
        .await
        .unwrap();
    pool.close().await;
}

#[tokio::test]
async fn a_database_of_the_first_version_goes_on_where_it_stood() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    first_version(&path).await;
    let with_faucet = Opening {
        overrides: Overrides {
            faucet: true,
            ..Overrides::default()
        },
        owner: Some(pair(0).account()),
        ..Opening::default()
    };
    let ledger = LocalLedger::open(&path, &with_faucet).await.unwrap();
    let state = ledger.state();
    assert_eq!(state.genesis_id, AccountId::new([9; 32]));
    let clock = state.clock;
    assert_eq!((clock.block, clock.last_epoch_block, clock.epoch_index), (107, 100, 5));
    assert_eq!(clock.pending_emission(), 7_000_000_001, "what was pending still is");
    assert_eq!(clock.issued, 7_000_000_001 + 100 * TAO);
    assert_eq!(
        ledger.recent_nonces(),
        [(pair(1).account(), 1_234_567)],
        "no request comes in twice"
    );
    let params = state.hyperparameters();
    assert_eq!(
        (
            params.netuid,
            params.tempo,
            params.weights_set_rate_limit,
            params.weights_version_key
        ),
        (3, 20, 5, 2)
    );
    assert_eq!((params.burn, params.stake_threshold), (TAO / 10, 1_000 * TAO));
    assert!(
        !params.commit_reveal_weights_enabled && !params.yuma3_on,
        "what is new does not set in by itself"
    );
    assert_eq!(state.neurons.len(), 4);
    let miner = state.by_hotkey(&pair(2).account()).unwrap();
    assert_eq!(
        (miner.uid, miner.stake, miner.earned, miner.emission),
        (2, 37 * TAO, 37 * TAO, 37 * TAO / 5)
    );
    assert_eq!((miner.incentive, miner.incentive_share), (49_151, 0.75));
    assert_eq!(miner.axon.unwrap().info.ip.to_string(), "203.0.113.7");
    let purse = state.purse(&pair(1).account());
    assert_eq!((purse.balance, purse.drawn), (77, 2_000 * TAO));
    assert_eq!(ledger.weights(1).await.unwrap(), [(2, 65_535), (3, 21_845)]);
    assert!(ledger.history(1, 0).await.unwrap().is_empty(), "it begins now");

    // It works: weights are set, the next epoch pays by them and is written down, and a new start finds it all.
    let call = WeightsCall {
        uids: vec![2, 3],
        values: vec![1, 1],
        version_key: 2,
    };
    ledger.set_weights(&pair(1), call).await.unwrap();
    while ledger.state().clock.epoch_index < 6 {
        ledger.advance().await.unwrap();
    }
    let before = ledger.state();
    assert_eq!(before.clock.block, 120);
    assert_eq!(
        before.neurons.iter().map(|n| n.incentive).collect::<Vec<_>>(),
        [0, 0, 32_767, 32_767]
    );
    assert!(before.neurons[1].dividends == 65_535 && before.bonds.contains_key(&1));
    let history = ledger.history(2, 0).await.unwrap();
    assert_eq!((history.len(), history[0].epoch), (1, 6));
    ledger.close().await;
    let ledger = LocalLedger::open(&path, &with_faucet).await.unwrap();
    assert_eq!(*ledger.state(), *before);
    assert_eq!(ledger.history(2, 0).await.unwrap(), history);
}

#[tokio::test]
async fn the_first_version_of_the_program_does_not_touch_what_this_one_wrote() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    first_version(&path).await;
    LocalLedger::open(&path, &Opening::default())
        .await
        .unwrap()
        .close()
        .await;
    let folder = tempfile::tempdir().unwrap();
    let name = "0001_ledger.sql";
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
    std::fs::copy(source, folder.path().join(name)).unwrap();
    let old = Migrator::new(folder.path()).await.unwrap();
    let error = node::database::open(&path, &old).await.unwrap_err().to_string();
    assert!(error.contains("ledger.db"), "{error}");
}
