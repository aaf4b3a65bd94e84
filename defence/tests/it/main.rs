//! The defence against local servers that speak the channels' own protocols: over success, refusal, silence and restarts, exactly one
//! alert arrives for each incident and channel.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod channels;
mod crash;
mod incidents;
mod pauses;
mod servers;
mod smtp;
mod world;
