//! Weights over gRPC: each refusal by Subtensor's name, commits by hash and their reveals, sealed commits; with restarts between.

mod hash;
mod refusals;
mod timelock;

use chain::local::params::Overrides;

/// Epochs every twenty blocks.
fn overrides() -> Overrides {
    crate::world::overrides(20)
}
