//! `/v1` as its clients see it.

mod access;
mod changes;
mod network;
mod registry;

/// The media type of a refusal.
const PROBLEM: &str = "application/problem+json";
