//! A node's description of a transaction or block, and what it proves.
//!
//! Nothing is believed that can be computed: the transaction is put together from its fields, and its hash and the sender that its
//! signature gives must be those that the node names.

use alloy::consensus::{EthereumTxEnvelope, Header, TxEip4844};
use alloy::eips::eip2718::Encodable2718;
use engine::{Address, B256, Transaction};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::heads::Link;
use super::pool::{Block, Ticket};

/// Why a body is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Not a transaction of a type that there is.
    #[error("not understood: {0}")]
    Form(String),
    /// The fields do not give the hash that is named, or not the sender.
    #[error("named {named}, its fields and signature give {actual}")]
    Forged {
        /// Hash or sender, as named.
        named: String,
        /// As computed.
        actual: String,
    },
    /// Signed for another chain.
    #[error("signed for chain {0}")]
    Chain(u64),
    /// No valid signature.
    #[error(transparent)]
    Transaction(#[from] engine::TransactionError),
}

/// The transaction of a body (`eth_getTransactionByHash`), proven; `chain_id` is the chain that it must be for.
///
/// # Errors
/// [`BodyError`].
pub fn transaction(body: &RawValue, chain_id: u64) -> Result<Transaction, BodyError> {
    // Blobs that a node shows with it are left out: they are no part of the transaction.
    let body: alloy::rpc::types::Transaction<EthereumTxEnvelope<TxEip4844>> =
        serde_json::from_str(body.get()).map_err(|error| BodyError::Form(error.to_string()))?;
    let named = (*body.inner.tx_hash(), body.inner.signer());
    let transaction = Transaction::decode(&body.inner.inner().encoded_2718())?;
    let forged = |named: &dyn ToString, actual: &dyn ToString| BodyError::Forged {
        named: named.to_string(),
        actual: actual.to_string(),
    };
    if transaction.hash() != named.0 {
        return Err(forged(&named.0, &transaction.hash()));
    }
    if transaction.sender() != named.1 {
        return Err(forged(&named.1, &transaction.sender()));
    }
    match transaction.chain_id() {
        Some(other) if other != chain_id => Err(BodyError::Chain(other)),
        Some(_) | None => Ok(transaction),
    }
}

/// The hash that a body names.
#[must_use]
pub fn named_hash(body: &RawValue) -> Option<B256> {
    #[derive(Deserialize)]
    struct Named {
        hash: B256,
    }
    serde_json::from_str::<Named>(body.get()).ok().map(|named| named.hash)
}

/// What the pool's rule needs of it.
#[must_use]
pub fn ticket(transaction: &Transaction) -> Ticket {
    let max_fee = transaction.max_fee_per_gas();
    Ticket {
        hash: transaction.hash(),
        sender: transaction.sender(),
        nonce: transaction.nonce(),
        max_fee,
        priority_fee: transaction.max_priority_fee_per_gas().unwrap_or(max_fee),
    }
}

/// A block with what it includes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FullBlock {
    /// Its header, of which the hash was checked.
    pub header: Header,
    /// Its place.
    pub link: Link,
    /// Hash, sender and nonce of each transaction.
    pub block: Block,
}

/// As `eth_getBlockByHash` gives it, with bodies. Of a transaction only what identifies it is read: a type that is not known yet does
/// not make a block unreadable.
#[derive(Debug, Deserialize)]
struct BlockBody {
    hash: B256,
    #[serde(flatten)]
    header: Header,
    transactions: Vec<Included>,
}

#[derive(Debug, Deserialize)]
struct Included {
    hash: B256,
    from: Address,
    #[serde(with = "alloy::serde::quantity")]
    nonce: u64,
}

/// The block of a body. The header's hash is not computed: development nodes leave fields out that are part of it.
///
/// # Errors
/// What is wrong with it.
pub fn block(body: &RawValue) -> Result<FullBlock, serde_json::Error> {
    let body: BlockBody = serde_json::from_str(body.get())?;
    let included = body.transactions.iter().map(|tx| (tx.hash, tx.from, tx.nonce));
    Ok(FullBlock {
        link: Link {
            number: body.header.number,
            hash: body.hash,
            parent: body.header.parent_hash,
        },
        block: Block {
            hash: body.hash,
            included: included.collect(),
        },
        header: body.header,
    })
}
