//! What every binary shares, from outside, and whether the files that start, watch and describe them are true.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod compose;
mod health;
mod metrics;
mod trace;
