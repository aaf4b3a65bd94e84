//! How a community grows: who is vouched for, how many come without, and the figures that the rules must come to.
//!
//! The rules are Encointer's bots': at each REGISTERING up to ten newcomers are endorsed with the bootstrappers' tickets, and two
//! thirds of the population again come as newbies. More newbies than can take part is on purpose: it exercises the limit.

use serde::Serialize;

/// Newcomers that nobody vouches for: two thirds of the population, as far as the cap leaves room.
pub const fn newbies(population: u64, cap: u64) -> u64 {
    let growth = population.saturating_mul(2) / 3;
    let room = cap.saturating_sub(population);
    if growth < room { growth } else { room }
}

/// Who endorses how many of `demand` newcomers: tickets are taken in the order of the list, and none at all is no error.
pub fn endorsements<T: Copy>(tickets: &[(T, u64)], demand: u64) -> Vec<(T, u64)> {
    let mut left = demand;
    let mut given = Vec::new();
    for (who, has) in tickets {
        let takes = left.min(*has);
        if takes > 0 {
            given.push((*who, takes));
            left -= takes;
        }
    }
    given
}

/// Population and supply (rounded to whole units of the currency) at the beginning of a ceremony, before it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// Accounts.
    pub population: u64,
    /// Units of the community's currency.
    pub supply: u64,
}

const fn point(population: u64, supply: u64) -> Point {
    Point { population, supply }
}

/// What ten bootstrappers, a hundred locations, the divider 2, an income of 1 and of 1.1 from the sixth ceremony come to: the file that
/// Encointer's own tests compare with.
pub const GOLDEN: [Point; 7] = [
    point(10, 0),
    point(10, 10),
    point(26, 36),
    point(53, 89),
    point(98, 183),
    point(173, 339),
    point(298, 613),
];

/// Who attended in the ceremonies of [`GOLDEN`].
pub const GOLDEN_ATTENDANCE: [u64; 6] = [10, 26, 53, 94, 156, 249];

/// A community that did not grow as the rules say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ceremony {ceremony}: {what} is {actual}, the golden vector says {expected}")]
pub struct Deviation {
    /// From 1.
    pub ceremony: usize,
    /// Which figure.
    pub what: &'static str,
    /// What it is.
    pub actual: u64,
    /// What it must be.
    pub expected: u64,
}

/// Compares what happened with the golden vector, as far as both go.
///
/// # Errors
/// The first [`Deviation`].
pub fn compare(points: &[Point], attendance: &[u64]) -> Result<(), Deviation> {
    let differs = |place: usize, what, actual, expected| {
        let ceremony = place + 1;
        Err(Deviation {
            ceremony,
            what,
            actual,
            expected,
        })
    };
    for (place, (actual, expected)) in points.iter().zip(&GOLDEN).enumerate() {
        if actual.population != expected.population {
            return differs(place, "the population", actual.population, expected.population);
        }
        if actual.supply != expected.supply {
            return differs(place, "the supply", actual.supply, expected.supply);
        }
    }
    for (place, (actual, expected)) in attendance.iter().zip(&GOLDEN_ATTENDANCE).enumerate() {
        if actual != expected {
            return differs(place, "the attendance", *actual, *expected);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// BOT-06.
    #[test]
    fn two_thirds_again_come_until_the_cap() {
        let golden = [10, 26, 53, 98, 173].map(|population| newbies(population, 1_000));
        assert_eq!(golden, [6, 17, 35, 65, 115]);
        assert_eq!(
            (newbies(990, 1_000), newbies(1_000, 1_000), newbies(1_200, 1_000)),
            (10, 0, 0)
        );
    }

    /// BOT-07.
    #[test]
    fn tickets_are_taken_in_the_order_of_the_list() {
        assert_eq!(endorsements(&[('a', 3), ('b', 9)], 10), [('a', 3), ('b', 7)]);
        assert_eq!(endorsements(&[('a', 0), ('b', 0)], 10), []);
        assert_eq!(endorsements::<char>(&[], 10), []);
    }

    #[test]
    fn one_figure_off_is_a_deviation_that_names_the_ceremony() {
        assert_eq!(compare(&GOLDEN, &GOLDEN_ATTENDANCE), Ok(()));
        let mut points = GOLDEN;
        points[4].supply += 1;
        assert_eq!(
            compare(&points, &[]).map_err(|error| (error.ceremony, error.what)),
            Err((5, "the supply"))
        );
        let mut attendance = GOLDEN_ATTENDANCE;
        attendance[5] -= 1;
        let error = compare(&GOLDEN, &attendance).unwrap_err().to_string();
        assert_eq!(error, "ceremony 6: the attendance is 248, the golden vector says 249");
    }

    proptest! {
        #[test]
        fn nobody_endorses_more_than_they_have(tickets in proptest::collection::vec(0u64..20, 0..10), demand in 0u64..100) {
            let tickets: Vec<(usize, u64)> = tickets.into_iter().enumerate().collect();
            let given = endorsements(&tickets, demand);
            let sum: u64 = given.iter().map(|(_, count)| count).sum();
            prop_assert_eq!(sum, demand.min(tickets.iter().map(|(_, count)| count).sum()));
            prop_assert!(given.iter().all(|(who, count)| *count <= tickets[*who].1));
        }

        #[test]
        fn a_population_never_passes_its_cap(population in 0u64..10_000, cap in 0u64..10_000) {
            prop_assert!(population + newbies(population, cap) <= cap.max(population));
        }
    }
}
