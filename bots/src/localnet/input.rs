//! What goes through the network: a recording, or a living chain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use protos::v1;
use tokio::time::Instant;

use super::gas::ExpectedGas;
use super::live::{LiveError, Living};
use super::recording::{Recording, RecordingError, StatedExpression, write_invariants};
use super::report::{is_complete, is_reported};
use crate::scenario::StatedInvariant;

/// Once a living chain's story is told, and nothing has come in for this time, the rest is not waited for.
const QUIET: Duration = Duration::from_secs(20);

/// How long the platform may take to follow a living chain.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

/// What goes through the network.
#[derive(Debug)]
pub(crate) enum Input {
    /// Recorded cases.
    Recorded(Box<Recording>),
    /// A chain that goes on.
    Living(Box<Living>),
}

/// Whether everything has come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// No: there is more to wait for.
    NotYet,
    /// Yes.
    Complete,
    /// No, and nothing more comes.
    Incomplete,
}

/// When the platform's counts last changed.
#[derive(Debug)]
pub(crate) struct Stillness {
    last: Option<[u64; 4]>,
    since: Instant,
    begun: Instant,
}

impl Stillness {
    /// Nothing was counted yet.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self {
            last: None,
            since: now,
            begun: now,
        }
    }

    /// Notes the counts; gives for how long they have been the same.
    fn note(&mut self, status: &v1::StatusResponse) -> Duration {
        let counts = [status.transactions, status.assigned, status.reported, status.judged];
        if self.last.replace(counts) != Some(counts) {
            self.since = Instant::now();
        }
        self.since.elapsed()
    }
}

/// What the platform says of itself while it does not follow a chain.
fn not_followed(status: &v1::StatusResponse, validators: usize) -> String {
    let listening = format!("{} of {validators} validators listen", status.validators_connected);
    let Some(feed) = &status.feed else {
        return format!("it says nothing of its feed; {listening}");
    };
    let endpoint = |endpoint: &v1::EndpointStatus| {
        let said = match (endpoint.connected, endpoint.error.as_str()) {
            (true, "") => "connected",
            (false, "") => "not connected",
            (_, error) => error,
        };
        format!("{}: {said}", endpoint.url)
    };
    let endpoints: Vec<String> = feed.endpoints.iter().map(endpoint).collect();
    format!(
        "its head is {}, {}; {listening}",
        feed.head_number,
        endpoints.join(", ")
    )
}

impl Input {
    /// How many transactions there are; of a living chain about.
    pub(crate) fn transactions(&self) -> u64 {
        match self {
            Self::Recorded(recording) => recording.gas.transactions(),
            Self::Living(living) => living.expected(),
        }
    }

    /// What watches it, in the wire form.
    pub(crate) fn invariants(&self) -> &[StatedInvariant] {
        match self {
            Self::Recorded(recording) => &recording.invariants,
            Self::Living(living) => &living.invariants,
        }
    }

    /// What watches it besides, in the language.
    fn expressions(&self) -> &[StatedExpression] {
        match self {
            Self::Recorded(recording) => &recording.expressions,
            Self::Living(_) => &[],
        }
    }

    /// Nothing watches it.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.invariants().is_empty() && self.expressions().is_empty()
    }

    /// Writes the invariants into `folder`, for `platform invariants add`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn write_invariants(&self, folder: &Path) -> Result<PathBuf, RecordingError> {
        write_invariants(self.invariants(), self.expressions(), folder)
    }

    /// Invariants of the cases that cannot be stated.
    pub(crate) fn inexpressible(&self) -> u64 {
        match self {
            Self::Recorded(recording) => recording.inexpressible,
            Self::Living(_) => 0,
        }
    }

    /// The gas that is known beforehand: of a living chain none.
    pub(crate) fn gas(&self) -> ExpectedGas {
        match self {
            Self::Recorded(recording) => recording.gas.clone(),
            Self::Living(_) => ExpectedGas::default(),
        }
    }

    /// The network is in place, or not yet: a living chain's story begins once the platform follows it and all validators listen.
    ///
    /// # Errors
    /// When the platform does not follow the chain in time.
    pub(crate) fn begin(
        &mut self,
        status: &v1::StatusResponse,
        validators: usize,
        still: &Stillness,
    ) -> Result<(), LiveError> {
        let Self::Living(living) = self else {
            return Ok(());
        };
        let follows = status.feed.as_ref().is_some_and(|feed| feed.head_number > 0);
        if follows && status.validators_connected as usize >= validators {
            living.start();
        }
        if living.has_begun() || still.begun.elapsed() < FOLLOWS_WITHIN {
            return Ok(());
        }
        Err(LiveError::NotFollowed {
            seconds: FOLLOWS_WITHIN.as_secs(),
            reason: not_followed(status, validators),
        })
    }

    /// Whether everything came back.
    ///
    /// # Errors
    /// When a living chain's story ended otherwise than it should.
    pub(crate) async fn done(&mut self, status: &v1::StatusResponse, still: &mut Stillness) -> Result<Done, LiveError> {
        let quiet = still.note(status);
        Ok(match self {
            Self::Recorded(_) if is_complete(status) => Done::Complete,
            Self::Recorded(_) => Done::NotYet,
            Self::Living(living) => {
                let sums = living.sums();
                // Others send too: that enough was seen does not say that all of the story was.
                let follows = status
                    .feed
                    .as_ref()
                    .is_some_and(|feed| feed.head_number >= sums.last_block);
                if !living.ended().await? {
                    Done::NotYet
                } else if is_reported(status) && follows && status.transactions >= sums.taken {
                    Done::Complete
                } else if quiet < QUIET {
                    Done::NotYet
                } else if is_reported(status) {
                    Done::Complete
                } else {
                    Done::Incomplete
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platform_that_does_not_follow_says_which_node_is_at_fault() {
        let endpoint = v1::EndpointStatus {
            url: "http://127.0.0.1:1".to_owned(),
            error: "refused".to_owned(),
            ..Default::default()
        };
        let feed = v1::FeedStatus {
            endpoints: vec![endpoint],
            ..Default::default()
        };
        let status = v1::StatusResponse {
            feed: Some(feed),
            validators_connected: 2,
            ..Default::default()
        };
        assert_eq!(
            not_followed(&status, 3),
            "its head is 0, http://127.0.0.1:1: refused; 2 of 3 validators listen"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_is_counted_from_the_last_change() {
        let mut still = Stillness::new();
        let mut status = v1::StatusResponse {
            judged: 1,
            ..Default::default()
        };
        assert_eq!(still.note(&status), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(still.note(&status), Duration::from_secs(5));
        status.judged = 2;
        assert_eq!(still.note(&status), Duration::ZERO);
    }
}
