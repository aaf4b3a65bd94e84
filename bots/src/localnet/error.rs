//! Why a run did not come to its end.

use std::path::PathBuf;

use node::exit::Code;

use super::fleet::FleetError;
use super::live::LiveError;
use super::plan::PlanError;
use super::recording::RecordingError;

/// A run that came to no report.
#[derive(Debug, thiserror::Error)]
pub enum LocalnetError {
    /// Numbers that do not go together.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A recording or its invariants that cannot be used.
    #[error(transparent)]
    Recording(#[from] RecordingError),
    /// A process that does not start, or ended.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// A living chain that cannot be used, or does not go on.
    #[error(transparent)]
    Live(#[from] LiveError),
    /// A file or folder that is needed.
    #[error("{}: {reason}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A member that runs, but does not answer.
    #[error("{who} does not answer: {reason}")]
    Silent {
        /// Which one.
        who: String,
        /// What it said last.
        reason: String,
    },
    /// A member's answer that makes no sense.
    #[error("{who} answered nonsense: {reason}")]
    Nonsense {
        /// Which one.
        who: String,
        /// What is wrong with it.
        reason: String,
    },
    /// SIGINT or SIGTERM.
    #[error("interrupted")]
    Interrupted,
}

impl LocalnetError {
    /// The exit code that it comes to.
    pub fn code(&self) -> Code {
        match self {
            Self::Plan(_) | Self::Recording(_) | Self::File { .. } => Code::Configuration,
            Self::Fleet(error) => error.code(),
            Self::Live(error) => error.code(),
            Self::Silent { .. } => Code::Indeterminate,
            Self::Nonsense { .. } | Self::Interrupted => Code::Restart,
        }
    }
}
