//! How far judging may go, and what is wanted besides verdicts.

use std::{fmt, time::Duration};

use crate::B256;

/// Budgets and wishes of one judgement. The default asks for verdicts with call paths and nothing else.
///
/// Past a budget an invariant is undecided: never late, never a false alarm. Gas budgets are the same on every machine; those of
/// time are not, and the engine reads no clock: it asks.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Make [`crate::Execution::post_state_digest`]. It costs about a microsecond, as much as a third of an ERC-20 transfer; the
    /// network needs it as evidence of work.
    pub digest: bool,
    /// On a violation run the transaction a second time and add to the witness the calls down to the write, or log, that crossed the
    /// bound.
    pub call_path: bool,
    /// When the transaction reverts, run it a second time and tell what it would have violated ([`crate::Outcome::warnings`]).
    pub warnings: bool,
    /// Gas for one view. At most 2^32 is given, whatever is said here: beyond that a view could buy gigabytes of memory.
    pub view_gas: u64,
    /// Gas for all views of one judgement, in the order of the set. A second run has as much again for the way back to a crossing, and
    /// for what undone frames would have violated.
    pub views_gas: u64,
    /// Time for one view; `None` is without limit.
    pub view_time: Option<ViewTime<'a>>,
    /// Asked at every call frame, before every read of state and every 64th jump. Once it says true, what is not yet decided is
    /// undecided. It should be cheap (a comparison of instants).
    pub expired: Option<&'a dyn Fn() -> bool>,
    /// Names the state, usually by the hash of its block. Given the same name, environment and set again, views are not run on it
    /// a second time. Two different states must not have one name. `None`: nothing is kept.
    pub state_id: Option<B256>,
}

/// A time limit, and the clock to measure it by.
#[derive(Clone, Copy)]
pub struct ViewTime<'a> {
    /// Time since a fixed point.
    pub now: &'a dyn Fn() -> Duration,
    /// How long one view may take.
    pub limit: Duration,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            digest: false,
            call_path: true,
            warnings: false,
            view_gas: 1_000_000,
            views_gas: 100_000_000,
            view_time: None,
            expired: None,
            state_id: None,
        }
    }
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("digest", &self.digest)
            .field("call_path", &self.call_path)
            .field("warnings", &self.warnings)
            .field("view_gas", &self.view_gas)
            .field("views_gas", &self.views_gas)
            .field("view_time", &self.view_time)
            .field("expired", &self.expired.is_some())
            .field("state_id", &self.state_id)
            .finish()
    }
}

impl fmt::Debug for ViewTime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ViewTime")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}
