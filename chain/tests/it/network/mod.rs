//! The ledger over a real socket: what a client asks is done once, what it may not ask is refused by name, and what was
//! acknowledged is there after a restart and after a crash.

mod calls;
mod finding;
mod opening;
mod restarts;
mod signed;

use chain::local::Opening;

use crate::world;

/// Epochs every ten blocks.
const TEMPO: u64 = 10;

fn opening() -> Opening {
    world::opening(world::overrides(TEMPO))
}
