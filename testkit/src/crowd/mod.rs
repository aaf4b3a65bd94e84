//! A node under load: a server that speaks a node's real protocol and shows as many pending transactions a second as it is asked to.
//!
//! A development node manages some dozens a second; this one has no virtual machine, only transfers, whose effect it computes. All else
//! is as a node does it: signed transactions of types 0 and 2, replacements, blocks with headers of their own, state pinned by block hash,
//! `prestateTracer` for calls and (as `diffMode`) for blocks, subscriptions over a WebSocket, batches over both.
//!
//! What always holds: [`chain`] is without time and socket; the sum over what was shown ([`chain::Sums`]) says exactly what a follower must
//! have; a subscriber that reads too slowly is cut off, as nodes do it, and that is counted.

pub mod chain;
pub mod rpc;
pub mod serve;
