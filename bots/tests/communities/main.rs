//! The communities' commands as a user runs them, and what their miners earn by the rule that the validators run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod command;
mod earnings;
mod killed;
mod wrong;
