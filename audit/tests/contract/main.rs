//! The compiled AuditManager, executed, against the pure rules: every call is played to both, and both give the same answer, refusal and
//! state. SK-01 to SK-20 as far as they are the contract's; hostile callers and tokens; gas; any sequence of calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs
)]

mod contained;
mod gas;
mod groups;
mod sequences;
mod settlement;
mod verdicts;
mod world;
