//! People who send transactions of all types to an anvil.

use alloy::consensus::{
    BlobTransactionSidecarEip7594, SignableTransaction, TxEip1559, TxEip2930, TxEip4844, TxEip4844WithSidecar,
    TxEip7702, TxEnvelope, TxLegacy,
};
use alloy::eips::eip2718::Encodable2718;
use alloy::eips::eip2930::{AccessList, AccessListItem};
use alloy::eips::eip4844::{Blob, Bytes48};
use alloy::eips::eip7594::BlobTransactionSidecarVariant;
use alloy::eips::eip7702::Authorization;
use alloy::primitives::TxKind;
use alloy::providers::{DynProvider, Provider};
use alloy::signers::SignerSync;
use alloy::signers::local::PrivateKeySigner;
use engine::{Address, B256, Bytes, U256};
use testkit::TestAnvil;

use super::world::CHAIN;

const GWEI: u128 = 1_000_000_000;

/// Somebody with a key and a node.
pub(crate) struct Person {
    key: PrivateKeySigner,
    provider: DynProvider,
}

impl Person {
    /// The node's development account of this number.
    pub(crate) fn new(anvil: &TestAnvil, number: usize) -> Self {
        Self {
            key: anvil.instance().keys()[number].clone().into(),
            provider: anvil.provider(),
        }
    }

    pub(crate) fn address(&self) -> Address {
        self.key.address()
    }

    /// Hands a transaction in; gives its hash.
    pub(crate) async fn send(&self, raw: &[u8]) -> B256 {
        *self.provider.send_raw_transaction(raw).await.unwrap().tx_hash()
    }

    fn sign(
        &self,
        tx: impl SignableTransaction<alloy::signers::Signature> + Into<alloy::consensus::TypedTransaction>,
    ) -> Vec<u8> {
        let signature = self.key.sign_hash_sync(&tx.signature_hash()).unwrap();
        let typed: alloy::consensus::TypedTransaction = tx.into();
        TxEnvelope::from(typed.into_signed(signature)).encoded_2718()
    }

    /// A transfer of one wei, EIP-1559, at so many gwei.
    pub(crate) fn transfer(&self, nonce: u64, gwei: u128) -> Vec<u8> {
        self.sign(TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: gwei * GWEI,
            max_priority_fee_per_gas: gwei * GWEI / 10,
            to: TxKind::Call(Address::repeat_byte(0xaa)),
            value: U256::from(1),
            ..Default::default()
        })
    }

    pub(crate) fn legacy(&self, nonce: u64) -> Vec<u8> {
        self.sign(TxLegacy {
            chain_id: Some(CHAIN),
            nonce,
            gas_price: 5 * GWEI,
            gas_limit: 21_000,
            to: TxKind::Call(Address::repeat_byte(0xab)),
            value: U256::from(1),
            input: Bytes::new(),
        })
    }

    pub(crate) fn with_access_list(&self, nonce: u64) -> Vec<u8> {
        let item = AccessListItem {
            address: Address::repeat_byte(0xac),
            storage_keys: vec![B256::repeat_byte(1)],
        };
        self.sign(TxEip2930 {
            chain_id: CHAIN,
            nonce,
            gas_price: 5 * GWEI,
            gas_limit: 60_000,
            to: TxKind::Call(Address::repeat_byte(0xac)),
            access_list: AccessList(vec![item]),
            ..Default::default()
        })
    }

    /// A creation of a contract that keeps the value of each call in slot 0.
    pub(crate) fn creation(&self, nonce: u64) -> Vec<u8> {
        // PUSH3 code, PUSH0 MSTORE, RETURN of its 3 bytes; the code: CALLVALUE PUSH0 SSTORE.
        const INPUT: &[u8] = &alloy::hex!("62345f555f526003601df3");
        self.sign(TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 200_000,
            max_fee_per_gas: 5 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: TxKind::Create,
            input: Bytes::from_static(INPUT),
            ..Default::default()
        })
    }

    /// A call that makes that contract keep `value`.
    pub(crate) fn keep(&self, nonce: u64, contract: Address, value: u64, gwei: u128) -> Vec<u8> {
        self.call(nonce, contract, value, gwei, Bytes::new())
    }

    /// A call with data, at so many gwei.
    pub(crate) fn call(&self, nonce: u64, to: Address, value: u64, gwei: u128, input: Bytes) -> Vec<u8> {
        self.sign(TxEip1559 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: gwei * GWEI,
            max_priority_fee_per_gas: gwei * GWEI / 10,
            to: TxKind::Call(to),
            value: U256::from(value),
            input,
            ..Default::default()
        })
    }

    /// The sender's account is given the code of another one (EIP-7702).
    pub(crate) fn delegation(&self, nonce: u64) -> Vec<u8> {
        let authorization = Authorization {
            chain_id: U256::from(CHAIN),
            address: Address::repeat_byte(0xad),
            nonce: nonce + 1,
        };
        let signature = self.key.sign_hash_sync(&authorization.signature_hash()).unwrap();
        self.sign(TxEip7702 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 100_000,
            max_fee_per_gas: 5 * GWEI,
            max_priority_fee_per_gas: GWEI,
            to: self.address(),
            authorization_list: vec![authorization.into_signed(signature)],
            ..Default::default()
        })
    }

    /// A blob of zeros. Commitment and proofs of the zero polynomial are the point at infinity, so no ceremony's setup is needed.
    pub(crate) fn blob(&self, nonce: u64) -> Vec<u8> {
        use sha2::Digest;
        let mut infinity = Bytes48::ZERO;
        infinity[0] = 0xc0;
        let mut versioned: [u8; 32] = sha2::Sha256::digest(infinity).into();
        versioned[0] = 1;
        let tx = TxEip4844 {
            chain_id: CHAIN,
            nonce,
            gas_limit: 21_000,
            max_fee_per_gas: 5 * GWEI,
            max_priority_fee_per_gas: GWEI,
            max_fee_per_blob_gas: 5 * GWEI,
            to: Address::repeat_byte(0xae),
            blob_versioned_hashes: vec![versioned.into()],
            ..Default::default()
        };
        let sidecar = BlobTransactionSidecarVariant::Eip7594(BlobTransactionSidecarEip7594 {
            blobs: vec![Blob::ZERO],
            commitments: vec![infinity],
            cell_proofs: vec![infinity; 128],
        });
        let signature = self.key.sign_hash_sync(&tx.signature_hash()).unwrap();
        let tx = TxEip4844WithSidecar { tx, sidecar };
        TxEnvelope::from(tx.into_signed(signature)).encoded_2718()
    }
}

/// The address of the contract that a creation makes.
pub(crate) fn created(by: Address, nonce: u64) -> Address {
    by.create(nonce)
}
