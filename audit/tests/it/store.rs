//! The auditor's database, on SQLite and on PostgreSQL: the same stories, the same ends.

use alloy::primitives::{Address, B256, U256};
use audit::rule::{NO_LATENCY, Outcome, Row};
use audit::store::{Bounty, Claim, ClaimState, Counted, Owner, Report, ReportState, Sample, Store};
use node::database::Place;

const ME: Owner = Owner {
    chain_id: 31_337,
    contract: Address::repeat_byte(7),
    node: 3,
};

fn sample(subject: u32, at: u64, outcome: Outcome, latency: Option<u32>) -> Sample {
    Sample {
        subject,
        row: Row { at, outcome, latency },
        wall_ms: 5,
        step: "head".to_owned(),
        reason: "'); DROP TABLE sample; --".to_owned(),
    }
}

fn report(subject: u32, epoch: u64, closes: u64) -> Report {
    Report {
        subject,
        epoch,
        failed: 1,
        known: 8,
        latency_us: NO_LATENCY,
        closes,
        state: ReportState::Open,
        batch: 0,
        tx_hash: String::new(),
        block: 0,
        reason: String::new(),
        wall_ms: 9,
    }
}

fn counted(subject: u32, epoch: u64, refused: Option<&str>) -> Counted {
    Counted {
        subject,
        epoch,
        refused: refused.map(str::to_owned),
        tx_hash: B256::repeat_byte(1),
        block: 44,
        downtime: 2,
        latency_us: 700,
    }
}

async fn state(store: &Store, subject: u32, epoch: u64) -> ReportState {
    store.report(subject, epoch).await.unwrap().unwrap().state
}

async fn samples_are_kept_by_time_and_forgotten(store: &Store) {
    let ticks = [
        vec![
            sample(1, 100, Outcome::Up, Some(250)),
            sample(2, 100, Outcome::Down, None),
        ],
        // The chain stands still: another tick at the same time.
        vec![sample(1, 100, Outcome::Unknown, None)],
        vec![sample(1, 400, Outcome::Up, Some(u32::MAX - 1))],
    ];
    for tick in &ticks {
        store.add_samples(tick).await.unwrap();
    }
    assert_eq!(
        store.samples(Some(1), 100, 399).await.unwrap(),
        [ticks[0][0].clone(), ticks[1][0].clone()]
    );
    assert_eq!(store.samples(None, 0, u64::MAX).await.unwrap().len(), 4);
    assert_eq!(store.forget_samples(400).await.unwrap(), 3);
    assert_eq!(store.samples(None, 0, u64::MAX).await.unwrap(), ticks[2]);
}

async fn a_verdict_is_sealed_once_and_free_again_when_its_transaction_fails(store: &Store) {
    assert!(store.add_report(&report(1, 5, 1_000)).await.unwrap());
    let other = Report {
        failed: 7,
        ..report(1, 5, 1_000)
    };
    assert!(!store.add_report(&other).await.unwrap(), "its numbers are fixed");
    store.add_report(&report(2, 5, 900)).await.unwrap();
    let (first, carried) = store.seal_batch(&[(1, 5), (2, 5), (9, 9)]).await.unwrap().unwrap();
    let ids: Vec<u32> = carried.iter().map(|report| report.subject).collect();
    assert_eq!(
        (ids, carried[1].failed),
        (vec![2, 1], 1),
        "the first to close goes first"
    );
    assert_eq!(store.seal_batch(&[(1, 5), (2, 5)]).await.unwrap(), None);
    assert_eq!(store.sent_batches().await.unwrap(), [first]);

    store.advance(&[counted(2, 5, None)], &[], 50).await.unwrap();
    store.reopen_batch(first, "reverted").await.unwrap();
    assert_eq!(
        (state(store, 1, 5).await, state(store, 2, 5).await),
        (ReportState::Open, ReportState::Counted)
    );
    let (second, carried) = store.seal_batch(&[(1, 5), (2, 5)]).await.unwrap().unwrap();
    assert!(second > first, "no number is given twice: it is the transaction's name");
    assert_eq!(carried.len(), 1);
    store.reopen_report(1, 5, "too early").await.unwrap();
    assert_eq!(store.close_reports(999).await.unwrap(), []);
    let closed = store.close_reports(1_000).await.unwrap();
    assert_eq!(
        (closed.len(), closed[0].reason.as_str()),
        (1, "its window is over; too early")
    );
    assert_eq!(store.sent_batches().await.unwrap(), [0_u64; 0]);
}

async fn the_contract_has_the_last_word(store: &Store) {
    store.add_report(&report(1, 6, 1_000)).await.unwrap();
    store.refuse_report(1, 6, "said nothing of it").await.unwrap();
    store.advance(&[counted(1, 6, None)], &[], 0).await.unwrap();
    assert_eq!(state(store, 1, 6).await, ReportState::Counted);
    // Nothing after it takes that back.
    store
        .advance(&[counted(1, 6, Some("sent already"))], &[], 0)
        .await
        .unwrap();
    store.refuse_report(1, 6, "x").await.unwrap();
    assert_eq!(state(store, 1, 6).await, ReportState::Counted);
    // One whose row was lost with the file comes back from the event.
    store.advance(&[counted(8, 2, Some("late"))], &[], 0).await.unwrap();
    let found = store.report(8, 2).await.unwrap().unwrap();
    assert_eq!(
        (found.state, found.failed, found.reason.as_str()),
        (ReportState::NotCounted, 2, "late")
    );
}

async fn claims_and_bounties_stand_once(store: &Store) {
    let claim = Claim {
        epoch: 4,
        attempt: 1,
        state: ClaimState::Sent,
        tx_hash: String::new(),
        block: 0,
        reason: String::new(),
        wall_ms: 1,
    };
    store.set_claim(&claim).await.unwrap();
    assert_eq!(store.sent_claims().await.unwrap(), std::slice::from_ref(&claim));
    let done = Claim {
        state: ClaimState::Done,
        attempt: 2,
        ..claim
    };
    store.set_claim(&done).await.unwrap();
    assert_eq!(
        (store.claim(4).await.unwrap(), store.sent_claims().await.unwrap()),
        (Some(done), vec![])
    );

    let bounty = Bounty {
        tx_hash: B256::repeat_byte(9).to_string(),
        log_index: 3,
        block: 70,
        at: 1_700_000_000,
        epoch: 4,
        amount: U256::MAX,
        downtime: 12,
        latency_us: 800,
    };
    for block in [60, 80, 70] {
        store.advance(&[], std::slice::from_ref(&bounty), block).await.unwrap();
    }
    assert_eq!(store.bounties(10).await.unwrap(), std::slice::from_ref(&bounty));
    assert_eq!(store.bounty_of(&bounty.tx_hash).await.unwrap(), Some(bounty));
    assert_eq!(store.read_to().await.unwrap(), Some(80), "it never goes back");
}

async fn another_nodes_database_is_refused(store: &Store) {
    store.own(ME, 1).await.unwrap();
    assert_eq!(store.read_to().await.unwrap(), Some(80), "what is read stays read");
    for other in [Owner { node: 4, ..ME }, Owner { chain_id: 1, ..ME }] {
        let refused = store.own(other, 0).await.unwrap_err().to_string();
        assert!(
            refused.contains("node 3") && refused.contains("one of its own"),
            "{refused}"
        );
    }
}

async fn all(place: Place) {
    let store = Store::open(place.clone()).await.unwrap();
    assert_eq!(store.read_to().await.unwrap(), None);
    store.own(ME, 10).await.unwrap();
    samples_are_kept_by_time_and_forgotten(&store).await;
    a_verdict_is_sealed_once_and_free_again_when_its_transaction_fails(&store).await;
    the_contract_has_the_last_word(&store).await;
    claims_and_bounties_stand_once(&store).await;
    store.close().await;
    let again = Store::open(place).await.unwrap();
    assert_eq!(state(&again, 1, 6).await, ReportState::Counted);
    another_nodes_database_is_refused(&again).await;
    again.close().await;
}

#[tokio::test]
async fn on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    all(Place::File(folder.path().join("a b?c.db"))).await;
}

#[tokio::test]
async fn on_postgresql() {
    let Some(server) = testkit::postgres() else { return };
    all(server.url().parse().unwrap()).await;
}
