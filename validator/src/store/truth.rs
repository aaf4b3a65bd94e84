//! What the validator's own engine knew: who proved itself by it, and who said otherwise.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;
use protos::v1;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Hotkey, Sample, Store, StoreError, hotkey, signed, unsigned, windows};
use crate::proof;

/// Disputes that are kept; the oldest are forgotten.
const KEPT_DISPUTES: i64 = 10_000;

/// Disputes in one answer, at most.
pub const MOST_DISPUTES: u32 = 100;

/// What the validator's own engine said where somebody was wrong, or where a violation was confirmed.
#[derive(Debug, Clone, PartialEq)]
pub struct Dispute {
    /// The item's; 0: a canary.
    pub cursor: u64,
    /// The transaction.
    pub tx_hash: engine::B256,
    /// Why answers were not taken as they are.
    pub reason: String,
    /// The own engine's.
    pub verdicts: v1::Verdicts,
    /// One for each miner that was asked.
    pub votes: Vec<v1::Vote>,
}

/// A question with a known answer, after it was asked.
#[derive(Debug, Clone, Default)]
pub struct Canary {
    /// It violates something.
    pub violating: bool,
    /// One for each miner that was asked and executed what it was asked.
    pub samples: Vec<Sample>,
    /// When somebody was wrong.
    pub dispute: Option<Dispute>,
}

/// Canaries since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CanaryCount {
    /// Asked of miners.
    pub sent: u64,
    /// Of those, with a violation.
    pub violating: u64,
}

impl Store {
    /// Records what came of a canary, all or nothing.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record_canary(&self, canary: &Canary) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query("UPDATE canary SET sent = sent + 1, violating = violating + ? WHERE id = 1")
            .bind(i64::from(canary.violating))
            .execute(&mut *tx)
            .await?;
        windows::add_samples(&mut tx, canary.samples.iter()).await?;
        if let Some(dispute) = &canary.dispute {
            add_dispute(&mut tx, dispute).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// How many canaries there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn canaries(&self) -> Result<CanaryCount, StoreError> {
        let row = sqlx::query("SELECT sent, violating FROM canary WHERE id = 1")
            .fetch_one(&self.pool)
            .await?;
        Ok(CanaryCount {
            sent: unsigned(row.try_get(0)?),
            violating: unsigned(row.try_get(1)?),
        })
    }

    /// Violations in a row that each miner found.
    ///
    /// # Errors
    /// The database fails.
    pub async fn proven(&self) -> Result<HashMap<Hotkey, u32>, StoreError> {
        let rows = sqlx::query("SELECT hotkey, streak FROM proof")
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| Ok((hotkey(row.try_get(0)?, "proof")?, streak(row.try_get(1)?))))
            .collect()
    }

    /// The newest disputes with an id before `before` (0: all), of one transaction if it is named; at most `limit` of them, and never
    /// more than [`MOST_DISPUTES`]. Those of canaries are for the operator only: who asks from outside is not told which they were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn disputes(
        &self,
        before: u64,
        tx_hash: Option<engine::B256>,
        limit: u32,
        with_canaries: bool,
    ) -> Result<Vec<v1::Dispute>, StoreError> {
        let limit = if limit == 0 {
            MOST_DISPUTES
        } else {
            limit.min(MOST_DISPUTES)
        };
        let rows = sqlx::query(
            "SELECT id, cursor, tx_hash, reason, at_ms, verdict FROM dispute
             WHERE (?1 = 0 OR id < ?1) AND (?2 IS NULL OR tx_hash = ?2) AND (?4 OR cursor > 0) ORDER BY id DESC LIMIT ?3",
        )
        .bind(signed(before))
        .bind(tx_hash.map(|hash| hash.to_vec()))
        .bind(limit)
        .bind(with_canaries)
        .fetch_all(&self.pool)
        .await?;
        let mut disputes = Vec::with_capacity(rows.len());
        for row in rows {
            let mut dispute = v1::Dispute {
                id: unsigned(row.try_get(0)?),
                cursor: unsigned(row.try_get(1)?),
                tx_hash: row.try_get::<Vec<u8>, _>(2)?.into(),
                reason: row.try_get(3)?,
                at_ms: unsigned(row.try_get(4)?),
                verdicts: verdicts(row.try_get(5)?, "dispute")?,
                votes: Vec::new(),
            };
            let votes = sqlx::query(
                "SELECT hotkey, correct, verdict, missed, answer FROM vote WHERE dispute = ? ORDER BY hotkey",
            )
            .bind(signed(dispute.id))
            .fetch_all(&self.pool)
            .await?;
            dispute.votes = votes.iter().map(vote).collect::<Result<_, _>>()?;
            disputes.push(dispute);
        }
        Ok(disputes)
    }
}

fn vote(row: &SqliteRow) -> Result<v1::Vote, StoreError> {
    Ok(v1::Vote {
        hotkey: row.try_get::<Vec<u8>, _>(0)?.into(),
        correct: row.try_get::<i64, _>(1)? != 0,
        verdicts: verdicts(row.try_get(2)?, "vote")?,
        missed: row.try_get(3)?,
        answer: signed_answer(row.try_get(4)?)?,
    })
}

fn verdicts(bytes: Option<Vec<u8>>, table: &'static str) -> Result<Option<v1::Verdicts>, StoreError> {
    bytes
        .map(|bytes| v1::Verdicts::decode(bytes.as_slice()).map_err(|_| StoreError::Malformed { table }))
        .transpose()
}

fn signed_answer(bytes: Option<Vec<u8>>) -> Result<Option<v1::Signed>, StoreError> {
    let malformed = |_| StoreError::Malformed { table: "vote" };
    bytes
        .map(|bytes| v1::Signed::decode(bytes.as_slice()).map_err(malformed))
        .transpose()
}

/// Keeps a dispute, as part of `tx`.
pub(super) async fn add_dispute(tx: &mut Transaction<'_, Sqlite>, dispute: &Dispute) -> Result<(), StoreError> {
    let at_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO dispute (cursor, tx_hash, reason, at_ms, verdict) VALUES (?, ?, ?, ?, ?) RETURNING id",
    )
    .bind(signed(dispute.cursor))
    .bind(&dispute.tx_hash[..])
    .bind(&dispute.reason)
    .bind(at_ms)
    .bind(dispute.verdicts.encode_to_vec())
    .fetch_one(&mut **tx)
    .await?;
    for vote in &dispute.votes {
        sqlx::query(
            "INSERT OR IGNORE INTO vote (dispute, hotkey, correct, verdict, missed, answer) VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(id)
        .bind(&vote.hotkey[..])
        .bind(i64::from(vote.correct))
        .bind(vote.verdicts.as_ref().map(Message::encode_to_vec))
        .bind(&vote.missed)
        .bind(vote.answer.as_ref().map(Message::encode_to_vec))
        .execute(&mut **tx)
        .await?;
    }
    sqlx::query("DELETE FROM dispute WHERE id <= ?")
        .bind(id - KEPT_DISPUTES)
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What a sample says of whether its miner finds violations, as part of `tx`.
pub(super) async fn prove(tx: &mut Transaction<'_, Sqlite>, sample: &Sample) -> Result<(), StoreError> {
    if !sample.known {
        return Ok(());
    }
    let before: Option<i64> = sqlx::query_scalar("SELECT streak FROM proof WHERE hotkey = ?")
        .bind(&sample.hotkey[..])
        .fetch_optional(&mut **tx)
        .await?;
    let before = before.map_or(0, streak);
    let after = proof::after(before, sample);
    if after != before {
        sqlx::query("INSERT INTO proof (hotkey, streak) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET streak = ?2")
            .bind(&sample.hotkey[..])
            .bind(i64::from(after))
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

fn streak(value: i64) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::store;
    use super::*;

    fn dispute(cursor: u64) -> Dispute {
        let verdicts = v1::Verdicts {
            engine_version: "own".into(),
            ..Default::default()
        };
        Dispute {
            cursor,
            tx_hash: engine::B256::repeat_byte(u8::try_from(cursor).unwrap()),
            reason: "different answers".into(),
            verdicts: verdicts.clone(),
            votes: vec![
                v1::Vote {
                    hotkey: vec![1; 32].into(),
                    correct: true,
                    verdicts: Some(verdicts),
                    missed: String::new(),
                    answer: Some(v1::Signed {
                        nonce_ns: 7,
                        ..Default::default()
                    }),
                },
                v1::Vote {
                    hotkey: vec![2; 32].into(),
                    missed: "no answer within 1s".into(),
                    ..Default::default()
                },
            ],
        }
    }

    fn violation(correct: bool) -> Canary {
        Canary {
            violating: true,
            samples: vec![Sample {
                hotkey: [7; 32],
                latency: Some(900),
                correct,
                known: true,
                violating: true,
            }],
            dispute: (!correct).then(|| dispute(0)),
        }
    }

    #[tokio::test]
    async fn losing_votes_are_kept_with_the_verdict_that_decided() {
        let (store, _folder) = store().await;
        let mut tx = store.pool.begin().await.unwrap();
        for cursor in 1..=3 {
            add_dispute(&mut tx, &dispute(cursor)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let newest = store.disputes(0, None, 2, true).await.unwrap();
        assert_eq!(newest.iter().map(|d| d.cursor).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(store.disputes(newest[1].id, None, 0, true).await.unwrap()[0].cursor, 1);
        let one = &store
            .disputes(0, Some(engine::B256::repeat_byte(2)), 0, true)
            .await
            .unwrap();
        assert_eq!((one.len(), one[0].cursor), (1, 2));
        assert_eq!(one[0].votes, dispute(2).votes);
        assert_eq!(one[0].verdicts, Some(dispute(2).verdicts));
    }

    #[tokio::test]
    async fn who_finds_violations_proves_itself_until_it_misses_one() {
        let (store, _folder) = store().await;
        for _ in 0..3 {
            store.record_canary(&violation(true)).await.unwrap();
        }
        assert_eq!(store.proven().await.unwrap()[&[7; 32]], 3);
        store.record_canary(&violation(false)).await.unwrap();
        assert_eq!(store.proven().await.unwrap()[&[7; 32]], 0);
        assert_eq!(store.canaries().await.unwrap(), CanaryCount { sent: 4, violating: 4 });
        let window = store.window(0).await.unwrap()[&[7; 32]];
        assert_eq!((window.asked, window.violating, window.found), (4, 4, 3));
        assert_eq!(store.disputes(0, None, 0, true).await.unwrap().len(), 1);
        assert_eq!(store.disputes(0, None, 0, false).await.unwrap(), [], "not told outside");
    }
}
