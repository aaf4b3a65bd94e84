//! Contracts built on a living chain: one signer's transactions, sent together, and waited for.

use std::collections::BTreeSet;
use std::time::Duration;

use alloy::consensus::TxEnvelope;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use contracts::{Contract, Token};
use tokio::time::Instant;

use super::error::LiveError;
use super::rpc::{NodeClient, Sent};
use crate::scenario::wallet::{Draft, Fees, Form, Wallet};

/// How long a block of the setup may take.
const MINED_WITHIN: Duration = Duration::from_secs(60);
/// How often the chain is looked at meanwhile, where it mines only when it likes.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Most gas of a call, and of the creation of a small contract.
pub(crate) const GAS: u64 = 2_000_000;
const GWEI: u128 = 1_000_000_000;
/// What everybody pays for the setup, in wei per gas.
pub(crate) const FEES: Fees = Fees {
    max: 1_000 * GWEI,
    tip: GWEI,
};

/// What one account builds. Nothing is sent before [`Site::finish`].
#[derive(Debug)]
pub(crate) struct Site<'a> {
    node: &'a NodeClient,
    wallet: &'a mut Wallet,
    waiting: Vec<TxEnvelope>,
    pace: Pace,
}

/// When the chain's next block is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once: nobody looks on yet.
    Hurried,
    /// When the chain makes it: so that the network sees first what waits for it.
    Own,
}

impl<'a> Site<'a> {
    /// Of an account that goes on with the nonce that the chain knows.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn open(node: &'a NodeClient, wallet: &'a mut Wallet, pace: Pace) -> Result<Self, LiveError> {
        if let Some(nonce) = node.nonces(&[wallet.address()]).await?.first() {
            wallet.set_nonce(*nonce);
        }
        Ok(Self {
            node,
            wallet,
            waiting: Vec::new(),
            pace,
        })
    }

    /// Who builds.
    pub(crate) fn address(&self) -> Address {
        self.wallet.address()
    }

    /// The node that it is built on.
    pub(crate) const fn node(&self) -> &'a NodeClient {
        self.node
    }

    /// Creates a contract; gives where it will stand.
    ///
    /// # Errors
    /// [`LiveError::Story`] when it cannot be signed.
    pub(crate) fn create(&mut self, creation: Bytes, value: U256, gas: u64) -> Result<Address, LiveError> {
        let address = self.address().create(self.wallet.nonce());
        self.sign(Draft::creation(creation, gas).with(value))?;
        Ok(address)
    }

    /// Creates a token of so many base units, all of them the site's; gives where it will stand.
    ///
    /// # Errors
    /// As of [`Site::create`].
    pub(crate) fn token(&mut self, name: &str, symbol: &str, supply: U256) -> Result<Address, LiveError> {
        let arguments = Token::constructorCall {
            name_: name.to_owned(),
            symbol_: symbol.to_owned(),
            supply,
            holder: self.address(),
        };
        self.create(Contract::Token.creation(&arguments), U256::ZERO, GAS)
    }

    /// Lets `spender` take so many base units of the site's.
    ///
    /// # Errors
    /// As of [`Site::create`].
    pub(crate) fn approve(&mut self, token: Address, spender: Address, value: U256) -> Result<(), LiveError> {
        self.call(token, &Token::approveCall { spender, value })
    }

    /// Calls a contract.
    ///
    /// # Errors
    /// As of [`Site::create`].
    pub(crate) fn call<C: SolCall>(&mut self, to: Address, call: &C) -> Result<(), LiveError> {
        self.call_with(to, call, GAS)
    }

    /// The same with other gas.
    ///
    /// # Errors
    /// As of [`Site::create`].
    pub(crate) fn call_with<C: SolCall>(&mut self, to: Address, call: &C, gas: u64) -> Result<(), LiveError> {
        self.sign(Draft::call(to, call, gas))
    }

    /// The same with calldata that is made already, and wei.
    ///
    /// # Errors
    /// As of [`Site::create`].
    pub(crate) fn input(&mut self, to: Address, value: U256, input: Bytes) -> Result<(), LiveError> {
        self.sign(Draft {
            input,
            gas_limit: GAS,
            ..Draft::transfer(to, value)
        })
    }

    fn sign(&mut self, draft: Draft) -> Result<(), LiveError> {
        self.waiting.push(self.wallet.sign(draft, Form::DynamicFee, FEES)?);
        Ok(())
    }

    /// Sends everything, and waits until it is in blocks.
    ///
    /// # Errors
    /// See [`mined`].
    pub(crate) async fn finish(&mut self) -> Result<(), LiveError> {
        mined(self.node, &std::mem::take(&mut self.waiting), 1, self.pace).await
    }
}

/// Sends these and waits until all are in blocks, successfully. `stage` says in an error which part of the setup it was.
///
/// # Errors
/// [`LiveError::Refused`], [`LiveError::Setup`], [`LiveError::Silent`].
pub(crate) async fn mined(
    node: &NodeClient,
    transactions: &[TxEnvelope],
    stage: usize,
    pace: Pace,
) -> Result<(), LiveError> {
    let mut seen = node.head().await?;
    let raw: Vec<Bytes> = transactions.iter().map(|tx| tx.encoded_2718().into()).collect();
    for said in node.send_all(&raw).await? {
        if let Sent::Refused(reason) = said {
            return Err(LiveError::Refused {
                node: node.name().to_owned(),
                what: "setup",
                reason,
            });
        }
    }
    let mut open: BTreeSet<B256> = transactions.iter().map(|tx| *tx.tx_hash()).collect();
    let until = Instant::now() + MINED_WITHIN;
    while let Some(hash) = open.first().copied() {
        let failed = |hash, how| LiveError::Setup {
            node: node.name().to_owned(),
            hash,
            stage,
            how,
        };
        if Instant::now() > until {
            return Err(failed(hash, "is in no block after a minute"));
        }
        if pace == Pace::Own || !node.mine().await? {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let head = node.head().await?;
        for block in seen.number + 1..=head.number {
            for receipt in node.receipts(block).await? {
                if open.remove(&receipt.hash) && !receipt.succeeded {
                    return Err(failed(receipt.hash, "failed"));
                }
            }
        }
        seen = head;
    }
    Ok(())
}
