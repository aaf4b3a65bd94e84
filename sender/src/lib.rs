//! Gets an EVM transaction mined: one nonce manager for each private key, fees by EIP-1559, replacement, priority lanes.
//!
//! ```text
//! submit --> journal --> desk of the key: plan (pure) --> sign --> journal --> all nodes at once, or the relay
//!                             ^-- head, receipts, fees --- nodes -----------------+
//! ```
//!
//! The rules are pure, each in a module of its own: [`fees`], [`nonce`], [`lane`], [`plan`], [`machine`], [`verdict`]. The
//! shell around them is a task for each key. What always holds:
//! - an [`IdempotencyKey`](request::IdempotencyKey) is mined once at most: the request is on disk before it is signed, the signed bytes before they are
//!   sent, and a request is given another nonce only when its old one carries another transaction with all confirmations. (A
//!   pause alone does not wait for the confirmations; if the block that released it is reorganised away, its second
//!   transaction is withdrawn.)
//! - a replacement raises both fees by at least 12.5 %, within the cap; at the cap what is there stays, and says so;
//! - a stuck transaction of a lower lane never delays a pause: the pause takes its nonce, the other starts again behind it;
//! - a revert is an outcome; an error is a node or a database that fails.
//!
//! A private key belongs to one sender alone.

pub mod client;
pub mod config;
mod desk;
mod error;
pub mod fees;
mod journal;
pub mod keys;
pub mod lane;
pub mod machine;
pub mod nonce;
pub mod plan;
pub mod request;
mod rpc;
mod sender;
pub mod verdict;

pub use self::config::Config;
pub use self::desk::Cancelled;
pub use self::error::{OpenError, SubmitError};
pub use self::fees::Fees;
pub use self::journal::JournalError;
pub use self::keys::Keys;
pub use self::lane::Lane;
pub use self::machine::{Failure, Inclusion, State};
pub use self::request::{Handle, IdempotencyKey, Outcome, Request, Status, WaitError};
pub use self::rpc::{AddressError, CallError};
pub use self::sender::Sender;
