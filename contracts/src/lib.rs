//! The project's own contracts: Solidity sources, their checked-in artifacts, and bindings to them.
//!
//! `solidity/*.sol` is compiled by `compile.mjs` (solc from npm, pinned) into `artifacts/NAME.json`; Rust reads only the
//! artifacts, so that building needs no node. `tests/artifacts.rs` compiles again where node and solc are installed and
//! accepts no difference.
//!
//! What always holds: [`bindings`], [`layout`] and the bytecode come from the same artifact; a variable is addressed by
//! its name, never by a slot number written down a second time.

pub mod bindings;
pub mod layout;

pub use bindings::{Pair, Raider, Router, Token, Vault};

use alloy::primitives::Bytes;
use alloy::sol_types::SolConstructor;

/// A contract of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contract {
    /// The clean ERC-20 of fixed supply.
    Token,
    /// The constant-product market.
    Pair,
    /// The vault with the re-entrancy bug.
    Vault,
    /// The front door of ordinary users.
    Router,
    /// The attacker's own contract.
    Raider,
}

impl Contract {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Token, Self::Pair, Self::Vault, Self::Router, Self::Raider];

    /// The name in the source and of the artifact.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "Token",
            Self::Pair => "Pair",
            Self::Vault => "Vault",
            Self::Router => "Router",
            Self::Raider => "Raider",
        }
    }

    /// The artifact as it is checked in: JSON with `abi`, `bytecode`, `deployedBytecode` and `storageLayout`.
    #[must_use]
    pub const fn artifact(self) -> &'static str {
        match self {
            Self::Token => include_str!("../artifacts/Token.json"),
            Self::Pair => include_str!("../artifacts/Pair.json"),
            Self::Vault => include_str!("../artifacts/Vault.json"),
            Self::Router => include_str!("../artifacts/Router.json"),
            Self::Raider => include_str!("../artifacts/Raider.json"),
        }
    }

    /// The creation code, without constructor arguments.
    #[must_use]
    pub fn bytecode(self) -> &'static Bytes {
        match self {
            Self::Token => &Token::BYTECODE,
            Self::Pair => &Pair::BYTECODE,
            Self::Vault => &Vault::BYTECODE,
            Self::Router => &Router::BYTECODE,
            Self::Raider => &Raider::BYTECODE,
        }
    }

    /// The input of a transaction that creates the contract: creation code, then the encoded constructor `arguments`.
    #[must_use]
    pub fn creation(self, arguments: &impl SolConstructor) -> Bytes {
        let mut input = self.bytecode().to_vec();
        input.extend_from_slice(&arguments.abi_encode());
        input.into()
    }
}
