//! The engine from outside.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod bad_input;
mod case_files;
mod common;
#[path = "../data/mod.rs"]
mod data;
mod evidence;
mod expressions;
mod judging;
mod moved;
mod recorded;
mod recording;
mod sequences;
mod transactions;
mod undecided;
mod watching;
mod world;
