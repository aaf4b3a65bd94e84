//! What was sent to the ledger as weights, and what became of it.
//!
//! A report is written before its call leaves ([`Store::begin_report`]); after a crash it is still there, in the stage `sending` when
//! nobody saw the answer. The newest thousand are kept.

use std::collections::BTreeMap;

use chain::{AccountId, WeightsForm};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;

use super::{Hotkey, Store, StoreError, signed, unsigned, windows};

/// Reports that are kept.
const KEPT_REPORTS: i64 = 1_000;

/// How far a report has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// On its way, or nobody saw the answer.
    Sending,
    /// Its hash is on the ledger; it is to be revealed.
    Committed,
    /// Sealed on the ledger, which opens it.
    Sealed,
    /// The weights are in force. Last.
    Set,
    /// The ledger said no; nothing changed. Last.
    Refused,
    /// The epoch in which it could be revealed is over. Last.
    Expired,
    /// It had no effect, or one that nobody can undo. Last.
    Lost,
}

impl Stage {
    const ALL: [Self; 7] = [
        Self::Sending,
        Self::Committed,
        Self::Sealed,
        Self::Set,
        Self::Refused,
        Self::Expired,
        Self::Lost,
    ];

    /// Its name in the database, in metrics and on the screen.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sending => "sending",
            Self::Committed => "committed",
            Self::Sealed => "sealed",
            Self::Set => "set",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Lost => "lost",
        }
    }
}

/// One weight of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// For whom.
    pub uid: u16,
    /// How much, of 65535.
    pub value: u16,
    /// Who had the uid.
    pub hotkey: AccountId,
}

/// A report that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// The window whose scores it holds.
    pub window: u64,
    /// The ledger's epoch.
    pub epoch: u64,
    /// The newest block.
    pub block: u64,
    /// In which form it goes.
    pub form: WeightsForm,
    /// The neuron's last update.
    pub before_update: u64,
    /// The beacon's round that opens it, where it is sealed.
    pub reveal_round: Option<u64>,
    /// The validator's version.
    pub version_key: u64,
    /// What makes its hash impossible to guess; empty unless it is committed by hash.
    pub salt: Vec<u16>,
    /// The weights.
    pub weights: Vec<Weight>,
}

/// A report and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its number.
    pub id: i64,
    /// The window whose scores it holds.
    pub window: u64,
    /// The ledger's epoch: when it was sent, then that of the block in which it was taken.
    pub epoch: u64,
    /// The newest block when it was sent.
    pub block: u64,
    /// In which form it went.
    pub form: WeightsForm,
    /// How far it has come.
    pub stage: Stage,
    /// Why it was refused, expired or lost.
    pub reason: Option<String>,
    /// The neuron's last update when it was sent.
    pub before_update: u64,
    /// Block in which the ledger took it; of a commit, the commit.
    pub taken_block: Option<u64>,
    /// Block at which it came to its last stage.
    pub ended_block: Option<u64>,
    /// The beacon's round that opens it, where it is sealed.
    pub reveal_round: Option<u64>,
    /// The validator's version.
    pub version_key: u64,
    /// What made its hash impossible to guess; empty once it is revealed. Never shown: until then it would give the weights away.
    #[serde(skip)]
    pub salt: Vec<u16>,
    /// The weights.
    pub weights: Vec<Weight>,
}

impl Report {
    /// For whom, and how much.
    pub fn row(&self) -> (Vec<u16>, Vec<u16>) {
        self.weights.iter().map(|weight| (weight.uid, weight.value)).unzip()
    }
}

/// Why no weights are being sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Default)]
pub struct WaitingNote {
    /// The name of a [`chain::reporting::Why`]; empty when nothing stands in the way.
    pub why: String,
    /// What the ledger said, where it said something.
    pub said: String,
    /// Block at which it began.
    pub since: u64,
    /// First block at which it may be otherwise.
    pub until: u64,
}

impl Store {
    /// The scored window whose weights the ledger has not been given yet.
    ///
    /// # Errors
    /// The database fails.
    pub async fn unreported_window(&self) -> Result<Option<u64>, StoreError> {
        let window: Option<i64> = sqlx::query_scalar(
            "SELECT scored FROM progress WHERE id = 1 AND scored >= 0 AND scored > (SELECT coalesce(max(window), -1)
             FROM weights_report WHERE stage IN ('sending', 'committed', 'sealed', 'set'))",
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(window.map(unsigned))
    }

    /// Writes a report that is about to be sent and gives its number. What is too old to be kept goes.
    ///
    /// # Errors
    /// The database fails; then it must not be sent.
    pub async fn begin_report(&self, report: &NewReport) -> Result<i64, StoreError> {
        let mut tx = self.pool.begin().await?;
        let id = sqlx::query(
            "INSERT INTO weights_report (window, epoch, block, form, stage, before_update, reveal_round, version_key, salt,
             weights) VALUES (?, ?, ?, ?, 'sending', ?, ?, ?, ?, ?)",
        )
        .bind(signed(report.window))
        .bind(signed(report.epoch))
        .bind(signed(report.block))
        .bind(report.form.name())
        .bind(signed(report.before_update))
        .bind(report.reveal_round.map(signed))
        .bind(bits(report.version_key))
        .bind((!report.salt.is_empty()).then_some(Json(&report.salt)))
        .bind(Json(&report.weights))
        .execute(&mut *tx)
        .await?
        .last_insert_rowid();
        sqlx::query("DELETE FROM weights_report WHERE id <= ? AND stage NOT IN ('sending', 'committed', 'sealed')")
            .bind(id - KEPT_REPORTS)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(id)
    }

    /// The ledger took a commit in `block`, of `epoch`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn report_committed(&self, id: i64, stage: Stage, block: u64, epoch: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE weights_report SET stage = ?, taken_block = ?, epoch = ? WHERE id = ?")
            .bind(stage.name())
            .bind(signed(block))
            .bind(signed(epoch))
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The weights of a report are in force since `block`: they are each miner's last reported weight from now on.
    ///
    /// # Errors
    /// The database fails.
    pub async fn report_set(&self, report: &Report, block: u64) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        sqlx::query(
            "UPDATE weights_report SET stage = 'set', salt = NULL, ended_block = ?1, taken_block = coalesce(taken_block, ?1)
             WHERE id = ?2",
        )
        .bind(signed(block))
        .bind(report.id)
        .execute(&mut *tx)
        .await?;
        let taken: BTreeMap<Hotkey, u16> = report
            .weights
            .iter()
            .map(|weight| (*weight.hotkey.as_bytes(), weight.value))
            .collect();
        windows::weights_taken(&mut tx, &taken).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A report came to an end in which its weights are not in force.
    ///
    /// # Errors
    /// The database fails.
    pub async fn report_ended(&self, id: i64, stage: Stage, reason: &str, block: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE weights_report SET stage = ?, reason = ?, ended_block = ?, salt = NULL WHERE id = ?")
            .bind(stage.name())
            .bind(reason)
            .bind(signed(block))
            .bind(id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Reports in these stages, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn open_reports(&self, stage: Stage) -> Result<Vec<Report>, StoreError> {
        let rows = sqlx::query("SELECT * FROM weights_report WHERE stage = ? ORDER BY id")
            .bind(stage.name())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(report).collect()
    }

    /// The newest reports, newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn reports(&self, limit: u32) -> Result<Vec<Report>, StoreError> {
        let rows = sqlx::query("SELECT * FROM weights_report ORDER BY id DESC LIMIT ?")
            .bind(limit)
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(report).collect()
    }

    /// Notes why no weights are being sent; `since` stays while the reason does.
    ///
    /// # Errors
    /// The database fails.
    pub async fn note_waiting(&self, why: &str, said: &str, block: u64, until: u64) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO weights_waiting (id, why, said, since, until) VALUES (1, ?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET
             since = CASE WHEN why = ?1 THEN since ELSE ?3 END, why = ?1, said = ?2, until = ?4",
        )
        .bind(why)
        .bind(said)
        .bind(signed(block))
        .bind(signed(until))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Why no weights are being sent; `None` before the first look.
    ///
    /// # Errors
    /// The database fails.
    pub async fn waiting(&self) -> Result<Option<WaitingNote>, StoreError> {
        let row = sqlx::query("SELECT why, said, since, until FROM weights_waiting WHERE id = 1")
            .fetch_optional(&self.pool)
            .await?;
        row.map(|row| {
            Ok(WaitingNote {
                why: row.try_get(0)?,
                said: row.try_get(1)?,
                since: unsigned(row.try_get(2)?),
                until: unsigned(row.try_get(3)?),
            })
        })
        .transpose()
    }
}

fn report(row: &SqliteRow) -> Result<Report, StoreError> {
    const MALFORMED: StoreError = StoreError::Malformed {
        table: "weights_report",
    };
    let number = |name: &str| -> Result<u64, StoreError> { Ok(unsigned(row.try_get(name)?)) };
    let maybe =
        |name: &str| -> Result<Option<u64>, StoreError> { Ok(row.try_get::<Option<i64>, _>(name)?.map(unsigned)) };
    let (form, stage): (String, String) = (row.try_get("form")?, row.try_get("stage")?);
    let forms = [WeightsForm::Plain, WeightsForm::Hash, WeightsForm::Timelock];
    let Json(weights) = row.try_get("weights")?;
    Ok(Report {
        id: row.try_get("id")?,
        window: number("window")?,
        epoch: number("epoch")?,
        block: number("block")?,
        form: forms.into_iter().find(|known| known.name() == form).ok_or(MALFORMED)?,
        stage: Stage::ALL
            .into_iter()
            .find(|known| known.name() == stage)
            .ok_or(MALFORMED)?,
        reason: row.try_get("reason")?,
        before_update: number("before_update")?,
        taken_block: maybe("taken_block")?,
        ended_block: maybe("ended_block")?,
        reveal_round: maybe("reveal_round")?,
        version_key: row.try_get::<i64, _>("version_key")?.cast_unsigned(),
        salt: row
            .try_get::<Option<Json<Vec<u16>>>, _>("salt")?
            .map(|Json(salt)| salt)
            .unwrap_or_default(),
        weights,
    })
}

/// A version key may have all 64 bits, and must come back as it was or the hash is another.
const fn bits(value: u64) -> i64 {
    value.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::store;
    use super::*;

    fn new_report(window: u64) -> NewReport {
        NewReport {
            window,
            epoch: window,
            block: 10 * window,
            form: WeightsForm::Hash,
            before_update: 3,
            reveal_round: None,
            version_key: u64::MAX - 1,
            salt: vec![1, 2, u16::MAX],
            weights: vec![Weight {
                uid: 4,
                value: 9,
                hotkey: AccountId::new([4; 32]),
            }],
        }
    }

    #[tokio::test]
    async fn a_report_is_there_before_it_is_sent_and_loses_its_salt_when_it_ends() {
        let (store, _folder) = store().await;
        let id = store.begin_report(&new_report(7)).await.unwrap();
        let [sending] = store.open_reports(Stage::Sending).await.unwrap().try_into().unwrap();
        assert_eq!((sending.id, sending.salt.as_slice()), (id, &[1, 2, u16::MAX][..]));
        assert_eq!((sending.version_key, sending.row()), (u64::MAX - 1, (vec![4], vec![9])));
        store.report_committed(id, Stage::Committed, 71, 8).await.unwrap();
        let [committed] = store.open_reports(Stage::Committed).await.unwrap().try_into().unwrap();
        assert_eq!(
            (committed.taken_block, committed.epoch, committed.salt.len()),
            (Some(71), 8, 3)
        );
        store.report_set(&committed, 90).await.unwrap();
        let [set] = store.reports(9).await.unwrap().try_into().unwrap();
        assert_eq!(
            (set.stage, set.taken_block, set.ended_block),
            (Stage::Set, Some(71), Some(90))
        );
        assert!(set.salt.is_empty());
    }

    #[tokio::test]
    async fn a_window_is_news_until_the_ledger_has_it() {
        let (store, _folder) = store().await;
        assert_eq!(store.unreported_window().await.unwrap(), None, "nothing is scored");
        store.save_averages(3, &BTreeMap::new()).await.unwrap();
        assert_eq!(store.unreported_window().await.unwrap(), Some(3));
        let refused = store.begin_report(&new_report(3)).await.unwrap();
        assert_eq!(store.unreported_window().await.unwrap(), None, "it is on its way");
        store.report_ended(refused, Stage::Refused, "no", 31).await.unwrap();
        assert_eq!(store.unreported_window().await.unwrap(), Some(3), "and must go again");
        let taken = store.begin_report(&new_report(3)).await.unwrap();
        store.report_committed(taken, Stage::Sealed, 40, 4).await.unwrap();
        assert_eq!(store.unreported_window().await.unwrap(), None);
    }

    #[tokio::test]
    async fn the_newest_thousand_are_kept_and_whatever_is_open() {
        let (store, _folder) = store().await;
        let first = store.begin_report(&new_report(0)).await.unwrap();
        store.report_committed(first, Stage::Committed, 1, 0).await.unwrap();
        for window in 1..=1_050 {
            let id = store.begin_report(&new_report(window)).await.unwrap();
            store.report_ended(id, Stage::Lost, "", window).await.unwrap();
        }
        let kept = store.reports(9_999).await.unwrap();
        assert!(kept.len() <= 1_002, "{}", kept.len());
        assert_eq!(kept.last().map(|report| report.id), Some(first));
    }

    #[tokio::test]
    async fn a_reason_keeps_the_block_at_which_it_began() {
        let (store, _folder) = store().await;
        assert_eq!(store.waiting().await.unwrap(), None);
        store.note_waiting("rate_limit", "", 5, 9).await.unwrap();
        store.note_waiting("rate_limit", "too fast", 7, 12).await.unwrap();
        let note = store.waiting().await.unwrap().unwrap();
        assert_eq!((note.since, note.until, note.said.as_str()), (5, 12, "too fast"));
        store.note_waiting("", "", 12, 12).await.unwrap();
        assert_eq!(store.waiting().await.unwrap().unwrap().since, 12);
    }
}
