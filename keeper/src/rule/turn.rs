//! Whose turn it is: when a job is due, who may execute it, slash for it, or give it up.
//!
//! Times are Unix seconds of the chain; only the slasher's epochs and the window of the defence lane are counted in blocks. What
//! always holds: the assigned keeper may execute whenever anybody may; nobody may before the job is due.

/// What kind of job it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Due so many seconds (at least 1) after the last execution.
    Interval(u64),
    /// Due when its resolver says so.
    Resolver,
    /// Due when its resolver says so, and then open to every active keeper so many blocks later.
    Defence {
        /// Blocks.
        window: u64,
    },
}

/// The contract's periods, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Periods {
    /// The grace period of the assigned keeper.
    pub period1: u64,
    /// The slasher's window.
    pub period2: u64,
}

/// Delays after failures, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// The first delay.
    pub base: u64,
    /// The greatest.
    pub cap: u64,
}

impl Retry {
    /// The delay after a failure that follows `failures` others in a row. In defence it does not grow.
    pub fn delay(&self, failures: u32, defence: bool) -> u64 {
        let failures = if defence { 0 } else { failures };
        let grown = if failures >= 16 {
            self.cap
        } else {
            self.base << failures
        };
        grown.min(self.cap)
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// The keeper's number.
    pub id: u32,
    /// Whether it is in the active set.
    pub active: bool,
}

/// Where a job stands. A time of 0 is "never", "not yet" or "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// What kind of job.
    pub kind: Kind,
    /// The assigned keeper.
    pub assigned: Option<u32>,
    /// When it was assigned.
    pub assigned_at: u64,
    /// The last execution.
    pub last_execution_at: u64,
    /// From when the first interval counts.
    pub anchor_at: u64,
    /// Not before, after a failure.
    pub retry_at: u64,
    /// Who initiated slashing.
    pub reserved_slasher: Option<u32>,
    /// When that keeper may execute.
    pub slashing_possible_after: u64,
    /// The block since which the resolver says that a defence job is due, or in which its lane was opened.
    pub open_at: u64,
}

/// Why a keeper may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It failed, and its delay is not over.
    #[error("the job failed and may be tried again at {retry_at}")]
    TooEarlyToRetry {
        /// Unix seconds.
        retry_at: u64,
    },
    /// It is not due.
    #[error("the interval ends at {due}")]
    IntervalNotReached {
        /// Unix seconds.
        due: u64,
    },
    /// Nobody is assigned.
    #[error("the job has no keeper")]
    JobHasNoKeeperAssigned,
    /// The assigned keeper still has its grace period.
    #[error("only keeper {assigned} may execute before {until}")]
    OnlyNextKeeper {
        /// The assigned keeper.
        assigned: u32,
        /// Unix seconds.
        until: u64,
    },
    /// The slasher of this epoch is another.
    #[error("the slasher is {slasher:?}")]
    OnlyCurrentSlasher {
        /// Who it is, if anybody.
        slasher: Option<u32>,
    },
    /// Nobody announced to slash.
    #[error("slashing was not initiated")]
    SlashingNotInitiated,
    /// The assigned keeper still has its grace period.
    #[error("the slasher may execute at {possible_after}")]
    TooEarlyForSlashing {
        /// Unix seconds.
        possible_after: u64,
    },
    /// Another keeper initiated slashing.
    #[error("keeper {slasher:?} initiated slashing")]
    OnlyReservedSlasher {
        /// Who it is.
        slasher: Option<u32>,
    },
    /// Another slasher's window is not over.
    #[error("slashing may be initiated again at {at}")]
    TooEarlyToReinitiateSlashing {
        /// Unix seconds.
        at: u64,
    },
    /// The assigned keeper executes instead.
    #[error("the assigned keeper cannot slash itself")]
    AssignedKeeperCantSlash,
    /// A job by interval is slashed by executing it; nobody is slashed for a job of the defence lane.
    #[error("this kind of job is not slashed by initiating it")]
    NotSlashable,
    /// Only active keepers act on jobs that are not theirs.
    #[error("the keeper is not active")]
    InactiveKeeper,
    /// The window after it became due is not over, or did not begin.
    #[error("the defence lane opens at block {opens_at:?}")]
    DefenceLaneClosed {
        /// The block, when it is known.
        opens_at: Option<u64>,
    },
    /// The keeper has to execute it, or wait for the slasher.
    #[error("the keeper cannot release the job")]
    CantRelease,
    /// The slasher's window is not over.
    #[error("the keeper may release the job at {at}")]
    TooEarlyToRelease {
        /// Unix seconds.
        at: u64,
    },
}

impl Turn {
    /// From when on it may be executed, as far as the contract knows: a resolver is asked besides.
    pub fn due_at(&self) -> u64 {
        let due = match self.kind {
            Kind::Interval(seconds) => self.last_execution_at.max(self.anchor_at).saturating_add(seconds),
            Kind::Resolver | Kind::Defence { .. } => 0,
        };
        due.max(self.retry_at)
    }

    /// From when the assigned keeper's grace period counts: it has a whole one even if it came late.
    pub fn grace_from(&self) -> u64 {
        self.due_at().max(self.assigned_at)
    }

    /// Whether `caller` may execute now; `slasher` is the slasher of this block. Answers whether a failing call is recorded and
    /// its gas paid; otherwise it undoes the whole transaction.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn may_execute(
        &self,
        caller: Caller,
        slasher: Option<u32>,
        periods: Periods,
        now: u64,
        block: u64,
    ) -> Result<bool, Refusal> {
        let assigned = self.assigned == Some(caller.id);
        if self.retry_at > now {
            return Err(Refusal::TooEarlyToRetry {
                retry_at: self.retry_at,
            });
        }
        match self.kind {
            Kind::Defence { window } => {
                if !assigned {
                    self.may_use_lane(caller, window, block)?;
                }
                Ok(self.open_at != 0)
            }
            Kind::Interval(_) => self.may_by_interval(caller, slasher, periods, now),
            Kind::Resolver => {
                let Some(_) = self.assigned else {
                    return Err(Refusal::JobHasNoKeeperAssigned);
                };
                if !assigned {
                    self.may_as_reserved(caller, now)?;
                }
                Ok(self.slashing_possible_after != 0)
            }
        }
    }

    fn may_use_lane(&self, caller: Caller, window: u64, block: u64) -> Result<(), Refusal> {
        if !caller.active {
            return Err(Refusal::InactiveKeeper);
        }
        if self.assigned.is_none() || window == 0 {
            return Ok(());
        }
        let opens_at = (self.open_at != 0).then(|| self.open_at.saturating_add(window));
        if opens_at.is_some_and(|opens_at| block >= opens_at) {
            Ok(())
        } else {
            Err(Refusal::DefenceLaneClosed { opens_at })
        }
    }

    fn may_by_interval(
        &self,
        caller: Caller,
        slasher: Option<u32>,
        periods: Periods,
        now: u64,
    ) -> Result<bool, Refusal> {
        let Some(assigned) = self.assigned else {
            return Err(Refusal::JobHasNoKeeperAssigned);
        };
        let due = self.due_at();
        if assigned == caller.id {
            return if now < due {
                Err(Refusal::IntervalNotReached { due })
            } else {
                Ok(true)
            };
        }
        let until = self.grace_from().saturating_add(periods.period1);
        if now < until {
            return Err(Refusal::OnlyNextKeeper { assigned, until });
        }
        if slasher == Some(caller.id) {
            Ok(true)
        } else {
            Err(Refusal::OnlyCurrentSlasher { slasher })
        }
    }

    fn may_as_reserved(&self, caller: Caller, now: u64) -> Result<(), Refusal> {
        let possible_after = self.slashing_possible_after;
        if possible_after == 0 {
            return Err(Refusal::SlashingNotInitiated);
        }
        if now < possible_after {
            return Err(Refusal::TooEarlyForSlashing { possible_after });
        }
        if self.reserved_slasher == Some(caller.id) {
            Ok(())
        } else {
            Err(Refusal::OnlyReservedSlasher {
                slasher: self.reserved_slasher,
            })
        }
    }

    /// Whether `caller` may announce to slash; answers when it may execute then. That the job is executable is checked besides.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn may_initiate_slashing(
        &self,
        caller: Caller,
        slasher: Option<u32>,
        periods: Periods,
        now: u64,
    ) -> Result<u64, Refusal> {
        if !caller.active {
            return Err(Refusal::InactiveKeeper);
        }
        if self.kind != Kind::Resolver {
            return Err(Refusal::NotSlashable);
        }
        let Some(assigned) = self.assigned else {
            return Err(Refusal::JobHasNoKeeperAssigned);
        };
        if assigned == caller.id {
            return Err(Refusal::AssignedKeeperCantSlash);
        }
        if self.retry_at > now {
            return Err(Refusal::TooEarlyToRetry {
                retry_at: self.retry_at,
            });
        }
        if slasher != Some(caller.id) {
            return Err(Refusal::OnlyCurrentSlasher { slasher });
        }
        let again = self.slashing_possible_after.saturating_add(periods.period2);
        if self.slashing_possible_after != 0 && again > now {
            return Err(Refusal::TooEarlyToReinitiateSlashing { at: again });
        }
        Ok(now.saturating_add(periods.period1))
    }

    /// Whether the assigned keeper may give the job up. `eligible`: the job is active and has the credits for a keeper; `active`:
    /// the keeper is in the active set.
    ///
    /// # Errors
    ///
    /// See [`Refusal`].
    pub fn may_release(&self, eligible: bool, active: bool, periods: Periods, now: u64) -> Result<(), Refusal> {
        if !eligible {
            return Ok(());
        }
        let (at, hands_over) = match self.kind {
            Kind::Interval(_) => {
                let start = self.grace_from();
                let both = periods.period1.saturating_add(periods.period2);
                (start.saturating_add(both), now < start)
            }
            Kind::Resolver | Kind::Defence { .. } if self.slashing_possible_after == 0 => {
                return if active { Err(Refusal::CantRelease) } else { Ok(()) };
            }
            Kind::Resolver | Kind::Defence { .. } => {
                (self.slashing_possible_after.saturating_add(periods.period2), false)
            }
        };
        if now >= at || (!active && hands_over) {
            Ok(())
        } else {
            Err(Refusal::TooEarlyToRelease { at })
        }
    }
}
