//! The room against a real node, through a proxy that delays, counts and spoils.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub
)]

mod carry;
mod cold;
mod faults;
mod follow;
mod world;
