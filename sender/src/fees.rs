//! What a transaction offers per gas (EIP-1559): the first offer, the raised one, and the one that gets ahead.
//!
//! Pure arithmetic in wei per gas, saturating, rounded up where it must not fall short. What always holds: the priority fee
//! is never above the maximum fee, nothing is above the cap, and a raised offer is in **both** fees at least 12.5 % above
//! the one that it replaces (the strictest rule among the nodes in use; go-ethereum asks for 10 %), or it is not made at all.

/// The two fees of an EIP-1559 transaction, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
pub struct Fees {
    /// `maxFeePerGas`: base fee and priority fee together never cost more.
    pub max_fee: u128,
    /// `maxPriorityFeePerGas`: what the block's builder gets.
    pub priority_fee: u128,
}

impl Fees {
    /// Whether both fees are at least the other's.
    #[must_use]
    pub const fn cover(&self, other: &Self) -> bool {
        self.max_fee >= other.max_fee && self.priority_fee >= other.priority_fee
    }

    /// The effective priority fee in a block of this base fee: what its builder gets, and orders by.
    #[must_use]
    pub fn tip(&self, base_fee: u128) -> u128 {
        self.priority_fee.min(self.max_fee.saturating_sub(base_fee))
    }
}

/// What the chain asks for now, in wei per gas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Market {
    /// Base fee of the next block.
    pub base_fee: u128,
    /// What others of this urgency pay the builder.
    pub priority_fee: u128,
}

/// How a lane makes its offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeePolicy {
    /// Never offer more than this `maxFeePerGas`, in wei.
    pub cap: u128,
    /// Never offer the builder less than this, in wei.
    pub min_priority_fee: u128,
    /// The offer stays includable over so many blocks of the fastest possible rise of the base fee.
    pub horizon: u32,
    /// Percent by which the projected base fee is exceeded.
    pub margin_percent: u32,
}

impl FeePolicy {
    /// The cap of a request with a cap of its own: the lower one.
    #[must_use]
    pub fn cap_with(&self, own: Option<u128>) -> u128 {
        own.map_or(self.cap, |own| own.min(self.cap))
    }
}

/// An offer, and what it could not reach under its cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// What is offered.
    pub fees: Fees,
    /// Whether the cap cut it.
    pub capped: bool,
    /// Whether it stands ahead of the transaction that was to be beaten, by priority fee and by maximum fee. True where
    /// there was none.
    pub ahead: bool,
}

/// `ceil(value * 9 / 8)`: the least value that is 12.5 % above, and at least one more.
#[must_use]
pub const fn raised(value: u128) -> u128 {
    // value + ceil(value / 8) without overflow of the product.
    let eighth = value.div_ceil(8);
    let sum = value.saturating_add(eighth);
    if sum == value { value.saturating_add(1) } else { sum }
}

/// The highest base fee that can stand `blocks` blocks after one of `base_fee`: a full block raises it by at most one eighth
/// (EIP-1559, `BASE_FEE_MAX_CHANGE_DENOMINATOR` = 8), and by at least one.
#[must_use]
pub fn highest_base_fee(base_fee: u128, blocks: u32) -> u128 {
    // 1 wei reaches u128's end after fewer than 800 steps.
    (0..blocks.min(1024)).fold(base_fee, |fee, _| raised(fee))
}

/// The first offer: the base fee projected over the horizon and with a margin, plus what others pay the builder; raised
/// ahead of the transaction with fees `beat` where there is one; cut at the cap.
///
/// Builders order by the effective priority fee `min(priorityFee, maxFee - baseFee)`, so that is beaten, taken at the lowest
/// base fee that the next block's neighbour may have; some pools order by the maximum fee, which costs nothing to offer, so
/// it is beaten as well. Both by 12.5 %.
#[must_use]
pub fn offer(policy: &FeePolicy, market: &Market, beat: Option<&Fees>, cap: Option<u128>) -> Offer {
    let cap = policy.cap_with(cap);
    let mut priority_fee = market.priority_fee.max(policy.min_priority_fee);
    let mut needed = None;
    if let Some(target) = beat {
        let lowest_base_fee = market.base_fee - market.base_fee / 8;
        let tip = target.tip(lowest_base_fee);
        priority_fee = priority_fee.max(raised(tip));
        needed = Some(Fees {
            max_fee: raised(target.max_fee),
            priority_fee: raised(tip),
        });
    }
    let projected = highest_base_fee(market.base_fee, policy.horizon);
    let with_margin = projected.saturating_add(percent(projected, policy.margin_percent));
    let mut max_fee = with_margin.saturating_add(priority_fee);
    if let Some(needed) = needed {
        max_fee = max_fee.max(needed.max_fee);
    }
    let capped = max_fee > cap;
    let max_fee = max_fee.min(cap);
    let fees = Fees {
        max_fee,
        priority_fee: priority_fee.min(max_fee),
    };
    let ahead = needed.is_none_or(|needed| {
        // What the builder gets of a capped offer in the next block.
        fees.max_fee >= needed.max_fee && fees.tip(market.base_fee) >= needed.priority_fee
    });
    Offer { fees, capped, ahead }
}

/// The offer that stands right behind a transaction with the fees `front`, whichever of both a block is ordered by: a wei less of each.
#[must_use]
pub fn behind(policy: &FeePolicy, front: &Fees, cap: Option<u128>) -> Offer {
    let cap = policy.cap_with(cap);
    let wanted = front.max_fee.saturating_sub(1);
    let max_fee = wanted.min(cap);
    Offer {
        fees: Fees {
            max_fee,
            priority_fee: front.priority_fee.saturating_sub(1).min(max_fee),
        },
        capped: wanted > cap,
        ahead: true,
    }
}

/// Whether an offer on its way stands ahead of a transaction with the fees `beat` in a block of this base fee: in the effective priority
/// fee, by which builders order, and in the maximum fee.
#[must_use]
pub fn stands_ahead(fees: &Fees, base_fee: u128, beat: &Fees) -> bool {
    fees.max_fee > beat.max_fee && fees.tip(base_fee) > beat.tip(base_fee)
}

/// The offer that replaces one of `current`: both fees raised by 12.5 % or more, up to `target` where that is higher.
/// `None` when the cap forbids even the least raise: then what is there stays.
#[must_use]
pub fn replacement(current: &Fees, target: &Fees, cap: u128) -> Option<Fees> {
    let least = Fees {
        max_fee: raised(current.max_fee),
        priority_fee: raised(current.priority_fee),
    };
    if least.max_fee > cap || least.priority_fee > cap {
        return None;
    }
    let max_fee = least.max_fee.max(target.max_fee).max(least.priority_fee).min(cap);
    let priority_fee = least.priority_fee.max(target.priority_fee).min(max_fee);
    Some(Fees { max_fee, priority_fee })
}

/// `ceil(value * percent / 100)`, saturating.
fn percent(value: u128, percent: u32) -> u128 {
    let percent = u128::from(percent);
    let whole = (value / 100).saturating_mul(percent);
    whole.saturating_add((value % 100).saturating_mul(percent).div_ceil(100))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GWEI: u128 = 1_000_000_000;

    fn policy() -> FeePolicy {
        FeePolicy {
            cap: 500 * GWEI,
            min_priority_fee: GWEI,
            horizon: 2,
            margin_percent: 10,
        }
    }

    fn gwei(max_fee: u128, priority_fee: u128) -> Fees {
        Fees {
            max_fee: max_fee * GWEI,
            priority_fee: priority_fee * GWEI,
        }
    }

    fn market(base_fee: u128, priority_fee: u128) -> Market {
        Market {
            base_fee: base_fee * GWEI,
            priority_fee: priority_fee * GWEI,
        }
    }

    #[test]
    fn a_raise_is_an_eighth_rounded_up() {
        assert_eq!(raised(8), 9);
        assert_eq!(raised(9), 11);
        assert_eq!(raised(100), 113);
        assert_eq!(raised(1), 2);
        assert_eq!(raised(0), 1);
        assert_eq!(raised(u128::MAX), u128::MAX);
    }

    #[test]
    fn the_base_fee_is_projected_over_the_horizon() {
        assert_eq!(highest_base_fee(800, 0), 800);
        assert_eq!(highest_base_fee(800, 1), 900);
        assert_eq!(highest_base_fee(800, 2), 1013);
    }

    #[test]
    fn the_first_offer_is_projection_margin_and_tip() {
        let offer = offer(&policy(), &market(64, 2), None, None);
        // 64 * 81/64 = 81, with 10 % = 89.1
        assert_eq!(
            offer.fees,
            Fees {
                max_fee: 89_100_000_000 + 2 * GWEI,
                priority_fee: 2 * GWEI
            }
        );
        assert!(!offer.capped && offer.ahead);
    }

    #[test]
    fn the_builder_is_never_offered_less_than_the_least() {
        let offer = offer(&policy(), &market(1, 0), None, None);
        assert_eq!(offer.fees.priority_fee, GWEI);
    }

    #[test]
    fn who_follows_a_transaction_stands_behind_it_and_ahead_of_whom_it_beat() {
        let (attack, market) = (gwei(200, 40), market(10, 1));
        let front = offer(&policy(), &market, Some(&attack), None).fees;
        let follower = behind(&policy(), &front, None);
        assert!(stands_ahead(&front, market.base_fee, &follower.fees));
        assert!(stands_ahead(&follower.fees, market.base_fee, &attack));
        assert!(!follower.capped);
        let capped = behind(&policy(), &front, Some(30 * GWEI));
        assert!(capped.capped && capped.fees.max_fee == 30 * GWEI && capped.fees.priority_fee == 30 * GWEI);
        let nothing = behind(&policy(), &Fees::default(), None);
        assert_eq!(nothing.fees, Fees::default());
    }

    #[test]
    fn the_attack_is_beaten_in_both_orders() {
        let attack = gwei(200, 40);
        let offer = offer(&policy(), &market(10, 1), Some(&attack), None);
        assert_eq!(offer.fees, gwei(225, 45));
        assert!(offer.ahead);
    }

    #[test]
    fn a_legacy_attack_is_beaten_at_the_tip_that_it_really_pays() {
        // Gas price 50 at a base fee of 16: it pays at most 50 - 14 = 36, not 50.
        let attack = gwei(50, 50);
        let offer = offer(&policy(), &market(16, 1), Some(&attack), None);
        assert_eq!(offer.fees.priority_fee, 40_500_000_000);
        assert!(offer.ahead);
    }

    #[test]
    fn a_cap_below_the_attack_is_said_aloud() {
        let (attack, market) = (gwei(200, 40), market(10, 1));
        let offer = offer(&policy(), &market, Some(&attack), Some(100 * GWEI));
        assert_eq!(offer.fees, gwei(100, 45));
        assert!(offer.capped && !offer.ahead);
    }

    #[test]
    fn at_the_cap_nothing_is_replaced() {
        let current = Fees {
            max_fee: 90,
            priority_fee: 10,
        };
        assert_eq!(replacement(&current, &current, 101), None);
        assert_eq!(
            replacement(&current, &current, 102),
            Some(Fees {
                max_fee: 102,
                priority_fee: 12
            })
        );
    }

    #[test]
    fn an_offer_falls_behind_when_the_attack_raises_its_own() {
        let ours = gwei(100, 20);
        assert!(stands_ahead(&ours, 10 * GWEI, &gwei(99, 19)));
        assert!(!stands_ahead(&ours, 10 * GWEI, &gwei(99, 20)), "a tie is no lead");
        assert!(!stands_ahead(&ours, 10 * GWEI, &gwei(100, 19)));
        assert!(
            stands_ahead(&ours, 95 * GWEI, &gwei(99, 19)),
            "both are cut: 5 against 4"
        );
        assert!(
            !stands_ahead(&ours, 100 * GWEI, &gwei(99, 19)),
            "it pays the builder nothing"
        );
    }

    proptest! {
        #[test]
        fn an_offer_that_is_said_to_be_ahead_is(
            base_fee in 0u128..1 << 60, tip in 0u128..1 << 60, beat in (0u128..1 << 61, 0u128..1 << 61), cap in 0u128..1 << 62,
        ) {
            let beat = Fees { max_fee: beat.0, priority_fee: beat.1.min(beat.0) };
            let policy = FeePolicy { cap, min_priority_fee: 1, horizon: 1, margin_percent: 0 };
            let offer = offer(&policy, &Market { base_fee, priority_fee: tip }, Some(&beat), None);
            prop_assert!(!offer.ahead || stands_ahead(&offer.fees, base_fee, &beat));
        }

        #[test]
        fn a_replacement_never_falls_short_of_an_eighth(
            max_fee in 0u128..=u128::MAX / 2, share in 0u128..=100, target in any::<(u128, u128)>(), cap in any::<u128>(),
        ) {
            let current = Fees { max_fee, priority_fee: max_fee / 100 * share };
            let target = Fees { max_fee: target.0, priority_fee: target.1 };
            if let Some(fees) = replacement(&current, &target, cap) {
                // new * 8 >= old * 9, divided so that it cannot overflow.
                for (new, old) in [(fees.max_fee, current.max_fee), (fees.priority_fee, current.priority_fee)] {
                    prop_assert!(new - old >= old.div_ceil(8));
                    prop_assert!(new > old);
                }
                prop_assert!(fees.max_fee <= cap && fees.priority_fee <= fees.max_fee);
            } else {
                prop_assert!(raised(current.max_fee) > cap);
            }
        }

        #[test]
        fn no_offer_is_above_its_cap(
            base_fee in any::<u128>(), tip in any::<u128>(), beat in proptest::option::of(any::<(u128, u128)>()),
            cap in any::<u128>(), horizon in 0u32..2000, margin_percent in 0u32..1000,
        ) {
            let policy = FeePolicy { cap, min_priority_fee: 7, horizon, margin_percent };
            let beat = beat.map(|(max_fee, priority_fee)| Fees { max_fee, priority_fee });
            let offer = offer(&policy, &Market { base_fee, priority_fee: tip }, beat.as_ref(), None);
            prop_assert!(offer.fees.max_fee <= cap);
            prop_assert!(offer.fees.priority_fee <= offer.fees.max_fee);
            prop_assert!(offer.capped || offer.fees.priority_fee >= 7);
            if let (Some(beat), true) = (beat, offer.ahead) {
                prop_assert!(offer.fees.max_fee > beat.max_fee || beat.max_fee == u128::MAX);
            }
        }
    }
}
