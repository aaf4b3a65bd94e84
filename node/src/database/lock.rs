//! One process at a time: a lock in a file beside the database, which the system gives back when its holder ends, however it ends.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::make_folder;

/// The lock file cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("lock file {path}: {reason}")]
pub struct LockError {
    path: PathBuf,
    reason: std::io::Error,
}

/// Held until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Takes the database at `path` for this process alone; `None` when another process has it.
///
/// # Errors
/// [`LockError`] names the lock file.
pub fn alone(path: &Path) -> Result<Option<Lock>, LockError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let beside = PathBuf::from(beside);
    let opened =
        make_folder(path).and_then(|()| File::options().create(true).truncate(false).write(true).open(&beside));
    let locked = opened.map_err(TryLockError::Error).and_then(|file| {
        file.try_lock()?;
        Ok(Lock { _file: file })
    });
    match locked {
        Ok(lock) => Ok(Some(lock)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(reason)) => Err(LockError { path: beside, reason }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holds_it_until_it_lets_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/ledger.db");
        let first = alone(&path).unwrap().unwrap();
        assert!(alone(&path).unwrap().is_none());
        drop(first);
        assert!(alone(&path).unwrap().is_some());
        let error = alone(Path::new("/dev/null/ledger.db")).unwrap_err().to_string();
        assert!(error.contains("/dev/null/ledger.db.lock"), "{error}");
    }
}
