//! What the book does not do, in the words of Encointer's chain, and which of it is no trouble.

use crate::meetup::VotesNotDependable;
use crate::phase::Phase;

/// Why an operation changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not now.
    #[error("WrongPhase: it is {is}, this is for {needs}")]
    WrongPhase {
        /// The phase.
        is: Phase,
        /// The phase in which it would be taken.
        needs: Phase,
    },
    /// Before there is any currency only founders register.
    #[error("OnlyBootstrappers: nobody owns anything yet")]
    OnlyBootstrappers,
    /// A second registration.
    #[error("ParticipantAlreadyLinked: registered for this ceremony already")]
    AlreadyRegistered,
    /// The purse is too light.
    #[error("ExtrinsicFeePaymentImpossible: the fee is {fee} RAO, the purse holds {has}")]
    FeeUnpayable {
        /// RAO.
        fee: u64,
        /// RAO.
        has: u64,
    },
    /// The meetup is settled.
    #[error("RewardsAlreadyIssued: the meetup is settled")]
    RewardsAlreadyIssued,
    /// No seat in the ceremony before.
    #[error("ParticipantIsNotRegistered: no seat in the last ceremony")]
    NotRegistered,
    /// The meetup said nothing dependable.
    #[error(transparent)]
    VotesNotDependable(#[from] VotesNotDependable),
    /// No account of that number.
    #[error("UnknownAccount: the community has no account {0}")]
    UnknownAccount(u32),
    /// No ticket left.
    #[error("NoMoreNewbieTickets: nobody more can be vouched for")]
    NoMoreTickets,
    /// Endorsed twice.
    #[error("AlreadyEndorsed: somebody vouched for it already")]
    AlreadyEndorsed,
    /// No seat in this ceremony.
    #[error("NotAssigned: no seat in this ceremony")]
    NotAssigned,
    /// Attested twice.
    #[error("AlreadyAttested: said its word already")]
    AlreadyAttested,
}

impl Refusal {
    /// Whether it says only that there was nothing to do.
    pub const fn is_benign(&self) -> bool {
        matches!(
            self,
            Self::AlreadyRegistered
                | Self::RewardsAlreadyIssued
                | Self::NotRegistered
                | Self::AlreadyEndorsed
                | Self::AlreadyAttested
        )
    }
}
