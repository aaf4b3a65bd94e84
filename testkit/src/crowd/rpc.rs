//! JSON-RPC over the chain: which method gives what. No socket.

use alloy::primitives::{Address, B256};
use serde_json::{Value, json};

use super::chain::{Account, CHAIN_ID, Chain, told};

/// A node's error: code and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub i64, pub String);

/// The result of a call as JSON text, or the node's error.
///
/// # Errors
/// An unknown method, malformed parameters, or a block that is not kept.
pub fn answer(chain: &Chain, method: &str, params: &Value) -> Result<String, Refusal> {
    let param = |index: usize| params.get(index).unwrap_or(&Value::Null);
    match method {
        "eth_chainId" => Ok(format!("\"{CHAIN_ID:#x}\"")),
        "eth_getBlockByNumber" => {
            let block = match param(0).as_str() {
                Some("latest" | "pending") => chain.latest(),
                Some(number) => chain.block_at(quantity(number)?),
                None => return Err(malformed(method)),
            };
            let full = param(1).as_bool().unwrap_or(false);
            Ok(block.map_or_else(null, |block| if full { &block.full } else { &block.light }.to_string()))
        }
        "eth_getBlockByHash" => {
            let full = param(1).as_bool().unwrap_or(false);
            let block = chain.block(read(param(0), method)?);
            Ok(block.map_or_else(null, |block| if full { &block.full } else { &block.light }.to_string()))
        }
        "eth_getTransactionByHash" => {
            let hash: B256 = read(param(0), method)?;
            let waits = chain.pool().find(|tx| tx.hash == hash).map(|tx| tx.body.to_string());
            // Of one in a block, only where it is.
            let placed = chain
                .place(hash)
                .map(|number| json!({"hash": hash, "blockNumber": format!("{number:#x}")}).to_string());
            Ok(waits.or(placed).unwrap_or_else(null))
        }
        // One sender has one transaction at a time, so any key will do for the nonce.
        "txpool_content" => {
            let pool = chain
                .pool()
                .map(|tx| format!("\"{:?}\":{{\"0\":{}}}", tx.hash, tx.body));
            Ok(format!(
                "{{\"pending\":{{{}}},\"queued\":{{}}}}",
                pool.collect::<Vec<_>>().join(",")
            ))
        }
        "eth_getBalance" => {
            let account = account(chain, method, param(0), param(1))?;
            Ok(json!(account.unwrap_or_default().balance).to_string())
        }
        "eth_getTransactionCount" => {
            let account = account(chain, method, param(0), param(1))?;
            Ok(format!("\"{:#x}\"", account.unwrap_or_default().nonce))
        }
        "eth_getCode" => account(chain, method, param(0), param(1)).map(|_| "\"0x\"".to_owned()),
        "eth_getStorageAt" => {
            pinned(chain, param(2))?;
            Ok(json!(B256::ZERO).to_string())
        }
        "debug_traceCall" => {
            let number = pinned(chain, param(1))?;
            let mut touched = serde_json::Map::new();
            let beneficiary = json!(Address::repeat_byte(0xbe));
            for who in [param(0).get("from"), param(0).get("to"), Some(&beneficiary)]
                .into_iter()
                .flatten()
            {
                let address: Address = read(who, method)?;
                let state = chain
                    .account(address, number)
                    .map_or_else(|| json!({"balance": "0x0"}), told);
                touched.insert(address.to_string(), state);
            }
            Ok(Value::Object(touched).to_string())
        }
        "debug_traceBlockByHash" => {
            let block = chain.block(read(param(0), method)?);
            block.map(|block| block.traces.to_string()).ok_or_else(unknown_block)
        }
        other => Err(Refusal(
            -32_601,
            format!("the method {other} does not exist/is not available"),
        )),
    }
}

fn null() -> String {
    "null".to_owned()
}

fn malformed(method: &str) -> Refusal {
    Refusal(-32_602, format!("{method}: invalid params"))
}

fn unknown_block() -> Refusal {
    Refusal(-32_000, "header not found".to_owned())
}

fn read<T: serde::de::DeserializeOwned>(value: &Value, method: &str) -> Result<T, Refusal> {
    T::deserialize(value).map_err(|_| malformed(method))
}

fn quantity(text: &str) -> Result<u64, Refusal> {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).map_err(|_| malformed("a block's number"))
}

/// The height of a block that is named by its hash (EIP-1898), its number or as the latest.
fn pinned(chain: &Chain, block: &Value) -> Result<u64, Refusal> {
    let found = match (block.get("blockHash"), block.as_str()) {
        (Some(hash), _) => chain.block(read(hash, "a block's hash")?),
        (None, Some("latest" | "pending") | None) => chain.latest(),
        // Some clients leave the object around a hash out, and nodes take that.
        (None, Some(hash)) if hash.len() == 66 => chain.block(read(block, "a block's hash")?),
        (None, Some(number)) => chain.block_at(quantity(number)?),
    };
    found.map(|block| block.number).ok_or_else(unknown_block)
}

fn account(chain: &Chain, method: &str, address: &Value, block: &Value) -> Result<Option<Account>, Refusal> {
    Ok(chain.account(read(address, method)?, pinned(chain, block)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(chain: &Chain, method: &str, params: &Value) -> Value {
        serde_json::from_str(&answer(chain, method, params).unwrap()).unwrap()
    }

    #[test]
    fn state_is_told_of_the_block_that_is_asked_for() {
        let mut chain = Chain::new(2).unwrap();
        let shown: Value = serde_json::from_str(&chain.show(5).unwrap().body).unwrap();
        let before = chain.latest().unwrap().hash;
        chain.make(6).unwrap();
        let nonce = |block: &Value| ask(&chain, "eth_getTransactionCount", &json!([shown["from"], block]));
        assert_eq!(nonce(&json!({"blockHash": before})), "0x0");
        assert_eq!(nonce(&json!("latest")), "0x1");
        let call = json!({"from": shown["from"], "to": shown["to"]});
        let traced = ask(&chain, "debug_traceCall", &json!([call, {"blockHash": before}, {}]));
        assert_eq!(
            traced[shown["from"].as_str().unwrap().parse::<Address>().unwrap().to_string()]["nonce"],
            0
        );
        let unknown = answer(
            &chain,
            "eth_getBalance",
            &json!([shown["from"], {"blockHash": B256::ZERO}]),
        );
        assert_eq!(unknown.unwrap_err().1, "header not found");
        assert_eq!(answer(&chain, "eth_call", &json!([])).unwrap_err().0, -32_601);
        assert_eq!(
            answer(&chain, "eth_getBlockByHash", &json!(["x"])).unwrap_err().0,
            -32_602
        );
    }

    #[test]
    fn the_pool_is_told_with_bodies_and_by_hash() {
        let mut chain = Chain::new(4).unwrap();
        let shown = chain.show(1).unwrap();
        let content = ask(&chain, "txpool_content", &json!([]));
        let bodies = content["pending"].as_object().unwrap();
        assert_eq!(bodies.len(), 1);
        assert_eq!(
            ask(&chain, "eth_getTransactionByHash", &json!([shown.hash]))["hash"],
            json!(shown.hash)
        );
        chain.make(2).unwrap();
        let placed = ask(&chain, "eth_getTransactionByHash", &json!([shown.hash]));
        assert_eq!(placed["blockNumber"], "0x1");
        assert!(ask(&chain, "eth_getTransactionByHash", &json!([B256::ZERO])).is_null());
        let block = ask(&chain, "eth_getBlockByNumber", &json!(["latest", true]));
        assert_eq!(block["transactions"][0]["blockNumber"], "0x1");
    }
}
