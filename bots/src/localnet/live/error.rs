//! Why a living chain cannot be used, or does not go on.

use node::exit::Code;

use crate::scenario::ScenarioError;

/// What is wrong with the chain, or with what was to be sent to it.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// No anvil on this machine.
    #[error(
        "anvil is not installed (looked for {looked}): run `make tools`, or name it by --anvil PATH, or a running development node by \
         --node URL"
    )]
    NoAnvil {
        /// Where it was looked for.
        looked: String,
    },
    /// `--node` is no URL that can be used.
    #[error("--node {url}: {reason}; give http://HOST:PORT or ws://HOST:PORT")]
    Url {
        /// As given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The node is on a chain that the story is not signed for.
    #[error(
        "{node} is on chain {found}, and the story's transactions are signed for chain {expected}: start it with --chain-id {expected}"
    )]
    OtherChain {
        /// The node.
        node: String,
        /// Its chain.
        found: u64,
        /// The story's.
        expected: u64,
    },
    /// The node does not answer.
    #[error("{node} does not answer {method}: {reason}")]
    Silent {
        /// The node.
        node: String,
        /// What it was asked.
        method: &'static str,
        /// What came instead.
        reason: String,
    },
    /// The node does not give the story's people money.
    #[error(
        "{node} refused anvil_setBalance ({reason}): the story's people need money, which only a development node gives"
    )]
    NoMoney {
        /// The node.
        node: String,
        /// What it said.
        reason: String,
    },
    /// A transaction without which the story cannot go on was not taken.
    #[error("{node} refused a transaction of the story ({what}): {reason}")]
    Refused {
        /// The node.
        node: String,
        /// What it was to do.
        what: &'static str,
        /// What the node said.
        reason: String,
    },
    /// A transaction of the setup that did not end as it must.
    #[error("the town cannot be built on {node}: transaction {hash} of stage {stage} {how}")]
    Setup {
        /// The node.
        node: String,
        /// Which transaction.
        hash: alloy::primitives::B256,
        /// Of which block of the setup, from 1.
        stage: usize,
        /// How it ended.
        how: &'static str,
    },
    /// The chain stands still.
    #[error("{node} made no block for {seconds} s: it must mine by itself, as `anvil --block-time 2` does")]
    Still {
        /// The node.
        node: String,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The platform never got to the chain's head.
    #[error("the platform does not follow the chain after {seconds} s: {reason}")]
    NotFollowed {
        /// How long it was waited for.
        seconds: u64,
        /// What it says of its nodes.
        reason: String,
    },
    /// A fault of the story.
    #[error(transparent)]
    Story(#[from] ScenarioError),
    /// The task that sends the traffic ended without a word.
    #[error("the traffic ended unexpectedly: {0}")]
    Died(String),
}

impl LiveError {
    /// The exit code that it comes to.
    pub fn code(&self) -> Code {
        match self {
            Self::NoAnvil { .. }
            | Self::Url { .. }
            | Self::OtherChain { .. }
            | Self::NoMoney { .. }
            | Self::Story(_) => Code::Configuration,
            Self::NotFollowed { .. }
            | Self::Silent { .. }
            | Self::Still { .. }
            | Self::Refused { .. }
            | Self::Setup { .. } => Code::Indeterminate,
            Self::Died(_) => Code::Restart,
        }
    }
}
