//! Who takes part in a ceremony, and who meets whom.
//!
//! Seats are limited by the locations and by the number of those who can be trusted, and newbies by a share of everybody else: that is
//! what keeps a flood of new identities from outvoting a community (Encointer's `pallets/ceremonies`). Meetups are drawn by an affine
//! map over a prime, so that nobody chooses whom they meet.

use serde::{Deserialize, Serialize};

use crate::account::Standing;

/// Below it nobody meets.
pub const LEAST_PARTICIPANTS: u64 = 3;

/// Counts by standing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Founders.
    pub bootstrappers: u64,
    /// Who attended lately.
    pub reputables: u64,
    /// Whom somebody vouched for.
    pub endorsees: u64,
    /// Whom nobody vouches for.
    pub newbies: u64,
}

impl Counts {
    /// One more of this standing.
    pub const fn add(&mut self, standing: Standing) {
        match standing {
            Standing::Bootstrapper => self.bootstrappers += 1,
            Standing::Reputable => self.reputables += 1,
            Standing::Endorsee => self.endorsees += 1,
            Standing::Newbie => self.newbies += 1,
        }
    }

    /// All of them.
    pub const fn sum(&self) -> u64 {
        self.bootstrappers + self.reputables + self.endorsees + self.newbies
    }
}

/// How many of those registered have a seat. The divider bounds the newbies: with 2 they are at most a third of all, with 3 a quarter.
pub fn seats(registered: &Counts, locations: u64, meetup_size: u64, divider: u64) -> Counts {
    let trusted = registered.bootstrappers + registered.reputables;
    let meetups = locations.min(largest_prime_up_to(trusted).unwrap_or(2));
    let all = meetups.saturating_mul(meetup_size);
    let bootstrappers = registered.bootstrappers.min(all);
    let mut left = all - bootstrappers;
    let mut take = |wanted: u64| {
        let taken = wanted.min(left);
        left -= taken;
        taken
    };
    let reputables = take(registered.reputables);
    let endorsees = take(registered.endorsees);
    let share = (bootstrappers + reputables + endorsees) / divider.max(1);
    let newbies = take(registered.newbies.min(share));
    Counts {
        bootstrappers,
        reputables,
        endorsees,
        newbies,
    }
}

/// How many meetups so many participants make; none when they are fewer than three.
pub const fn meetups(participants: u64, meetup_size: u64) -> u64 {
    let size = if meetup_size == 0 { 1 } else { meetup_size };
    if participants < LEAST_PARTICIPANTS {
        0
    } else {
        participants.div_ceil(size)
    }
}

/// The map by which `count` people find their meetups: `(index * factor + shift mod prime) mod meetups`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    factor: u64,
    shift: u64,
    prime: u64,
}

impl Draw {
    /// A map for `count` people, from two numbers that nobody can foresee.
    pub fn new(count: u64, first: u64, second: u64) -> Self {
        let prime = largest_prime_up_to(count).unwrap_or(2);
        Self {
            // Never 0: everybody would sit in one meetup.
            factor: 1 + first % (prime - 1),
            shift: second % prime,
            prime,
        }
    }

    /// The meetup of the one at `index`, of so many.
    pub const fn meetup(&self, index: u64, meetups: u64) -> u64 {
        // Both factors are below the prime, which is at most the count of people.
        let place = ((index % self.prime) * self.factor + self.shift) % self.prime;
        if meetups == 0 { 0 } else { place % meetups }
    }
}

/// The largest prime that is at most `n`; none below 2.
pub fn largest_prime_up_to(n: u64) -> Option<u64> {
    (2..=n).rev().find(|candidate| is_prime(*candidate))
}

fn is_prime(n: u64) -> bool {
    n >= 2
        && (2..)
            .take_while(|factor| factor * factor <= n)
            .all(|factor| !n.is_multiple_of(factor))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(bootstrappers: u64, reputables: u64, endorsees: u64, newbies: u64) -> Counts {
        Counts {
            bootstrappers,
            reputables,
            endorsees,
            newbies,
        }
    }

    /// BOT-08.
    #[test]
    fn newbies_are_bounded_by_the_divider() {
        let registered = counts(10, 0, 10, 13);
        assert_eq!(seats(&registered, 100, 15, 2).newbies, 10);
        assert_eq!(seats(&registered, 100, 15, 3).newbies, 6);
    }

    #[test]
    fn the_golden_ceremonies_seat_whom_they_must() {
        for (registered, attended) in [
            (counts(10, 0, 0, 0), 10),
            (counts(10, 0, 10, 6), 26),
            (counts(10, 16, 10, 17), 53),
            (counts(10, 43, 10, 35), 94),
            (counts(10, 84, 10, 69), 156),
            (counts(10, 146, 10, 132), 249),
        ] {
            assert_eq!(seats(&registered, 100, 15, 2).sum(), attended);
        }
    }

    #[test]
    fn few_locations_leave_some_without_a_seat_the_newest_first() {
        // Two locations of five seats: ten in all.
        let seated = seats(&counts(4, 4, 4, 4), 2, 5, 2);
        assert_eq!(seated, counts(4, 4, 2, 0));
    }

    /// BOT-09.
    #[test]
    fn fewer_than_three_make_no_meetup() {
        assert_eq!(
            (meetups(2, 15), meetups(3, 15), meetups(15, 15), meetups(16, 15)),
            (0, 1, 1, 2)
        );
    }

    #[test]
    fn primes_are_found() {
        let found = [0, 1, 2, 3, 4, 10, 156, 1_000].map(largest_prime_up_to);
        assert_eq!(
            found,
            [None, None, Some(2), Some(3), Some(3), Some(7), Some(151), Some(997)]
        );
    }

    proptest! {
        #[test]
        fn nobody_is_seated_who_did_not_register(b in 0u64..40, r in 0u64..400, e in 0u64..50, n in 0u64..400, places in 1u64..200, size in 3u64..20, divider in 1u64..5) {
            let registered = counts(b, r, e, n);
            let seated = seats(&registered, places, size, divider);
            prop_assert!(seated.bootstrappers <= b && seated.reputables <= r && seated.endorsees <= e && seated.newbies <= n);
            prop_assert!(seated.sum() <= places.max(2) * size);
            prop_assert!(seated.newbies * divider <= seated.sum() - seated.newbies);
        }

        #[test]
        fn a_draw_spreads_people_evenly(count in 3u64..400, size in 3u64..16, first: u64, second: u64) {
            let meetups = meetups(count, size);
            let draw = Draw::new(count, first, second);
            let mut sizes = vec![0u64; usize::try_from(meetups).unwrap()];
            for index in 0..count {
                sizes[usize::try_from(draw.meetup(index, meetups)).unwrap()] += 1;
            }
            // Those beyond the prime sit with others a second time: never more than the gap between two primes.
            let beyond = count - largest_prime_up_to(count).unwrap();
            let most = sizes.iter().max().unwrap();
            prop_assert!(*most <= size + 1 + beyond, "{:?}", sizes);
        }
    }
}
