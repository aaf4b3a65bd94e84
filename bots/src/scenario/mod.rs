//! The recorded scenario: a short chain of our own on which a vault is robbed by re-entrancy amid ordinary traffic.
//!
//! `bots scenario write DIR` makes `vault-reentrancy.ndjson.gz` (one block a line, `evm-case/1`) and
//! `vault-reentrancy.invariants.json`. Contracts are deployed by real creation transactions, every transaction is really
//! signed, and what the record expects is what the engine gave when executing it.
//!
//! What always holds: pure and seeded, no clock and no network; the same seed gives the same bytes on every machine.
//! Exactly one transaction breaks an invariant, and it breaks exactly one ([`BROKEN`]); see [`story`] for what happens when.

mod deeds;
pub mod invariants;
pub mod replace;
pub mod setup;
pub mod story;
pub mod traffic;
pub mod view;
pub mod wallet;
pub mod world;

use std::path::{Path, PathBuf};

use flate2::{Compression, GzBuilder};

pub use invariants::{BROKEN, StatedInvariant};

use setup::{People, Town};
use world::{Mined, World};

/// Chain id of the scenario's chain, the usual one of development chains.
pub const CHAIN_ID: u64 = 31_337;
/// What its invariants name as their network.
pub const NETWORK: &str = "chain-31337";
/// The seed of the checked-in recording.
pub const SEED: u64 = 2;
/// File name of the recording.
pub const CASES_FILE: &str = "vault-reentrancy.ndjson.gz";
/// File name of its invariants.
pub const INVARIANTS_FILE: &str = "vault-reentrancy.invariants.json";

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It runs to its end.
    Success,
    /// It reverts.
    Revert,
    /// It halts exceptionally, all its gas used.
    Halt,
}

impl Ending {
    /// The word for it in a recorded case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Revert => "revert",
            Self::Halt => "halt",
        }
    }
}

/// Why a scenario could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// A key could not be derived or would not sign.
    #[error("a key of the scenario is unusable: {0}; choose another seed")]
    Key(String),
    /// The plan contradicts itself.
    #[error("the scenario's plan is wrong: {0}")]
    Plan(String),
    /// A transaction did not end as planned.
    #[error("block {block}, transaction {index} ({what}) was planned to end in {planned}, but ended in {ended}")]
    Surprise {
        /// Block number.
        block: u64,
        /// Position in the block.
        index: usize,
        /// What the transaction was to do.
        what: &'static str,
        /// How it was to end.
        planned: &'static str,
        /// How it ended.
        ended: String,
    },
    /// A contract's storage is not as its artifact says.
    #[error(transparent)]
    Layout(#[from] contracts::layout::LayoutError),
    /// The engine refused the recorded block.
    #[error("the engine cannot execute the scenario's block {block}: {why}")]
    Engine {
        /// Block number.
        block: u64,
        /// What it said.
        why: String,
    },
    /// A file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The scenario, ready to be written or inspected.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The recorded blocks, in order.
    pub blocks: Vec<Mined>,
    /// What watches them.
    pub invariants: Vec<StatedInvariant>,
    /// Where everything stands.
    pub town: Town,
}

/// Plays the whole scenario of a seed.
///
/// # Errors
/// When a transaction does not end as planned, which is a fault of the plan.
pub fn record(seed: u64) -> Result<Recording, ScenarioError> {
    let mut people = People::derive(seed)?;
    let mut world = World::genesis(seed, &people.funds());
    let town = setup::build(&mut world, &mut people)?;
    let blocks = story::play(&mut world, &town, &people, seed)?;
    let invariants = invariants::stated(&town, people.owner.address())?;
    Ok(Recording {
        blocks,
        invariants,
        town,
    })
}

impl Recording {
    /// The recorded blocks as gzip of `evm-case/1`, one a line; the gzip header holds no time and no name.
    ///
    /// # Errors
    /// Never in practice: compressing goes to memory.
    pub fn cases_gz(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        for block in &self.blocks {
            block.case.write(&mut gz)?;
        }
        gz.finish()
    }

    /// The invariants as a JSON list, one a line.
    ///
    /// # Errors
    /// Never in practice: the fields are plain text and numbers.
    pub fn invariants_json(&self) -> Result<Vec<u8>, std::io::Error> {
        let mut text = Vec::new();
        for (index, invariant) in self.invariants.iter().enumerate() {
            text.extend_from_slice(if index == 0 { b"[\n " } else { b",\n " });
            serde_json::to_writer(&mut text, invariant)?;
        }
        text.extend_from_slice(b"\n]\n");
        Ok(text)
    }

    /// Writes both files into a folder, which is created when missing; gives their paths.
    ///
    /// # Errors
    /// When the folder or a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<[PathBuf; 2], ScenarioError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ScenarioError::Write { path, source }
        };
        std::fs::create_dir_all(folder).map_err(failed(folder))?;
        let paths = [folder.join(CASES_FILE), folder.join(INVARIANTS_FILE)];
        let [cases, invariants] = &paths;
        std::fs::write(cases, self.cases_gz().map_err(failed(cases))?).map_err(failed(cases))?;
        std::fs::write(invariants, self.invariants_json().map_err(failed(invariants))?).map_err(failed(invariants))?;
        Ok(paths)
    }
}

#[cfg(test)]
mod tests;
