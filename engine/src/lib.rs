//! The engine: a transaction, the state of a pinned block and invariants go in; verdicts come out.
//!
//! A pure core. It opens no socket, reads no clock and knows nothing of the subnet: the same block environment, prestate,
//! transaction and invariants give the same verdicts, the same witness and the same digest on every machine.
//!
//! What always holds:
//! - A bad transaction, a missing piece of state and a passed deadline are data ([`Verdict::Undecided`]); only a broken
//!   state source is an error ([`EngineError`]).
//! - What the engine does not know is never taken for zero ([`StateError::Missing`]).
//! - revm stands behind one module; nothing of it is in this crate's public interface.
//!
//! ```
//! use engine::{Address, BlockEnv, CompleteState, Engine, Hardfork, Transaction, U256};
//!
//! let raw = engine::Bytes::from_static(&[]);
//! // Bytes that are no transaction are told apart from everything else, in one line.
//! assert!(Transaction::decode(&raw).is_err());
//! let mut engine = Engine::new(1);
//! # let _ = (&mut engine, Address::ZERO, U256::ZERO, CompleteState::default(), Hardfork::Osaka);
//! # let _: Option<BlockEnv> = None;
//! ```

mod block;
pub mod case;
mod engine;
mod evm;
mod hardfork;
mod invariant;
mod judge;
pub mod pool;
pub mod replay;
mod state;
mod transaction;
mod value;
mod verdict;

pub use alloy::primitives::{Address, B256, Bytes, U256};

pub use crate::{
    block::BlockEnv,
    engine::{ENGINE_VERSION, Engine, EngineError},
    hardfork::{Hardfork, UnknownHardfork},
    invariant::{Comparison, Invariant, InvariantError},
    replay::Replay,
    state::{Account, AccountState, CompleteState, Missing, Prestate, Recorder, State, StateError},
    transaction::{Transaction, TransactionError},
    value::{ValueType, ValueTypeError},
    verdict::{Execution, Judgement, Outcome, Reason, Status, Transition, Verdict, Witness},
};
