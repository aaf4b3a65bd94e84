//! The subnet over time: the metagraph of each epoch, and what validators tell of their miners.

use prost::Message as _;
use protos::{DecodeError, v1};
use sqlx::{AnyConnection, Row as _};

use super::{Store, decode, fixed, now_ms, signed, unsigned};
use crate::log::LogError;
use crate::standing::{Window, windows};

/// Epochs that are kept: five weeks of Bittensor's.
const EPOCHS: u64 = 700;
/// How long windows are kept.
const KEPT_MS: i64 = 6 * 3600 * 1000;
/// A validator that tells more often is not written down: its next telling carries the same sums.
const LEAST_MS: i64 = 5_000;
/// The most miners in a telling.
const MINERS: usize = 4_096;
/// The most latency buckets of a miner: an hour in microseconds has fewer of two digits.
const BUCKETS: usize = 2_048;

/// A neuron as the metagraph shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeuronRow {
    /// Its number.
    pub uid: u16,
    /// The key that it signs with.
    pub hotkey: [u8; 32],
    /// Where it serves.
    pub axon: Option<String>,
    /// RAO.
    pub stake: u64,
    /// Whether it is a validator.
    pub permit: bool,
    /// Whether it counts at all.
    pub active: bool,
    /// Share of the miners' reward, of 65535.
    pub incentive: u16,
    /// Share of the validators' reward, of 65535.
    pub dividends: u16,
    /// Median of the weights on it, of 65535.
    pub consensus: u16,
    /// Share of its weights that the consensus left standing, of 65535.
    pub validator_trust: u16,
    /// RAO paid at the epoch.
    pub emission: u64,
}

impl From<&chain::Neuron> for NeuronRow {
    fn from(neuron: &chain::Neuron) -> Self {
        let axon = neuron.axon.as_ref();
        Self {
            uid: neuron.uid,
            hotkey: *neuron.hotkey.as_bytes(),
            axon: axon.map(|axon| std::net::SocketAddr::new(axon.info.ip, axon.info.port).to_string()),
            stake: neuron.stake,
            permit: neuron.validator_permit,
            active: neuron.active,
            incentive: neuron.incentive,
            dividends: neuron.dividends,
            consensus: neuron.consensus,
            validator_trust: neuron.validator_trust,
            emission: neuron.emission,
        }
    }
}

/// The neurons of one epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Its block.
    pub block: u64,
    /// When it was last looked at, Unix milliseconds.
    pub seen_at_ms: u64,
    /// By uid.
    pub neurons: Vec<NeuronRow>,
}

/// A window, by whom, and when it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The validator's hotkey.
    pub validator: [u8; 32],
    /// Unix milliseconds.
    pub told_at_ms: u64,
    /// What it saw.
    pub window: Window,
}

impl Store {
    /// Writes down the metagraph of an epoch, in the place of what was known of the same epoch; older epochs than the newest 700 go.
    ///
    /// # Errors
    /// When the database fails; then nothing changed.
    pub async fn note_neurons(&self, epoch_block: u64, neurons: &[NeuronRow]) -> Result<(), LogError> {
        let mut writing = self.begin().await?;
        sqlx::query("DELETE FROM neurons WHERE epoch_block = $1")
            .bind(signed(epoch_block))
            .execute(writing.connection())
            .await?;
        for neuron in neurons {
            sqlx::query(
                "INSERT INTO neurons (epoch_block, uid, seen_at_ms, hotkey, axon, stake, permit, active, incentive, dividends,
                   consensus, validator_trust, emission)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
            )
            .bind(signed(epoch_block))
            .bind(i64::from(neuron.uid))
            .bind(now_ms())
            .bind(neuron.hotkey.to_vec())
            .bind(neuron.axon.clone())
            .bind(signed(neuron.stake))
            .bind(i64::from(neuron.permit))
            .bind(i64::from(neuron.active))
            .bind(i64::from(neuron.incentive))
            .bind(i64::from(neuron.dividends))
            .bind(i64::from(neuron.consensus))
            .bind(i64::from(neuron.validator_trust))
            .bind(signed(neuron.emission))
            .execute(writing.connection())
            .await?;
        }
        sqlx::query(
            "DELETE FROM neurons WHERE epoch_block <
               (SELECT min(epoch_block) FROM (SELECT DISTINCT epoch_block FROM neurons ORDER BY epoch_block DESC LIMIT $1) AS kept)",
        )
        .bind(signed(EPOCHS))
        .execute(writing.connection())
        .await?;
        writing.commit().await
    }

    /// The newest `limit` epochs, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn epochs(&self, limit: u32) -> Result<Vec<Epoch>, LogError> {
        let rows = sqlx::query(
            "SELECT * FROM neurons WHERE epoch_block IN
               (SELECT DISTINCT epoch_block FROM neurons ORDER BY epoch_block DESC LIMIT $1) ORDER BY epoch_block, uid",
        )
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        let mut epochs: Vec<Epoch> = Vec::new();
        for row in &rows {
            let number = |column: &str| row.try_get::<i64, _>(column).map(unsigned);
            let share = |column: &str| number(column).map(|share| u16::try_from(share).unwrap_or(u16::MAX));
            let block = number("epoch_block")?;
            if epochs.last().is_none_or(|epoch| epoch.block != block) {
                epochs.push(Epoch {
                    block,
                    seen_at_ms: number("seen_at_ms")?,
                    neurons: Vec::new(),
                });
            }
            let neuron = NeuronRow {
                uid: share("uid")?,
                hotkey: fixed::<32>("neurons.hotkey", &row.try_get::<Vec<u8>, _>("hotkey")?)?,
                axon: row.try_get("axon")?,
                stake: number("stake")?,
                permit: number("permit")? != 0,
                active: number("active")? != 0,
                incentive: share("incentive")?,
                dividends: share("dividends")?,
                consensus: share("consensus")?,
                validator_trust: share("validator_trust")?,
                emission: number("emission")?,
            };
            if let Some(epoch) = epochs.last_mut() {
                epoch.neurons.push(neuron);
            }
        }
        Ok(epochs)
    }

    /// What validators saw of their miners in the last so many milliseconds, oldest first; at most 20,000 windows, the newest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn told_of_miners(&self, back_ms: u64) -> Result<Vec<Told>, LogError> {
        let rows = sqlx::query(
            "SELECT w.*, v.hotkey FROM miner_windows w JOIN validators v ON v.id = w.validator
             WHERE w.told_at_ms > $1 ORDER BY w.told_at_ms DESC, w.validator LIMIT 20000",
        )
        .bind(now_ms().saturating_sub(signed(back_ms)))
        .fetch_all(self.pool())
        .await?;
        let told = |row: &sqlx::any::AnyRow| {
            let number = |column: &str| row.try_get::<i64, _>(column).map(unsigned);
            let maybe = |column: &str| row.try_get::<Option<i64>, _>(column).map(|value| value.map(unsigned));
            let key = |column: &'static str| fixed::<32>(column, &row.try_get::<Vec<u8>, _>(column)?);
            Ok(Told {
                validator: key("hotkey")?,
                told_at_ms: number("told_at_ms")?,
                window: Window {
                    miner: key("miner")?,
                    asked: number("asked")?,
                    answered: number("answered")?,
                    correct: number("correct")?,
                    p50_us: maybe("p50_us")?,
                    p99_us: maybe("p99_us")?,
                    score: number("score")?,
                    weight: number("weight")?,
                },
            })
        };
        rows.iter().rev().map(told).collect()
    }

    /// How long the newest `limit` judged items took from the log to the report: the validator's hotkey, when it reported (Unix
    /// milliseconds), and milliseconds; oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn report_times(&self, limit: u32) -> Result<Vec<([u8; 32], u64, u64)>, LogError> {
        let rows = sqlx::query(
            "SELECT v.hotkey, r.reported_at_ms, r.reported_at_ms - i.logged_at_ms AS took FROM reports r
             JOIN items i ON i.cursor = r.cursor JOIN validators v ON v.id = r.validator
             ORDER BY r.cursor DESC, r.validator LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.pool())
        .await?;
        let time = |row: &sqlx::any::AnyRow| {
            let hotkey = fixed::<32>("validators.hotkey", &row.try_get::<Vec<u8>, _>("hotkey")?)?;
            let (at, took): (i64, i64) = (row.try_get("reported_at_ms")?, row.try_get("took")?);
            Ok((hotkey, unsigned(at), unsigned(took)))
        };
        rows.iter().rev().map(time).collect()
    }
}

/// What is wrong with what is told of miners, if something is.
pub(super) fn check(miners: &[v1::MinerScore]) -> Result<(), DecodeError> {
    if miners.len() > MINERS {
        let reason = format!("{}, and at most {MINERS} are taken", miners.len());
        return Err(DecodeError::invalid("miners", reason));
    }
    for miner in miners {
        wire::hash("miners.hotkey", &miner.hotkey)?;
        if miner.latency.len() > BUCKETS {
            let reason = format!("{}, and at most {BUCKETS} are taken", miner.latency.len());
            return Err(DecodeError::invalid("miners.latency", reason));
        }
    }
    Ok(())
}

/// Writes down the window between this telling and the one before.
pub(super) async fn insert(db: &mut AnyConnection, number: i64, miners: &[v1::MinerScore]) -> Result<(), LogError> {
    let now = now_ms();
    let before: Option<(i64, Vec<u8>)> =
        sqlx::query_as("SELECT told_at_ms, payload FROM standings WHERE validator = $1")
            .bind(number)
            .fetch_optional(&mut *db)
            .await?;
    let (told_at_ms, before) = match before {
        Some((told_at_ms, payload)) => (
            told_at_ms,
            decode::<v1::ReportRequest>("standings.payload", payload)?.miners,
        ),
        None => (0, Vec::new()),
    };
    if now < told_at_ms.saturating_add(LEAST_MS) {
        return Ok(());
    }
    for window in windows(&before, miners) {
        sqlx::query(
            "INSERT INTO miner_windows (validator, told_at_ms, miner, asked, answered, correct, p50_us, p99_us, score, weight)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
        )
        .bind(number)
        .bind(now)
        .bind(window.miner.to_vec())
        .bind(signed(window.asked))
        .bind(signed(window.answered))
        .bind(signed(window.correct))
        .bind(window.p50_us.map(signed))
        .bind(window.p99_us.map(signed))
        .bind(signed(window.score))
        .bind(signed(window.weight))
        .execute(&mut *db)
        .await?;
    }
    let telling = v1::ReportRequest {
        miners: miners.to_vec(),
        ..v1::ReportRequest::default()
    };
    sqlx::query(
        "INSERT INTO standings (validator, told_at_ms, payload) VALUES ($1, $2, $3)
         ON CONFLICT (validator) DO UPDATE SET told_at_ms = $2, payload = $3",
    )
    .bind(number)
    .bind(now)
    .bind(telling.encode_to_vec())
    .execute(&mut *db)
    .await?;
    sqlx::query("DELETE FROM miner_windows WHERE validator = $1 AND told_at_ms < $2")
        .bind(number)
        .bind(now - KEPT_MS)
        .execute(db)
        .await?;
    Ok(())
}
