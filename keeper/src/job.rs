//! A job, a keeper and the Agent's terms, as plain values of one block.

use alloy::primitives::{Address, B256, Bytes, U256};

use crate::rule::{Kind, Turn};

/// Where a job's calldata comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Four bytes of the job's terms; by interval.
    Selector,
    /// Stored bytes; by interval.
    PreDefined,
    /// The resolver's answer.
    Resolver,
}

/// A job may be executed at all.
pub const ACTIVE: u8 = 0x01;
/// It is paid from its owner's credits.
pub const OWNER_CREDITS: u8 = 0x02;
/// It is of the defence lane.
pub const DEFENCE: u8 = 0x20;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Job {
    /// What it is known by.
    pub key: B256,
    /// Who pays and decides.
    pub owner: Address,
    /// The contract that is called.
    pub target: Address,
    /// Where the calldata comes from.
    pub source: Source,
    /// [`ACTIVE`], [`OWNER_CREDITS`], [`DEFENCE`] and others.
    pub flags: u8,
    /// Seconds between executions; 0 for a resolver job.
    pub interval: u64,
    /// Base fee above which it is not worth executing, in gwei.
    pub max_base_fee_gwei: u16,
    /// Blocks until any keeper may execute a defence job.
    pub defence_window: u64,
    /// The assigned keeper; 0: none.
    pub keeper: u64,
    /// Who initiated slashing; 0: nobody.
    pub reserved_slasher: u64,
    /// Failures in a row.
    pub failures: u8,
    /// When the reserved slasher may execute; 0: not initiated.
    pub slashing_possible_after: u64,
    /// Unix seconds; 0: never.
    pub last_execution_at: u64,
    /// From when the first interval counts.
    pub anchor_at: u64,
    /// When its keeper was assigned.
    pub assigned_at: u64,
    /// Not before; 0: no failure.
    pub retry_at: u64,
    /// The block in which the defence lane was opened; 0: it was not.
    pub defence_open_at: u64,
    /// Gas of its body.
    pub gas_limit: u64,
    /// Whom to ask whether it is due.
    pub resolver: Address,
    /// The resolver's call, or predefined calldata.
    pub data: Bytes,
    /// Wei that it may draw on.
    pub credits: U256,
    /// Whether it is active and has the credits that a keeper wants to see.
    pub eligible: bool,
}

#[cfg(test)]
impl Job {
    /// An active resolver job of keeper 1's that nobody executed yet.
    pub(crate) fn example() -> Self {
        Self {
            key: B256::ZERO,
            owner: Address::ZERO,
            target: Address::ZERO,
            source: Source::Resolver,
            flags: ACTIVE,
            interval: 0,
            max_base_fee_gwei: 1,
            defence_window: 0,
            keeper: 1,
            reserved_slasher: 0,
            failures: 0,
            slashing_possible_after: 0,
            last_execution_at: 0,
            anchor_at: 0,
            assigned_at: 0,
            retry_at: 0,
            defence_open_at: 0,
            gas_limit: 1,
            resolver: Address::ZERO,
            data: Bytes::new(),
            credits: U256::ZERO,
            eligible: true,
        }
    }
}

impl Job {
    /// Whether a resolver says when it is due.
    #[must_use]
    pub const fn is_resolver(&self) -> bool {
        matches!(self.source, Source::Resolver)
    }

    /// Whether it is of the defence lane.
    #[must_use]
    pub const fn is_defence(&self) -> bool {
        self.flags & DEFENCE != 0
    }

    /// Whether it is executable at all.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.flags & ACTIVE != 0
    }

    /// The job as the contract's rules see it; `open_at`: the block from which the window of the defence lane counts, 0 when nobody
    /// knows it.
    #[must_use]
    pub fn turn(&self, open_at: u64) -> Turn {
        let number = |id: u64| u32::try_from(id).ok().filter(|id| *id != 0);
        let kind = if self.is_defence() {
            Kind::Defence {
                window: self.defence_window,
            }
        } else if self.interval == 0 {
            Kind::Resolver
        } else {
            Kind::Interval(self.interval)
        };
        Turn {
            kind,
            assigned: number(self.keeper),
            assigned_at: self.assigned_at,
            last_execution_at: self.last_execution_at,
            anchor_at: self.anchor_at,
            retry_at: self.retry_at,
            reserved_slasher: number(self.reserved_slasher),
            slashing_possible_after: self.slashing_possible_after,
            open_at,
        }
    }

    /// From when it may be executed, Unix seconds: a whole interval after the last run, and not before a failure is over.
    #[must_use]
    pub fn due_at(&self) -> u64 {
        self.turn(0).due_at()
    }

    /// From when its keeper's grace counts.
    #[must_use]
    pub fn grace_from(&self) -> u64 {
        self.turn(0).grace_from()
    }

    /// Base fee above which it need not be executed, in wei.
    #[must_use]
    pub fn max_base_fee(&self) -> u64 {
        u64::from(self.max_base_fee_gwei) * 1_000_000_000
    }
}

/// A keeper.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Keeper {
    /// Its number; 0: there is none.
    pub id: u64,
    /// Owns it.
    pub admin: Address,
    /// Executes.
    pub worker: Address,
    /// Base units of the stake token.
    pub stake: U256,
    /// Whether it is in the active set.
    pub active: bool,
    /// When it may become active; 0: not asked for.
    pub activation_at: u64,
    /// Jobs assigned to it.
    pub assigned_jobs: u64,
    /// Taken by the Agent's owner, covered by the next redemption.
    pub slashed_stake: U256,
    /// On its way out.
    pub pending_withdrawal: U256,
    /// When that may be taken.
    pub withdrawable_at: u64,
    /// Earned and not withdrawn, in wei.
    pub compensation: U256,
}

/// The Agent's parameters that a keeper acts by.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Terms {
    /// The least stake of a keeper that executes.
    pub min_stake: U256,
    /// Grace of the assigned keeper, in seconds.
    pub period1: u64,
    /// The slasher's window, in seconds.
    pub period2: u64,
    /// Wei of credits below which a job has no keeper.
    pub job_min_credits: U256,
    /// From the request to the activation, in seconds.
    pub activation_timeout: u64,
    /// From the request to the withdrawal, in seconds.
    pub withdrawal_timeout: u64,
}

/// What is true of the Agent itself at one block.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// Its parameters.
    pub terms: Terms,
    /// This keeper.
    pub me: Keeper,
    /// The active keepers' numbers, in the order of the draw.
    pub active: Vec<u64>,
}
