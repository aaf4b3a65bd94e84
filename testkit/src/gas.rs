//! Gas of a contract's functions, as it stands in a page of the documentation, between `<!-- gas: begin -->` and `<!-- gas: end -->`.
//!
//! `PORTCULLIS_WRITE_GAS=1` writes the table there; otherwise it is compared. Gas in the EVM is a number of the contract and its input
//! alone: the comparison is exact.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use contracts::Contract;

use crate::Receipt;

const BEGIN: &str = "<!-- gas: begin -->\n";
const END: &str = "<!-- gas: end -->";
/// Most bytes of code (EIP-170), and of creation code (EIP-3860).
const CODE: usize = 24_576;
const CREATION_CODE: usize = 49_152;

/// What was measured: a function's name, with a note in parentheses where it stands several times, and its gas.
#[derive(Debug, Clone, Default)]
pub struct GasTable(BTreeMap<String, u64>);

impl GasTable {
    /// Notes what a transaction used.
    pub fn note(&mut self, name: &str, receipt: &Receipt) {
        self.0.insert(name.to_owned(), receipt.gas);
    }

    /// Every function of the contract's that changes something was measured, but for these.
    ///
    /// # Panics
    /// When one is missing, or one was measured that is not there.
    #[track_caller]
    pub fn covers(&self, contract: Contract, except: &[&str]) {
        let artifact = artifact(contract);
        let functions = artifact.abi.iter().filter(|entry| entry.kind == "function");
        let changing: BTreeSet<&str> = functions
            .filter(|function| ["nonpayable", "payable"].contains(&function.mutability.as_str()))
            .map(|function| function.name.as_str())
            .filter(|name| !except.contains(name))
            .collect();
        let measured: BTreeSet<&str> = self.0.keys().filter_map(|name| name.split(' ').next()).collect();
        assert_eq!(measured, changing, "{}", contract.name());
    }

    /// The page records exactly this.
    ///
    /// # Panics
    /// When it does not, or has no such place.
    #[track_caller]
    pub fn stands_in(&self, page: &Path) {
        let text = std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        let around = text
            .split_once(BEGIN)
            .and_then(|(head, rest)| Some((head, rest.split_once(END)?)));
        let Some((head, (recorded, tail))) = around else {
            panic!("{} has no place for a table of gas", page.display())
        };
        let table = self.markdown();
        if std::env::var("PORTCULLIS_WRITE_GAS").is_ok() {
            let written = std::fs::write(page, format!("{head}{BEGIN}{table}{END}{tail}"));
            return written.unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        }
        assert_eq!(
            recorded,
            table,
            "{} is not up to date; run this test with PORTCULLIS_WRITE_GAS=1",
            page.display()
        );
    }

    fn markdown(&self) -> String {
        let rows = self.0.iter().map(|(name, gas)| format!("| {name} | {gas} |\n"));
        "| function | gas of the transaction |\n|---|---|\n".to_owned() + &rows.collect::<String>()
    }
}

/// The contract is no larger than a chain takes (EIP-170, EIP-3860).
///
/// # Panics
/// When it is.
#[track_caller]
pub fn fits_the_chain(contract: Contract) {
    let artifact = artifact(contract);
    let size = |code: &str| code.trim_start_matches("0x").len() / 2;
    let (code, creation) = (size(&artifact.code), size(&artifact.creation));
    println!("{}: {code} bytes, created with {creation}", contract.name());
    assert!(code <= CODE && creation <= CREATION_CODE, "{}", contract.name());
}

/// What matters here of a contract's artifact.
#[derive(Debug, serde::Deserialize)]
struct Artifact {
    abi: Vec<Entry>,
    #[serde(rename = "deployedBytecode")]
    code: String,
    #[serde(rename = "bytecode")]
    creation: String,
}

/// A function, or something else.
#[derive(Debug, serde::Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "stateMutability")]
    mutability: String,
}

fn artifact(contract: Contract) -> Artifact {
    serde_json::from_str(contract.artifact()).unwrap_or_else(|error| panic!("{}: {error}", contract.name()))
}
