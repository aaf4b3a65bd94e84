//! Whether a protocol's invariants are streamed, by what is known of its payment. Pure.

use billing::monitor::rule::Conclusion;

/// Whether a service that was `served` before is served now: while it is paid and in the grace after that; what nobody knows
/// changes nothing.
#[must_use]
pub const fn served(before: bool, conclusion: &Conclusion) -> bool {
    match conclusion {
        Conclusion::Paid { .. } | Conclusion::Grace { .. } => true,
        Conclusion::Unpaid { .. } => false,
        Conclusion::Indeterminate { .. } => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::U256;

    const PAID: Conclusion = Conclusion::Paid {
        runway: 60,
        paid_until: 1_060,
        warn: false,
    };
    const UNPAID: Conclusion = Conclusion::Unpaid {
        arrears: U256::ONE,
        since: 990,
    };

    #[test]
    fn payment_opens_its_end_closes_and_silence_changes_nothing() {
        let grace = Conclusion::Grace {
            left: 5,
            arrears: U256::ONE,
        };
        let unknown = Conclusion::Indeterminate {
            reason: "no endpoint answers".to_owned(),
        };
        for before in [true, false] {
            assert!(served(before, &PAID));
            assert!(served(before, &grace), "the grace is there to be served in");
            assert!(!served(before, &UNPAID));
            assert_eq!(served(before, &unknown), before);
        }
    }
}
