//! The wall clock, for what is dated and for how old something is, and Unix times as people read them. What is decided on the chain's
//! side goes by block time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The first second that no date has: dates end with the year 9999.
const END: u64 = 253_402_300_800;

/// The time since the Unix epoch; none for a clock that shows an earlier one.
#[must_use]
pub fn unix() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// [`unix`] in whole milliseconds.
#[must_use]
pub fn unix_ms() -> u64 {
    u64::try_from(unix().as_millis()).unwrap_or(u64::MAX)
}

/// Unix seconds as a date (RFC 3339, UTC); `second N` where no date has so many digits.
#[must_use]
pub fn date(seconds: u64) -> String {
    if seconds < END {
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
    } else {
        format!("second {seconds}")
    }
}

/// Unix milliseconds as a date (RFC 3339, UTC, with milliseconds); the last date where none has so many digits.
#[must_use]
pub fn date_ms(ms: u64) -> String {
    let at = UNIX_EPOCH + Duration::from_millis(ms.min(END * 1_000 - 1));
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_date_as_far_as_there_are_dates() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(END - 1), "9999-12-31T23:59:59Z");
        assert_eq!(date(u64::MAX), format!("second {}", u64::MAX));
        assert_eq!(date_ms(1_500), "1970-01-01T00:00:01.500Z");
        assert_eq!(date_ms(u64::MAX), "9999-12-31T23:59:59.999Z");
    }
}
