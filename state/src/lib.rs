//! The state of a living chain, read from nodes that are not to be trusted, as snapshots that an engine reads without waiting.
//!
//! ```text
//! Node      several endpoints: chain id checked, deadline, hedging, bounded answers, one set aside when at fault
//!   Reader  a Snapshot for each of the last heads; fetches what an execution misses; follows the head
//!     Snapshot    the state of one block hash, lock-free to read (engine::State)
//!     Recording   a transaction executed at a head, with exactly what it read
//!     carries_over   the rule whether that is still good after a HeadChange
//! ```
//!
//! What always holds:
//! - Everything is pinned by block hash. What is not known is missing, never zero.
//! - A cold transaction costs one round trip where the node has `debug_traceCall`, two where it has `eth_createAccessList`; a warm one
//!   none.
//! - A new head costs by what its block changed, never by what is known.
//! - What cannot be read in time is [`Unavailable`] with the reason; the caller makes `Undecided` of it.
//!
//! Source of the method names: the Ethereum JSON-RPC specification and go-ethereum's `debug` namespace.

mod ask;
mod carry;
mod codes;
mod config;
mod diff;
mod engines;
mod execute;
mod facts;
mod flight;
mod follow;
mod head;
mod heads;
mod known;
mod node;
mod reader;
mod recording;
mod rounds;
mod snapshot;
mod trace;

pub use crate::{
    carry::{carries_over, may_see_balances},
    config::{NodeConfig, Prefetch, ReaderConfig, label},
    diff::{AccountDiff, Change, Diff, Rest},
    follow::HeadChange,
    head::{HeadInfo, next_env, own_env},
    node::{Answer, BlockRef, Call, EndpointHealth, Node, NodeError, RpcFailure, read, returned, view},
    reader::{Reader, Unavailable},
    recording::{Recording, Terms},
    snapshot::Snapshot,
};
