//! What these tests share: a folder with cases and invariants in it, and the binary run on them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use alloy::{
    consensus::{SignableTransaction, TxEnvelope, TxLegacy},
    eips::eip2718::Encodable2718,
    primitives::{Signature, TxKind, hex, keccak256},
};
use engine::{
    Account, Address, BlockEnv, Bytes, CompleteState, Hardfork, Transaction, U256,
    case::{Case, CaseKind, Expect},
};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const USER: Address = Address::repeat_byte(0xaa);
pub(crate) const VAULT: Address = Address::repeat_byte(0xbb);
pub(crate) const TOKEN: Address = Address::repeat_byte(0xcc);
/// `sstore(calldata[0..32], calldata[32..64])`
pub(crate) const STORE: &str = "60203560003555";
/// The same, then revert.
pub(crate) const STORE_AND_REVERT: &str = "6020356000355560006000fd";
/// Returns slot 1.
pub(crate) const RETURN_SLOT_ONE: &str = "60015460005260206000f3";

/// A folder of one test, and what is put there.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    pub(crate) fn case(&self, name: &str, case: &Case) -> PathBuf {
        Case::save([case], self.path(name)).unwrap();
        self.path(name)
    }
}

pub(crate) fn engine(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_engine")).args(args).output().unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn check(case: &Path, invariants: &Path, more: &[&str]) -> Output {
    engine(&[&["check", "--case", text(case), "--invariants", text(invariants)], more].concat())
}

pub(crate) fn backtest(blocks: &Path, invariants: &Path, more: &[&str]) -> Output {
    engine(
        &[
            &["backtest", "--blocks", text(blocks), "--invariants", text(invariants)],
            more,
        ]
        .concat(),
    )
}

pub(crate) fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Bad input: code 2, nothing on standard output, one line on standard error.
#[track_caller]
pub(crate) fn refused(output: &Output) -> String {
    let line = said(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert!(output.stdout.is_empty());
    assert!(line.starts_with("error: ") && line.lines().count() == 1, "{line:?}");
    line
}

pub(crate) fn scenario(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios").join(name)
}

pub(crate) fn contract(state: &mut CompleteState, address: Address, code: &str, slots: &[(u64, u64)]) {
    let code = Bytes::from(hex::decode(code).unwrap());
    let account = Account {
        nonce: 1,
        ..Account::default()
    };
    let slots = slots
        .iter()
        .map(|(slot, value)| (U256::from(*slot), U256::from(*value)));
    state.0.insert_contract(address, account, code, slots);
}

/// `vault.store(slot, value)` by the user.
pub(crate) fn store(to: Address, slot: u64, value: u64) -> Transaction {
    let call = TxLegacy {
        chain_id: Some(1),
        nonce: 0,
        gas_price: 0,
        gas_limit: 200_000,
        to: TxKind::Call(to),
        value: U256::ZERO,
        input: [slot, value]
            .map(|word| U256::from(word).to_be_bytes::<32>())
            .concat()
            .into(),
    };
    let raw = TxEnvelope::from(call.into_signed(Signature::new(U256::ZERO, U256::ZERO, false))).encoded_2718();
    Transaction::unsigned(&raw, USER, keccak256(&raw)).unwrap()
}

/// A vault with 50 in slot 0 and 100 in slot 1, and these transactions.
pub(crate) fn case(code: &str, transactions: Vec<Transaction>) -> Case {
    let mut pre = CompleteState::default();
    contract(&mut pre, VAULT, code, &[(0, 50), (1, 100)]);
    contract(&mut pre, TOKEN, RETURN_SLOT_ONE, &[(1, 7)]);
    Case {
        id: "small".to_owned(),
        kind: CaseKind::Tx,
        chain_id: 1,
        hardfork: Hardfork::Cancun,
        relaxed: true,
        block: BlockEnv {
            number: 20_000_000,
            timestamp: 1_720_000_000,
            beneficiary: Address::ZERO,
            gas_limit: 30_000_000,
            base_fee: 0,
            difficulty: U256::ZERO,
            prevrandao: Some(keccak256("randao")),
            excess_blob_gas: Some(0),
            hardfork: Some(Hardfork::Cancun),
        },
        block_hash: None,
        parent_hash: None,
        transactions,
        pre,
        expect: Expect::default(),
        invariants: Vec::new(),
        inexpressible: Vec::new(),
    }
}

pub(crate) const SET: &str = r#"
chain = 1
[contracts]
vault = "0xbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
token = { address = "0xcccccccccccccccccccccccccccccccccccccccc", abi = ["function supply() view returns (uint256)"] }

[[invariants]]
name = "solvency"
expression = 'slot(vault, 0, uint256) "debt" * 100 <= slot(vault, 1, uint256) "collateral" * 80'

[[invariants]]
name = "collateral"
expression = 'slot(vault, 1, uint256) >= 50% of pre'

[[invariants]]
name = "supply"
expression = "token.supply() == 7"
"#;

pub(crate) fn json_of(output: &Output) -> Vec<Value> {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(&output.stderr)))
}

/// The fields of one invariant's answer, by its name.
pub(crate) fn answer<'a>(answers: &'a [Value], name: &str) -> &'a Value {
    answers.iter().find(|answer| answer["name"] == name).unwrap()
}
