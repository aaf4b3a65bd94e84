//! The bounties' money: released evenly over time, promised in equal parts to whoever is active, paid once.
//!
//! What always holds: `promised + unreleased <= balance`; what nobody was promised is released again. Amounts are base units.

/// Tokens for bounties, without the stakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pool {
    balance: u128,
    rate: u128,
    release_end: u64,
    synced_at: u64,
    promised: u128,
    accrued: u128,
}

/// There is nothing to release, or no time to do it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the end lies before now, or there is less than one base unit a second to release")]
pub struct NothingToRelease;

impl Pool {
    /// An empty pool, at its creation.
    pub fn new(now: u64) -> Self {
        Self {
            synced_at: now,
            ..Self::default()
        }
    }

    /// Somebody gives tokens; they wait for the next release.
    pub fn give(&mut self, amount: u128) {
        self.balance = self.balance.saturating_add(amount);
    }

    /// Everything in it.
    pub fn balance(&self) -> u128 {
        self.balance
    }

    /// Base units each second, for all together.
    pub fn rate(&self) -> u128 {
        self.rate
    }

    /// Promised and not claimed, as of the last [`sync`](Self::sync).
    pub fn promised(&self) -> u128 {
        self.promised
    }

    /// What each node was promised that was active all along, as of the last [`sync`](Self::sync).
    pub fn accrued(&self) -> u128 {
        self.accrued
    }

    /// What is released after `now`.
    pub fn unreleased(&self, now: u64) -> u128 {
        self.rate.saturating_mul(self.release_end.saturating_sub(now).into())
    }

    /// Promises what was released until `now` to `active` nodes in equal parts. Whatever changes their number comes after it.
    pub fn sync(&mut self, active: usize, now: u64) {
        let until = now.min(self.release_end);
        let released = self.rate.saturating_mul(until.saturating_sub(self.synced_at).into());
        if let Some(each) = released.checked_div(active as u128) {
            self.accrued = self.accrued.saturating_add(each);
            self.promised = self.promised.saturating_add(each * active as u128);
        }
        self.synced_at = now;
    }

    /// Releases everything that is not promised evenly from now to `end`; synced before.
    ///
    /// # Errors
    ///
    /// [`NothingToRelease`]; nothing changed.
    pub fn release(&mut self, end: u64, now: u64) -> Result<(), NothingToRelease> {
        let seconds = end
            .checked_sub(now)
            .filter(|seconds| *seconds > 0)
            .ok_or(NothingToRelease)?;
        let rate = self.balance.saturating_sub(self.promised) / u128::from(seconds);
        if rate == 0 || rate >> 96 != 0 {
            return Err(NothingToRelease);
        }
        (self.rate, self.release_end) = (rate, end);
        Ok(())
    }

    /// Takes a promise back and pays `bounty` of it; the rest is nobody's.
    pub fn pay(&mut self, promise: u128, bounty: u128) {
        self.promised = self.promised.saturating_sub(promise);
        self.balance = self.balance.saturating_sub(bounty.min(promise));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_released_is_shared_by_who_is_active_then() {
        let mut pool = Pool::new(0);
        pool.give(1_000);
        assert_eq!(pool.release(0, 0), Err(NothingToRelease));
        pool.release(100, 0).unwrap();
        pool.sync(1, 10);
        assert_eq!((pool.accrued(), pool.promised(), pool.unreleased(10)), (100, 100, 900));
        pool.sync(3, 20);
        assert_eq!(
            (pool.accrued(), pool.promised()),
            (133, 199),
            "one unit does not divide"
        );
        pool.sync(0, 30);
        assert_eq!((pool.accrued(), pool.promised(), pool.unreleased(30)), (133, 199, 700));
        pool.sync(1, 1_000);
        assert_eq!((pool.accrued(), pool.unreleased(1_000)), (833, 0));

        pool.pay(199, 100);
        assert_eq!((pool.balance(), pool.promised()), (900, 700));
        pool.release(2_000, 1_990).unwrap();
        assert_eq!(pool.rate(), 20, "what was kept back is released anew");
    }
}
