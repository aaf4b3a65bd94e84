//! A node as the contract keeps it, what becomes of its verdicts, and why a call is refused.

use std::collections::BTreeSet;

use alloy::primitives::B256;

use super::pool::NothingToRelease;

/// Where a node is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Audited, an auditor of others, and paid.
    Active,
    /// It audits its running groups and may claim once more.
    Leaving,
    /// Only its stake is left to it.
    Left,
}

/// A verdict that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The auditor's place in the group.
    pub place: usize,
    /// In intervals of the whole epoch.
    pub downtime: u32,
    /// Microseconds.
    pub latency: u32,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Where it is in its life.
    pub state: State,
    /// The number of its running epoch, from 1.
    pub epoch: u32,
    /// When that began.
    pub start: u64,
    /// Verdicts of its own that were due since its last bounty ..
    pub owed: u32,
    /// .. and those among them that were sent and agreed with the median.
    pub kept: u32,
    /// Base units.
    pub stake: u128,
    /// What every node had been promised when the epoch began.
    pub mark: u128,
    /// What was promised to one that is leaving.
    pub due: u128,
    /// What its next group is drawn from, once a verdict fixed it.
    pub seed: Option<B256>,
    /// Who audits it.
    pub group: Vec<u32>,
    /// Whose verdicts were consumed, by place.
    pub spent: BTreeSet<usize>,
    /// Those that count, in order of arrival.
    pub verdicts: Vec<Counted>,
}

impl Node {
    /// An active one whose first epoch begins now.
    pub(super) fn new(start: u64, stake: u128, mark: u128, group: Vec<u32>) -> Self {
        Self {
            state: State::Active,
            epoch: 1,
            start,
            owed: 0,
            kept: 0,
            stake,
            mark,
            due: 0,
            seed: None,
            group,
            spent: BTreeSet::new(),
            verdicts: Vec::new(),
        }
    }

    /// Its last epoch is over.
    pub(super) fn leave(&mut self) {
        self.state = State::Left;
        self.due = 0;
        self.group.clear();
        self.spent.clear();
        self.verdicts.clear();
    }
}

/// What becomes of a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It counts.
    Stored,
    /// The window had closed; it does not count.
    Late,
    /// The auditor knows too little of the epoch; it does not count.
    LowCoverage,
    /// The window is not open yet.
    TooEarly,
    /// The auditor is not in the subject's group.
    NotAuditor,
    /// It was sent already.
    AlreadySent,
    /// The subject's running epoch is another.
    WrongEpoch,
    /// More failed than known, or more known than there are intervals.
    Malformed,
}

impl Outcome {
    /// The contract's number for it.
    pub fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Stored,
            1 => Self::Late,
            2 => Self::LowCoverage,
            3 => Self::TooEarly,
            4 => Self::NotAuditor,
            5 => Self::AlreadySent,
            6 => Self::WrongEpoch,
            7 => Self::Malformed,
            _ => return None,
        })
    }

    /// Whether the auditor's one verdict of this epoch is used up by it.
    pub fn consumes(self) -> bool {
        self <= Self::LowCoverage
    }
}

/// Why a call is refused; nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such node, or it is not in the state for it.
    #[error("node {id} is {state:?}; None: it never registered")]
    WrongState {
        /// Which.
        id: u32,
        /// Its state.
        state: Option<State>,
    },
    /// Not enough stake.
    #[error("a stake of {amount} is less than {needed}")]
    InsufficientStake {
        /// Base units.
        amount: u128,
        /// Base units.
        needed: u128,
    },
    /// Only the node's owner may, before it is overdue by a whole period.
    #[error("only the node's owner may")]
    OnlyNodeOwner,
    /// The reward date is not reached.
    #[error("the reward date is {next_reward}")]
    TooEarly {
        /// Unix seconds.
        next_reward: u64,
    },
    /// Groups are completed in the first quarter of an epoch.
    #[error("the group could be completed until {until}")]
    TooLateToFill {
        /// Unix seconds.
        until: u64,
    },
    /// There is nobody to add.
    #[error("the group is as large as it can be, and all its members are active")]
    GroupIsWhole,
    /// No verdict of the batch was taken; the first for this reason. `None`: the batch was empty.
    #[error("no verdict was taken; the first is {outcome:?}")]
    NothingReported {
        /// What became of the first.
        outcome: Option<Outcome>,
    },
    /// See [`NothingToRelease`].
    #[error(transparent)]
    NothingToRelease(#[from] NothingToRelease),
}
