//! From a recorded predicate on a value and its pre-value to a comparison with a constant.

use alloy::primitives::{U512, ruint::UintTryFrom};

use crate::{Comparison, U256};

/// A recorded predicate; the value before the transaction is known when it is turned into a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predicate {
    /// post == pre
    Unchanged,
    /// post * den >= pre * num
    MinRatio { num: U256, den: U256 },
    /// post * den <= pre * num
    MaxRatio { num: U256, den: U256 },
    /// pre - post <= limit
    MaxDecrease(U256),
    /// post - pre <= limit
    MaxIncrease(U256),
}

impl Predicate {
    /// The comparison that the value after the transaction must satisfy. Exact: products have 512 bits.
    ///
    /// `None` when no 256-bit value could satisfy it, or the ratio divides by zero.
    pub(super) fn bound(self, pre: U256) -> Option<(Comparison, U256)> {
        Some(match self {
            Self::Unchanged => (Comparison::Eq, pre),
            Self::MinRatio { num, den } => {
                let (quotient, rest) = divide(pre, num, den)?;
                let rounded_up = if rest.is_zero() {
                    quotient
                } else {
                    quotient + U512::from(1)
                };
                (Comparison::Ge, narrow(rounded_up)?)
            }
            Self::MaxRatio { num, den } => {
                let (quotient, _) = divide(pre, num, den)?;
                // A bound above every value is one that every value satisfies.
                (Comparison::Le, narrow(quotient).unwrap_or(U256::MAX))
            }
            Self::MaxDecrease(limit) => (Comparison::Ge, pre.saturating_sub(limit)),
            Self::MaxIncrease(limit) => (Comparison::Le, pre.saturating_add(limit)),
        })
    }
}

fn divide(pre: U256, num: U256, den: U256) -> Option<(U512, U512)> {
    if den.is_zero() {
        return None;
    }
    let product: U512 = pre.widening_mul(num);
    Some(product.div_rem(U512::from(den)))
}

fn narrow(value: U512) -> Option<U256> {
    U256::uint_try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn u(value: u64) -> U256 {
        U256::from(value)
    }

    #[test]
    fn ratios_round_towards_the_safe_side() {
        let nine_tenths = |pre| Predicate::MinRatio { num: u(9), den: u(10) }.bound(u(pre));
        assert_eq!(nine_tenths(100), Some((Comparison::Ge, u(90))));
        assert_eq!(nine_tenths(101), Some((Comparison::Ge, u(91))));
        assert_eq!(nine_tenths(0), Some((Comparison::Ge, u(0))));
        let at_most = Predicate::MaxRatio { num: u(11), den: u(10) };
        assert_eq!(at_most.bound(u(101)), Some((Comparison::Le, u(111))));
    }

    #[test]
    fn bounds_beyond_256_bits_are_seen_and_not_wrapped() {
        assert_eq!(Predicate::MinRatio { num: u(2), den: u(1) }.bound(U256::MAX), None);
        assert_eq!(
            Predicate::MaxRatio { num: u(2), den: u(1) }.bound(U256::MAX),
            Some((Comparison::Le, U256::MAX))
        );
        assert_eq!(Predicate::MinRatio { num: u(1), den: u(0) }.bound(u(1)), None);
        assert_eq!(Predicate::MaxDecrease(u(5)).bound(u(3)), Some((Comparison::Ge, u(0))));
        assert_eq!(
            Predicate::MaxIncrease(U256::MAX).bound(u(3)),
            Some((Comparison::Le, U256::MAX))
        );
        assert_eq!(Predicate::Unchanged.bound(u(3)), Some((Comparison::Eq, u(3))));
    }

    proptest! {
        #[test]
        fn a_bound_says_what_its_predicate_says(pre in 0u64.., post in 0u64.., num in 0u64..1000, den in 1u64..1000, limit in 0u64..) {
            let holds = |predicate: Predicate| {
                let (comparison, target) = predicate.bound(u(pre)).unwrap();
                comparison.holds(u(post).cmp(&target))
            };
            let (wide_pre, wide_post) = (u128::from(pre) * u128::from(num), u128::from(post) * u128::from(den));
            prop_assert_eq!(holds(Predicate::MinRatio { num: u(num), den: u(den) }), wide_post >= wide_pre);
            prop_assert_eq!(holds(Predicate::MaxRatio { num: u(num), den: u(den) }), wide_post <= wide_pre);
            prop_assert_eq!(holds(Predicate::MaxDecrease(u(limit))), pre.saturating_sub(post) <= limit);
            prop_assert_eq!(holds(Predicate::MaxIncrease(u(limit))), post.saturating_sub(pre) <= limit);
        }
    }
}
