//! Where meetups are: places on the mean sphere, how far they are apart, and grids of them.

use serde::{Deserialize, Serialize};

/// Metres of one degree of latitude.
pub(crate) const DEGREE: f64 = 111_194.926_644;
/// Metres between two places of a grid.
const GRID: f64 = 1_000.0;

/// Where a meetup is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Location {
    /// Degrees, north positive.
    pub latitude: f64,
    /// Degrees, east positive.
    pub longitude: f64,
}

impl Location {
    /// Metres from here to there (haversine).
    #[must_use]
    pub fn metres_to(&self, there: &Self) -> f64 {
        let half = |degrees: f64| (degrees.to_radians() / 2.0).sin();
        let cosines = self.latitude.to_radians().cos() * there.latitude.to_radians().cos();
        let chord =
            half(there.latitude - self.latitude).powi(2) + cosines * half(there.longitude - self.longitude).powi(2);
        2.0 * chord.sqrt().min(1.0).asin() * DEGREE.to_degrees()
    }
}

/// A square of places, `side` in each direction, whose corner in the south and west is there; to six decimals, a tenth of a metre.
pub(crate) fn grid(south: f64, west: f64, side: u64) -> impl Iterator<Item = Location> {
    let micro = |degrees: f64| (degrees * 1e6).round() / 1e6;
    let step_north = GRID / DEGREE;
    (0..side * side).map(move |place| {
        let latitude = south + (place / side) as f64 * step_north;
        // Meridians draw together to the pole: the same metres are more degrees there.
        let step_east = step_north / latitude.to_radians().cos();
        Location {
            latitude: micro(latitude),
            longitude: micro(west + (place % side) as f64 * step_east),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_degree_of_latitude_is_111_kilometres_and_one_of_longitude_half_of_it_at_60_degrees() {
        let at = |latitude, longitude| Location { latitude, longitude };
        assert!((at(0.0, 0.0).metres_to(&at(1.0, 0.0)) - DEGREE).abs() < 1e-3);
        assert!((at(60.0, 0.0).metres_to(&at(60.0, 0.01)) - DEGREE / 200.0).abs() < 0.1);
    }

    #[test]
    fn neighbours_of_a_grid_are_a_kilometre_apart() {
        let places: Vec<Location> = grid(-30.0, -15.0, 3).collect();
        assert_eq!(places.len(), 9);
        for (one, other) in [(0, 1), (1, 2), (0, 3), (5, 8)] {
            let metres = places[one].metres_to(&places[other]);
            assert!((metres - GRID).abs() < 0.2, "{one} and {other}: {metres} m");
        }
    }
}
