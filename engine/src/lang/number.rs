//! Numbers as people write them: `1_000`, `1.5e18`, `5%`, `3 ether`, `2 hours`.

use alloy::primitives::aliases::U512;

use super::{
    program::Decimal,
    wide::{MAX_SCALE, Wide},
};

/// Units that may stand behind a number: how many of it (or, below zero, how many powers of ten less).
pub(super) const UNITS: [(&str, u64, i32); 9] = [
    ("wei", 1, 0),
    ("gwei", 1, 9),
    ("ether", 1, 18),
    ("bps", 1, -4),
    ("seconds", 1, 0),
    ("minutes", 60, 0),
    ("hours", 3_600, 0),
    ("days", 86_400, 0),
    ("weeks", 604_800, 0),
];

/// The number `digits * 10^exponent * factor * 10^power`.
pub(super) fn constant(digits: &str, exponent: &str, factor: u64, power: i32) -> Option<Decimal> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let fraction = fraction.trim_end_matches('0');
    let all = format!("{whole}{fraction}");
    let all = all.trim_start_matches('0');
    if all.len() > 160 {
        return None;
    }
    let exponent: i32 = if exponent.is_empty() { 0 } else { exponent.parse().ok()? };
    let places = i32::try_from(fraction.len()).ok()?;
    let mut power = exponent.checked_add(power)?.checked_sub(places)?;
    let mut number: Wide = if all.is_empty() { Wide::ZERO } else { all.parse().ok()? };
    number = number.checked_mul(Wide::from(factor))?;
    if number.is_zero() {
        power = 0;
    }
    // Trailing zeros of the number make a fraction shorter: 50% is 0.5.
    let ten = Wide::from(10);
    while power < 0 && number.checked_rem(ten).is_some_and(Wide::is_zero) {
        number = number.checked_div(ten)?;
        power += 1;
    }
    let scale = if power < 0 {
        u8::try_from(power.checked_neg()?).ok()?
    } else {
        0
    };
    if power > 0 {
        number = number.scaled_up(u8::try_from(power).ok()?)?;
    }
    let limit = Wide::new(false, U512::ONE << 256);
    (scale <= MAX_SCALE && number < limit).then_some(Decimal { number, scale })
}
