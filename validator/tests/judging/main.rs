//! A validator's judgement in one world: real miners on loopback ports, honest and not; canaries; and its defence over a crash.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod amounts;
mod canary;
mod defence;
mod judge;
mod world;
