//! From pieces of state to the calls that read them, and from the answers to facts. Everything is pinned by block hash (EIP-1898).

use alloy::{
    consensus::TxEnvelope,
    eips::eip2718::Decodable2718 as _,
    primitives::{KECCAK256_EMPTY, U64, keccak256},
    rpc::types::{AccessListResult, TransactionRequest, trace::geth::PreStateMode},
};
use engine::{Account, Address, B256, Bytes, Missing, Transaction, U256};
use serde_json::{Value, json};

use crate::{
    facts::Facts,
    node::{Answer, BlockRef, Call, NodeError, block_call, read},
    trace,
};

/// One thing that some of the calls read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Three calls.
    Account(Address),
    Slot(Address, U256),
    Code(B256),
    BlockHash(u64),
    /// Two calls.
    Canonical,
    Trace,
}

/// Calls, and what each of them is for.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) calls: Vec<Call>,
    parts: Vec<Part>,
}

/// The block that everything is pinned by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pin {
    pub(crate) hash: B256,
    pub(crate) number: u64,
}

impl Pin {
    fn param(self) -> Value {
        BlockRef::Hash(self.hash).parameter()
    }
}

impl Request {
    /// Adds a piece of state; `place` is an account that had the code that is wanted. Code of which nobody knows where it is cannot be
    /// asked for.
    pub(crate) fn add(&mut self, pin: Pin, what: Missing, place: Option<Address>) {
        match what {
            Missing::Account(address) => {
                for method in ["eth_getBalance", "eth_getTransactionCount", "eth_getCode"] {
                    self.calls.push(Call::new(method, json!([address, pin.param()])));
                }
                self.parts.push(Part::Account(address));
            }
            Missing::Slot(address, slot) => {
                let params = json!([address, B256::from(slot), pin.param()]);
                self.calls.push(Call::new("eth_getStorageAt", params));
                self.parts.push(Part::Slot(address, slot));
            }
            Missing::Code(hash) => {
                if let Some(address) = place {
                    self.calls.push(Call::new("eth_getCode", json!([address, pin.param()])));
                    self.parts.push(Part::Code(hash));
                }
            }
            Missing::BlockHash(number) => {
                // By number a node tells of its own chain: it must be the one that the pinned block is on.
                if !self.parts.contains(&Part::Canonical) {
                    self.calls.push(block_call(BlockRef::Number(pin.number), false));
                    self.parts.push(Part::Canonical);
                }
                self.calls.push(block_call(BlockRef::Number(number), false));
                self.parts.push(Part::BlockHash(number));
            }
        }
    }

    /// Adds everything that a transaction reads, by `prestateTracer`.
    pub(crate) fn add_trace(&mut self, pin: Pin, tx: &Transaction) {
        let params = json!([transaction(tx), pin.param(), {"tracer": "prestateTracer"}]);
        self.calls.push(Call::new("debug_traceCall", params));
        self.parts.push(Part::Trace);
    }

    /// What the answers say, and the node's error to the trace, if that is what it gave.
    ///
    /// # Errors
    /// When an answer is an error or cannot be read, or code has another hash than it must have.
    pub(crate) fn read(&self, pin: Pin, answers: &[Answer]) -> Result<(Facts, Option<NodeError>), NodeError> {
        let (mut facts, mut traced) = (Facts::default(), Facts::default());
        let mut refused = None;
        let mut answers = answers.iter();
        let mut next = || {
            answers
                .next()
                .ok_or_else(|| NodeError::malformed("batch", "an answer is missing"))
        };
        for part in &self.parts {
            match *part {
                Part::Account(address) => {
                    let balance: U256 = read("eth_getBalance", next()?)?;
                    let nonce: U64 = read("eth_getTransactionCount", next()?)?;
                    let code: Bytes = read("eth_getCode", next()?)?;
                    let code_hash = if code.is_empty() {
                        KECCAK256_EMPTY
                    } else {
                        keccak256(&code)
                    };
                    let account = Account {
                        balance,
                        nonce: nonce.to(),
                        code_hash,
                    };
                    // Since EIP-161 an empty account does not exist.
                    facts.set_account(address, (account != Account::default()).then_some(account));
                    if !code.is_empty() {
                        facts.codes.insert(code_hash, code);
                    }
                }
                Part::Slot(address, slot) => {
                    let value: U256 = read("eth_getStorageAt", next()?)?;
                    facts.set_slot(address, slot, value);
                }
                Part::Code(hash) => {
                    let code: Bytes = read("eth_getCode", next()?)?;
                    if keccak256(&code) != hash {
                        return Err(NodeError::malformed(
                            "eth_getCode",
                            "the code is not the one with this hash",
                        ));
                    }
                    facts.codes.insert(hash, code);
                }
                Part::Canonical => {
                    if hash_of(next()?)? != pin.hash {
                        return Err(NodeError::malformed(
                            "eth_getBlockByNumber",
                            "the pinned block is not on the node's chain",
                        ));
                    }
                }
                Part::BlockHash(number) => {
                    facts.block_hashes.insert(number, hash_of(next()?)?);
                }
                Part::Trace => match read::<PreStateMode>("debug_traceCall", next()?) {
                    Ok(trace) => traced.extend(trace::facts(&trace)),
                    Err(error) => refused = Some(error),
                },
            }
        }
        // A tracer may look at an account after it was charged or credited: what was read by itself is believed.
        traced.extend(facts);
        Ok((traced, refused))
    }
}

fn hash_of(answer: &Answer) -> Result<B256, NodeError> {
    #[derive(serde::Deserialize)]
    struct Header {
        hash: B256,
    }
    let header: Header = read("eth_getBlockByNumber", answer)?;
    Ok(header.hash)
}

/// The access list that a node finds for the transaction.
pub(crate) fn access_list(pin: Pin, tx: &Transaction) -> Call {
    Call::new("eth_createAccessList", json!([transaction(tx), pin.param()]))
}

/// What an access list names.
///
/// # Errors
/// When the answer is an error or cannot be read.
pub(crate) fn read_access_list(answer: &Answer) -> Result<Vec<Missing>, NodeError> {
    let found: AccessListResult = read("eth_createAccessList", answer)?;
    let mut named = Vec::new();
    for item in found.access_list.0 {
        named.push(Missing::Account(item.address));
        named.extend(
            item.storage_keys
                .iter()
                .map(|key| Missing::Slot(item.address, (*key).into())),
        );
    }
    Ok(named)
}

/// What every execution of the transaction reads, and what it says itself that it will.
pub(crate) fn obvious(tx: &Transaction, beneficiary: Address) -> Vec<Missing> {
    let mut obvious = vec![Missing::Account(tx.sender()), Missing::Account(beneficiary)];
    obvious.extend(tx.to().map(Missing::Account));
    if let Ok(envelope) = TxEnvelope::decode_2718(&mut tx.raw().as_ref()) {
        use alloy::consensus::Transaction as _;
        for item in envelope.access_list().into_iter().flat_map(|list| list.iter()) {
            obvious.push(Missing::Account(item.address));
            obvious.extend(
                item.storage_keys
                    .iter()
                    .map(|key| Missing::Slot(item.address, (*key).into())),
            );
        }
    }
    obvious
}

/// The transaction as the parameter of a call. Without fees and nonce: whether it can be included is not the node's to say, and a call
/// without fees is never refused for them.
fn transaction(tx: &Transaction) -> Value {
    let mut request = match TxEnvelope::decode_2718(&mut tx.raw().as_ref()) {
        Ok(envelope) => envelope.into(),
        Err(_) => TransactionRequest::default(),
    };
    request.from = Some(tx.sender());
    request.gas_price = None;
    request.max_fee_per_gas = None;
    request.max_priority_fee_per_gas = None;
    request.max_fee_per_blob_gas = None;
    request.blob_versioned_hashes = None;
    request.sidecar = None;
    request.transaction_type = None;
    request.nonce = None;
    request.chain_id = None;
    json!(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::RpcFailure;

    const PIN: Pin = Pin {
        hash: B256::repeat_byte(9),
        number: 100,
    };
    #[expect(clippy::needless_pass_by_value, reason = "reads better in the tests")]
    fn ok(value: Value) -> Answer {
        Ok(serde_json::value::to_raw_value(&value).unwrap())
    }

    #[test]
    fn each_piece_is_asked_for_at_the_pinned_block_and_read_back() {
        let a = Address::repeat_byte(1);
        let mut request = Request::default();
        request.add(PIN, Missing::Account(a), None);
        request.add(PIN, Missing::Slot(a, U256::from(5)), None);
        let calls = &request.calls;
        assert!(
            calls
                .iter()
                .all(|call| call.params.as_array().unwrap().last().unwrap()["blockHash"] == json!(PIN.hash))
        );
        let answers = [
            ok(json!("0x0")),
            ok(json!("0x0")),
            ok(json!("0x")),
            ok(json!(B256::repeat_byte(2))),
        ];
        let (facts, refused) = request.read(PIN, &answers).unwrap();
        assert!(refused.is_none());
        assert_eq!(facts.accounts[&a].account, Some(None), "empty: it does not exist");
        assert_eq!(facts.accounts[&a].storage[&U256::from(5)], U256::from_be_bytes([2; 32]));
    }

    #[test]
    fn code_with_another_hash_and_a_hash_of_another_chain_are_refused() {
        let mut request = Request::default();
        request.add(PIN, Missing::Code(keccak256([1])), Some(Address::ZERO));
        assert!(request.read(PIN, &[ok(json!("0x02"))]).is_err());
        assert!(request.read(PIN, &[ok(json!("0x01"))]).is_ok());
        let mut request = Request::default();
        request.add(PIN, Missing::BlockHash(7), None);
        request.add(PIN, Missing::BlockHash(8), None);
        assert_eq!(request.calls.len(), 3);
        let block = |byte| ok(json!({"hash": B256::repeat_byte(byte)}));
        assert!(request.read(PIN, &[block(8), block(1), block(2)]).is_err());
        let (facts, _) = request.read(PIN, &[block(9), block(1), block(2)]).unwrap();
        assert_eq!(facts.block_hashes[&8], B256::repeat_byte(2));
    }

    #[test]
    fn an_error_to_a_read_is_one_and_a_refused_trace_is_told() {
        let failure = || Err(RpcFailure::new("x", -32000, "no"));
        let mut request = Request::default();
        request.add(PIN, Missing::Slot(Address::ZERO, U256::ZERO), None);
        assert!(request.read(PIN, &[failure()]).is_err());
        assert!(request.read(PIN, &[]).is_err());
        let raw =
            alloy::primitives::bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
        let tx = Transaction::with_sender(&raw, Address::repeat_byte(3)).unwrap();
        let mut request = Request::default();
        request.add_trace(PIN, &tx);
        assert_eq!(request.calls[0].params[0]["from"], json!(Address::repeat_byte(3)));
        assert!(request.calls[0].params[0].get("gasPrice").is_none());
        let (facts, refused) = request.read(PIN, &[failure()]).unwrap();
        assert!(facts.is_empty() && refused.is_some());
    }

    #[test]
    fn what_is_read_by_itself_is_believed_before_a_trace() {
        let a = Address::repeat_byte(1);
        let raw =
            alloy::primitives::bytes!("e480843b9aca00830186a09400000000000000000000000000000000000c0de580801b0101");
        let tx = Transaction::with_sender(&raw, a).unwrap();
        let mut request = Request::default();
        request.add_trace(PIN, &tx);
        request.add(PIN, Missing::Account(a), None);
        let trace = ok(json!({a.to_string(): {"balance": "0x1", "nonce": 7}}));
        let answers = [trace, ok(json!("0x5")), ok(json!("0x6")), ok(json!("0x"))];
        let (facts, _) = request.read(PIN, &answers).unwrap();
        let account = facts.accounts[&a].account.unwrap().unwrap();
        assert_eq!((account.balance, account.nonce), (U256::from(5), 6));
    }
}
