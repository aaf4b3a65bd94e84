//! What the benches share: the contest between raw revm and the engine, the state that both read, and the measuring.
//!
//! A bench is a criterion bench and, besides, writes `target/bench/NAME.json`: ours beside its baseline in the same run, with
//! their ratio and ours in percentiles.

pub mod bare;
pub mod contest;
pub mod judging;
pub mod load;
pub mod loopback;
pub mod measure;
pub mod snapshot;
