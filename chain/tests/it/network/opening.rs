//! A database belongs to one ledger, and a ledger to one owner.

use chain::local::params::Overrides;
use chain::local::{LocalLedger, OpenError, Opening, StoreError};

use super::opening;
use crate::world::{TAO, pair};

#[tokio::test]
async fn one_database_has_one_ledger() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    let first = LocalLedger::open(&path, &opening()).await.unwrap();
    let error = LocalLedger::open(&path, &opening()).await.unwrap_err();
    assert!(matches!(error, OpenError::Store(StoreError::InUse(_))), "{error}");
    first.close().await;
    LocalLedger::open(&path, &opening()).await.unwrap().close().await;
}

#[tokio::test]
async fn a_ledger_opens_only_with_what_fits_it() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("ledger.db");
    let no_owner = Opening {
        owner: None,
        ..opening()
    };
    assert!(matches!(
        LocalLedger::open(&path, &no_owner).await,
        Err(OpenError::NoOwner)
    ));
    let rich = vec![
        (pair(1).account(), 20_000_000 * TAO),
        (pair(1).account(), 2_000_000 * TAO),
    ];
    let error = LocalLedger::open(
        &path,
        &Opening {
            endowments: rich,
            ..opening()
        },
    )
    .await
    .unwrap_err();
    assert!(matches!(error, OpenError::Endowments));

    let ledger = LocalLedger::open(&path, &opening()).await.unwrap();
    let genesis = ledger.genesis_id();
    ledger.close().await;
    let other = Opening {
        owner: Some(pair(5).account()),
        ..opening()
    };
    assert!(matches!(
        LocalLedger::open(&path, &other).await,
        Err(OpenError::OtherOwner { .. })
    ));
    let netuid = Overrides {
        netuid: Some(2),
        ..opening().overrides
    };
    let error = LocalLedger::open(
        &path,
        &Opening {
            overrides: netuid,
            ..no_owner.clone()
        },
    )
    .await
    .unwrap_err();
    assert!(matches!(error, OpenError::Params(_)), "{error}");
    let longer = Overrides {
        tempo: Some(99),
        ..opening().overrides
    };
    let ledger = LocalLedger::open(
        &path,
        &Opening {
            overrides: longer,
            ..no_owner
        },
    )
    .await
    .unwrap();
    assert_eq!((ledger.genesis_id(), ledger.state().params.tempo), (genesis, 99));
    ledger.close().await;
    // Given once, it stays.
    let ledger = LocalLedger::open(&path, &Opening::default()).await.unwrap();
    assert_eq!(ledger.state().params.tempo, 99);
    ledger.close().await;

    let foreign = home.path().join("foreign.db");
    std::fs::write(
        &foreign,
        "this is no database, and long enough to be looked at by SQLite".repeat(20),
    )
    .unwrap();
    let error = LocalLedger::open(&foreign, &opening()).await.unwrap_err();
    assert!(error.to_string().contains("foreign.db"), "{error}");
}
