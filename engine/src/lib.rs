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
//! use alloy::primitives::{address, bytes, keccak256};
//! use engine::{
//!     Account, BlockEnv, Comparison, Engine, Hardfork, Invariant, Prestate, Transaction, U256, ValueType, Verdict,
//! };
//!
//! // A contract that sets its slot 0 to 7, and an invariant that says that slot 0 stays zero.
//! let contract = address!("0x00000000000000000000000000000000000c0de5");
//! let code = bytes!("600760005500");
//! let stays_zero = Invariant::new(1, "stays zero", contract, U256::ZERO, ValueType::Uint(256), 0, Comparison::Eq, U256::ZERO)?;
//!
//! // A transaction that somebody upstream has vouched for.
//! let sender = address!("0x0000000000000000000000000000000000005e4d");
//! let raw = bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
//! let tx = Transaction::with_sender(&raw, sender)?;
//!
//! // The state that it reads, and no more: what is not listed here is missing, not zero.
//! let ether = U256::from(10).pow(U256::from(18));
//! let mut state = Prestate::default();
//! state.accounts.insert(sender, Account { balance: ether, ..Account::default() }.into());
//! state.insert_contract(contract, Account::default(), code, []);
//!
//! // The next block.
//! let env = BlockEnv {
//!     number: 20_000_000,
//!     timestamp: 1_720_000_000,
//!     beneficiary: sender,
//!     gas_limit: 30_000_000,
//!     base_fee: 1_000_000_000,
//!     difficulty: U256::ZERO,
//!     prevrandao: Some(keccak256("randao")),
//!     excess_blob_gas: Some(0),
//!     hardfork: None,
//! };
//! assert_eq!(env.rules(1), Some(Hardfork::Cancun));
//!
//! let mut engine = Engine::new(1);
//! let undecided = engine.judge(&env, &tx, &state, &[stays_zero.clone()])?;
//! assert!(matches!(undecided.judgements[0].verdict, Verdict::Undecided(_)), "nobody said what is in slot 0");
//!
//! state.accounts.entry(contract).or_default().storage.insert(U256::ZERO, U256::ZERO);
//! let outcome = engine.judge(&env, &tx, &state, &[stays_zero])?;
//! let witness = outcome.violations().next().expect("slot 0 changed");
//! assert_eq!((witness.pre, witness.post), (U256::ZERO, U256::from(7)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
pub mod case;
mod context;
mod engine;
mod env_reads;
mod evm;
mod explain;
mod hardfork;
mod invariant;
mod judge;
pub mod lang;
mod live;
mod moved;
mod options;
pub mod pool;
mod reading;
mod record;
pub mod replay;
mod sequence;
mod state;
mod transaction;
mod value;
mod verdict;
mod views;
mod watch;

pub use alloy::primitives::{Address, B256, Bytes, U256};

pub use crate::{
    block::BlockEnv,
    context::Context,
    engine::{ENGINE_VERSION, Engine, EngineError},
    env_reads::EnvReads,
    hardfork::{Hardfork, UnknownHardfork},
    invariant::{Comparison, Invariant, InvariantError},
    moved::{Moved, TokenDelta},
    options::{Options, ViewTime},
    record::Recording,
    replay::Replay,
    sequence::SequenceOutcome,
    state::{Account, AccountState, CompleteState, Missing, Prestate, Recorder, State, StateError},
    transaction::{Transaction, TransactionError},
    value::{ValueType, ValueTypeError},
    verdict::{
        Call, CallKind, Execution, Judgement, Margins, Outcome, Reading, Reason, Status, Transition, Verdict,
        ViewError, Warning, Witness,
    },
    watch::{ProgramInvariant, ViewInvariant, WatchError, WatchSet, Watched},
};
