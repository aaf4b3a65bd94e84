//! Where transactions and heads come from.
//!
//! A feed gives events in order, each with the position behind it, in the feed's own terms. The position is logged together
//! with the event, and given back when the process starts again: so nothing is lost and nothing is logged twice.

pub mod live;
pub mod pace;
pub mod pump;
pub mod replay;

use std::time::Duration;

use protos::v1;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::log::{Event, LogError};

/// How many items a feed may be ahead of the log; a feed that is further ahead waits.
pub const AHEAD: usize = 64;

/// One event of a feed.
#[derive(Debug, Clone, PartialEq)]
pub struct FeedItem {
    /// The event.
    pub event: Event,
    /// Bytecode that the event's prestate names, where this feed has not given it before.
    pub codes: Vec<v1::Code>,
    /// Where the feed goes on behind it.
    pub position: String,
    /// When it is due, in the feed's own time: only differences count.
    pub due: Duration,
    /// When a node first showed it, where one did.
    pub seen: Option<Instant>,
}

/// Why a feed cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// `--feed` is neither of the forms that there are.
    #[error(
        "unknown feed {0:?}: use replay:PATH, with the path of a recorded case or a folder of them, or a node's address (ws://, wss://, http://, https://)"
    )]
    Form(String),
    /// A recording beside another feed.
    #[error("feed {0:?}: a recording is the only feed; nodes may be several")]
    Mixed(String),
    /// No feed at all.
    #[error("no feed is named: use --feed replay:PATH, or --feed ws://HOST:PORT")]
    None,
    /// The log's own chain is another one.
    #[error(
        "feed: chain {configured} is configured, the log is of chain {logged}; use another --database for another chain"
    )]
    Chain {
        /// As configured.
        configured: u64,
        /// As logged.
        logged: u64,
    },
    /// A recorded case is broken.
    #[error("feed: {0}")]
    Case(Box<engine::case::CaseError>),
    /// A recorded case is whole, but a transaction of it cannot be executed.
    #[error("feed: {file}: case {case}: {reason}")]
    Execution {
        /// The file.
        file: String,
        /// The case's id.
        case: String,
        /// The transaction, and why.
        reason: Box<engine::replay::ReplayError>,
    },
    /// The recording is not the one that was read before.
    #[error(
        "feed: {path}: stopped in case {before} ({place}), where there is {now} today; was the recording changed? use another --database for another recording"
    )]
    Changed {
        /// The recording.
        path: String,
        /// The case in which the feed stopped.
        before: String,
        /// Its place among the cases, from 1.
        place: usize,
        /// What is there now.
        now: String,
    },
    /// The log's own record of the position is none.
    #[error("feed: the stored position {0:?} is none of this feed's; was the database changed by hand?")]
    Position(String),
    /// The feed's thread ended without a word.
    #[error("feed: ended unexpectedly")]
    Died,
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<engine::case::CaseError> for FeedError {
    fn from(error: engine::case::CaseError) -> Self {
        Self::Case(Box::new(error))
    }
}

impl FeedError {
    /// Whether it is for the user to mend: a restart would end the same way.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        !matches!(self, Self::Log(_) | Self::Died)
    }
}

/// A source of events.
pub trait Feed: Send + std::fmt::Debug {
    /// Its name in the database: the same for the same source in every run.
    fn name(&self) -> &str;

    /// Starts to read behind `position` (`None`: from the beginning) and returns at once. Items, and at last an error if there
    /// is one, go into `items`; the feed waits while it is full, and ends when it is closed.
    fn start(self: Box<Self>, position: Option<String>, items: mpsc::Sender<Result<FeedItem, FeedError>>);
}

/// What `--feed` names, before it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A recording.
    Replay(std::path::PathBuf),
    /// Nodes.
    Live(Vec<url::Url>),
}

/// The source that these `--feed` values name: one recording, or any number of nodes.
///
/// # Errors
/// [`FeedError::Form`], [`FeedError::Mixed`] or [`FeedError::None`].
pub fn source(specs: &[String]) -> Result<Source, FeedError> {
    let cut = |spec: &str| spec.chars().take(200).collect::<String>();
    let mut urls = Vec::new();
    for spec in specs {
        match spec.split_once(':') {
            Some(("replay", path)) if !path.is_empty() => {
                if specs.len() > 1 {
                    return Err(FeedError::Mixed(cut(spec)));
                }
                return Ok(Source::Replay(path.into()));
            }
            Some(("ws" | "wss" | "http" | "https", _)) => match spec.parse::<url::Url>() {
                Ok(url) if url.has_host() => urls.push(url),
                // An address may hold a key: it is not shown.
                Ok(_) | Err(_) => return Err(FeedError::Form("a node's address without a host".to_owned())),
            },
            _ => return Err(FeedError::Form(cut(spec))),
        }
    }
    if urls.is_empty() {
        return Err(FeedError::None);
    }
    urls.dedup();
    Ok(Source::Live(urls))
}
