//! What is replayed, and what watches it: the scenario inside the binary, or recorded cases of the user's.
//!
//! The whole recording is read once before anything is started, one case in memory at a time: a file that is damaged anywhere is
//! refused with nothing begun, the length of the run is known, and so is the gas that each transaction used on its chain.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use alloy::primitives::{Address, B256, I256, U256};
use engine::case::{Case, CaseError, CaseFile};
use engine::lang::{Format, InvariantSet};
use engine::{Invariant, ValueType};
use serde::{Deserialize, Serialize};

use super::gas::ExpectedGas;
use crate::scenario::{CASES_FILE, INVARIANTS_FILE, StatedInvariant};

/// The recorded scenario.
const SCENARIO: &[u8] = include_bytes!("../../../scenarios/vault-reentrancy.ndjson.gz");
/// What watches it.
const SCENARIO_INVARIANTS: &[u8] = include_bytes!("../../../scenarios/vault-reentrancy.invariants.json");
/// What watches well-known contracts of the Ethereum main network.
const MAINNET_INVARIANTS: &[u8] = include_bytes!("../../../scenarios/mainnet.invariants.json");
/// What well-known attacks of the past broke: each name begins with that of the case that the attack is recorded in, whose id
/// is `exploit-NAME`.
const KNOWN_ATTACKS: &str = include_str!("../../../scenarios/exploits.invariants.toml");
/// The chain that those are on.
const MAINNET: u64 = 1;
/// What the registry calls the chain that its platform watches, whichever it is.
const NETWORK: &str = "ethereum";

/// A recording that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A case that cannot be read; the error says where.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// Not one transaction.
    #[error("{0}: holds no transaction to replay")]
    NoTransaction(String),
    /// A file of the project's own that is damaged.
    #[error("the built-in invariants cannot be read: {0}")]
    BuiltIn(#[from] serde_json::Error),
    /// The same of the known attacks.
    #[error("the built-in invariants of known attacks cannot be read: {0}")]
    Attacks(String),
    /// A file in the run's folder that cannot be written.
    #[error("cannot write {}: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The user ended the run while it was being read.
    #[error("reading {0} was interrupted")]
    Interrupted(String),
}

/// Where the cases come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The scenario inside the binary.
    Scenario,
    /// A file or a folder.
    Path(PathBuf),
}

impl Source {
    /// What it is called in messages and in the report.
    pub fn name(&self) -> String {
        match self {
            Self::Scenario => format!("the built-in scenario {CASES_FILE}"),
            Self::Path(path) => path.display().to_string(),
        }
    }

    fn open(&self) -> Result<CaseFile, CaseError> {
        match self {
            Self::Scenario => CaseFile::from_bytes(SCENARIO),
            Self::Path(path) => CaseFile::open(path),
        }
    }

    /// Where the platform can read it: the path, or a copy in `folder`.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn place(&self, folder: &Path) -> Result<PathBuf, RecordingError> {
        match self {
            Self::Scenario => write(folder.join(CASES_FILE), SCENARIO),
            Self::Path(path) => Ok(path.clone()),
        }
    }
}

/// An invariant in the language.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatedExpression {
    /// Name for people.
    pub name: String,
    /// What must hold, with every name resolved.
    pub expression: String,
}

/// What was read.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Cases.
    pub cases: u64,
    /// What each transaction used.
    pub gas: ExpectedGas,
    /// What watches it, in the wire form.
    pub invariants: Vec<StatedInvariant>,
    /// What watches it besides: of the cases of known attacks, in the place of what these carry.
    pub expressions: Vec<StatedExpression>,
    /// Invariants of other cases that are no comparison of a storage slot with a number, and so are left out.
    pub inexpressible: u64,
}

impl Recording {
    /// Reads all of it. `watch` is told after every case how many cases and transactions were read, and ends the reading by `false`.
    ///
    /// # Errors
    /// The first case that cannot be read, or a recording without a transaction.
    pub fn read(source: &Source, mut watch: impl FnMut(u64, u64) -> bool) -> Result<Self, RecordingError> {
        let mut read = Self::default();
        let mut own: Vec<StatedInvariant> = Vec::new();
        let mut on_mainnet: HashSet<Address> = HashSet::new();
        let attacks = known_attacks()?;
        for case in source.open()? {
            let case = case?;
            read.cases += 1;
            for (index, transaction) in case.transactions.iter().enumerate() {
                read.gas.note(
                    transaction.hash(),
                    case.expect.per_tx.get(index).map(|expected| expected.gas_used),
                );
            }
            let of_case = |known: &&StatedExpression| {
                let rest = known.name.strip_prefix(case.id.trim_start_matches("exploit-"));
                rest.is_some_and(|rest| rest.starts_with(": "))
            };
            let before = read.expressions.len();
            read.expressions.extend(attacks.iter().filter(of_case).cloned());
            if read.expressions.len() == before {
                read.inexpressible += case.inexpressible.len() as u64;
                own.extend(case.invariants.iter().map(|invariant| stated(&case, invariant)));
            }
            if case.chain_id == MAINNET {
                on_mainnet.extend(case.pre.0.accounts.keys());
            }
            if !watch(read.cases, read.gas.transactions()) {
                return Err(RecordingError::Interrupted(source.name()));
            }
        }
        if read.gas.transactions() == 0 {
            return Err(RecordingError::NoTransaction(source.name()));
        }
        read.invariants = match source {
            Source::Scenario => {
                let stated: Vec<StatedInvariant> = serde_json::from_slice(SCENARIO_INVARIANTS)?;
                on_watched(stated)
            }
            Source::Path(_) => {
                let known: Vec<StatedInvariant> = serde_json::from_slice(MAINNET_INVARIANTS)?;
                own.extend(
                    known
                        .into_iter()
                        .filter(|invariant| on_mainnet.contains(&invariant.contract)),
                );
                distinct(own)
            }
        };
        Ok(read)
    }
}

/// What well-known attacks broke, with every name resolved.
fn known_attacks() -> Result<Vec<StatedExpression>, RecordingError> {
    let mut no_files = |_: &str| Err("there are no files beside the built-in set".to_owned());
    let set = InvariantSet::parse(KNOWN_ATTACKS, Format::Toml, &mut no_files)
        .map_err(|errors| RecordingError::Attacks(errors.iter().map(ToString::to_string).collect()))?;
    let stated = |named: engine::lang::NamedProgram| StatedExpression {
        name: named.name,
        expression: format!("{:#}", named.program),
    };
    Ok(set.invariants.into_iter().map(stated).collect())
}

/// Writes invariants into `folder`, for `platform invariants add`, on the network that the platform watches.
///
/// # Errors
/// When the file cannot be written.
pub fn write_invariants(
    invariants: &[StatedInvariant],
    expressions: &[StatedExpression],
    folder: &Path,
) -> Result<PathBuf, RecordingError> {
    #[derive(Serialize)]
    #[serde(untagged)]
    enum Entry<'a> {
        Slot(StatedInvariant),
        Expression(&'a StatedExpression),
    }
    let slots = on_watched(invariants.to_vec()).into_iter().map(Entry::Slot);
    let entries: Vec<Entry<'_>> = slots.chain(expressions.iter().map(Entry::Expression)).collect();
    let text = serde_json::to_vec_pretty(&entries)?;
    write(folder.join(INVARIANTS_FILE), &text)
}

/// The same of the network that the platform watches, whichever it is.
fn on_watched(invariants: Vec<StatedInvariant>) -> Vec<StatedInvariant> {
    let network = |one| StatedInvariant {
        network: NETWORK.to_owned(),
        ..one
    };
    invariants.into_iter().map(network).collect()
}

fn write(path: PathBuf, content: &[u8]) -> Result<PathBuf, RecordingError> {
    match std::fs::write(&path, content) {
        Ok(()) => Ok(path),
        Err(reason) => Err(RecordingError::Write { path, reason }),
    }
}

/// An invariant of a case, in the wire form; the case's name tells it from another case's.
fn stated(case: &Case, invariant: &Invariant) -> StatedInvariant {
    StatedInvariant {
        name: format!("{}: {}", case.id, invariant.name),
        contract: invariant.contract,
        comparison: invariant.comparison.to_string(),
        target: decimal(invariant.value_type, invariant.target),
        storage: B256::from(invariant.slot),
        slot_type: invariant.value_type.to_string(),
        offset: invariant.offset,
        network: NETWORK.to_owned(),
    }
}

/// A target as the wire form has it: a decimal number, negative for a signed type's upper half.
fn decimal(value_type: ValueType, target: U256) -> String {
    match value_type {
        ValueType::Int(_) => I256::from_raw(target).to_string(),
        _ => target.to_string(),
    }
}

/// Without those that say the same of the same value: the first one's name stays.
fn distinct(invariants: Vec<StatedInvariant>) -> Vec<StatedInvariant> {
    let mut places = BTreeMap::new();
    for (index, invariant) in invariants.iter().enumerate() {
        let what = (
            invariant.contract,
            invariant.storage,
            invariant.offset,
            invariant.slot_type.clone(),
        );
        places
            .entry((what, invariant.comparison.clone(), invariant.target.clone()))
            .or_insert(index);
    }
    let kept: HashSet<usize> = places.into_values().collect();
    invariants
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept.contains(index))
        .map(|(_, invariant)| invariant)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(source: &Source) -> Result<Recording, RecordingError> {
        Recording::read(source, |_, _| true)
    }

    #[test]
    fn the_built_in_scenario_is_whole_and_every_gas_of_it_is_known() {
        let read = all(&Source::Scenario).unwrap();
        assert!(read.cases > 1 && read.gas.transactions() > 100, "{} cases", read.cases);
        let nothing_done = read.gas.compare([]);
        assert_eq!(nothing_done.compared, read.gas.transactions());
        assert!(
            read.invariants
                .iter()
                .any(|invariant| invariant.name == crate::scenario::invariants::BROKEN)
        );
    }

    #[test]
    fn reading_stops_when_it_is_told_to() {
        let mut cases = 0;
        let error = Recording::read(&Source::Scenario, |read, _| {
            cases = read;
            read < 2
        });
        assert!(matches!(error, Err(RecordingError::Interrupted(_))));
        assert_eq!(cases, 2);
    }

    #[test]
    fn a_file_that_is_cut_off_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.ndjson.gz");
        std::fs::write(&path, &SCENARIO[..SCENARIO.len() / 2]).unwrap();
        let error = all(&Source::Path(path)).unwrap_err().to_string();
        assert!(
            error.contains("cut.ndjson.gz") && error.contains("truncated"),
            "{error}"
        );
    }

    #[test]
    fn other_data_is_watched_by_its_own_invariants() {
        let folder = tempfile::tempdir().unwrap();
        let path = Source::Scenario.place(folder.path()).unwrap();
        let read = all(&Source::Path(path)).unwrap();
        let own = distinct(read.invariants.clone());
        assert_eq!(own, read.invariants, "nothing is said twice");
        let file = write_invariants(&read.invariants, &read.expressions, folder.path()).unwrap();
        let back: Vec<StatedInvariant> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!(back, read.invariants);
    }

    #[test]
    fn every_known_attack_is_stated_by_values_balances_and_views() {
        let known = known_attacks().unwrap();
        assert_eq!(known.len(), 29);
        let with = |what: &str| known.iter().filter(|one| one.expression.contains(what)).count();
        assert!(
            with("call(") > 5 && with("balance(") >= 3 && with("slot(") >= 15,
            "{known:?}"
        );
    }

    #[test]
    fn a_negative_target_is_written_with_its_sign() {
        assert_eq!(decimal(ValueType::Int(128), U256::MAX), "-1");
        assert_eq!(decimal(ValueType::Uint(256), U256::from(12)), "12");
    }
}
