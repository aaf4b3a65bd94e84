//! What a community is: its name, its currency's symbol, its founders, its places, and the rules that it grows by (a TOML file).
//!
//! A specification is checked as a whole before anything is made of it, and each fault is a line that says what to change.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use chain::local::params::Tao;
use rand::Rng;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

use crate::place::{self, DEGREE, Location};

/// Founders that a community may have at most.
const MOST_BOOTSTRAPPERS: u64 = 4_000;
/// Places that a community may have at most.
const MOST_LOCATIONS: usize = 10_000;
/// Places must be farther apart, in metres: nobody can be at two meetups at once.
const LEAST_DISTANCE: f64 = 100.0;
/// Words that generated communities are named after: birds, of at least four letters.
const WORDS: [&str; 16] = [
    "avocet",
    "bittern",
    "cormorant",
    "dunlin",
    "egret",
    "fulmar",
    "gannet",
    "heron",
    "kestrel",
    "lapwing",
    "merlin",
    "osprey",
    "plover",
    "skua",
    "tern",
    "whimbrel",
];

/// A community.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What it is called.
    pub name: String,
    /// What its currency is called: two to six capital letters.
    pub symbol: String,
    /// Accounts that it begins with.
    #[serde(default = "ten")]
    pub bootstrappers: u64,
    /// How many of them, the first ones, are validators: they stake and set weights, and are not challenged. The others are miners.
    #[serde(default = "ten")]
    pub validators: u64,
    /// What it grows by.
    #[serde(default)]
    pub rules: Rules,
    /// Where it meets.
    #[serde(default)]
    pub locations: Vec<Location>,
}

const fn ten() -> u64 {
    10
}

/// What a community grows by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// Participants of a meetup.
    pub meetup_size: u64,
    /// Newbies are at most one for so many others: 2 in tests, 3 in production.
    pub newbie_divider: u64,
    /// What attending one ceremony earns, in units of the currency.
    pub income: Tao,
    /// Other incomes from later ceremonies on.
    pub raises: Vec<Raise>,
    /// Newcomers whom a bootstrapper may vouch for in all.
    pub bootstrapper_tickets: u64,
    /// Newcomers whom a reputable may vouch for in each ceremony.
    pub reputable_tickets: u64,
    /// Newcomers who are vouched for in each ceremony.
    pub endorsees: u64,
    /// Ceremonies for which having attended counts.
    pub reputation_lifetime: u64,
    /// What a registration costs, in TAO of the community's book.
    pub fee: Tao,
    /// Accounts at most; ten for each location where it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_population: Option<u64>,
}

/// Another income from a ceremony on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Raise {
    /// The first ceremony that earns it.
    pub from: u64,
    /// The income.
    pub income: Tao,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            meetup_size: 15,
            newbie_divider: 2,
            income: Tao::from_rao(1_000_000_000),
            raises: Vec::new(),
            bootstrapper_tickets: 5,
            reputable_tickets: 5,
            endorsees: 10,
            reputation_lifetime: 337,
            fee: Tao::from_rao(1_000_000),
            max_population: None,
        }
    }
}

impl Rules {
    /// What attending `ceremony` earns.
    pub fn income_of(&self, ceremony: u64) -> u64 {
        let last = self
            .raises
            .iter()
            .filter(|raise| raise.from <= ceremony)
            .max_by_key(|raise| raise.from);
        last.map_or(self.income, |raise| raise.income).rao()
    }
}

/// A specification that no community can be made of.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// The file cannot be read.
    #[error("community {}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// It is no TOML, or has other keys.
    #[error("community {}: {reason}", path.display())]
    Form {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A value with which no community works.
    #[error("community: `{key}`: {reason}")]
    Value {
        /// Which key.
        key: &'static str,
        /// What is wrong, and what to give instead.
        reason: String,
    },
    /// Two places at which one could be at once.
    #[error(
        "community: locations {first} and {second} are {metres:.0} m apart; places must be more than {LEAST_DISTANCE:.0} m apart: \
         move or remove one of them"
    )]
    Overlap {
        /// Its number, from 1.
        first: usize,
        /// Its number, from 1.
        second: usize,
        /// How far.
        metres: f64,
    },
    /// Founders without a seat.
    #[error("community: {given} locations are too few: {bootstrappers} bootstrappers need {needed}")]
    TooFewLocations {
        /// How many there are.
        given: usize,
        /// How many there must be.
        needed: u64,
        /// For whom.
        bootstrappers: u64,
    },
}

impl Spec {
    /// The community of a file.
    ///
    /// # Errors
    /// [`SpecError`] says what to change.
    pub fn read(path: &Path) -> Result<Self, SpecError> {
        let text = std::fs::read_to_string(path).map_err(|reason| SpecError::File {
            path: path.to_owned(),
            reason,
        })?;
        let spec: Self = toml::from_str(&text).map_err(|error| SpecError::Form {
            path: path.to_owned(),
            reason: one_line(&error, &text),
        })?;
        spec.check()?;
        Ok(spec)
    }

    /// A community on a grid of about `locations` places in the Atlantic, named by chance.
    pub fn generate(rng: &mut impl Rng, locations: u64) -> Self {
        let word = WORDS.choose(rng).copied().unwrap_or("heron");
        let symbol = word.chars().skip(1).take(3).collect::<String>().to_uppercase();
        // The box that Encointer's bots meet in, off the coast of Africa; away from the pole and from the date line.
        let (south, west) = (rng.random_range(-35.0..-25.0), rng.random_range(-20.0..-10.0));
        let side = (locations as f64).sqrt().round().max(1.0) as u64;
        Self {
            name: format!("bot-{word}"),
            symbol,
            bootstrappers: 10,
            validators: 10,
            rules: Rules::default(),
            locations: place::grid(south, west, side).collect(),
        }
    }

    /// Whether a community can be made of it.
    ///
    /// # Errors
    /// The first fault.
    pub fn check(&self) -> Result<(), SpecError> {
        let fault = |key, reason: &str| {
            Err(SpecError::Value {
                key,
                reason: reason.to_owned(),
            })
        };
        if self.name.is_empty() || self.name.len() > 64 || self.name.chars().any(char::is_control) {
            return fault("name", "give 1 to 64 bytes of text without control characters");
        }
        if !(2..=6).contains(&self.symbol.len()) || !self.symbol.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return fault("symbol", "give two to six capital letters A to Z");
        }
        if !(3..=MOST_BOOTSTRAPPERS).contains(&self.bootstrappers) {
            return fault("bootstrappers", "give 3 to 4000: three are the smallest meetup");
        }
        if !(1..=self.bootstrappers.min(64)).contains(&self.validators) {
            return fault(
                "validators",
                "give at least 1, and at most 64 and as many as there are bootstrappers",
            );
        }
        let rules = &self.rules;
        if !(3..=100).contains(&rules.meetup_size) {
            return fault("rules.meetup_size", "give 3 to 100");
        }
        if !(1..=100).contains(&rules.newbie_divider) {
            return fault(
                "rules.newbie_divider",
                "give 1 to 100: newbies are at most one for so many others",
            );
        }
        if rules.endorsees > 1_000 || rules.bootstrapper_tickets > 1_000 || rules.reputable_tickets > 1_000 {
            return fault(
                "rules",
                "`endorsees`, `bootstrapper_tickets` and `reputable_tickets` are at most 1000",
            );
        }
        if rules.reputation_lifetime == 0 {
            return fault(
                "rules.reputation_lifetime",
                "give 1 or more: who has just attended is reputable",
            );
        }
        if self.max_population() > 60_000 {
            return fault(
                "rules.max_population",
                "a subnet has no more uids than 60000 accounts need",
            );
        }
        let capacity = |location: &Location| location.latitude.abs() <= 85.0 && location.longitude.abs() <= 180.0;
        if !self.locations.iter().all(capacity) {
            return fault(
                "locations",
                "a latitude is a number from -85 to 85, a longitude one from -180 to 180",
            );
        }
        if self.locations.len() > MOST_LOCATIONS {
            return fault("locations", "give 10000 at most");
        }
        let needed = self.bootstrappers.div_ceil(rules.meetup_size).max(2);
        if (self.locations.len() as u64) < needed {
            return Err(SpecError::TooFewLocations {
                given: self.locations.len(),
                needed,
                bootstrappers: self.bootstrappers,
            });
        }
        self.overlap()
    }

    /// Sweeps from south to north, so that only neighbours are compared.
    fn overlap(&self) -> Result<(), SpecError> {
        let mut order: Vec<(usize, &Location)> = self.locations.iter().enumerate().collect();
        order.sort_by(|a, b| a.1.latitude.total_cmp(&b.1.latitude));
        for (place, (first, from)) in order.iter().enumerate() {
            let near = |to: &Location| (to.latitude - from.latitude) * DEGREE <= LEAST_DISTANCE;
            for (second, to) in order.iter().skip(place + 1).take_while(|(_, to)| near(to)) {
                let metres = from.metres_to(to);
                if metres <= LEAST_DISTANCE {
                    return Err(SpecError::Overlap {
                        first: first.min(second) + 1,
                        second: first.max(second) + 1,
                        metres,
                    });
                }
            }
        }
        Ok(())
    }

    /// Accounts at most.
    pub fn max_population(&self) -> u64 {
        self.rules.max_population.unwrap_or(10 * self.locations.len() as u64)
    }

    /// The file that [`Spec::read`] reads.
    pub fn to_toml(&self) -> String {
        let mut text = String::from("# A bot community; `bots init --community FILE` founds it.\n");
        // Only a map with keys that are no text has no TOML form, and there is none here.
        let _written = write!(text, "{}", toml::to_string(self).unwrap_or_default());
        text
    }
}

/// Where in the file, and what.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .map(|span| text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha20Rng;

    fn generated(seed: u64, locations: u64) -> Spec {
        Spec::generate(&mut ChaCha20Rng::seed_from_u64(seed), locations)
    }

    #[test]
    fn overlapping_places_are_named_with_their_distance() {
        let mut spec = generated(1, 100);
        let first = spec.locations[3];
        spec.locations[57] = Location {
            latitude: first.latitude + 0.000_5,
            ..first
        };
        let error = spec.check().unwrap_err().to_string();
        assert!(error.contains("locations 4 and 58 are 56 m apart"), "{error}");
    }

    #[test]
    fn too_few_places_are_counted() {
        let mut spec = generated(1, 100);
        spec.bootstrappers = 40;
        spec.locations.truncate(2);
        let error = spec.check().unwrap_err().to_string();
        assert_eq!(error, "community: 2 locations are too few: 40 bootstrappers need 3");
    }

    #[test]
    fn faults_of_form_name_line_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("community.toml");
        for (text, expected) in [
            ("name = \"x\"\nsymbol = \"XX\"\ncolour = 3\n", "line 3"),
            ("name = \"x\"\n", "symbol"),
            ("name = \"x\"\nsymbol = \"xx\"\n", "capital letters"),
            ("name = \"x\"\nsymbol = \"XX\"\nbootstrappers = 1\n", "bootstrappers"),
            (
                "name = \"x\"\nsymbol = \"XX\"\nlocations = [{ latitude = nan, longitude = 0.0 }]\n",
                "latitude",
            ),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Spec::read(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn an_income_is_raised_from_a_ceremony_on() {
        let raise = |from, rao| Raise {
            from,
            income: Tao::from_rao(rao),
        };
        let rules = Rules {
            raises: vec![raise(6, 3), raise(4, 2)],
            income: Tao::from_rao(1),
            ..Rules::default()
        };
        assert_eq!(
            [1, 3, 4, 5, 6, 9].map(|ceremony| rules.income_of(ceremony)),
            [1, 1, 2, 2, 3, 3]
        );
    }

    proptest! {
        #[test]
        fn every_generated_community_is_sound_and_survives_its_file(seed: u64, locations in 4u64..400) {
            let spec = generated(seed, locations);
            prop_assert!(spec.check().is_ok(), "{:?}", spec.check());
            prop_assert_eq!(toml::from_str::<Spec>(&spec.to_toml()).unwrap(), spec);
        }
    }
}
