//! What a key's desk asks the nodes: head, nonces, fees, receipts, gas, the reason of a revert.
//!
//! Reads only, each on one node, so that what belongs together is seen together; when that node does not answer, all of it
//! is read again on the next one.

use alloy::primitives::{Address, B256, Bytes, U64, U128};
use alloy::sol_types::{Revert, SolError as _};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::machine::Inclusion;
use crate::request::Request;
use crate::rpc::{CallError, Endpoint, Nodes};

/// Blocks whose priority fees are looked at.
const FEE_BLOCKS: &str = "0x5";

/// The newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) number: u64,
    pub(crate) hash: B256,
    pub(crate) time: u64,
}

/// What was seen.
#[derive(Debug, Clone)]
pub(crate) struct Looked {
    pub(crate) head: Head,
    pub(crate) base_fee: u128,
    /// By lane, in the order of [`Lane::ALL`](crate::lane::Lane::ALL).
    pub(crate) priority_fees: [u128; 4],
    pub(crate) mined: u64,
    pub(crate) pending: u64,
    /// Of each nonce below `mined` that was asked for: which of its transactions is in a block.
    pub(crate) found: Vec<(u64, Option<Inclusion>)>,
}

/// A transaction to look for.
#[derive(Debug, Clone)]
pub(crate) struct Sought {
    pub(crate) nonce: u64,
    /// Newest first, with what it does, to replay it when it reverted.
    pub(crate) transactions: Vec<(B256, Option<Request>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Block {
    number: U64,
    hash: B256,
    timestamp: U64,
    base_fee_per_gas: Option<U128>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FeeHistory {
    #[serde(default)]
    base_fee_per_gas: Vec<U128>,
    #[serde(default)]
    reward: Option<Vec<Vec<U128>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Receipt {
    transaction_hash: B256,
    block_number: Option<U64>,
    block_hash: Option<B256>,
    status: Option<U64>,
    gas_used: U64,
    effective_gas_price: Option<U128>,
    contract_address: Option<Address>,
}

/// Looks at the chain for `account`. `None`: the head is `known`.
pub(crate) async fn look(
    nodes: &Nodes,
    account: Address,
    percentiles: [f64; 4],
    known: Option<B256>,
    sought: Vec<Sought>,
) -> Result<Option<Looked>, CallError> {
    let mut last = None;
    for (place, endpoint) in nodes.in_turn() {
        match look_at(endpoint, account, percentiles, known, &sought).await {
            Ok(looked) => {
                nodes.prefer(place);
                return Ok(looked);
            }
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| CallError::Unreachable {
        endpoint: "no endpoint".to_owned(),
        method: "eth_getBlockByNumber",
        reason: "none is configured".to_owned(),
    }))
}

async fn look_at(
    endpoint: &Endpoint,
    account: Address,
    percentiles: [f64; 4],
    known: Option<B256>,
    sought: &[Sought],
) -> Result<Option<Looked>, CallError> {
    let block: Block = endpoint.call("eth_getBlockByNumber", json!(["latest", false])).await?;
    if known == Some(block.hash) {
        return Ok(None);
    }
    let mut ascending = percentiles;
    ascending.sort_by(f64::total_cmp);
    let (mined, pending, fees) = futures::try_join!(
        endpoint.call::<U64>("eth_getTransactionCount", json!([account, "latest"])),
        endpoint.call::<U64>("eth_getTransactionCount", json!([account, "pending"])),
        endpoint.call::<FeeHistory>("eth_feeHistory", json!([FEE_BLOCKS, "latest", ascending])),
    )?;
    let mined = mined.to::<u64>();
    let number = block.number.to::<u64>();
    // The history's last entry is the block after the newest.
    let base_fee = fees
        .base_fee_per_gas
        .last()
        .copied()
        .or(block.base_fee_per_gas)
        .unwrap_or_default()
        .to::<u128>();
    let rewards = fees.reward.unwrap_or_default();
    let priority_fees = percentiles.map(|percentile| {
        let place = ascending
            .iter()
            .position(|other| other.total_cmp(&percentile).is_eq())
            .unwrap_or_default();
        median(
            rewards
                .iter()
                .filter_map(|block| block.get(place))
                .map(|fee| fee.to::<u128>())
                .collect(),
        )
    });
    let below = sought.iter().filter(|sought| sought.nonce < mined);
    let found = futures::future::try_join_all(below.map(|sought| find(endpoint, account, sought))).await?;
    Ok(Some(Looked {
        head: Head {
            number,
            hash: block.hash,
            time: block.timestamp.to(),
        },
        base_fee,
        priority_fees,
        mined,
        pending: pending.to::<u64>().max(mined),
        found,
    }))
}

/// The middle of some values; 0 of none. Pure.
fn median(mut values: Vec<u128>) -> u128 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

async fn find(endpoint: &Endpoint, account: Address, sought: &Sought) -> Result<(u64, Option<Inclusion>), CallError> {
    for (hash, request) in &sought.transactions {
        let receipt: Option<Receipt> = endpoint.call("eth_getTransactionReceipt", json!([hash])).await?;
        let Some(receipt) = receipt else { continue };
        let (Some(block), Some(block_hash)) = (receipt.block_number, receipt.block_hash) else {
            continue;
        };
        let success = receipt.status.is_none_or(|status| status == U64::from(1));
        let revert = match request {
            Some(request) if !success => revert_reason(endpoint, account, request, block).await,
            _ => None,
        };
        let inclusion = Inclusion {
            transaction: receipt.transaction_hash,
            nonce: sought.nonce,
            block: block.to(),
            block_hash,
            success,
            gas_used: receipt.gas_used.to(),
            gas_price: receipt.effective_gas_price.unwrap_or_default().to(),
            revert,
            created: receipt.contract_address,
        };
        return Ok((sought.nonce, Some(inclusion)));
    }
    Ok((sought.nonce, None))
}

/// Replays a reverted transaction at the end of its block: near enough to where it ran to tell why, most of the time.
async fn revert_reason(endpoint: &Endpoint, account: Address, request: &Request, block: U64) -> Option<String> {
    match endpoint
        .call::<Bytes>("eth_call", json!([call(account, request, true), block]))
        .await
    {
        Err(CallError::Answer { message, data, .. }) => Some(reason(&message, data.as_deref())),
        Ok(_) | Err(CallError::Unreachable { .. }) => None,
    }
}

/// The gas that `request` needs now.
pub(crate) async fn estimate(nodes: &Nodes, account: Address, request: &Request) -> Result<u64, CallError> {
    nodes
        .call::<U64>("eth_estimateGas", json!([call(account, request, false)]))
        .await
        .map(|gas| gas.to())
}

fn call(account: Address, request: &Request, with_gas: bool) -> Value {
    let mut call = json!({ "from": account, "value": request.value, "input": request.data });
    if let Some(fields) = call.as_object_mut() {
        if let Some(to) = request.to {
            fields.insert("to".to_owned(), json!(to));
        }
        if let (Some(gas), true) = (request.gas, with_gas) {
            fields.insert("gas".to_owned(), json!(U64::from(gas)));
        }
    }
    call
}

/// A revert's reason in words: the message of `Error(string)` where there is one, else the node's words and the bytes.
pub(crate) fn reason(message: &str, data: Option<&str>) -> String {
    let bytes = data.and_then(|data| data.parse::<Bytes>().ok()).unwrap_or_default();
    if let Ok(revert) = Revert::abi_decode(&bytes) {
        return revert.reason;
    }
    if bytes.is_empty() {
        return message.to_owned();
    }
    // A custom error's selector and arguments; the caller knows the contract.
    let shown: String = bytes.to_string().chars().take(2 + 2 * 132).collect();
    format!("{message}: {shown}")
}

/// Chain id and hash of the first block.
pub(crate) async fn origin(nodes: &Nodes) -> Result<(u64, B256), CallError> {
    #[derive(Deserialize)]
    struct First {
        hash: B256,
    }
    let chain_id: U64 = nodes.call("eth_chainId", json!([])).await?;
    let first: First = nodes.call("eth_getBlockByNumber", json!(["0x0", false])).await?;
    Ok((chain_id.to(), first.hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_the_last_blocks_is_taken() {
        assert_eq!(median(vec![]), 0);
        assert_eq!(median(vec![9, 1, 5]), 5);
    }

    #[test]
    fn a_reverts_reason_is_its_message() {
        let data = Bytes::from(Revert::from("not the owner").abi_encode()).to_string();
        assert_eq!(reason("execution reverted", Some(&data)), "not the owner");
        assert_eq!(reason("execution reverted", None), "execution reverted");
        assert_eq!(
            reason("execution reverted", Some("0x82b42900")),
            "execution reverted: 0x82b42900"
        );
    }
}
