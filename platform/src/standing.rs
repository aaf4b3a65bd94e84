//! What a validator saw of its miners between two tellings. It tells sums since its beginning; the difference of two is a window. Pure.
//!
//! What always holds: a telling that was lost loses nothing, since the next one carries its sums; a validator that began anew (a sum
//! is smaller than before) counts from there.

use std::collections::BTreeMap;

use protos::v1;

/// One miner in one window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// The miner's hotkey.
    pub miner: [u8; 32],
    /// Challenges sent.
    pub asked: u64,
    /// Answers in time.
    pub answered: u64,
    /// Answers that were the truth.
    pub correct: u64,
    /// Microseconds; `None` without an answer.
    pub p50_us: Option<u64>,
    /// Microseconds; `None` without an answer.
    pub p99_us: Option<u64>,
    /// The validator's moving average of the score at its end, in millionths of all miners' sum.
    pub score: u64,
    /// The weight that it last set, of 65535.
    pub weight: u64,
}

/// The windows between two tellings, by hotkey; a malformed hotkey is left out.
#[must_use]
pub fn windows(before: &[v1::MinerScore], now: &[v1::MinerScore]) -> Vec<Window> {
    let before: BTreeMap<&[u8], &v1::MinerScore> = before.iter().map(|score| (score.hotkey.as_ref(), score)).collect();
    let window = |score: &v1::MinerScore| {
        let miner = score.hotkey.as_ref().try_into().ok()?;
        // A sum that shrank belongs to another beginning.
        let known = before.get(score.hotkey.as_ref()).copied().filter(|known| {
            known.asked <= score.asked && known.answered <= score.answered && known.correct <= score.correct
        });
        let since = |field: fn(&v1::MinerScore) -> u64| field(score).saturating_sub(known.map_or(0, field));
        let latency = between(known.map_or(&[], |known| known.latency.as_slice()), &score.latency);
        Some(Window {
            miner,
            asked: since(|score| score.asked),
            answered: since(|score| score.answered),
            correct: since(|score| score.correct),
            p50_us: percentile(&latency, 50),
            p99_us: percentile(&latency, 99),
            score: millionths(score.score),
            weight: u64::from(score.weight),
        })
    };
    now.iter().filter_map(window).collect()
}

/// A share as millionths; what is no share is none.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0 to a million")]
fn millionths(share: f64) -> u64 {
    if share.is_finite() {
        (share.clamp(0.0, 1.0) * 1e6).round() as u64
    } else {
        0
    }
}

/// What came to each bucket.
fn between(before: &[v1::LatencyBucket], now: &[v1::LatencyBucket]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    for bucket in now {
        *counts.entry(bucket.micros).or_insert(0_u64) += bucket.count;
    }
    for bucket in before {
        if let Some(count) = counts.get_mut(&bucket.micros) {
            *count = count.saturating_sub(bucket.count);
        }
    }
    counts
}

/// The nearest-rank percentile; `None` of nothing.
fn percentile(counts: &BTreeMap<u64, u64>, percent: u64) -> Option<u64> {
    let sum: u64 = counts.values().sum();
    let rank = sum.saturating_mul(percent).div_ceil(100).max(1);
    let mut passed = 0_u64;
    counts.iter().find_map(|(micros, count)| {
        passed += count;
        (*count > 0 && passed >= rank).then_some(*micros)
    })
}

/// The nearest-rank percentile of sorted values; `None` of nothing.
#[must_use]
pub fn percentile_of(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answered: u64, latency: &[(u64, u64)]) -> v1::MinerScore {
        v1::MinerScore {
            hotkey: vec![7; 32].into(),
            asked: answered + 1,
            answered,
            correct: answered,
            latency: latency
                .iter()
                .map(|(micros, count)| v1::LatencyBucket {
                    micros: *micros,
                    count: *count,
                })
                .collect(),
            score: 0.25,
            weight: 9,
            ..Default::default()
        }
    }

    #[test]
    fn a_window_is_what_came_since() {
        let (first, second) = (
            told(100, &[(10, 99), (500, 1)]),
            told(104, &[(10, 99), (500, 3), (900, 2)]),
        );
        let window = &windows(std::slice::from_ref(&first), &[second])[0];
        assert_eq!((window.asked, window.answered, window.correct), (4, 4, 4));
        assert_eq!((window.p50_us, window.p99_us), (Some(500), Some(900)));
        assert_eq!((window.score, window.weight), (250_000, 9));
        let all = &windows(&[], std::slice::from_ref(&first))[0];
        assert_eq!((all.answered, all.p50_us, all.p99_us), (100, Some(10), Some(10)));
        let nothing = &windows(std::slice::from_ref(&first), std::slice::from_ref(&first))[0];
        assert_eq!((nothing.answered, nothing.p50_us), (0, None));
    }

    #[test]
    fn a_validator_that_began_anew_counts_from_there() {
        let window = &windows(&[told(100, &[(10, 100)])], &[told(3, &[(20, 3)])])[0];
        assert_eq!((window.answered, window.p50_us), (3, Some(20)));
    }

    #[test]
    fn what_is_no_share_and_no_hotkey_is_left_out() {
        assert_eq!([f64::NAN, -1.0, 2.0, 0.5].map(millionths), [0, 0, 1_000_000, 500_000]);
        let mut short = told(1, &[]);
        short.hotkey = vec![7; 31].into();
        assert_eq!(windows(&[], &[short]), []);
    }

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        assert_eq!(percentile_of(&[], 50), None);
        assert_eq!(percentile_of(&[3], 99), Some(3));
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(
            (percentile_of(&hundred, 50), percentile_of(&hundred, 99)),
            (Some(50), Some(99))
        );
    }
}
