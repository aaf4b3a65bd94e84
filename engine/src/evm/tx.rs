//! A decoded transaction in the shape that revm executes, made once when it is decoded.

use alloy::{
    consensus::{Transaction as _, Typed2718},
    primitives::TxKind,
};
use revm::{
    context::{TxEnv, either::Either},
    context_interface::transaction::AccessList,
};

use crate::{Address, Bytes, U256, transaction::Envelope};

/// The fields of a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TxFields(TxEnv);

impl TxFields {
    pub(crate) fn new(envelope: &Envelope, sender: Address) -> Self {
        let authorizations = envelope.authorization_list().unwrap_or_default();
        Self(TxEnv {
            tx_type: envelope.ty(),
            caller: sender,
            gas_limit: envelope.gas_limit(),
            gas_price: envelope.max_fee_per_gas(),
            kind: envelope.kind(),
            value: envelope.value(),
            nonce: envelope.nonce(),
            chain_id: envelope.chain_id(),
            access_list: envelope.access_list().cloned().unwrap_or_else(AccessList::default),
            gas_priority_fee: envelope.max_priority_fee_per_gas(),
            blob_hashes: envelope.blob_versioned_hashes().unwrap_or_default().to_vec(),
            max_fee_per_blob_gas: envelope.max_fee_per_blob_gas().unwrap_or_default(),
            authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
            data: envelope.input().clone(),
        })
    }

    pub(super) const fn env(&self) -> &TxEnv {
        &self.0
    }

    pub(crate) const fn sender(&self) -> Address {
        self.0.caller
    }

    pub(crate) const fn to(&self) -> Option<Address> {
        match self.0.kind {
            TxKind::Create => None,
            TxKind::Call(to) => Some(to),
        }
    }

    pub(crate) const fn tx_type(&self) -> u8 {
        self.0.tx_type
    }

    pub(crate) const fn nonce(&self) -> u64 {
        self.0.nonce
    }

    pub(crate) const fn gas_limit(&self) -> u64 {
        self.0.gas_limit
    }

    pub(crate) const fn value(&self) -> U256 {
        self.0.value
    }

    pub(crate) const fn input(&self) -> &Bytes {
        &self.0.data
    }

    pub(crate) const fn chain_id(&self) -> Option<u64> {
        self.0.chain_id
    }

    pub(crate) const fn max_fee_per_gas(&self) -> u128 {
        self.0.gas_price
    }

    pub(crate) const fn max_priority_fee_per_gas(&self) -> Option<u128> {
        self.0.gas_priority_fee
    }
}
