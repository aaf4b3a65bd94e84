//! What a monitor remembers, in a file: checks may be processes of their own (a container's health check).

use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::rule::Memory;

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("memory file {path}: {reason} (choose another with --memory, or remove it to start afresh)")]
pub struct MemoryError {
    path: PathBuf,
    reason: String,
}

fn fail(path: &Path, reason: impl std::fmt::Display) -> MemoryError {
    MemoryError {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// What the file holds; nothing when it is not there.
///
/// # Errors
///
/// When it is there and cannot be read: a memory that is lost would run a command twice.
pub fn load(path: &Path) -> Result<Memory, MemoryError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| fail(path, error)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Memory::default()),
        Err(error) => Err(fail(path, error)),
    }
}

/// Writes the file, whole or not at all.
///
/// # Errors
///
/// When it cannot be written.
pub fn save(path: &Path, memory: Memory) -> Result<(), MemoryError> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| fail(path, error))?;
    let mut draft = tempfile::NamedTempFile::new_in(folder).map_err(|error| fail(path, error))?;
    let text = serde_json::to_vec(&memory).map_err(|error| fail(path, error))?;
    draft
        .write_all(&text)
        .and_then(|()| draft.as_file().sync_all())
        .map_err(|error| fail(path, error))?;
    draft.persist(path).map(|_| ()).map_err(|error| fail(path, error.error))
}
