//! From the fields of a case to the case: everything that it claims is checked.

use std::collections::{BTreeMap, btree_map::Entry};

use alloy::primitives::{KECCAK256_EMPTY, keccak256};

use super::{
    Case, CaseError, CaseKind, Expect, Expected, ExpectedStatus, Place,
    bounds::Predicate,
    json::{AccountJson, BlockJson, CaseJson, ExpectedJson, InvariantJson, Quantity, SCHEMA, TxJson},
    transaction::encode,
};
use crate::{
    Account, AccountState, Address, B256, BlockEnv, Bytes, CompleteState, Hardfork, Invariant, Prestate, Transaction,
    TransactionError, U256, ValueType,
};

/// Where codes are found that a case names by hash only.
pub(super) trait CodeSource {
    /// The code with this hash; `None` when there is none.
    fn code(&mut self, code_hash: B256) -> Result<Option<Bytes>, CaseError>;
}

/// Builds and checks a case.
pub(super) fn parse(json: CaseJson, place: &Place, codes: &mut dyn CodeSource) -> Result<Case, CaseError> {
    let field = |pointer: &str, why: String| CaseError::Field {
        place: place.clone(),
        pointer: pointer.to_owned(),
        why,
    };
    if json.schema != SCHEMA {
        return Err(CaseError::Foreign {
            place: place.clone(),
            why: format!("schema is {:?}", json.schema),
        });
    }
    let kind = match json.kind.as_str() {
        "block" => CaseKind::Block,
        "exploit" => CaseKind::Exploit,
        "tx" => CaseKind::Tx,
        other => return Err(field("/kind", format!("{other:?} is none of block, exploit, tx"))),
    };
    let chain_id = json
        .chain_id
        .to_u64()
        .ok_or_else(|| field("/chain_id", "has more than 64 bits".to_owned()))?;
    let hardfork: Hardfork = json
        .hardfork
        .parse()
        .map_err(|error| field("/hardfork", format!("{error}")))?;
    let mut block = block(&json.block, Some(hardfork)).map_err(|(name, why)| field(&format!("/block/{name}"), why))?;
    // A real block of chain 1 runs the rules that its number and time stand for; one that only pretends to be there, its own.
    if kind == CaseKind::Block && chain_id == 1 && Hardfork::of(1, block.number, block.timestamp) == Some(hardfork) {
        block.hardfork = None;
    }
    let mut pre = Prestate {
        accounts: BTreeMap::new(),
        codes: BTreeMap::new(),
        block_hashes: BTreeMap::new(),
    };
    for (number, hash) in &json.block_hashes {
        let parsed = number.parse().map_err(|_| {
            field(
                "/block_hashes",
                format!("{number:?} is no decimal block number of 64 bits"),
            )
        })?;
        pre.block_hashes.insert(parsed, *hash);
    }
    if let (Some(hash), Some(number)) = (json.block.parent_hash, block.number.checked_sub(1)) {
        pre.block_hashes.entry(number).or_insert(hash);
    }
    for (address, account) in json.pre {
        let account = self::account(address, account, &mut pre.codes, place, codes)?;
        pre.accounts.insert(address, account);
    }
    let transactions = json
        .txs
        .iter()
        .enumerate()
        .map(|(index, tx)| transaction(index, tx, json.relaxed, place))
        .collect::<Result<Vec<_>, _>>()?;
    let expect = expect(&json.expect, json.observed.as_ref(), kind)
        .map_err(|(name, why)| field(&format!("/expect/{name}"), why))?;
    if !expect.per_tx.is_empty() && expect.per_tx.len() != transactions.len() {
        let why = format!(
            "{} results for {} transactions",
            expect.per_tx.len(),
            transactions.len()
        );
        return Err(field("/expect/per_tx", why));
    }
    let mut invariants = Vec::new();
    let mut inexpressible = Vec::new();
    for (index, invariant) in json.invariants.iter().enumerate() {
        match self::invariant(index as u64, invariant, &pre) {
            Ok(Some(invariant)) => invariants.push(invariant),
            Ok(None) => inexpressible.push(invariant.name.clone()),
            Err((name, why)) => return Err(field(&format!("/invariants/{index}/{name}"), why)),
        }
    }
    Ok(Case {
        id: json.id,
        kind,
        chain_id,
        hardfork,
        relaxed: json.relaxed,
        block_hash: json.block.hash,
        parent_hash: json.block.parent_hash,
        block,
        transactions,
        pre: CompleteState(pre),
        expect,
        invariants,
        inexpressible,
    })
}

/// A field and what is wrong with it.
type Problem = (&'static str, String);

fn u64_of(name: &'static str, value: Quantity) -> Result<u64, Problem> {
    value
        .to_u64()
        .ok_or_else(|| (name, format!("{:#x} has more than 64 bits", value.0)))
}

fn block(json: &BlockJson, hardfork: Option<Hardfork>) -> Result<BlockEnv, Problem> {
    Ok(BlockEnv {
        number: u64_of("number", json.number)?,
        timestamp: u64_of("timestamp", json.timestamp)?,
        beneficiary: json.beneficiary,
        gas_limit: u64_of("gas_limit", json.gas_limit)?,
        base_fee: u64_of("base_fee", json.base_fee)?,
        difficulty: json.difficulty.0,
        prevrandao: json.prevrandao,
        excess_blob_gas: json
            .excess_blob_gas
            .map(|gas| u64_of("excess_blob_gas", gas))
            .transpose()?,
        hardfork,
    })
}

fn account(
    address: Address,
    json: AccountJson,
    known: &mut BTreeMap<B256, Bytes>,
    place: &Place,
    codes: &mut dyn CodeSource,
) -> Result<AccountState, CaseError> {
    let nonce = json.nonce.to_u64().ok_or_else(|| CaseError::Field {
        place: place.clone(),
        pointer: format!("/pre/{address}/nonce"),
        why: "has more than 64 bits".to_owned(),
    })?;
    let wrong = |code_hash, actual| CaseError::WrongCode {
        place: place.clone(),
        account: address,
        code_hash,
        actual,
    };
    let code_hash = match (json.code, json.code_hash) {
        (Some(code), claimed) => {
            let actual = if code.is_empty() {
                KECCAK256_EMPTY
            } else {
                keccak256(&code)
            };
            if let Some(code_hash) = claimed.filter(|claimed| *claimed != actual) {
                return Err(wrong(code_hash, actual));
            }
            if !code.is_empty() {
                known.insert(actual, code);
            }
            actual
        }
        (None, None) => KECCAK256_EMPTY,
        (None, Some(code_hash)) if code_hash == KECCAK256_EMPTY => code_hash,
        (None, Some(code_hash)) => {
            if let Entry::Vacant(unknown) = known.entry(code_hash) {
                let missing = || CaseError::MissingCode {
                    place: place.clone(),
                    account: address,
                    code_hash,
                };
                let code = codes.code(code_hash)?.ok_or_else(missing)?;
                let actual = keccak256(&code);
                if actual != code_hash {
                    return Err(wrong(code_hash, actual));
                }
                unknown.insert(code);
            }
            code_hash
        }
    };
    let storage = json
        .storage
        .into_iter()
        .map(|(slot, value)| (slot.0, value.0))
        .collect();
    Ok(AccountState {
        account: Some(Account {
            balance: json.balance.0,
            nonce,
            code_hash,
        }),
        storage,
    })
}

fn transaction(index: usize, json: &TxJson, relaxed: bool, place: &Place) -> Result<Transaction, CaseError> {
    let place = || place.clone();
    let field = |name: &str, why: String| CaseError::Field {
        place: place(),
        pointer: format!("/txs/{index}/{name}"),
        why,
    };
    let raw = match &json.raw {
        Some(raw) => raw.clone(),
        None => encode(json, !relaxed).map_err(|(name, why)| field(name, why))?,
    };
    if relaxed {
        return Transaction::unsigned(&raw, json.from, json.hash).map_err(|error| field("raw", error.to_string()));
    }
    let actual = keccak256(&raw);
    if actual != json.hash {
        return Err(CaseError::Hash {
            place: place(),
            index,
            recorded: json.hash,
            actual,
        });
    }
    let tx = Transaction::decode(&raw).map_err(|error| match error {
        TransactionError::Signature { .. } => CaseError::Signature { place: place(), index },
        other => field("raw", other.to_string()),
    })?;
    if tx.sender() != json.from {
        return Err(CaseError::Sender {
            place: place(),
            index,
            recorded: json.from,
            actual: tx.sender(),
        });
    }
    Ok(tx)
}

fn status(name: &str) -> Result<ExpectedStatus, Problem> {
    match name {
        "success" => Ok(ExpectedStatus::Success),
        "revert" => Ok(ExpectedStatus::Revert),
        "halt" => Ok(ExpectedStatus::Halt),
        other => Err(("status", format!("{other:?} is none of success, revert, halt"))),
    }
}

fn logs(value: Quantity) -> Result<usize, Problem> {
    let too_many = || ("logs", format!("{:#x} is no number of logs", value.0));
    value
        .to_u64()
        .and_then(|n| usize::try_from(n).ok())
        .ok_or_else(too_many)
}

fn expected(json: &ExpectedJson) -> Result<Expected, Problem> {
    Ok(Expected {
        gas_used: u64_of("gas_used", json.gas_used)?,
        status: json.status.as_deref().map(status).transpose()?,
        logs: json.logs.map(logs).transpose()?,
    })
}

fn expect(json: &super::json::ExpectJson, observed: Option<&ExpectedJson>, kind: CaseKind) -> Result<Expect, Problem> {
    let block_gas_used = json
        .block_gas_used
        .map(|gas| u64_of("block_gas_used", gas))
        .transpose()?;
    let mut per_tx = json.per_tx.iter().map(expected).collect::<Result<Vec<_>, _>>()?;
    if let (Some(gas_used), CaseKind::Exploit | CaseKind::Tx) = (json.gas_used, kind) {
        let one = ExpectedJson {
            gas_used,
            status: json.status.clone(),
            logs: json.logs,
        };
        let mut one = expected(&one)?;
        if let Some(observed) = observed.map(expected).transpose()? {
            one.status = one.status.or(observed.status);
            one.logs = one.logs.or(observed.logs);
        }
        per_tx = vec![one];
    }
    Ok(Expect { block_gas_used, per_tx })
}

/// The invariant; `None` when it is of a kind that is no comparison of a stored value with a constant.
fn invariant(index: u64, json: &InvariantJson, pre: &Prestate) -> Result<Option<Invariant>, Problem> {
    if json.kind != "storage_slot" {
        return Ok(None);
    }
    let id = json.id.unwrap_or(index);
    let needed = |name: &'static str, value: Option<Quantity>| {
        value
            .map(|quantity| quantity.0)
            .ok_or_else(|| (name, "is missing".to_owned()))
    };
    let contract = json.address.ok_or_else(|| ("address", "is missing".to_owned()))?;
    let slot = needed("slot", json.slot)?;
    let ratio = || Ok::<_, Problem>((needed("num", json.num)?, needed("den", json.den)?));
    let predicate = match json.predicate.as_str() {
        "compare" => return compare(id, json, contract, slot).map(Some),
        "unchanged" => Predicate::Unchanged,
        "min_ratio" => ratio().map(|(num, den)| Predicate::MinRatio { num, den })?,
        "max_ratio" => ratio().map(|(num, den)| Predicate::MaxRatio { num, den })?,
        "max_decrease" => Predicate::MaxDecrease(needed("limit", json.limit)?),
        "max_increase" => Predicate::MaxIncrease(needed("limit", json.limit)?),
        _ => return Ok(None),
    };
    let stored = || {
        pre.accounts
            .get(&contract)
            .and_then(|a| a.storage.get(&slot).copied())
            .unwrap_or_default()
    };
    let value = json.pre.map_or_else(stored, |quantity| quantity.0);
    let Some((comparison, target)) = predicate.bound(value) else {
        return Ok(None);
    };
    Invariant::new(
        id,
        &json.name,
        contract,
        slot,
        ValueType::Uint(256),
        0,
        comparison,
        target,
    )
    .map(Some)
    .map_err(|error| ("slot", error.to_string()))
}

fn compare(id: u64, json: &InvariantJson, contract: Address, slot: U256) -> Result<Invariant, Problem> {
    let text = |name: &'static str, value: &Option<String>| {
        value
            .clone()
            .ok_or_else(|| (name, "is missing; predicate compare needs it".to_owned()))
    };
    let value_type = text("value_type", &json.value_type)?.parse::<ValueType>();
    let value_type = value_type.map_err(|error| ("value_type", error.to_string()))?;
    let comparison = text("comparison", &json.comparison)?.parse();
    let comparison = comparison.map_err(|error: crate::InvariantError| ("comparison", error.to_string()))?;
    let target = json
        .target
        .ok_or_else(|| ("target", "is missing; predicate compare needs it".to_owned()))?
        .0;
    let offset = json.offset.unwrap_or(0);
    Invariant::new(id, &json.name, contract, slot, value_type, offset, comparison, target)
        .map_err(|error| ("target", error.to_string()))
}
