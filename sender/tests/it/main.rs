//! The sender against a real node: what is submitted is mined once, in order, whatever happens in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod killed;
mod order;
mod outcomes;
mod trouble;
mod world;
