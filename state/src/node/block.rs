//! Which block a node is asked about, and how calls name it.

use alloy::primitives::B256;
use serde_json::{Value, json};

use super::Call;

/// Which block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockRef {
    /// The newest one.
    Latest,
    /// The one that the node would make now.
    Pending,
    /// This one.
    Hash(B256),
    /// The one at this height of the node's chain.
    Number(u64),
}

impl BlockRef {
    /// As `eth_call` and the like take it; a hash as of EIP-1898.
    pub(crate) fn parameter(self) -> Value {
        match self {
            Self::Latest => json!("latest"),
            Self::Pending => json!("pending"),
            Self::Number(number) => json!(format!("{number:#x}")),
            Self::Hash(hash) => json!({ "blockHash": hash }),
        }
    }
}

/// The call for a block; `full` with its transactions, not their hashes alone.
pub(crate) fn block_call(block: BlockRef, full: bool) -> Call {
    match block {
        BlockRef::Hash(hash) => Call::new("eth_getBlockByHash", json!([hash, full])),
        other => Call::new("eth_getBlockByNumber", json!([other.parameter(), full])),
    }
}
