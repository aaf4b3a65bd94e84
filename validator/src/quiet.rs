//! Saying something once a minute, however often it happens: a rule over instants.
//!
//! What a stranger can make happen at will must not fill the log. What always holds: of one key, two things are never said within a
//! minute; how many were left unsaid goes with the next.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Between two things said of one key.
pub const PERIOD: Duration = Duration::from_secs(60);

/// What was said last of each key. Its owner forgets keys that are gone, by [`Quiet::retain`].
#[derive(Debug)]
pub struct Quiet<K> {
    said: HashMap<K, (Instant, u64)>,
}

impl<K> Default for Quiet<K> {
    fn default() -> Self {
        Self { said: HashMap::new() }
    }
}

impl<K: Eq + Hash> Quiet<K> {
    /// Something happened: when it may be said, how many before it were left unsaid.
    pub fn say(&mut self, key: K, now: Instant) -> Option<u64> {
        match self.said.get_mut(&key) {
            None => {
                self.said.insert(key, (now, 0));
                Some(0)
            }
            Some((last, unsaid)) if now.saturating_duration_since(*last) >= PERIOD => {
                *last = now;
                Some(std::mem::take(unsaid))
            }
            Some((_, unsaid)) => {
                *unsaid = unsaid.saturating_add(1);
                None
            }
        }
    }

    /// Forgets keys that are gone.
    pub fn retain(&mut self, mut stays: impl FnMut(&K) -> bool) {
        self.said.retain(|key, _| stays(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_is_said_and_then_one_a_minute_with_the_number_of_the_others() {
        let (mut quiet, start) = (Quiet::default(), Instant::now());
        assert_eq!(quiet.say(1, start), Some(0));
        for second in 1..60 {
            assert_eq!(quiet.say(1, start + Duration::from_secs(second)), None);
        }
        assert_eq!(quiet.say(2, start), Some(0), "another key");
        assert_eq!(quiet.say(1, start + PERIOD), Some(59));
        quiet.retain(|key| *key == 2);
        assert_eq!(quiet.say(1, start + PERIOD), Some(0), "it came back");
    }

    proptest! {
        #[test]
        fn whatever_happens_nothing_is_said_twice_in_a_minute_and_everything_is_counted(gaps in prop::collection::vec(0u64..40_000, 1..200)) {
            let (mut quiet, mut now) = (Quiet::default(), Instant::now());
            let (mut last, mut accounted) = (None::<Instant>, 0u64);
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                if let Some(unsaid) = quiet.say((), now) {
                    prop_assert!(last.is_none_or(|last| now - last >= PERIOD));
                    last = Some(now);
                    accounted += unsaid + 1;
                }
            }
            let unsaid = quiet.said[&()].1;
            prop_assert_eq!(accounted + unsaid, gaps.len() as u64);
        }
    }
}
