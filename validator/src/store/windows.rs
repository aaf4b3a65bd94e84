//! What miners did, window by window, and what became of it: averages and weights.
//!
//! A sample counts in the window that is open when it is recorded, so a window that is closed never changes any more.

use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Duration;

use engine::B256;
use hdrhistogram::Histogram;
use sqlx::{Row, Sqlite, Transaction};

use super::{Hotkey, Store, StoreError, hotkey, json, signed, truth, unsigned};
use crate::score::{Known, Window};

/// The sum of windows that are not kept apart any more.
const FOLDED: i64 = -1;

/// How many scored windows are kept apart.
const KEPT_WINDOWS: i64 = 8;

/// A minute, in microseconds: no deadline is longer.
const LONGEST_LATENCY: u64 = 60_000_000;

/// What one miner did with one challenge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// Whose.
    pub hotkey: Hotkey,
    /// Microseconds to a checked answer; `None` when there was none in time.
    pub latency: Option<u64>,
    /// The answer was the truth.
    pub correct: bool,
    /// The truth is what the validator's own engine says, and not only what the miners agree on.
    pub known: bool,
    /// The truth is that something is violated.
    pub violating: bool,
}

/// A miner since the beginning.
#[derive(Debug, Clone, Default)]
pub struct Total {
    /// Challenges sent.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that were the truth.
    pub correct: u64,
    /// Of those asked, where the truth was that something is violated.
    pub violating: u64,
    /// Of those, the answers that were the truth.
    pub found: u64,
    /// Violations in a row that it found, of those that the validator's own engine knew of.
    pub proven: u32,
    /// (microseconds, count), ascending.
    pub latency: Vec<(u64, u64)>,
    /// Moving average of the score.
    pub average: f64,
    /// Last reported weight.
    pub weight: u16,
}

impl Store {
    /// What each miner did in one window.
    ///
    /// # Errors
    /// The database fails.
    pub async fn window(&self, window: u64) -> Result<BTreeMap<Hotkey, Window>, StoreError> {
        // What is known beyond the window is a sum over a few rows for each miner: the windows that are kept, and all before them.
        let rows = sqlx::query(
            "SELECT one.hotkey, one.asked, one.answered, one.correct, one.violating, one.found,
                    sum(every.asked), sum(every.violating * (every.window >= 0)), sum(every.found * (every.window >= 0))
             FROM sample one JOIN sample every ON every.hotkey = one.hotkey AND every.window <= one.window
             WHERE one.window = ? GROUP BY one.hotkey",
        )
        .bind(signed(window))
        .fetch_all(&self.pool)
        .await?;
        let mut windows = BTreeMap::new();
        for row in rows {
            let window = Window {
                asked: unsigned(row.try_get(1)?),
                answered: unsigned(row.try_get(2)?),
                correct: unsigned(row.try_get(3)?),
                violating: unsigned(row.try_get(4)?),
                found: unsigned(row.try_get(5)?),
                known: Known {
                    asked: unsigned(row.try_get(6)?),
                    violating: unsigned(row.try_get(7)?),
                    found: unsigned(row.try_get(8)?),
                },
                l99: None,
            };
            windows.insert(hotkey(row.try_get(0)?, "sample")?, window);
        }
        let rows = sqlx::query("SELECT hotkey, micros, count FROM latency WHERE window = ?")
            .bind(signed(window))
            .fetch_all(&self.pool)
            .await?;
        let mut histograms: BTreeMap<Hotkey, Histogram<u64>> = BTreeMap::new();
        for row in rows {
            let hotkey = hotkey(row.try_get(0)?, "latency")?;
            let histogram = match histograms.entry(hotkey) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(Histogram::new_with_max(LONGEST_LATENCY, 2)?),
            };
            histogram.saturating_record_n(unsigned(row.try_get(1)?), unsigned(row.try_get(2)?));
        }
        for (hotkey, histogram) in histograms {
            if let Some(window) = windows.get_mut(&hotkey) {
                window.l99 = Some(Duration::from_micros(histogram.value_at_quantile(0.99)));
            }
        }
        Ok(windows)
    }

    /// The moving averages.
    ///
    /// # Errors
    /// The database fails.
    pub async fn averages(&self) -> Result<BTreeMap<Hotkey, f64>, StoreError> {
        let rows = sqlx::query("SELECT hotkey, average FROM score")
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter()
            .map(|row| Ok((hotkey(row.try_get(0)?, "score")?, row.try_get(1)?)))
            .collect()
    }

    /// The ledger reached `epoch`: samples go into a new window from now on. The first epoch that is seen only opens one.
    ///
    /// # Errors
    /// The database fails.
    pub async fn roll_window(&self, epoch: u64) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE progress SET window = window + (closed_epoch IS NOT NULL), closed_epoch = ?1
             WHERE id = 1 AND (closed_epoch IS NULL OR closed_epoch < ?1)",
        )
        .bind(signed(epoch))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The oldest window that is closed and not scored yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unscored_window(&self) -> Result<Option<u64>, StoreError> {
        let window: Option<i64> =
            sqlx::query_scalar("SELECT scored + 1 FROM progress WHERE id = 1 AND scored + 1 < window")
                .fetch_optional(&self.pool)
                .await?;
        Ok(window.map(unsigned))
    }

    /// Keeps the averages after `window`, and folds windows that are too old to be kept apart.
    ///
    /// # Errors
    /// The database fails.
    pub async fn save_averages(&self, window: u64, averages: &BTreeMap<Hotkey, f64>) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        for (hotkey, average) in averages {
            sqlx::query(
                "INSERT INTO score (hotkey, average) VALUES (?, ?) ON CONFLICT DO UPDATE SET average = excluded.average",
            )
            .bind(&hotkey[..])
            .bind(average)
            .execute(&mut *tx)
            .await?;
        }
        sqlx::query("UPDATE progress SET scored = ? WHERE id = 1")
            .bind(signed(window))
            .execute(&mut *tx)
            .await?;
        let oldest_kept = signed(window) - KEPT_WINDOWS;
        for fold in [
            "INSERT INTO sample (window, hotkey, asked, answered, correct, violating, found)
             SELECT ?1, hotkey, sum(asked), sum(answered), sum(correct), sum(violating), sum(found) FROM sample
             WHERE window >= 0 AND window < ?2 GROUP BY hotkey
             ON CONFLICT DO UPDATE SET asked = asked + excluded.asked, answered = answered + excluded.answered,
                                       correct = correct + excluded.correct, violating = violating + excluded.violating,
                                       found = found + excluded.found",
            "INSERT INTO latency SELECT ?1, hotkey, micros, sum(count) FROM latency
             WHERE window >= 0 AND window < ?2 GROUP BY hotkey, micros
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        ] {
            sqlx::query(fold)
                .bind(FOLDED)
                .bind(oldest_kept)
                .execute(&mut *tx)
                .await?;
        }
        for delete in [
            "DELETE FROM sample WHERE window >= 0 AND window < ?",
            "DELETE FROM latency WHERE window >= 0 AND window < ?",
        ] {
            sqlx::query(delete).bind(oldest_kept).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Every miner since the beginning.
    ///
    /// # Errors
    /// The database fails.
    pub async fn totals(&self) -> Result<BTreeMap<Hotkey, Total>, StoreError> {
        let mut totals: BTreeMap<Hotkey, Total> = BTreeMap::new();
        let rows = sqlx::query("SELECT hotkey, sum(asked), sum(answered), sum(correct), sum(violating), sum(found) FROM sample GROUP BY hotkey")
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            let total = totals.entry(hotkey(row.try_get(0)?, "sample")?).or_default();
            total.asked = unsigned(row.try_get(1)?);
            total.answered = unsigned(row.try_get(2)?);
            total.correct = unsigned(row.try_get(3)?);
            total.violating = unsigned(row.try_get(4)?);
            total.found = unsigned(row.try_get(5)?);
        }
        let rows =
            sqlx::query("SELECT hotkey, micros, sum(count) FROM latency GROUP BY hotkey, micros ORDER BY micros")
                .fetch_all(&self.pool)
                .await?;
        for row in rows {
            let total = totals.entry(hotkey(row.try_get(0)?, "latency")?).or_default();
            total
                .latency
                .push((unsigned(row.try_get(1)?), unsigned(row.try_get(2)?)));
        }
        let rows = sqlx::query("SELECT hotkey, average, weight FROM score")
            .fetch_all(&self.pool)
            .await?;
        for row in rows {
            let total = totals.entry(hotkey(row.try_get(0)?, "score")?).or_default();
            total.average = row.try_get(1)?;
            total.weight = u16::try_from(row.try_get::<i64, _>(2)?).unwrap_or(u16::MAX);
        }
        for (hotkey, proven) in self.proven().await? {
            totals.entry(hotkey).or_default().proven = proven;
        }
        Ok(totals)
    }
}

/// These weights are in force, as part of `tx`.
pub(super) async fn weights_taken(
    tx: &mut Transaction<'_, Sqlite>,
    weights: &BTreeMap<Hotkey, u16>,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE score SET weight = 0").execute(&mut **tx).await?;
    for (hotkey, weight) in weights {
        sqlx::query("UPDATE score SET weight = ? WHERE hotkey = ?")
            .bind(i64::from(*weight))
            .bind(&hotkey[..])
            .execute(&mut **tx)
            .await?;
    }
    sqlx::query("UPDATE progress SET weights_set = weights_set + 1 WHERE id = 1")
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// What samples add to one miner's row.
#[derive(Debug, Default)]
struct Added {
    asked: u64,
    answered: u64,
    correct: u64,
    violating: u64,
    found: u64,
}

/// Adds samples to the open window, as part of `tx`: as two statements, however many there are.
pub(super) async fn add_samples(
    tx: &mut Transaction<'_, Sqlite>,
    samples: impl Iterator<Item = &Sample> + Clone,
) -> Result<(), StoreError> {
    let mut added: BTreeMap<&Hotkey, Added> = BTreeMap::new();
    let mut latencies: BTreeMap<(&Hotkey, u64), u64> = BTreeMap::new();
    for sample in samples.clone() {
        let row = added.entry(&sample.hotkey).or_default();
        row.asked += 1;
        row.answered += u64::from(sample.latency.is_some());
        row.correct += u64::from(sample.correct);
        row.violating += u64::from(sample.violating);
        row.found += u64::from(sample.violating && sample.correct);
        if let Some(micros) = sample.latency {
            *latencies.entry((&sample.hotkey, bucket(micros))).or_default() += 1;
        }
    }
    if added.is_empty() {
        return Ok(());
    }
    let hex = |hotkey: &Hotkey| B256::from(*hotkey).to_string().split_off(2);
    let rows = added.iter().map(|(hotkey, row)| {
        (
            hex(hotkey),
            row.asked,
            row.answered,
            row.correct,
            row.violating,
            row.found,
        )
    });
    sqlx::query(
        "INSERT INTO sample (window, hotkey, asked, answered, correct, violating, found)
         SELECT window, unhex(value ->> 0), value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5
         FROM json_each(?), progress WHERE progress.id = 1
         ON CONFLICT DO UPDATE SET asked = asked + excluded.asked, answered = answered + excluded.answered,
                                   correct = correct + excluded.correct, violating = violating + excluded.violating,
                                   found = found + excluded.found",
    )
    .bind(json(rows))
    .execute(&mut **tx)
    .await?;
    let rows = latencies
        .iter()
        .map(|((hotkey, micros), count)| (hex(hotkey), *micros, *count));
    sqlx::query(
        "INSERT INTO latency (window, hotkey, micros, count)
         SELECT window, unhex(value ->> 0), value ->> 1, value ->> 2
         FROM json_each(?), progress WHERE progress.id = 1
         ON CONFLICT DO UPDATE SET count = count + excluded.count",
    )
    .bind(json(rows))
    .execute(&mut **tx)
    .await?;
    for sample in samples {
        truth::prove(tx, sample).await?;
    }
    Ok(())
}

/// The bucket of a latency: two significant digits, so that a table holds a few hundred rows for a miner and not one a sample.
fn bucket(micros: u64) -> u64 {
    let micros = micros.clamp(1, LONGEST_LATENCY);
    let unit = 10u64.pow(micros.ilog10().saturating_sub(1));
    micros / unit * unit
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{judged, store};
    use super::*;

    #[tokio::test]
    async fn a_sample_counts_in_the_window_that_is_open_when_it_is_recorded() {
        let (store, _folder) = store().await;
        store.roll_window(40).await.unwrap();
        assert_eq!(
            store.unscored_window().await.unwrap(),
            None,
            "the first epoch seen only opens a window"
        );
        store.record(&[judged(1, Some(10))], 1).await.unwrap();
        store.roll_window(41).await.unwrap();
        store.roll_window(41).await.unwrap();
        store.record(&[judged(2, None)], 2).await.unwrap();
        assert_eq!(store.unscored_window().await.unwrap(), Some(0));
        assert_eq!(store.window(0).await.unwrap()[&[4; 32]].answered, 1);
        assert_eq!(store.window(1).await.unwrap()[&[4; 32]].answered, 0);
        store.save_averages(0, &BTreeMap::new()).await.unwrap();
        assert_eq!(store.unscored_window().await.unwrap(), None);
    }

    #[tokio::test]
    async fn old_windows_are_folded_and_the_totals_stay() {
        let (store, _folder) = store().await;
        store.roll_window(0).await.unwrap();
        for epoch in 1..=30 {
            store
                .record(&[judged(epoch, Some(1_000 + epoch))], epoch)
                .await
                .unwrap();
            store.roll_window(epoch).await.unwrap();
            store
                .save_averages(epoch - 1, &BTreeMap::from([([4; 32], 0.5)]))
                .await
                .unwrap();
        }
        let total = store.totals().await.unwrap().remove(&[4; 32]).unwrap();
        assert_eq!(
            (total.asked, total.answered, total.correct, total.average),
            (30, 30, 30, 0.5)
        );
        assert_eq!(total.latency, vec![(1_000, 30)], "one bucket of two digits");
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM sample")
            .fetch_one(&store.pool)
            .await
            .unwrap();
        assert_eq!(
            rows,
            KEPT_WINDOWS + 2,
            "those kept, the one just scored, and the sum of the rest"
        );
    }

    #[tokio::test]
    async fn violations_are_counted_over_the_windows_that_are_kept() {
        let (store, _folder) = store().await;
        store.roll_window(0).await.unwrap();
        for epoch in 1..=20 {
            let mut item = judged(epoch, Some(1_000));
            item.samples[0].known = true;
            item.samples[0].violating = true;
            item.samples[0].correct = epoch > 15;
            store.record(&[item], epoch).await.unwrap();
            let window = store.window(epoch - 1).await.unwrap()[&[4; 32]];
            assert_eq!((window.asked, window.violating, window.known.asked), (1, 1, epoch));
            store.roll_window(epoch).await.unwrap();
            store.save_averages(epoch - 1, &BTreeMap::new()).await.unwrap();
        }
        let last = store.window(19).await.unwrap()[&[4; 32]];
        assert_eq!(
            last.known,
            Known {
                asked: 20,
                violating: 9,
                found: 5
            },
            "the eight kept apart and its own; old sins are forgiven"
        );
        let total = store.totals().await.unwrap().remove(&[4; 32]).unwrap();
        assert_eq!((total.violating, total.found, total.proven), (20, 5, 5));
    }

    #[test]
    fn buckets_have_two_digits() {
        assert_eq!(
            [0, 7, 42, 123, 9_999, 1_234_567].map(bucket),
            [1, 7, 42, 120, 9_900, 1_200_000]
        );
        assert_eq!(bucket(u64::MAX), 60_000_000);
    }
}
