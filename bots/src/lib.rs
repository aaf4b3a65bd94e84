//! The bots' room: everything that brings a whole network to life on one machine.
//!
//! [`localnet`] runs all services at once on recorded traffic; [`scenario`] makes the recording that the project contains;
//! [`communities`] grows networks of bots by rules and measures them; [`adversaries`] lets dishonest miners loose on a validator.

pub mod adversaries;
pub mod communities;
pub mod localnet;
pub mod scenario;
pub mod scoring;
