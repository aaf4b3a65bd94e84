//! What a service costs, what it was paid, and until when: the contract's rule, over plain numbers.
//!
//! Amounts are base units of the token, times are Unix seconds of the chain (block time). What always holds: the balances of
//! all payees and what they withdrew are what was paid; [`Terms::is_paid`] at `t` exactly when `t <= ` [`Terms::paid_until`].

use alloy::primitives::U256;

/// What was agreed at deployment; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Base units per second, for all payees together. At least 1, below 2^192.
    pub rate: U256,
    /// From when on the service costs.
    pub start: u64,
    /// How many share each payment; at least 1.
    pub payees: u16,
}

impl Terms {
    /// What the service has cost until `at`; nothing until the start.
    pub fn owed(&self, at: u64) -> U256 {
        self.rate.saturating_mul(U256::from(at.saturating_sub(self.start)))
    }

    /// Whether `paid` is enough at `at`. Equality is enough.
    pub fn is_paid(&self, paid: U256, at: u64) -> bool {
        paid >= self.owed(at)
    }

    /// What is missing at `at`.
    pub fn arrears(&self, paid: U256, at: u64) -> U256 {
        self.owed(at).saturating_sub(paid)
    }

    /// The last second at which `paid` is enough. Ends at the last second that a `u64` can say.
    pub fn paid_until(&self, paid: U256) -> u64 {
        let seconds = paid.checked_div(self.rate).unwrap_or(U256::MAX);
        self.start.saturating_add(u64::try_from(seconds).unwrap_or(u64::MAX))
    }

    /// Seconds from `at` until the payment ends; negative when it has ended.
    pub fn runway(&self, paid: U256, at: u64) -> i64 {
        let difference = i128::from(self.paid_until(paid)) - i128::from(at);
        i64::try_from(difference).unwrap_or(if difference < 0 { i64::MIN } else { i64::MAX })
    }

    /// The least payment that divides among the payees and is enough through `until`; nothing when it is paid already.
    pub fn price(&self, paid: U256, until: u64) -> U256 {
        let payees = U256::from(self.payees.max(1));
        let missing = self.arrears(paid, until);
        missing.div_ceil(payees).saturating_mul(payees)
    }
}

/// Why a payment or a withdrawal is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A payment of nothing.
    #[error("a payment has to be more than nothing")]
    ZeroAmount,
    /// It does not divide.
    #[error("{amount} does not divide among {payees} payees; the next amount that does is {next}")]
    NotDivisible {
        /// Base units.
        amount: U256,
        /// How many share.
        payees: u16,
        /// Base units.
        next: U256,
    },
    /// More than 256 bits, in all.
    #[error("the sum of all payments would not fit 256 bits")]
    TooMuch,
    /// There is nothing to withdraw.
    #[error("this account has nothing to withdraw")]
    InsufficientBalance,
}

/// What was paid and withdrawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    terms: Terms,
    total_paid: U256,
    withdrawn: Vec<U256>,
}

impl Account {
    /// Nothing paid yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            total_paid: U256::ZERO,
            withdrawn: vec![U256::ZERO; usize::from(terms.payees)],
        }
    }

    /// What was agreed.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Everything paid so far; never falls.
    pub const fn total_paid(&self) -> U256 {
        self.total_paid
    }

    /// Takes a payment.
    ///
    /// # Errors
    ///
    /// See [`Refusal`]; nothing changed.
    pub fn pay(&mut self, amount: U256) -> Result<(), Refusal> {
        let payees = U256::from(self.terms.payees.max(1));
        if amount.is_zero() {
            return Err(Refusal::ZeroAmount);
        }
        if !(amount % payees).is_zero() {
            let next = amount.div_ceil(payees).saturating_mul(payees);
            return Err(Refusal::NotDivisible {
                amount,
                payees: self.terms.payees,
                next,
            });
        }
        self.total_paid = self.total_paid.checked_add(amount).ok_or(Refusal::TooMuch)?;
        Ok(())
    }

    /// What a payee (by its place) may withdraw now; nothing for a place that nobody has.
    pub fn balance(&self, payee: usize) -> U256 {
        let share = self.total_paid / U256::from(self.terms.payees.max(1));
        self.withdrawn
            .get(payee)
            .map_or(U256::ZERO, |withdrawn| share - *withdrawn)
    }

    /// Gives a payee its whole balance.
    ///
    /// # Errors
    ///
    /// [`Refusal::InsufficientBalance`]; nothing changed.
    pub fn withdraw(&mut self, payee: usize) -> Result<U256, Refusal> {
        let amount = self.balance(payee);
        match self.withdrawn.get_mut(payee) {
            Some(withdrawn) if !amount.is_zero() => {
                *withdrawn += amount;
                Ok(amount)
            }
            _ => Err(Refusal::InsufficientBalance),
        }
    }

    /// Everything withdrawn so far.
    pub fn total_withdrawn(&self) -> U256 {
        self.withdrawn
            .iter()
            .fold(U256::ZERO, |sum, withdrawn| sum + *withdrawn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_704_067_200;

    fn terms(rate: u64) -> Terms {
        Terms {
            rate: U256::from(rate),
            start: START,
            payees: 2,
        }
    }

    #[test]
    fn kp_07_nothing_is_owed_until_the_start_and_at_it() {
        assert!(terms(2).is_paid(U256::ZERO, START - 1));
        assert!(terms(2).is_paid(U256::ZERO, START));
        assert!(!terms(2).is_paid(U256::ZERO, START + 1));
    }

    #[test]
    fn kp_08_a_payment_lasts_to_its_second() {
        let paid = U256::from(2 * 1_000);
        assert!(terms(2).is_paid(paid, START + 1_000));
        assert!(!terms(2).is_paid(paid, START + 1_001));
        assert_eq!(terms(2).paid_until(paid), START + 1_000);
        assert_eq!(terms(2).paid_until(paid + U256::ONE), START + 1_000);
        assert_eq!(terms(2).runway(paid, START + 1_001), -1);
    }

    #[test]
    fn a_price_divides_and_is_just_enough() {
        let terms = Terms {
            rate: U256::from(5),
            start: START,
            payees: 3,
        };
        assert_eq!(terms.price(U256::from(3), START + 2), U256::from(9));
        assert_eq!(terms.price(U256::from(30), START + 2), U256::ZERO);
    }

    #[test]
    fn numbers_at_their_ends_stay_in_bounds() {
        let dear = Terms {
            rate: U256::from(1) << 191,
            start: 0,
            payees: 1,
        };
        assert!(!dear.is_paid(U256::MAX >> 2, u64::MAX));
        assert_eq!(terms(1).paid_until(U256::MAX), u64::MAX);
        assert_eq!(terms(1).runway(U256::ZERO, u64::MAX), i64::MIN);
    }

    #[test]
    fn refusals_say_what_would_be_taken() {
        let mut account = Account::new(terms(1));
        assert_eq!(account.pay(U256::ZERO), Err(Refusal::ZeroAmount));
        let refusal = account.pay(U256::from(5)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "5 does not divide among 2 payees; the next amount that does is 6"
        );
        assert_eq!(account.withdraw(0), Err(Refusal::InsufficientBalance));
        assert_eq!(account.total_paid(), U256::ZERO);
    }
}
