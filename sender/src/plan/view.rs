//! What a plan is made from, and the steps that it is made of: plain values.

use std::collections::BTreeMap;

use crate::fees::{FeePolicy, Fees, Offer};
use crate::lane::Lane;
use crate::machine::Failure;
use crate::nonce::Account;

/// Number of a request in the journal.
pub type JobId = i64;

/// What a nonce carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A request's transaction.
    Job(JobId),
    /// A transfer of nothing to ourselves, to use the nonce up.
    Cancel,
    /// Something that every endpoint refused: the nonce is free.
    Vacant,
}

/// A nonce in flight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// What it carries.
    pub holder: Holder,
    /// Urgency of what it carries.
    pub lane: Lane,
    /// The highest of each fee that was ever sent at this nonce.
    pub top: Fees,
    /// The request's own limit of `maxFeePerGas`.
    pub cap: Option<u128>,
    /// The transaction to get ahead of.
    pub beat: Option<Fees>,
    /// The transaction to stay right behind.
    pub behind: Option<Fees>,
    /// Not to be mined after this time of the chain, in seconds.
    pub deadline: Option<u64>,
    /// Whether its request was cancelled.
    pub withdrawn: bool,
    /// The block at which the nonce was first used.
    pub since: u64,
    /// The block at which the newest transaction was sent.
    pub changed: u64,
    /// A node asked for higher fees.
    pub underpriced: bool,
    /// The block at which a higher offer was refused for other reasons: none is made again before the next one.
    pub refused: Option<u64>,
    /// The block since when only the relay has it.
    pub private_since: Option<u64>,
    /// Whether a transaction with this nonce is in a block.
    pub mined: bool,
}

impl Line {
    /// A transaction that went out at the head `block` with these fees, and nothing more is wanted of it.
    #[must_use]
    pub const fn new(holder: Holder, lane: Lane, fees: Fees, block: u64) -> Self {
        Self {
            holder,
            lane,
            top: fees,
            cap: None,
            beat: None,
            behind: None,
            deadline: None,
            withdrawn: false,
            since: block,
            changed: block,
            underpriced: false,
            refused: None,
            private_since: None,
            mined: false,
        }
    }
}

/// A request without a nonce, ready to be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub job: JobId,
    /// Its urgency.
    pub lane: Lane,
    /// Its own limit of `maxFeePerGas`.
    pub cap: Option<u128>,
    /// The transaction to get ahead of.
    pub beat: Option<Fees>,
    /// The transaction to stay right behind.
    pub behind: Option<Fees>,
    /// Not to be mined after this time of the chain, in seconds.
    pub deadline: Option<u64>,
}

/// How a lane is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneRule {
    /// How it makes its offers.
    pub fees: FeePolicy,
    /// After so many blocks without inclusion an offer is raised, and a lower lane's nonce counts as stuck.
    pub patience: u64,
    /// What the builders get at this urgency now, in wei per gas.
    pub priority_fee: u128,
}

/// The four lanes' rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneRules {
    /// Of [`Lane::Pause`].
    pub pause: LaneRule,
    /// Of [`Lane::Slash`].
    pub slash: LaneRule,
    /// Of [`Lane::Claim`].
    pub claim: LaneRule,
    /// Of [`Lane::Report`].
    pub report: LaneRule,
}

impl LaneRules {
    /// The rule of one lane.
    #[must_use]
    pub const fn of(&self, lane: Lane) -> &LaneRule {
        match lane {
            Lane::Pause => &self.pause,
            Lane::Slash => &self.slash,
            Lane::Claim => &self.claim,
            Lane::Report => &self.report,
        }
    }
}

/// Everything that a plan is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Number of the newest block.
    pub head: u64,
    /// Its time, in seconds.
    pub time: u64,
    /// Base fee of the next block, in wei per gas.
    pub base_fee: u128,
    /// The account's nonces.
    pub account: Account,
    /// What is in flight, by nonce.
    pub lines: BTreeMap<u64, Line>,
    /// What waits, in the order of acceptance.
    pub waiting: Vec<Waiting>,
    /// The lanes' rules.
    pub rules: LaneRules,
    /// So many nonces may be in flight; a pause may exceed it.
    pub max_in_flight: usize,
    /// After so many blocks what only the relay has goes to everybody; `None`: never.
    pub publish_after: Option<u64>,
}

/// A step to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sign a request at a nonce that carries nothing.
    Assign {
        /// Which request.
        job: JobId,
        /// At which nonce.
        nonce: u64,
        /// Offering what.
        offer: Offer,
    },
    /// Sign a request at a nonce that carries something else.
    TakeOver {
        /// Which request.
        job: JobId,
        /// At which nonce.
        nonce: u64,
        /// Offering what.
        offer: Offer,
        /// The request that was there; `None`: a cancellation.
        victim: Option<JobId>,
    },
    /// Sign the same again with higher fees.
    Bump {
        /// At which nonce.
        nonce: u64,
        /// Offering what.
        fees: Fees,
    },
    /// It has waited long enough for a higher offer, but the cap forbids it: say so, and send the same bytes again.
    Repeat {
        /// At which nonce.
        nonce: u64,
    },
    /// Use the nonce up with a transfer of nothing, so that its request cannot be mined any more.
    Withdraw {
        /// At which nonce.
        nonce: u64,
        /// Offering what.
        fees: Fees,
        /// Why; `None`: the request was cancelled before.
        reason: Option<Failure>,
    },
    /// Use up a nonce that nothing waits for, since others stand behind it.
    Fill {
        /// At which nonce.
        nonce: u64,
        /// Offering what.
        fees: Fees,
        /// As urgent as the most urgent behind it.
        lane: Lane,
    },
    /// A waiting request whose deadline has passed.
    Expire {
        /// Which.
        job: JobId,
    },
    /// Give the public mempool what only the relay had.
    Publish {
        /// At which nonce.
        nonce: u64,
    },
}
