//! The Agent contract's rules as functions over plain values.
//!
//! Amounts are wei and base units of the stake token, times Unix seconds of the chain. What always holds: nothing here asks a
//! clock or a node; the compiled contract gives the same answers (`tests/it/contract`).

pub mod active;
pub mod lifecycle;
pub mod pay;
pub mod turn;

pub use active::{ActiveSet, Member, Wanted};
pub use lifecycle::{Keeper, KeeperRefusal, Limits};
pub use pay::{Credits, Rates, Slash, Slashing, fee};
pub use turn::{Caller, Kind, Periods, Refusal, Retry, Turn};
