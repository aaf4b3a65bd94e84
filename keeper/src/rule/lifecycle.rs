//! A keeper's stake and standing: activation, slashing by the owner, and redemption.
//!
//! What always holds: stake, what is pending and what left add up to what came in; nobody takes more than there is.

/// The contract's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The least stake of an active keeper, base units; not 0.
    pub min_stake: u128,
    /// Seconds from the request to the activation of a keeper that was disabled.
    pub activation_timeout: u64,
    /// Seconds from the request to the withdrawal.
    pub withdrawal_timeout: u64,
}

/// A keeper. Amounts are base units; a time of 0 is "not asked for".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keeper {
    /// What can be slashed.
    pub stake: u128,
    /// What the owner took and the next redemption covers.
    pub slashed: u128,
    /// What is being withdrawn.
    pub pending: u128,
    /// When it may be withdrawn.
    pub withdrawable_at: u64,
    /// When the keeper may become active.
    pub activation_at: u64,
    /// Whether it is.
    pub active: bool,
    /// Jobs assigned to it.
    pub assigned_jobs: u32,
}

/// Why a keeper's request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeeperRefusal {
    /// The first stake is below the minimum.
    #[error("the stake is below the minimum of {min}")]
    InsufficientAmount {
        /// Base units.
        min: u128,
    },
    /// Nothing was asked for.
    #[error("the amount has to be more than nothing")]
    MissingAmount,
    /// The stake is below the minimum.
    #[error("the keeper's stake is below the minimum of {min}")]
    InsufficientKeeperStake {
        /// Base units.
        min: u128,
    },
    /// It cannot become active twice.
    #[error("the keeper is active already")]
    KeeperIsAlreadyActive,
    /// It cannot leave twice.
    #[error("the keeper is inactive already")]
    KeeperIsAlreadyInactive,
    /// Activation begins with a request.
    #[error("activation was not initiated")]
    ActivationNotInitiated,
    /// The timeout is not over.
    #[error("activation is possible at {at}")]
    TooEarlyForActivationFinalization {
        /// Unix seconds.
        at: u64,
    },
    /// Jobs hold the stake.
    #[error("the keeper is assigned to {jobs} jobs; they have to be executed or released first")]
    KeeperIsAssignedToJobs {
        /// How many.
        jobs: u32,
    },
    /// What the owner slashed comes first.
    #[error("the amount has to cover the slashed stake of {slashed}")]
    InsufficientAmountToCoverSlashedStake {
        /// Base units.
        slashed: u128,
    },
    /// There is not so much.
    #[error("the amount is above the {available} there are")]
    AmountGtStake {
        /// Base units.
        available: u128,
    },
    /// An active keeper keeps the minimum.
    #[error("an active keeper keeps at least {min}; disable it first")]
    ShouldBeDisabled {
        /// Base units.
        min: u128,
    },
    /// The timeout is not over.
    #[error("the withdrawal is possible at {at}")]
    WithdrawalTimeoutNotReached {
        /// Unix seconds.
        at: u64,
    },
    /// There is nothing to withdraw.
    #[error("nothing is being withdrawn")]
    NoPendingWithdrawal,
}

impl Keeper {
    /// A new keeper; it may become active at once.
    ///
    /// # Errors
    ///
    /// When the stake is below the minimum.
    pub fn register(stake: u128, limits: Limits, now: u64) -> Result<Self, KeeperRefusal> {
        if stake < limits.min_stake {
            return Err(KeeperRefusal::InsufficientAmount { min: limits.min_stake });
        }
        Ok(Self {
            stake,
            activation_at: now,
            ..Self::default()
        })
    }

    /// Asks to become active; answers when it may.
    ///
    /// # Errors
    ///
    /// When it is active, or its stake is below the minimum.
    pub fn initiate_activation(&mut self, limits: Limits, now: u64) -> Result<u64, KeeperRefusal> {
        if self.active {
            return Err(KeeperRefusal::KeeperIsAlreadyActive);
        }
        self.enough(limits)?;
        self.activation_at = now.saturating_add(limits.activation_timeout);
        Ok(self.activation_at)
    }

    /// Becomes active.
    ///
    /// # Errors
    ///
    /// Too early, not asked for, or too little stake; in this order.
    pub fn finalize_activation(&mut self, limits: Limits, now: u64) -> Result<(), KeeperRefusal> {
        if self.activation_at > now {
            return Err(KeeperRefusal::TooEarlyForActivationFinalization { at: self.activation_at });
        }
        if self.activation_at == 0 {
            return Err(KeeperRefusal::ActivationNotInitiated);
        }
        self.enough(limits)?;
        (self.activation_at, self.active) = (0, true);
        Ok(())
    }

    /// Leaves the active set.
    ///
    /// # Errors
    ///
    /// When it is not in it.
    pub fn disable(&mut self) -> Result<(), KeeperRefusal> {
        if !self.active {
            return Err(KeeperRefusal::KeeperIsAlreadyInactive);
        }
        self.active = false;
        Ok(())
    }

    /// The owner takes of the stake and of what is being withdrawn.
    ///
    /// # Errors
    ///
    /// When there is not so much, or both are nothing.
    pub fn owner_slash(&mut self, current: u128, pending: u128) -> Result<(), KeeperRefusal> {
        if current == 0 && pending == 0 {
            return Err(KeeperRefusal::MissingAmount);
        }
        if current > self.stake {
            return Err(KeeperRefusal::AmountGtStake { available: self.stake });
        }
        if pending > self.pending {
            return Err(KeeperRefusal::AmountGtStake {
                available: self.pending,
            });
        }
        self.stake -= current;
        self.slashed = self.slashed.saturating_add(current);
        self.pending -= pending;
        Ok(())
    }

    /// Loses what a slasher gains; answers whether that ends its place in the active set.
    pub fn slash(&mut self, taken: u128, limits: Limits) -> bool {
        self.stake = self.stake.saturating_sub(taken);
        let falls = self.active && self.stake < limits.min_stake;
        if falls {
            self.active = false;
        }
        falls
    }

    /// Begins to withdraw; what the owner slashed is covered first. A second request adds and starts the time anew.
    ///
    /// # Errors
    ///
    /// See [`KeeperRefusal`]; nothing changed.
    pub fn initiate_redeem(&mut self, amount: u128, limits: Limits, now: u64) -> Result<u128, KeeperRefusal> {
        if amount == 0 {
            return Err(KeeperRefusal::MissingAmount);
        }
        if self.assigned_jobs != 0 {
            return Err(KeeperRefusal::KeeperIsAssignedToJobs {
                jobs: self.assigned_jobs,
            });
        }
        let Some(leaves) = amount.checked_sub(self.slashed) else {
            return Err(KeeperRefusal::InsufficientAmountToCoverSlashedStake { slashed: self.slashed });
        };
        let Some(left) = self.stake.checked_sub(leaves) else {
            return Err(KeeperRefusal::AmountGtStake {
                available: self.stake.saturating_add(self.slashed),
            });
        };
        if self.active && left < limits.min_stake {
            return Err(KeeperRefusal::ShouldBeDisabled { min: limits.min_stake });
        }
        self.slashed = 0;
        self.stake = left;
        self.pending = self.pending.saturating_add(leaves);
        self.withdrawable_at = now.saturating_add(limits.withdrawal_timeout);
        Ok(self.pending)
    }

    /// Withdraws; answers with how much.
    ///
    /// # Errors
    ///
    /// Too early, or nothing is pending; in this order.
    pub fn finalize_redeem(&mut self, now: u64) -> Result<u128, KeeperRefusal> {
        if self.withdrawable_at > now {
            return Err(KeeperRefusal::WithdrawalTimeoutNotReached {
                at: self.withdrawable_at,
            });
        }
        if self.pending == 0 {
            return Err(KeeperRefusal::NoPendingWithdrawal);
        }
        Ok(std::mem::take(&mut self.pending))
    }

    fn enough(&self, limits: Limits) -> Result<(), KeeperRefusal> {
        if self.stake < limits.min_stake {
            return Err(KeeperRefusal::InsufficientKeeperStake { min: limits.min_stake });
        }
        Ok(())
    }
}
