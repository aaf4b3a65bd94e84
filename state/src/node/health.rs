//! The rule: whom to ask, and when to trust somebody again.
//!
//! What always holds: an endpoint that was at fault is set aside for a time that doubles with each further fault in a row, and its
//! chain id is checked before the next answer of it counts.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

/// How an endpoint does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointHealth {
    /// Scheme, host and port.
    pub endpoint: String,
    /// False while it is set aside.
    pub usable: bool,
    /// Why it is or was set aside; `None` after a good answer.
    pub reason: Option<String>,
    /// Smoothed time of an answer.
    pub latency: Option<Duration>,
    /// Requests sent.
    pub requests: u64,
    /// Of these, without an answer that counts.
    pub failures: u64,
}

/// What is remembered of one endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Health {
    /// When its chain id was last found right; `None`: it must be checked.
    verified: Option<Instant>,
    /// Not to be asked before.
    aside: Option<Instant>,
    /// Why it was set aside last; cleared by a good answer.
    pub(super) reason: Option<String>,
    /// Faults in a row.
    faults: u32,
    /// Answers in a row that were nothing but errors.
    errors: u32,
    /// Smoothed time of an answer, and when it was last measured.
    latency: Option<(Duration, Instant)>,
    /// Methods that it does not have.
    lacks: BTreeSet<String>,
    pub(super) requests: u64,
    pub(super) failures: u64,
}

/// Answers with nothing but errors that are taken before the endpoint is set aside.
const ERRORS: u32 = 3;
/// Latencies this close are the same.
const BUCKET: Duration = Duration::from_millis(25);
/// Methods remembered as lacking.
const MOST_LACKING: usize = 64;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) retry_after: Duration,
    pub(super) retry_at_most: Duration,
    pub(super) recheck: Duration,
}

impl Health {
    /// True when its chain id must be asked for along with the next request.
    pub(super) fn needs_check(&self, now: Instant, patience: &Patience) -> bool {
        self.verified
            .is_none_or(|at| now.saturating_duration_since(at) >= patience.recheck)
    }

    pub(super) fn verified(&mut self, now: Instant) {
        self.verified = Some(now);
    }

    /// It answered.
    pub(super) fn good(&mut self, took: Duration, now: Instant) {
        self.faults = 0;
        self.errors = 0;
        self.aside = None;
        self.reason = None;
        self.measured(took, now);
    }

    /// It answered nothing but errors.
    pub(super) fn only_errors(&mut self, reason: &str, now: Instant, patience: &Patience) {
        self.errors += 1;
        self.failures += 1;
        if self.errors >= ERRORS {
            self.fault(reason.to_owned(), now, patience);
        }
    }

    /// It did not answer, or not what it was asked.
    pub(super) fn fault(&mut self, reason: String, now: Instant, patience: &Patience) {
        let doubled = 1_u32.checked_shl(self.faults.min(16)).unwrap_or(u32::MAX);
        let wait = patience.retry_after.saturating_mul(doubled).min(patience.retry_at_most);
        self.faults = self.faults.saturating_add(1);
        self.failures += 1;
        self.aside = Some(now + wait);
        self.reason = Some(reason);
        self.verified = None;
        // It may come back as another program.
        self.lacks.clear();
    }

    /// Somebody else was faster, after this long. That counts at once: what it did before would only make others wait again.
    pub(super) fn was_slow(&mut self, waited: Duration, now: Instant) {
        self.measured(waited, now);
        self.latency = self.latency.map(|(smooth, at)| (smooth.max(waited), at));
    }

    fn measured(&mut self, took: Duration, now: Instant) {
        let smooth = self.latency.map_or(took, |(before, _)| (before * 3 + took) / 4);
        self.latency = Some((smooth, now));
    }

    pub(super) fn latency(&self) -> Option<Duration> {
        self.latency.map(|(latency, _)| latency)
    }

    pub(super) fn lacks(&self, method: &str) -> bool {
        self.lacks.contains(method)
    }

    pub(super) fn learn_lacking(&mut self, method: &str) {
        if self.lacks.len() < MOST_LACKING {
            self.lacks.insert(method.to_owned());
        }
    }

    pub(super) fn is_aside(&self, now: Instant) -> bool {
        self.aside.is_some_and(|until| until > now)
    }
}

/// In which order to ask. Those set aside come last, and only when nobody else is there: better to ask a doubtful one than nobody.
/// A latency that was not measured for a while is forgotten, so that a slow endpoint is tried again.
pub(super) fn order(all: &[Health], methods: &[&str], now: Instant, patience: &Patience) -> Vec<usize> {
    let has = |health: &Health| !methods.iter().any(|method| health.lacks(method));
    let mut usable: Vec<(u128, usize)> = all
        .iter()
        .enumerate()
        .filter(|(_, health)| has(health) && !health.is_aside(now))
        .map(|(index, health)| {
            let latency = health
                .latency
                .filter(|(_, at)| now.saturating_duration_since(*at) < patience.recheck)
                .map_or(Duration::ZERO, |(latency, _)| latency);
            (latency.as_millis() / BUCKET.as_millis(), index)
        })
        .collect();
    usable.sort_unstable();
    if !usable.is_empty() {
        return usable.into_iter().map(|(_, index)| index).collect();
    }
    let mut aside: Vec<(Option<Instant>, usize)> = all
        .iter()
        .enumerate()
        .filter(|(_, health)| has(health))
        .map(|(index, health)| (health.aside, index))
        .collect();
    aside.sort_unstable();
    aside.into_iter().map(|(_, index)| index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        retry_after: Duration::from_secs(1),
        retry_at_most: Duration::from_secs(10),
        recheck: Duration::from_secs(30),
    };
    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn the_first_is_asked_first_unless_it_is_slow() {
        let now = Instant::now();
        let mut all = vec![Health::default(), Health::default()];
        assert_eq!(order(&all, &[], now, &PATIENCE), [0, 1]);
        all[0].good(ms(20), now);
        all[1].good(ms(5), now);
        assert_eq!(order(&all, &[], now, &PATIENCE), [0, 1], "close enough");
        all[0].was_slow(ms(60), now);
        assert_eq!(order(&all, &[], now, &PATIENCE), [1, 0]);
        let later = now + ms(31_000);
        assert_eq!(order(&all, &[], later, &PATIENCE), [0, 1], "long ago: tried again");
    }

    #[test]
    fn a_fault_sets_aside_longer_each_time_and_asks_for_a_new_check() {
        let now = Instant::now();
        let mut all = vec![Health::default(), Health::default()];
        all[0].verified(now);
        assert!(!all[0].needs_check(now, &PATIENCE) && all[1].needs_check(now, &PATIENCE));
        all[0].fault("hangs".into(), now, &PATIENCE);
        assert!(all[0].needs_check(now, &PATIENCE));
        assert_eq!(order(&all, &[], now, &PATIENCE), [1]);
        assert_eq!(order(&all, &[], now + ms(1000), &PATIENCE), [0, 1]);
        for _ in 0..40 {
            all[0].fault("hangs".into(), now, &PATIENCE);
        }
        assert!(all[0].is_aside(now + ms(9_999)) && !all[0].is_aside(now + ms(10_000)));
        all[1].fault("down".into(), now, &PATIENCE);
        assert_eq!(
            order(&all, &[], now, &PATIENCE),
            [1, 0],
            "nobody else: the one that is due first"
        );
        all[0].good(ms(1), now);
        assert_eq!(
            (all[0].reason.as_deref(), order(&all, &[], now, &PATIENCE)),
            (None, vec![0])
        );
    }

    #[test]
    fn who_answers_nothing_but_errors_is_set_aside_after_a_few() {
        let now = Instant::now();
        let mut health = Health::default();
        for _ in 1..ERRORS {
            health.only_errors("no", now, &PATIENCE);
            assert!(!health.is_aside(now));
        }
        health.only_errors("no", now, &PATIENCE);
        assert!(health.is_aside(now));
    }

    #[test]
    fn who_lacks_a_method_is_not_asked_for_it() {
        let now = Instant::now();
        let mut all = vec![Health::default(), Health::default()];
        all[0].learn_lacking("debug_traceCall");
        assert_eq!(order(&all, &["debug_traceCall"], now, &PATIENCE), [1]);
        assert_eq!(order(&all, &["eth_call"], now, &PATIENCE), [0, 1]);
        all[1].learn_lacking("debug_traceCall");
        assert!(order(&all, &["debug_traceCall"], now, &PATIENCE).is_empty());
    }

    #[test]
    fn the_chain_id_is_checked_again_from_time_to_time() {
        let now = Instant::now();
        let mut health = Health::default();
        health.verified(now);
        assert!(!health.needs_check(now + ms(29_999), &PATIENCE));
        assert!(health.needs_check(now + ms(30_000), &PATIENCE));
    }
}
