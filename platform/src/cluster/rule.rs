//! Who lives, by beats alone. Pure.
//!
//! Clocks of two machines are never compared: an instance lives while its beat changes, on the clock of the one who looks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

/// An instance and how often it has beaten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// Its name.
    pub instance: String,
    /// Rises while it lives.
    pub beat: i64,
}

/// What one instance has seen of the others.
#[derive(Debug, Default)]
pub struct Sightings {
    seen: BTreeMap<String, Sighting>,
}

#[derive(Debug)]
struct Sighting {
    beat: i64,
    /// When it was first seen at this beat.
    since: Instant,
}

/// What is to be done about who feeds the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// This instance feeds it.
    Mine,
    /// Another one does, and lives.
    Others,
    /// Nobody who lives does: take it.
    Free,
}

impl Sightings {
    /// Takes over the beats as they are now; instances that are not there any more are forgotten.
    pub fn look(&mut self, now: Instant, beats: &[Beat]) {
        let names: BTreeSet<&str> = beats.iter().map(|beat| beat.instance.as_str()).collect();
        self.seen.retain(|name, _| names.contains(name.as_str()));
        for Beat { instance, beat } in beats {
            let sighting = Sighting {
                beat: *beat,
                since: now,
            };
            match self.seen.get_mut(instance) {
                Some(known) if known.beat == *beat => {}
                Some(known) => *known = sighting,
                None => {
                    self.seen.insert(instance.clone(), sighting);
                }
            }
        }
    }

    /// Whether an instance has beaten within `patience`. One that was seen for the first time has.
    #[must_use]
    pub fn lives(&self, now: Instant, instance: &str, patience: Duration) -> bool {
        self.seen
            .get(instance)
            .is_some_and(|sighting| now.saturating_duration_since(sighting.since) < patience)
    }

    /// Those who have not beaten within `patience`.
    pub fn gone(&self, now: Instant, patience: Duration) -> impl Iterator<Item = Beat> {
        let silent =
            move |(_, sighting): &(&String, &Sighting)| now.saturating_duration_since(sighting.since) >= patience;
        self.seen.iter().filter(silent).map(|(instance, sighting)| Beat {
            instance: instance.clone(),
            beat: sighting.beat,
        })
    }

    /// Whose turn it is to feed the log, where `feeder` is written down as the one who does.
    #[must_use]
    pub fn turn(&self, now: Instant, me: &str, feeder: Option<&str>, patience: Duration) -> Turn {
        match feeder {
            Some(feeder) if feeder == me => Turn::Mine,
            Some(feeder) if self.lives(now, feeder, patience) => Turn::Others,
            Some(_) | None => Turn::Free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn beats(beats: &[(&str, i64)]) -> Vec<Beat> {
        let beat = |(instance, beat): &(&str, i64)| Beat {
            instance: (*instance).to_owned(),
            beat: *beat,
        };
        beats.iter().map(beat).collect()
    }

    #[test]
    fn one_lives_while_its_beat_changes_and_the_turn_passes_when_it_stops() {
        let (begun, mut sightings) = (Instant::now(), Sightings::default());
        let at = |seconds| begun + Duration::from_secs(seconds);
        for second in 0..10 {
            let second_beat = if second < 3 { second } else { 3 };
            sightings.look(at(second), &beats(&[("a", second_beat as i64), ("b", second as i64)]));
        }
        // `a` was last seen at a new beat in second 3.
        assert!(sightings.lives(at(7), "a", PATIENCE) && !sightings.lives(at(8), "a", PATIENCE));
        assert_eq!(sightings.turn(at(7), "b", Some("a"), PATIENCE), Turn::Others);
        assert_eq!(sightings.turn(at(8), "b", Some("a"), PATIENCE), Turn::Free);
        assert_eq!(sightings.turn(at(8), "b", Some("b"), PATIENCE), Turn::Mine);
        assert_eq!(sightings.turn(at(0), "b", None, PATIENCE), Turn::Free);
        let gone: Vec<Beat> = sightings.gone(at(9), PATIENCE).collect();
        assert_eq!(gone, beats(&[("a", 3)]));
    }

    #[test]
    fn one_that_was_never_seen_does_not_live_and_one_that_is_forgotten_is_new_again() {
        let (now, mut sightings) = (Instant::now(), Sightings::default());
        assert!(!sightings.lives(now, "a", PATIENCE));
        sightings.look(now, &beats(&[("a", 7)]));
        sightings.look(now, &[]);
        sightings.look(now + PATIENCE, &beats(&[("a", 7)]));
        assert!(sightings.lives(now + PATIENCE, "a", PATIENCE));
    }
}
