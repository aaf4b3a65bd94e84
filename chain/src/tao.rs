//! Amounts of TAO as users write them.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserializer, Error as _, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use crate::ledger::RAO_PER_TAO;

/// All the TAO that will ever be: no amount may be more, which keeps every sum within 63 bits.
pub const SUPPLY: u64 = 21_000_000 * RAO_PER_TAO;

/// An amount that a user writes in TAO and the ledger counts in RAO.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tao(u64);

impl Tao {
    /// The amount in RAO.
    pub const fn rao(self) -> u64 {
        self.0
    }

    /// The amount of so many RAO.
    pub const fn from_rao(rao: u64) -> Self {
        Self(rao)
    }
}

/// Text that is no amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount of TAO: expected 0 to 21000000 with at most nine decimals")]
pub struct TaoError(String);

impl FromStr for Tao {
    type Err = TaoError;

    fn from_str(text: &str) -> Result<Self, TaoError> {
        let fail = || TaoError(text.to_owned());
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > 9 {
            return Err(fail());
        }
        let whole: u64 = whole.parse().map_err(|_| fail())?;
        let fraction: u64 = format!("{fraction:0<9}").parse().map_err(|_| fail())?;
        let rao = whole
            .checked_mul(RAO_PER_TAO)
            .and_then(|rao| rao.checked_add(fraction))
            .ok_or_else(fail)?;
        if rao > SUPPLY { Err(fail()) } else { Ok(Self(rao)) }
    }
}

impl fmt::Display for Tao {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / RAO_PER_TAO, self.0 % RAO_PER_TAO);
        let text = format!("{whole}.{fraction:09}");
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl Serialize for Tao {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tao {
    /// From a string, or from a number as TOML and the environment have them.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = Tao;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount of TAO")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Tao, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Tao, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Tao, E> {
                self.visit_str(&value.to_string())
            }
            fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Tao, E> {
                self.visit_str(&value.to_string())
            }
        }
        deserializer.deserialize_any(Amount).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, rao) in [
            ("0", 0),
            ("1", RAO_PER_TAO),
            ("0.1", 100_000_000),
            ("0.000000001", 1),
            ("21000000", SUPPLY),
        ] {
            assert_eq!(text.parse::<Tao>().map(Tao::rao), Ok(rao));
            assert_eq!(Tao::from_rao(rao).to_string(), text);
        }
        for text in [
            "",
            "-1",
            "1.",
            ".5",
            "0.0000000001",
            "21000000.1",
            "1e3",
            "99999999999999999999",
            "1.2.3",
            "+1",
        ] {
            assert!(text.parse::<Tao>().is_err(), "{text}");
        }
    }

    #[test]
    fn amounts_come_as_text_or_numbers() {
        for (json, rao) in [("\"2.5\"", 2_500_000_000), ("2.5", 2_500_000_000), ("3", 3_000_000_000)] {
            assert_eq!(serde_json::from_str::<Tao>(json).unwrap().rao(), rao);
        }
        assert!(
            serde_json::from_str::<Tao>("-3")
                .unwrap_err()
                .to_string()
                .contains("`-3`")
        );
    }

    proptest! {
        #[test]
        fn every_amount_survives_its_text(rao in 0..=SUPPLY) {
            prop_assert_eq!(Tao::from_rao(rao).to_string().parse(), Ok(Tao::from_rao(rao)));
        }
        #[test]
        fn any_text_is_an_answer_and_no_panic(text: String) {
            let _answer = text.parse::<Tao>();
        }
    }
}
