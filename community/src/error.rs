//! Why a community's command did not do what it was asked, and with which exit code it ends.

use std::path::PathBuf;

use chain::LedgerError;
use chain::local::OpenError;
use node::exit::Code;

use crate::faucet::client::FaucetError;
use crate::growth::Deviation;
use crate::mix::MixError;
use crate::phase::Phase;
use crate::spec::SpecError;
use crate::store::StoreError;

/// A command that came to no good end.
#[derive(Debug, thiserror::Error)]
pub enum CommunityError {
    /// The specification is none.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The mix is none.
    #[error(transparent)]
    Mix(#[from] MixError),
    /// The state cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no community yet.
    #[error("{}: no community lives here; found one with `bots init`", .0.display())]
    NotFounded(PathBuf),
    /// There is one already.
    #[error("{}: a community lives here already; give another folder, or delete this one", .0.display())]
    AlreadyFounded(PathBuf),
    /// The embedded ledger is gone.
    #[error("{}: the community's embedded ledger is not there; restore `ledger.db`, or give its remote ledger by `--ledger`", .0.display())]
    NoLedger(PathBuf),
    /// The state is another network's.
    #[error("{}: this community lives on the network {is}, not on {given}; give its own ledger, or another folder", path.display())]
    OtherNetwork {
        /// The community's folder.
        path: PathBuf,
        /// Its network.
        is: String,
        /// The ledger's.
        given: String,
    },
    /// A ledger address that is none.
    #[error(transparent)]
    Address(#[from] chain::remote::AddressError),
    /// The embedded ledger cannot be opened.
    #[error("embedded ledger: {0}")]
    Open(#[from] OpenError),
    /// The ledger refused, or did not answer.
    #[error("ledger: {0}")]
    Ledger(#[from] LedgerError),
    /// The faucet's address is none, or it does not answer.
    #[error(transparent)]
    Faucet(#[from] FaucetError),
    /// Founders without means.
    #[error("{unfunded} of {founders} bootstrappers were not funded: {reason}")]
    Unfunded {
        /// How many.
        unfunded: usize,
        /// Of how many.
        founders: usize,
        /// What the faucet said of the first.
        reason: String,
    },
    /// It was waited for long enough.
    #[error(
        "the network is still in {is} after {seconds} s; a community is founded in REGISTERING only: try again then"
    )]
    NotRegistering {
        /// Where it stands.
        is: Phase,
        /// How long was waited.
        seconds: u64,
    },
    /// The phase cannot be changed from outside.
    #[error("the phases of a remote ledger follow its epochs; nobody drives them")]
    NotDriven,
    /// The next phase did not begin, however often it was tried.
    #[error("the next phase did not begin in {attempts} attempts: {reason}")]
    NotAdvanced {
        /// How often.
        attempts: u32,
        /// What the last one ended with.
        reason: Box<CommunityError>,
    },
    /// Growth is not what the rules say.
    #[error("golden growth vector: {0}")]
    Golden(#[from] Deviation),
    /// An invariant of the simulation does not hold.
    #[error("{} broken invariants, the first in {}", .0.len(), .0.first().map(String::as_str).unwrap_or_default())]
    Broken(Vec<String>),
    /// A file of a report.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A picture or a report that cannot be made.
    #[error("the report cannot be drawn: {0}")]
    Report(String),
    /// There is no terminal to show anything on.
    #[error("the terminal cannot be used: {0}; leave `--screen` out")]
    Terminal(String),
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl CommunityError {
    /// The exit code.
    pub fn code(&self) -> Code {
        match self {
            Self::Spec(_)
            | Self::Mix(_)
            | Self::NotFounded(_)
            | Self::AlreadyFounded(_)
            | Self::NoLedger(_)
            | Self::OtherNetwork { .. }
            | Self::Address(_)
            | Self::NotDriven
            | Self::Terminal(_)
            | Self::File { .. } => Code::Configuration,
            Self::Store(error) => error.code(),
            // Another bot, or the phase driver, is at it just now.
            Self::Open(OpenError::Store(chain::local::StoreError::InUse(_))) => Code::Restart,
            Self::Open(_) => Code::Configuration,
            Self::Ledger(error) => ledger_code(error),
            Self::Faucet(error) => error.code(),
            Self::NotAdvanced { reason, .. } => reason.code(),
            Self::Unfunded { .. } | Self::Golden(_) | Self::Broken(_) => Code::Negative,
            Self::NotRegistering { .. } => Code::Indeterminate,
            Self::Report(_) | Self::Interrupted => Code::Restart,
        }
    }
}

/// A refusal is an answer; whatever else went wrong is none.
const fn ledger_code(error: &LedgerError) -> Code {
    match error {
        LedgerError::Refused(_) => Code::Negative,
        LedgerError::Storage(_) | LedgerError::Closed | LedgerError::Busy => Code::Restart,
        _ => Code::Indeterminate,
    }
}
