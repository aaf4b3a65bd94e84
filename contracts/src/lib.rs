//! The project's own contracts: Solidity sources, their checked-in artifacts, and bindings to them.
//!
//! `solidity/*.sol` is compiled by `compile.mjs` (solc from npm, pinned) into `artifacts/NAME.json`; Rust reads only the
//! artifacts, so that building needs no node. `tests/artifacts.rs` compiles again where node and solc are installed and
//! accepts no difference.
//!
//! What always holds: [`bindings`], [`layout`] and the bytecode come from the same artifact; a variable is addressed by
//! its name, never by a slot number written down a second time.

pub mod bindings;
pub mod development;
pub mod guard;
pub mod layout;
pub mod parameters;

pub use bindings::{
    Agent, AgentKeepers, AgentLens, AuditManager, FeeToken, Pair, PauseGuard, PermitToken, QuietToken, Raider, Router,
    ServicePayment, ServicePaymentFactory, TestJob, TestPausable, Token, Vault, VaultAdmin,
};

use alloy::primitives::Bytes;
use alloy::primitives::aliases::U96;
use alloy::sol_types::SolConstructor;

/// One list of the contracts: a name here is the name of the variant, the artifact and the binding.
macro_rules! contracts {
    ($($(#[$about:meta])* $name:ident),+ $(,)?) => {
        /// A contract of this crate.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Contract {
            $($(#[$about])* $name),+
        }

        impl Contract {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The name in the source and of the artifact.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name)),+
                }
            }

            /// The artifact as it is checked in: JSON with `abi`, `bytecode`, `deployedBytecode` and `storageLayout`.
            #[must_use]
            pub const fn artifact(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../artifacts/", stringify!($name), ".json"))),+
                }
            }

            /// The creation code, without constructor arguments.
            #[must_use]
            pub fn bytecode(self) -> &'static Bytes {
                match self {
                    $(Self::$name => &$name::BYTECODE),+
                }
            }
        }
    };
}

contracts! {
    /// The clean ERC-20 of fixed supply.
    Token,
    /// The constant-product market.
    Pair,
    /// The vault with the re-entrancy bug.
    Vault,
    /// The owner of one vault, who lends out the right to pause it.
    VaultAdmin,
    /// The front door of ordinary users.
    Router,
    /// The attacker's own contract.
    Raider,
    /// A service that is paid by the second.
    ServicePayment,
    /// Creates payment contracts, one for each protocol.
    ServicePaymentFactory,
    /// Jobs and the keepers that execute them.
    Agent,
    /// The half of the Agent that looks after keepers and parameters.
    AgentKeepers,
    /// Answers about an Agent, many in one call.
    AgentLens,
    /// Nodes that audit each other, and their bounties.
    AuditManager,
    /// A protocol's right to be paused, in the hands of a job.
    PauseGuard,
    /// For tests: a job that does what it is told, and its resolver.
    TestJob,
    /// For tests: what a guard pauses.
    TestPausable,
    /// For tests: an ERC-20 with EIP-2612 permits.
    PermitToken,
    /// For tests: a token that keeps a part of what is moved.
    FeeToken,
    /// For tests: a token whose transfers return nothing, and that can call back.
    QuietToken,
}

impl Contract {
    /// The input of a transaction that creates the contract: creation code, then the encoded constructor `arguments`.
    #[must_use]
    pub fn creation(self, arguments: &impl SolConstructor) -> Bytes {
        let mut input = self.bytecode().to_vec();
        input.extend_from_slice(&arguments.abi_encode());
        input.into()
    }
}

/// So many whole tokens of 18 decimals.
fn tokens(units: u64) -> U96 {
    U96::from(units) * U96::from(10_u64.pow(18))
}
