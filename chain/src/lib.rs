//! The subnet's ledger behind one trait, [`Ledger`], and the keys with which its neurons sign.
//!
//! [`local`] is the embedded ledger (registration, stake, axons, weights, epochs; stored in SQLite, served over gRPC by the
//! binary `ledger`); [`remote`] is the same trait over that gRPC. [`wallet`] and [`keyfile`] hold sr25519 keys as btcli
//! does, [`auth`] signs and opens requests between neurons.

pub mod account;
mod announce;
pub mod auth;
pub mod commit;
pub mod error;
mod follow;
pub mod history;
pub mod keyfile;
pub mod ledger;
pub mod local;
pub mod mnemonic;
pub mod remote;
pub mod replay;
pub mod reporting;
pub mod table;
mod tao;
pub mod wallet;
pub mod wallets;
pub mod weights;
pub mod wire;
pub mod yuma;

pub use account::AccountId;
pub use announce::{AXON_PROTOCOL, AXON_VERSION, announce_axon};
pub use error::{LedgerError, Refusal};
pub use follow::{Followed, follow};
pub use ledger::{
    Axon, AxonInfo, Beacon, Hyperparameters, Ledger, Metagraph, Neuron, Registration, TimelockedCommit, WeightsCall,
    WeightsCommit, WeightsForm, WeightsReveal,
};
pub use remote::RemoteLedger;
pub use tao::Tao;
pub use wallet::Keypair;
