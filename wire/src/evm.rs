//! Block environments and transactions.

use engine::{Address, B256, BlockEnv, Hardfork, Transaction, U256};
use prost::bytes::Bytes;
use protos::{DecodeError, fixed, v1};

use crate::Wire;

/// A 32-byte hash cut from `field`.
///
/// # Errors
/// Another length.
pub fn hash(field: &'static str, bytes: &[u8]) -> Result<B256, DecodeError> {
    fixed::<32>(field, bytes).map(B256::from)
}

/// A hash as a field's bytes.
pub fn hash_bytes(hash: B256) -> Bytes {
    Bytes::copy_from_slice(hash.as_slice())
}

pub(crate) fn address(field: &'static str, bytes: &[u8]) -> Result<Address, DecodeError> {
    fixed::<20>(field, bytes).map(Address::from)
}

pub(crate) fn address_bytes(address: Address) -> Bytes {
    Bytes::copy_from_slice(address.as_slice())
}

pub(crate) fn word(field: &'static str, bytes: &[u8]) -> Result<U256, DecodeError> {
    fixed::<32>(field, bytes).map(U256::from_be_bytes)
}

pub(crate) fn word_bytes(word: U256) -> Bytes {
    Bytes::copy_from_slice(&word.to_be_bytes::<32>())
}

/// The hash that a transaction's message names, without decoding the transaction.
///
/// # Errors
/// Another length than 32 bytes.
pub fn transaction_hash(message: &v1::Transaction) -> Result<B256, DecodeError> {
    hash("transaction.hash", &message.hash)
}

impl Wire for BlockEnv {
    type Message = v1::BlockEnv;

    fn to_wire(&self) -> v1::BlockEnv {
        v1::BlockEnv {
            number: self.number,
            timestamp: self.timestamp,
            beneficiary: address_bytes(self.beneficiary),
            gas_limit: self.gas_limit,
            base_fee: self.base_fee,
            difficulty: word_bytes(self.difficulty),
            prevrandao: self.prevrandao.map(hash_bytes).unwrap_or_default(),
            excess_blob_gas: self.excess_blob_gas,
            hardfork: self.hardfork.map(|fork| fork.to_string()).unwrap_or_default(),
        }
    }

    fn from_wire(message: &v1::BlockEnv) -> Result<Self, DecodeError> {
        let hardfork = match message.hardfork.as_str() {
            "" => None,
            name => Some(
                name.parse::<Hardfork>()
                    .map_err(|error| DecodeError::invalid("block_env.hardfork", error))?,
            ),
        };
        Ok(Self {
            number: message.number,
            timestamp: message.timestamp,
            beneficiary: address("block_env.beneficiary", &message.beneficiary)?,
            gas_limit: message.gas_limit,
            base_fee: message.base_fee,
            difficulty: word("block_env.difficulty", &message.difficulty)?,
            prevrandao: match message.prevrandao.len() {
                0 => None,
                _ => Some(hash("block_env.prevrandao", &message.prevrandao)?),
            },
            excess_blob_gas: message.excess_blob_gas,
            hardfork,
        })
    }
}

/// The sender is taken as it is given: whoever put the transaction on the wire recovered it, and the message that carries it is
/// signed. The hash is checked.
impl Wire for Transaction {
    type Message = v1::Transaction;

    fn to_wire(&self) -> v1::Transaction {
        v1::Transaction {
            raw: self.raw().clone().into(),
            sender: address_bytes(self.sender()),
            hash: hash_bytes(self.hash()),
            unsigned: self.is_unsigned(),
        }
    }

    fn from_wire(message: &v1::Transaction) -> Result<Self, DecodeError> {
        let sender = address("transaction.sender", &message.sender)?;
        let named = transaction_hash(message)?;
        let invalid = |error| DecodeError::invalid("transaction.raw", error);
        if message.unsigned {
            return Transaction::unsigned(&message.raw, sender, named).map_err(invalid);
        }
        let transaction = Transaction::with_sender(&message.raw, sender).map_err(invalid)?;
        if transaction.hash() != named {
            let reason = format!("names {named}, the raw bytes hash to {}", transaction.hash());
            return Err(DecodeError::invalid("transaction.hash", reason));
        }
        Ok(transaction)
    }
}
