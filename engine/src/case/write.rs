//! Writing cases, so that generated scenarios and recordings have the same form.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

use serde_json::Value;

use super::{
    Case, CaseError, ExpectedStatus, Place,
    json::{AccountJson, BlockJson, CaseJson, ExpectJson, ExpectedJson, InvariantJson, Quantity, SCHEMA},
    transaction::fields,
};
use crate::{AccountState, Bytes, Invariant, Prestate};

impl Case {
    /// The case as one `evm-case/1` document. Codes are written into it; read again it is the same case, except for the
    /// names of inexpressible invariants, which are lost.
    #[must_use]
    pub fn to_json(&self) -> Value {
        // Only a map with keys that are no strings could fail here.
        serde_json::to_value(self.fields()).unwrap_or_default()
    }

    /// Writes the document and a line end: written one after the other, cases are a valid `.ndjson` file.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn write(&self, mut writer: impl Write) -> io::Result<()> {
        serde_json::to_writer(&mut writer, &self.fields())?;
        writer.write_all(b"\n")
    }

    /// Writes these cases into one file, compressed when its name ends in `.gz` or `.zst`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save<'a>(cases: impl IntoIterator<Item = &'a Self>, path: impl AsRef<Path>) -> Result<(), CaseError> {
        let path = path.as_ref();
        let save = || -> io::Result<()> {
            let file = BufWriter::new(File::create(path)?);
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                Some("gz") => {
                    let mut writer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
                    write_all(cases, &mut writer)?;
                    writer.finish()?.flush()
                }
                Some("zst") => {
                    let mut writer = zstd::Encoder::new(file, 0)?;
                    write_all(cases, &mut writer)?;
                    writer.finish()?.flush()
                }
                _ => {
                    let mut writer = file;
                    write_all(cases, &mut writer)?;
                    writer.flush()
                }
            }
        };
        save().map_err(|error| CaseError::Io {
            place: Place {
                path: Some(path.to_owned()),
                case: 0,
            },
            why: error.to_string(),
        })
    }

    fn fields(&self) -> CaseJson {
        let Prestate {
            accounts,
            codes,
            block_hashes,
        } = &self.pre.0;
        let env = &self.block;
        CaseJson {
            schema: SCHEMA.to_owned(),
            id: self.id.clone(),
            kind: self.kind.name().to_owned(),
            chain_id: self.chain_id.into(),
            hardfork: self.hardfork.name().to_owned(),
            relaxed: self.relaxed,
            block: BlockJson {
                number: env.number.into(),
                timestamp: env.timestamp.into(),
                beneficiary: env.beneficiary,
                gas_limit: env.gas_limit.into(),
                base_fee: env.base_fee.into(),
                difficulty: Quantity(env.difficulty),
                prevrandao: env.prevrandao,
                excess_blob_gas: env.excess_blob_gas.map(Quantity::from),
                hash: self.block_hash,
                parent_hash: self.parent_hash,
            },
            block_hashes: block_hashes
                .iter()
                .map(|(number, hash)| (number.to_string(), *hash))
                .collect(),
            txs: self.transactions.iter().map(fields).collect(),
            pre: accounts
                .iter()
                .filter_map(|(address, account)| Some((*address, account_json(account, codes)?)))
                .collect(),
            expect: ExpectJson {
                block_gas_used: self.expect.block_gas_used.map(Quantity::from),
                ..self.expected_fields()
            },
            observed: None,
            invariants: self.invariants.iter().map(invariant_json).collect(),
        }
    }

    fn expected_fields(&self) -> ExpectJson {
        let per_tx: Vec<ExpectedJson> = self
            .expect
            .per_tx
            .iter()
            .map(|expected| ExpectedJson {
                gas_used: expected.gas_used.into(),
                status: expected.status.map(|status| status_name(status).to_owned()),
                logs: expected.logs.map(|logs| (logs as u64).into()),
            })
            .collect();
        ExpectJson {
            per_tx,
            ..ExpectJson::default()
        }
    }
}

fn write_all<'a>(cases: impl IntoIterator<Item = &'a Case>, writer: &mut impl Write) -> io::Result<()> {
    cases.into_iter().try_for_each(|case| case.write(&mut *writer))
}

const fn status_name(status: ExpectedStatus) -> &'static str {
    match status {
        ExpectedStatus::Success => "success",
        ExpectedStatus::Revert => "revert",
        ExpectedStatus::Halt => "halt",
    }
}

/// `None` for an account that does not exist: it is not listed.
fn account_json(state: &AccountState, codes: &BTreeMap<crate::B256, Bytes>) -> Option<AccountJson> {
    let account = state.account?;
    let code = account
        .has_code()
        .then(|| codes.get(&account.code_hash).cloned())
        .flatten();
    let code_hash = (account.has_code() && code.is_none()).then_some(account.code_hash);
    Some(AccountJson {
        balance: Quantity(account.balance),
        nonce: account.nonce.into(),
        code,
        code_hash,
        storage: state
            .storage
            .iter()
            .map(|(slot, value)| (Quantity(*slot), Quantity(*value)))
            .collect(),
    })
}

fn invariant_json(invariant: &Invariant) -> InvariantJson {
    InvariantJson {
        name: invariant.name.clone(),
        kind: "storage_slot".to_owned(),
        predicate: "compare".to_owned(),
        id: Some(invariant.id),
        address: Some(invariant.contract),
        slot: Some(Quantity(invariant.slot)),
        value_type: Some(invariant.value_type.to_string()),
        offset: Some(invariant.offset),
        comparison: Some(invariant.comparison.to_string()),
        target: Some(Quantity(invariant.target)),
        ..InvariantJson::default()
    }
}
