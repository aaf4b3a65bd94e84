//! What was written is there, all or none of it, for one sender and one chain.

use alloy::primitives::Bytes;

use super::*;
use crate::fees::Fees;
use crate::lane::Lane;

fn request(key: &str) -> Request {
    Request::call(
        IdempotencyKey::new(key).unwrap(),
        Lane::Claim,
        Address::ZERO,
        Bytes::from_static(b"x"),
    )
}

fn bid(hash: u8, nonce: u64, job: Option<JobId>) -> StoredAttempt {
    StoredAttempt {
        account: Address::ZERO,
        nonce,
        job,
        hash: B256::repeat_byte(hash),
        raw: Bytes::from_static(b"raw"),
        fees: Fees {
            max_fee: u128::MAX,
            priority_fee: 3,
        },
        block: 9,
    }
}

#[tokio::test]
async fn what_was_written_is_there_when_it_is_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sender.db");
    let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
    let (job, new) = journal.insert(Address::ZERO, &request("a")).await.unwrap();
    assert!(new);
    let state = State::Signed {
        nonce: 4,
        fees: Fees {
            max_fee: u128::MAX,
            priority_fee: 3,
        },
    };
    let change = Change::Job {
        id: job.id,
        state: state.clone(),
        withdrawn: Some(Failure::Cancelled),
        gas: Some(7),
        bumps: 2,
    };
    journal
        .write(&[
            change,
            Change::Attempt(bid(1, 4, Some(job.id))),
            Change::Attempt(bid(2, 5, None)),
        ])
        .await
        .unwrap();
    journal.close().await;
    drop(journal);

    let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
    let (again, new) = journal.insert(Address::ZERO, &request("a")).await.unwrap();
    assert!(!new);
    assert_eq!(
        (again.state, again.withdrawn, again.gas, again.bumps),
        (state, Some(Failure::Cancelled), Some(7), 2)
    );
    journal
        .write(&[Change::Settled {
            account: Address::ZERO,
            nonce: 4,
        }])
        .await
        .unwrap();
    let (_, attempts) = journal.unfinished().await.unwrap();
    assert_eq!(attempts.iter().map(|a| a.nonce).collect::<Vec<_>>(), [5]);
    assert_eq!(journal.settled(Address::ZERO).await.unwrap(), 5);
}

#[tokio::test]
async fn of_several_changes_all_are_written_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::open(&folder.path().join("sender.db"), Duration::from_secs(60))
        .await
        .unwrap();
    let twice = [Change::Attempt(bid(1, 4, None)), Change::Attempt(bid(1, 4, None))];
    assert!(journal.write(&twice).await.is_err());
    assert!(journal.unfinished().await.unwrap().1.is_empty());
}

#[tokio::test]
async fn a_second_sender_is_kept_away_and_another_chain_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sender.db");
    let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
    assert!(matches!(
        Journal::open(&path, Duration::ZERO).await,
        Err(JournalError::InUse(_))
    ));
    journal.bind(1, B256::ZERO).await.unwrap();
    journal.bind(1, B256::ZERO).await.unwrap();
    assert!(matches!(
        journal.bind(1, B256::repeat_byte(1)).await,
        Err(JournalError::OtherChain { .. })
    ));
}

#[tokio::test]
async fn the_finished_are_forgotten_after_a_while_the_unfinished_never() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sender.db");
    let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
    let (done, _) = journal.insert(Address::ZERO, &request("done")).await.unwrap();
    journal.insert(Address::ZERO, &request("open")).await.unwrap();
    let state = State::Failed {
        reason: Failure::Expired,
    };
    journal
        .write(&[Change::Job {
            id: done.id,
            state,
            withdrawn: None,
            gas: None,
            bumps: 0,
        }])
        .await
        .unwrap();
    sqlx::query("UPDATE jobs SET ended_at = ended_at - 100 WHERE ended_at IS NOT NULL")
        .execute(&mut *journal.connection.lock().await)
        .await
        .unwrap();
    journal.close().await;
    drop(journal);
    let journal = Journal::open(&path, Duration::from_secs(60)).await.unwrap();
    assert!(
        journal
            .find(&IdempotencyKey::new("done").unwrap())
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        journal
            .find(&IdempotencyKey::new("open").unwrap())
            .await
            .unwrap()
            .is_some()
    );
}
