//! What can be wrong with a case file: one clear line each, with the place and what to do.

use std::{fmt, path::PathBuf};

use crate::{Address, B256};

/// Where in the input something is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file; `None` when reading from memory.
    pub path: Option<PathBuf>,
    /// Which case of the file, counted from 1; zero when it is about the file as a whole.
    pub case: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{}", path.display())?,
            None => f.write_str("input")?,
        }
        if self.case > 1 {
            write!(f, " (case {})", self.case)?;
        }
        Ok(())
    }
}

/// Why a case cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaseError {
    /// The file or folder cannot be read.
    #[error("{place}: cannot be read: {why}; check path and permissions")]
    Io {
        /// Where.
        place: Place,
        /// What the system says.
        why: String,
    },
    /// A folder without any case file, or a file without any case.
    #[error("{place}: holds no case; give a .json or .ndjson file (also .gz, .zst), or a folder of them")]
    Empty {
        /// Where.
        place: Place,
    },
    /// The file ends before its content does.
    #[error("{place}: is truncated: {why}; copy or download it again")]
    Truncated {
        /// Where.
        place: Place,
        /// Where it ended.
        why: String,
    },
    /// The compressed stream is damaged.
    #[error("{place}: compressed data is corrupt: {why}; copy or download it again")]
    Corrupt {
        /// Where.
        place: Place,
        /// What the decoder says.
        why: String,
    },
    /// The text is not JSON.
    #[error("{place}: is not JSON: {why}")]
    NotJson {
        /// Where.
        place: Place,
        /// What the parser says, with line and column.
        why: String,
    },
    /// JSON, but of something else.
    #[error("{place}: is JSON but no evm-case/1: {why}; see the case schema")]
    Foreign {
        /// Where.
        place: Place,
        /// What is missing or of the wrong kind, with line and column.
        why: String,
    },
    /// A field whose value makes no sense.
    #[error("{place}: {pointer}: {why}")]
    Field {
        /// Where.
        place: Place,
        /// JSON pointer to the field.
        pointer: String,
        /// What is wrong with it.
        why: String,
    },
    /// A signature from which no sender can be recovered.
    #[error(
        "{place}: /txs/{index}: broken signature: no sender can be recovered; the case must hold the transaction as it was signed"
    )]
    Signature {
        /// Where.
        place: Place,
        /// Index of the transaction.
        index: usize,
    },
    /// The transaction does not have the hash that is recorded for it.
    #[error(
        "{place}: /txs/{index}/hash: recorded {recorded}, but its bytes hash to {actual}; a field of the transaction was changed"
    )]
    Hash {
        /// Where.
        place: Place,
        /// Index of the transaction.
        index: usize,
        /// Hash in the file.
        recorded: B256,
        /// Hash of its bytes.
        actual: B256,
    },
    /// The transaction was signed by somebody else.
    #[error("{place}: /txs/{index}/from: recorded {recorded}, but signed by {actual}")]
    Sender {
        /// Where.
        place: Place,
        /// Index of the transaction.
        index: usize,
        /// Sender in the file.
        recorded: Address,
        /// Sender by the signature.
        actual: Address,
    },
    /// A code that neither the case nor the `codes.json` beside it holds.
    #[error("{place}: /pre/{account}: code {code_hash} is not known; put codes.json.gz beside the case file")]
    MissingCode {
        /// Where.
        place: Place,
        /// The account.
        account: Address,
        /// Hash of its code.
        code_hash: B256,
    },
    /// A code that does not have its hash.
    #[error("{place}: /pre/{account}: its code hashes to {actual}, not to {code_hash}; the codes file is damaged")]
    WrongCode {
        /// Where.
        place: Place,
        /// The account.
        account: Address,
        /// Hash it should have.
        code_hash: B256,
        /// Hash it has.
        actual: B256,
    },
}
