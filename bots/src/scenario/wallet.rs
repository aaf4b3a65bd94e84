//! Accounts with real keys, derived from the scenario's seed, and the transactions that they sign.
//!
//! What always holds: the same seed gives the same keys, and the same key, nonce and draft give the same bytes
//! (signatures are deterministic, RFC 6979).

use alloy::consensus::{SignableTransaction, Signed, TxEip1559, TxEip2930, TxEip4844, TxEip7702, TxEnvelope, TxLegacy};
use alloy::eips::eip2930::AccessList;
use alloy::eips::eip7702::{Authorization, SignedAuthorization};
use alloy::primitives::{Address, B256, Bytes, Signature, TxKind, U256, keccak256};
use alloy::signers::{SignerSync, local::PrivateKeySigner};
use alloy::sol_types::SolCall;

use super::{CHAIN_ID, ScenarioError};

/// An externally owned account.
#[derive(Debug, Clone)]
pub struct Wallet {
    signer: PrivateKeySigner,
    nonce: u64,
}

/// What a transaction does, before fees, nonce and signature.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Receiver, or a creation.
    pub to: TxKind,
    /// Wei sent along.
    pub value: U256,
    /// Calldata or creation code.
    pub input: Bytes,
    /// Gas limit.
    pub gas_limit: u64,
}

impl Draft {
    /// A call of a contract, without wei.
    #[must_use]
    pub fn call(to: Address, call: &impl SolCall, gas_limit: u64) -> Self {
        Self {
            input: call.abi_encode().into(),
            gas_limit,
            ..Self::transfer(to, U256::ZERO)
        }
    }

    /// The creation of a contract, without wei.
    #[must_use]
    pub const fn creation(input: Bytes, gas_limit: u64) -> Self {
        Self {
            to: TxKind::Create,
            value: U256::ZERO,
            input,
            gas_limit,
        }
    }

    /// So many wei to somebody without code, with the gas that this takes.
    #[must_use]
    pub const fn transfer(to: Address, value: U256) -> Self {
        Self {
            to: TxKind::Call(to),
            value,
            input: Bytes::new(),
            gas_limit: 21_000,
        }
    }

    /// With so many wei.
    #[must_use]
    pub fn with(self, value: U256) -> Self {
        Self { value, ..self }
    }
}

/// EIP-2718 type of a transaction, with what only that type carries.
#[derive(Debug, Clone)]
pub enum Form {
    /// Type 0.
    Legacy,
    /// Type 1 (EIP-2930).
    AccessList(AccessList),
    /// Type 2 (EIP-1559).
    DynamicFee,
    /// Type 3 (EIP-4844); the blobs themselves travel elsewhere.
    Blobs(Vec<B256>),
    /// Type 4 (EIP-7702).
    SetCode(Vec<SignedAuthorization>),
}

/// Fee limits in wei per gas.
#[derive(Debug, Clone, Copy)]
pub struct Fees {
    /// The most that is paid in all.
    pub max: u128,
    /// The most that goes to the block's beneficiary.
    pub tip: u128,
}

impl Wallet {
    /// The account of `role` number `index` under a seed, with nonce 0.
    ///
    /// # Errors
    /// When the derived key is not a valid scalar, which happens for one seed in 2^128.
    pub fn derive(seed: u64, role: &str, index: usize) -> Result<Self, ScenarioError> {
        let key = keccak256(format!("portcullis scenario {seed} {role} {index}"));
        let signer = PrivateKeySigner::from_bytes(&key).map_err(|error| ScenarioError::Key(error.to_string()))?;
        Ok(Self { signer, nonce: 0 })
    }

    /// The first `count` wallets of a role.
    ///
    /// # Errors
    /// As [`Wallet::derive`].
    pub fn derive_all(seed: u64, role: &str, count: usize) -> Result<Vec<Self>, ScenarioError> {
        (0..count).map(|index| Self::derive(seed, role, index)).collect()
    }

    /// The account's address.
    #[must_use]
    pub fn address(&self) -> Address {
        self.signer.address()
    }

    /// The private key. It is no secret: everybody can derive it from the scenario's seed.
    #[must_use]
    pub fn key(&self) -> B256 {
        self.signer.to_bytes()
    }

    /// The nonce of the next transaction.
    #[must_use]
    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    /// Goes on with this nonce: of an account that has sent transactions before.
    pub const fn set_nonce(&mut self, nonce: u64) {
        self.nonce = nonce;
    }

    /// Signs the next transaction; its nonce is used up, and those of this account's own authorizations in it.
    ///
    /// # Errors
    /// When a blob or set-code transaction is a creation, or signing fails.
    pub fn sign(&mut self, draft: Draft, form: Form, fees: Fees) -> Result<TxEnvelope, ScenarioError> {
        let own = match &form {
            Form::SetCode(list) => {
                let own = |item: &&SignedAuthorization| item.recover_authority().is_ok_and(|who| who == self.address());
                list.iter().filter(own).count() as u64
            }
            _ => 0,
        };
        let envelope = self.sign_at(self.nonce, draft, form, fees)?;
        self.nonce += 1 + own;
        Ok(envelope)
    }

    /// Signs a transaction with a nonce of the caller's choice, such as one that replaces another.
    ///
    /// # Errors
    /// As [`Wallet::sign`].
    pub fn sign_at(&self, nonce: u64, draft: Draft, form: Form, fees: Fees) -> Result<TxEnvelope, ScenarioError> {
        let Draft {
            to,
            value,
            input,
            gas_limit,
        } = draft;
        let chain_id = CHAIN_ID;
        let (max_fee_per_gas, max_priority_fee_per_gas) = (fees.max, fees.tip);
        Ok(match form {
            Form::Legacy => {
                let chain_id = Some(chain_id);
                self.seal(TxLegacy {
                    chain_id,
                    nonce,
                    gas_price: fees.max,
                    gas_limit,
                    to,
                    value,
                    input,
                })?
                .into()
            }
            Form::AccessList(access_list) => self
                .seal(TxEip2930 {
                    chain_id,
                    nonce,
                    gas_price: fees.max,
                    gas_limit,
                    to,
                    value,
                    access_list,
                    input,
                })?
                .into(),
            Form::DynamicFee => self
                .seal(TxEip1559 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to,
                    value,
                    access_list: AccessList::default(),
                    input,
                })?
                .into(),
            Form::Blobs(blob_versioned_hashes) => {
                let tx = TxEip4844 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: callee(to)?,
                    value,
                    access_list: AccessList::default(),
                    blob_versioned_hashes,
                    max_fee_per_blob_gas: 1_000_000_000,
                    input,
                };
                let (tx, signature, hash) = self.seal(tx)?.into_parts();
                TxEnvelope::Eip4844(Signed::new_unchecked(tx.into(), signature, hash))
            }
            Form::SetCode(authorization_list) => self
                .seal(TxEip7702 {
                    chain_id,
                    nonce,
                    gas_limit,
                    max_fee_per_gas,
                    max_priority_fee_per_gas,
                    to: callee(to)?,
                    value,
                    access_list: AccessList::default(),
                    authorization_list,
                    input,
                })?
                .into(),
        })
    }

    /// Signs an EIP-7702 authorization that goes into this account's own next transaction: its code becomes a delegation to
    /// `delegate`. The transaction's nonce is counted first, so the authorization carries the one after it.
    ///
    /// # Errors
    /// When signing fails.
    pub fn authorize_in_next(&self, delegate: Address) -> Result<SignedAuthorization, ScenarioError> {
        let authorization = Authorization {
            chain_id: U256::from(CHAIN_ID),
            address: delegate,
            nonce: self.nonce + 1,
        };
        let signature = self.sign_hash(authorization.signature_hash())?;
        Ok(authorization.into_signed(signature))
    }

    fn seal<T: SignableTransaction<Signature>>(&self, tx: T) -> Result<Signed<T>, ScenarioError> {
        let signature = self.sign_hash(tx.signature_hash())?;
        Ok(tx.into_signed(signature))
    }

    fn sign_hash(&self, hash: B256) -> Result<Signature, ScenarioError> {
        self.signer
            .sign_hash_sync(&hash)
            .map_err(|error| ScenarioError::Key(error.to_string()))
    }
}

fn callee(to: TxKind) -> Result<Address, ScenarioError> {
    to.to().copied().ok_or(ScenarioError::Plan(
        "a blob or set-code transaction cannot create a contract".to_owned(),
    ))
}
