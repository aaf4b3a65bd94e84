//! How a community grows, exactly; and what is said when it does not.

use std::collections::BTreeMap;

use community::mix::Mix;
use community::role::Role;
use community::row::Row;
use community::simulate::{self, broken, compare_golden};
use community::{Community, Founding};
use tokio_util::sync::CancellationToken;

use crate::common::{founding, home, means};

async fn ceremonies(founding: Founding, count: u64) -> (Vec<Row>, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut community = Community::found(&home(folder.path()), founding, means()).await.unwrap();
    let mut faults = Vec::new();
    for ceremony in 1..=count {
        simulate::ceremony(&mut community, &CancellationToken::new())
            .await
            .unwrap();
        let rows = community.store.rows(3).await.unwrap();
        let over: Vec<Row> = rows.into_iter().filter(|row| row.ceremony <= ceremony).collect();
        faults.extend(broken(&community.held.book, &over));
    }
    let mut rows = community.store.rows(count + 1).await.unwrap();
    rows.retain(|row| row.ceremony <= count);
    community.close().await;
    (rows, faults)
}

/// BOT-03, BOT-04, BOT-05.
#[tokio::test]
async fn seven_ceremonies_are_as_the_golden_vector_says_whatever_the_seed() {
    for seed in [1, 42] {
        let (rows, faults) = ceremonies(founding(seed), 7).await;
        compare_golden(&rows).unwrap();
        assert_eq!(rows.len(), 7);
        assert_eq!(
            rows[0].registered.bootstrappers,
            rows[0].registered.sum(),
            "only founders while nobody owns anything"
        );
        assert!(faults.is_empty(), "{faults:?}");
        assert!(
            rows.iter()
                .all(|row| row.undependable == 0 && row.excluded.is_empty() && row.unpaid == 0)
        );
    }
}

#[tokio::test]
async fn another_divider_deviates_and_names_the_ceremony() {
    let mut stricter = founding(1);
    stricter.spec.rules.newbie_divider = 3;
    let (rows, _) = ceremonies(stricter, 4).await;
    let deviation = compare_golden(&rows).unwrap_err();
    assert_eq!((deviation.ceremony, deviation.what), (4, "the supply"), "{deviation}");
}

/// BOT-20.
#[tokio::test]
async fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let mixed = |seed| Founding {
        mix: Mix::mixed(),
        ..founding(seed)
    };
    let bytes = |rows: &[Row]| serde_json::to_string(rows).unwrap();
    let (one, again, other) = tokio::join!(
        ceremonies(mixed(7), 4),
        ceremonies(mixed(7), 4),
        ceremonies(mixed(8), 4)
    );
    assert_eq!(bytes(&one.0), bytes(&again.0));
    assert_ne!(bytes(&one.0), bytes(&other.0));
}

/// BOT-19.
#[tokio::test]
async fn a_founder_who_never_comes_breaks_what_must_hold() {
    let mut absent = founding(1);
    absent.mix = Mix {
        roles: BTreeMap::from([(Role::NoShow, 1)]),
        ..Mix::default()
    };
    absent.spec.validators = 2;
    let (rows, faults) = ceremonies(absent, 3).await;
    assert_eq!(rows[0].undependable, 1, "two of ten say nothing dependable");
    assert_eq!(
        faults,
        [
            "ceremony 2: nobody owns anything",
            "ceremony 3: nobody owns anything",
            "ceremony 3: a population of 10 has not grown beyond its 10 founders"
        ]
    );
}
