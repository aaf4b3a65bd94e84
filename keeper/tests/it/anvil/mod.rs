//! Real keeper processes on a real anvil, whose blocks and time the tests make by hand.

mod commands;
mod contained;
mod defence;
mod fees;
mod following;
mod gate;
mod slashing;
#[path = "../../../../validator/tests/pause/watch.rs"]
mod watch;
mod world;
