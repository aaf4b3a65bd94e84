//! The development node that a living chain is on, over JSON-RPC (alloy).
//!
//! Every call has a deadline, and what is asked together travels together (one batch). What is read of a head is read of that
//! block's hash (EIP-1898), so that a block in between changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use alloy::eips::BlockId;
use alloy::primitives::{Address, B256, Bytes, U64, U256};
use alloy::rpc::client::{BatchRequest, ReqwestClient, RpcClient, Waiter};
use alloy::rpc::json_rpc::{RpcRecv, RpcSend};
use alloy::rpc::types::{Block, Filter, Log, TransactionReceipt};
use alloy::sol_types::SolCall;
use alloy::transports::{RpcError, TransportErrorKind, TransportResult};
use serde_json::json;
use tokio::time::Instant;

use super::error::LiveError;
use crate::scenario::CHAIN_ID;
use crate::scenario::view::{Known, Reads};

/// No call takes longer. A node that is given its first blob reads the setup of its proofs, which on a busy machine takes ten seconds.
const DEADLINE: Duration = Duration::from_secs(30);
/// A chain that makes no block for so many block times stands still.
const STILL_AFTER: u32 = 20;
/// But it is given this time at least.
const STILL_AFTER_LEAST: Duration = Duration::from_secs(60);
/// Reads in one batch.
const BATCH: usize = 500;
/// Transactions in one batch: a busy node takes its time for each.
const SENT_TOGETHER: usize = 50;

/// A block, as far as the traffic looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BlockInfo {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    /// Seconds since the Unix epoch.
    pub(crate) timestamp: u64,
    /// Base fee of the next block, in wei.
    pub(crate) next_base_fee: u64,
}

/// How a mined transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) hash: B256,
    pub(crate) succeeded: bool,
    pub(crate) gas_used: u64,
}

/// The node's answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    Taken,
    /// With what the node said.
    Refused(String),
}

/// A client of the node.
#[derive(Debug, Clone)]
pub(crate) struct NodeClient {
    client: ReqwestClient,
    name: String,
}

impl NodeClient {
    /// A client of the node at `http://..`.
    ///
    /// # Errors
    /// [`LiveError::Url`].
    pub(crate) fn new(url: &str) -> Result<Self, LiveError> {
        let bad = |reason: String| LiveError::Url {
            url: url.to_owned(),
            reason,
        };
        let parsed: url::Url = url.parse().map_err(|error: url::ParseError| bad(error.to_string()))?;
        if !matches!(parsed.scheme(), "http" | "https") {
            return Err(bad(format!("has the scheme {}", parsed.scheme())));
        }
        // One crypto for the whole process; where there is one already, it stays.
        let _present = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .timeout(DEADLINE)
            .build()
            .map_err(|error| bad(error.to_string()))?;
        // Of a URL that holds a key only the host is shown.
        let name = format!("the node at {}", parsed.host_str().unwrap_or("?"));
        let name = parsed.port().map_or(name.clone(), |port| format!("{name}:{port}"));
        Ok(Self {
            client: RpcClient::builder().http_with_client(http, parsed),
            name,
        })
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn silent(&self, method: &'static str, error: &RpcError<TransportErrorKind>) -> LiveError {
        LiveError::Silent {
            node: self.name.clone(),
            method,
            reason: node::exit::causes(error),
        }
    }

    async fn ask<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: P) -> Result<R, LiveError> {
        self.client
            .request(method, params)
            .await
            .map_err(|error| self.silent(method, &error))
    }

    /// Checks that it is on the story's chain.
    ///
    /// # Errors
    /// [`LiveError::OtherChain`], [`LiveError::Silent`].
    pub(crate) async fn check_chain(&self) -> Result<(), LiveError> {
        let found: U64 = self.ask("eth_chainId", ()).await?;
        if found.to::<u64>() == CHAIN_ID {
            return Ok(());
        }
        Err(LiveError::OtherChain {
            node: self.name.clone(),
            found: found.to(),
            expected: CHAIN_ID,
        })
    }

    /// Sends the same method with each of these parameters, in few round trips; answers in the same order.
    async fn ask_all<P: RpcSend, R: RpcRecv>(&self, method: &'static str, params: &[P]) -> Result<Vec<R>, LiveError> {
        let mut answers = Vec::with_capacity(params.len());
        for part in params.chunks(BATCH) {
            let mut batch = BatchRequest::new(&self.client);
            let waiting: TransportResult<Vec<Waiter<R>>> =
                part.iter().map(|params| batch.add_call(method, params)).collect();
            let waiting = waiting.map_err(|error| self.silent(method, &error))?;
            batch.send().await.map_err(|error| self.silent(method, &error))?;
            for answer in waiting {
                answers.push(answer.await.map_err(|error| self.silent(method, &error))?);
            }
        }
        Ok(answers)
    }

    /// Gives each account so many wei.
    ///
    /// # Errors
    /// [`LiveError::NoMoney`] when the node is no development node.
    pub(crate) async fn fund(&self, funds: &[(Address, U256)]) -> Result<(), LiveError> {
        let answers: Result<Vec<serde_json::Value>, _> = self.ask_all("anvil_setBalance", funds).await;
        answers.map(drop).map_err(|error| match error {
            LiveError::Silent { node, reason, .. } => LiveError::NoMoney { node, reason },
            other => other,
        })
    }

    /// The nonce of each account's next transaction, those in the pool counted.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn nonces(&self, accounts: &[Address]) -> Result<Vec<u64>, LiveError> {
        let params: Vec<_> = accounts.iter().map(|account| (account, "pending")).collect();
        let nonces: Vec<U64> = self.ask_all("eth_getTransactionCount", &params).await?;
        Ok(nonces.into_iter().map(|nonce| nonce.to()).collect())
    }

    /// The newest block.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn head(&self) -> Result<BlockInfo, LiveError> {
        const METHOD: &str = "eth_getBlockByNumber";
        let block: Option<Block> = self.ask(METHOD, ("latest", false)).await?;
        let block = block.ok_or_else(|| LiveError::Silent {
            node: self.name.clone(),
            method: METHOD,
            reason: "there is no such block".to_owned(),
        })?;
        let next = block
            .header
            .next_block_base_fee(alloy::eips::eip1559::BaseFeeParams::ethereum());
        Ok(BlockInfo {
            number: block.header.number,
            hash: block.header.hash,
            timestamp: block.header.timestamp,
            next_base_fee: next.unwrap_or_default(),
        })
    }

    /// The newest block as soon as there is one after `last`, for which it looks every `look_every`.
    ///
    /// # Errors
    /// [`LiveError::Still`] when the chain, which makes a block every `block_time`, makes none; [`LiveError::Silent`].
    pub(crate) async fn head_after(
        &self,
        last: u64,
        block_time: Duration,
        look_every: Duration,
    ) -> Result<BlockInfo, LiveError> {
        let patience = (block_time * STILL_AFTER).max(STILL_AFTER_LEAST);
        let until = Instant::now() + patience;
        loop {
            let head = self.head().await?;
            if head.number > last {
                return Ok(head);
            }
            if Instant::now() > until {
                return Err(LiveError::Still {
                    node: self.name.clone(),
                    seconds: patience.as_secs(),
                });
            }
            tokio::time::sleep(look_every).await;
        }
    }

    /// How every transaction of a block ended.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn receipts(&self, number: u64) -> Result<Vec<Receipt>, LiveError> {
        let receipts: Option<Vec<TransactionReceipt>> = self.ask("eth_getBlockReceipts", (U64::from(number),)).await?;
        let receipt = |receipt: TransactionReceipt| Receipt {
            hash: receipt.transaction_hash,
            succeeded: receipt.status(),
            gas_used: receipt.gas_used,
        };
        Ok(receipts.unwrap_or_default().into_iter().map(receipt).collect())
    }

    /// Reads balances and slots at one block.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn view(
        &self,
        at: &BlockInfo,
        Reads { balances, words }: Reads,
        next_timestamp: u64,
    ) -> Result<Known, LiveError> {
        let block = BlockId::hash(at.hash);
        let accounts: Vec<_> = balances.iter().map(|account| (account, block)).collect();
        let slots: Vec<_> = words
            .iter()
            .map(|(account, slot)| (account, B256::from(*slot), block))
            .collect();
        let (wei, values): (Vec<U256>, Vec<B256>) = tokio::try_join!(
            self.ask_all("eth_getBalance", &accounts),
            self.ask_all("eth_getStorageAt", &slots)
        )?;
        Ok(Known {
            balances: balances.into_iter().zip(wei).collect::<BTreeMap<_, _>>(),
            words: words.into_iter().zip(values.into_iter().map(Into::into)).collect(),
            base_fee: at.next_base_fee,
            timestamp: next_timestamp,
        })
    }

    /// Sends a signed transaction.
    ///
    /// # Errors
    /// [`LiveError::Silent`]; a transaction that the node does not want is [`Sent::Refused`].
    pub(crate) async fn send(&self, raw: &Bytes) -> Result<Sent, LiveError> {
        const METHOD: &str = "eth_sendRawTransaction";
        match self.client.request::<_, B256>(METHOD, (raw,)).await {
            Ok(_hash) => Ok(Sent::Taken),
            Err(RpcError::ErrorResp(refused)) => Ok(Sent::Refused(refused.message.into_owned())),
            Err(error) => Err(self.silent(METHOD, &error)),
        }
    }

    /// Sends many at once; what the node says of each.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn send_all(&self, raw: &[Bytes]) -> Result<Vec<Sent>, LiveError> {
        const METHOD: &str = "eth_sendRawTransaction";
        let mut said = Vec::with_capacity(raw.len());
        for part in raw.chunks(SENT_TOGETHER) {
            let mut batch = BatchRequest::new(&self.client);
            let waiting: TransportResult<Vec<Waiter<B256>>> =
                part.iter().map(|raw| batch.add_call(METHOD, &(raw,))).collect();
            let waiting = waiting.map_err(|error| self.silent(METHOD, &error))?;
            batch.send().await.map_err(|error| self.silent(METHOD, &error))?;
            for answer in waiting {
                said.push(match answer.await {
                    Ok(_hash) => Sent::Taken,
                    Err(RpcError::ErrorResp(refused)) => Sent::Refused(refused.message.into_owned()),
                    Err(error) => return Err(self.silent(METHOD, &error)),
                });
            }
        }
        Ok(said)
    }

    /// Asks a contract, on the newest block.
    ///
    /// # Errors
    /// [`LiveError::Silent`], also when what it answers is no answer to this call.
    pub(crate) async fn call<C: SolCall>(&self, to: Address, call: &C) -> Result<C::Return, LiveError> {
        const METHOD: &str = "eth_call";
        let request = json!({ "to": to, "input": Bytes::from(call.abi_encode()) });
        let answer: Bytes = self.ask(METHOD, (request, "latest")).await?;
        C::abi_decode_returns(&answer).map_err(|error| LiveError::Silent {
            node: self.name.clone(),
            method: METHOD,
            reason: format!("{to} answered something else: {error}"),
        })
    }

    /// Everything that a contract ever logged, oldest first.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn logs(&self, of: Address) -> Result<Vec<Log>, LiveError> {
        let filter = Filter::new().address(of).from_block(0);
        self.ask("eth_getLogs", (filter,)).await
    }

    /// Asks for a block now; false when the node makes blocks only when it likes.
    ///
    /// # Errors
    /// [`LiveError::Silent`].
    pub(crate) async fn mine(&self) -> Result<bool, LiveError> {
        match self.client.request::<_, serde_json::Value>("evm_mine", json!([])).await {
            Ok(_) => Ok(true),
            Err(RpcError::ErrorResp(_)) => Ok(false),
            Err(error) => Err(self.silent("evm_mine", &error)),
        }
    }
}
