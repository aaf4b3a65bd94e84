//! The audit's rules as functions over plain values: what is measured, who audits whom, what counts, what is paid, and when.
//!
//! Times are Unix seconds of the chain, latencies microseconds, downtime intervals of the contract's `checkTime`, amounts base units of the
//! token. What always holds: nothing here asks a clock, a node or a database; the compiled contract gives the same answers
//! (`tests/it/contract`).

pub mod group;
pub mod manager;
pub mod measure;
pub mod node;
pub mod pool;
pub mod settle;
pub mod terms;

pub use manager::Manager;
pub use measure::{Measured, NO_LATENCY, Outcome, Row};
pub use node::{Outcome as VerdictOutcome, Refusal, State};
pub use settle::{Settlement, Verdict};
pub use terms::Terms;
