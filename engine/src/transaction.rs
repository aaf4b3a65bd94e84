//! A decoded EIP-2718 transaction with its sender and its hash.
//!
//! Decoding happens once and off the critical path: recovering a sender costs more than executing a transfer.

use std::fmt;

use alloy::{
    consensus::{EthereumTxEnvelope, Transaction as _, TxEip4844, Typed2718, transaction::SignerRecoverable},
    eips::eip2718::Decodable2718,
    primitives::keccak256,
};
use alloy_consensus::crypto::SECP256K1N_HALF;

use crate::{Address, B256, Bytes, U256, evm::TxFields};

/// The five transaction types, without blob sidecar.
pub(crate) type Envelope = EthereumTxEnvelope<TxEip4844>;

/// A transaction of type 0 to 4, a call or a creation.
#[derive(Clone, PartialEq, Eq)]
pub struct Transaction {
    hash: B256,
    raw: Bytes,
    unsigned: bool,
    high_s: bool,
    fields: TxFields,
}

/// Why bytes are no transaction that can be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransactionError {
    /// No bytes at all.
    #[error("transaction is empty: give its EIP-2718 bytes")]
    Empty,
    /// Not the encoding of one transaction of type 0 to 4.
    #[error(
        "transaction of {length} bytes does not decode: {why}; give EIP-2718 bytes of type 0 to 4, without blob sidecar"
    )]
    Decode {
        /// Length of what was given.
        length: usize,
        /// What is wrong with it.
        why: String,
    },
    /// No sender can be recovered.
    #[error("transaction {hash}: broken signature, no sender can be recovered")]
    Signature {
        /// Hash of the transaction.
        hash: B256,
    },
    /// The upper of the two possible signatures, forbidden by EIP-2 in every transaction that can tell its chain.
    #[error("transaction {hash}: s of the signature is above half the curve order (EIP-2)")]
    HighS {
        /// Hash of the transaction.
        hash: B256,
    },
}

impl Transaction {
    /// Decodes and recovers the sender, and so proves it.
    ///
    /// A legacy transaction without chain id may carry a high `s`, as frontier's did; executing it in a later block is invalid.
    ///
    /// # Errors
    /// When the bytes are no transaction or the signature is broken.
    pub fn decode(raw: &[u8]) -> Result<Self, TransactionError> {
        let envelope = envelope(raw)?;
        let hash = keccak256(raw);
        let high_s = check_s(&envelope, hash)?;
        let sender = envelope
            .recover_signer_unchecked()
            .map_err(|_| TransactionError::Signature { hash })?;
        Ok(Self::build(
            &envelope,
            Bytes::copy_from_slice(raw),
            hash,
            sender,
            high_s,
            false,
        ))
    }

    /// Decodes and trusts the sender given: somebody upstream has signed for it.
    ///
    /// # Errors
    /// When the bytes are no transaction.
    pub fn with_sender(raw: &[u8], sender: Address) -> Result<Self, TransactionError> {
        let envelope = envelope(raw)?;
        let hash = keccak256(raw);
        let high_s = check_s(&envelope, hash)?;
        Ok(Self::build(
            &envelope,
            Bytes::copy_from_slice(raw),
            hash,
            sender,
            high_s,
            false,
        ))
    }

    /// A recorded transaction whose signature is not known: `raw` carries a zero one, hash and sender are as recorded.
    ///
    /// It executes without nonce check, without EIP-3607, and its sender need not be able to pay.
    ///
    /// # Errors
    /// When the bytes are no transaction.
    pub fn unsigned(raw: &[u8], sender: Address, hash: B256) -> Result<Self, TransactionError> {
        Ok(Self::build(
            &envelope(raw)?,
            Bytes::copy_from_slice(raw),
            hash,
            sender,
            false,
            true,
        ))
    }

    fn build(envelope: &Envelope, raw: Bytes, hash: B256, sender: Address, high_s: bool, unsigned: bool) -> Self {
        Self {
            hash,
            raw,
            unsigned,
            high_s,
            fields: TxFields::new(envelope, sender),
        }
    }

    /// Keccak-256 of the raw bytes; for an unsigned one as recorded.
    #[must_use]
    pub const fn hash(&self) -> B256 {
        self.hash
    }

    /// Who sends it.
    #[must_use]
    pub const fn sender(&self) -> Address {
        self.fields.sender()
    }

    /// EIP-2718 bytes, without blob sidecar.
    #[must_use]
    pub const fn raw(&self) -> &Bytes {
        &self.raw
    }

    /// True for a recorded transaction without signature.
    #[must_use]
    pub const fn is_unsigned(&self) -> bool {
        self.unsigned
    }

    /// Receiver; `None` when it creates a contract.
    #[must_use]
    pub fn to(&self) -> Option<Address> {
        self.fields.to()
    }

    /// EIP-2718 type, 0 to 4.
    #[must_use]
    pub const fn tx_type(&self) -> u8 {
        self.fields.tx_type()
    }

    /// Number of the transaction among its sender's.
    #[must_use]
    pub const fn nonce(&self) -> u64 {
        self.fields.nonce()
    }

    /// Most gas it may use.
    #[must_use]
    pub const fn gas_limit(&self) -> u64 {
        self.fields.gas_limit()
    }

    /// Wei it carries.
    #[must_use]
    pub const fn value(&self) -> U256 {
        self.fields.value()
    }

    /// Call data, or the code that runs to create a contract.
    #[must_use]
    pub const fn input(&self) -> &Bytes {
        self.fields.input()
    }

    /// Chain it is signed for; `None` before EIP-155.
    #[must_use]
    pub const fn chain_id(&self) -> Option<u64> {
        self.fields.chain_id()
    }

    /// Most it pays per gas in wei: its gas price before EIP-1559.
    #[must_use]
    pub const fn max_fee_per_gas(&self) -> u128 {
        self.fields.max_fee_per_gas()
    }

    /// Most it pays per gas to the beneficiary in wei (EIP-1559); `None` for types 0 and 1.
    #[must_use]
    pub const fn max_priority_fee_per_gas(&self) -> Option<u128> {
        self.fields.max_priority_fee_per_gas()
    }

    /// True when its signature is valid under frontier rules only.
    pub(crate) const fn has_high_s(&self) -> bool {
        self.high_s
    }

    pub(crate) const fn fields(&self) -> &TxFields {
        &self.fields
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("hash", &self.hash)
            .field("sender", &self.sender())
            .field("to", &self.to())
            .field("nonce", &self.nonce())
            .field("unsigned", &self.unsigned)
            .finish_non_exhaustive()
    }
}

/// Decodes one envelope that uses up all bytes.
pub(crate) fn envelope(raw: &[u8]) -> Result<Envelope, TransactionError> {
    if raw.is_empty() {
        return Err(TransactionError::Empty);
    }
    Envelope::decode_2718_exact(raw).map_err(|error| TransactionError::Decode {
        length: raw.len(),
        why: error.to_string(),
    })
}

/// True when `s` is high and that was once allowed.
fn check_s(envelope: &Envelope, hash: B256) -> Result<bool, TransactionError> {
    let high_s = envelope.signature().s() > SECP256K1N_HALF;
    if high_s && (envelope.ty() != 0 || envelope.chain_id().is_some()) {
        return Err(TransactionError::HighS { hash });
    }
    Ok(high_s)
}
