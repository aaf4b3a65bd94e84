//! What is paid: the fee of a deposit, the compensation of an execution, what a slash takes, and what credits can bear.
//!
//! What always holds: nothing takes more than there is; every term is rounded down on its own.

/// The contract's rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Wei for a success, besides gas.
    pub fixed_reward: u128,
    /// What gas is multiplied by after a success, in 1/10,000.
    pub multiplier_bps: u128,
    /// Gas paid besides what was measured.
    pub gas_overhead: u128,
    /// A success earns the stake divided by this; 0 counts as 1.
    pub stake_divisor: u128,
    /// Stake above it does not count; 0: all counts.
    pub max_stake: u128,
}

impl Rates {
    /// Wei for an execution: everything after a success, only gas after a failure. `job_max_stake` is the job's own cap, 0: none.
    pub fn compensation(&self, ok: bool, gas_price: u128, gas_used: u128, stake: u128, job_max_stake: u128) -> u128 {
        let gas = gas_price.saturating_mul(gas_used.saturating_add(self.gas_overhead));
        if !ok {
            return gas;
        }
        let stake = capped(stake, job_max_stake, self.max_stake);
        self.fixed_reward
            .saturating_add(gas.saturating_mul(self.multiplier_bps) / 10_000)
            .saturating_add(stake / self.stake_divisor.max(1))
    }
}

/// What part of a stake counts. A cap of 0 is none.
pub fn capped(stake: u128, job_max: u128, max: u128) -> u128 {
    let cap = |stake: u128, cap: u128| if cap == 0 { stake } else { stake.min(cap) };
    cap(cap(stake, job_max), max)
}

/// Wei for gas: the base fee, or the job's cap when it is above it and the assigned keeper accepts that. `None`: not to be
/// executed. A defence job has no cap.
pub fn gas_price(base_fee: u128, cap: u128, defence: bool, accepts: bool) -> Option<u128> {
    if base_fee <= cap || defence {
        Some(base_fee)
    } else {
        accepts.then_some(cap)
    }
}

/// What a slash takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slashing {
    /// Base units in any case.
    pub fixed: u128,
    /// Of the counting stake, in 1/10,000.
    pub bps: u128,
    /// Stake above it does not count; 0: all counts.
    pub max_stake: u128,
}

/// A slash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slash {
    /// Base units that the slasher gets; at most the stake.
    pub taken: u128,
    /// Base units that the stake was short of.
    pub missing: u128,
}

impl Slashing {
    /// What it takes of a stake. `job_max_stake` is the job's own cap, 0: none.
    pub fn of(&self, stake: u128, job_max_stake: u128) -> Slash {
        let counting = capped(stake, job_max_stake, self.max_stake);
        let wanted = self.fixed.saturating_add(counting.saturating_mul(self.bps) / 10_000);
        let taken = wanted.min(stake);
        Slash {
            taken,
            missing: wanted - taken,
        }
    }
}

/// What is kept of a deposit, in wei; the rest is credited. `ppm` is in 1/1,000,000.
pub fn fee(deposit: u128, ppm: u128) -> u128 {
    (deposit.saturating_mul(ppm) / 1_000_000).min(deposit)
}

/// Credits of a job, or of its owner, in wei.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credits(pub u128);

impl Credits {
    /// Whether a job with them gets a keeper.
    pub const fn enough_for_keeper(self, job_min: u128) -> bool {
        self.0 >= job_min
    }

    /// Takes `amount`, and answers with what was taken. A success has to be paid in full, except in defence; otherwise no more is
    /// taken than there is.
    ///
    /// # Errors
    ///
    /// [`Short`]; nothing was taken.
    pub fn debit(&mut self, amount: u128, ok: bool, defence: bool) -> Result<u128, Short> {
        if amount > self.0 && ok && !defence {
            return Err(Short {
                available: self.0,
                wanted: amount,
            });
        }
        let taken = amount.min(self.0);
        self.0 -= taken;
        Ok(taken)
    }
}

/// Credits are too few for a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the execution costs {wanted} wei, {available} wei are credited")]
pub struct Short {
    /// Wei.
    pub available: u128,
    /// Wei.
    pub wanted: u128,
}
