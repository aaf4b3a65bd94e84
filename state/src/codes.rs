//! Bytecode by its hash: in memory, and on disk between runs.
//!
//! What always holds: code is only ever given under the hash that it has; a file that was damaged is as if it were not there. Memory
//! and folder are bounded: what was used least, or written first, goes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use alloy::primitives::keccak256;
use engine::{Address, B256, Bytes};
use moka::sync::Cache;

use crate::carry::may_see_balances;

/// Accounts remembered as having a code, and codes looked through.
const REMEMBERED: u64 = 200_000;

/// Code cache.
#[derive(Debug)]
pub(crate) struct Codes {
    memory: Cache<B256, Bytes>,
    /// An account that has this code: where to ask for it again.
    places: Cache<B256, Address>,
    /// Whether executing it may look at balances.
    sees_balances: Cache<B256, bool>,
    folder: Option<Folder>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    limit: u64,
    size: AtomicU64,
}

impl Codes {
    /// A cache of at most so many bytes in memory, and in the folder, which is made where it is missing.
    pub(crate) fn new(most_bytes: u64, folder: Option<&Path>, most_folder_bytes: u64) -> io::Result<Arc<Self>> {
        let folder = folder.map(|path| Folder::open(path, most_folder_bytes)).transpose()?;
        Ok(Arc::new(Self {
            memory: Cache::builder()
                .weigher(|_, code: &Bytes| u32::try_from(code.len().saturating_add(64)).unwrap_or(u32::MAX))
                .max_capacity(most_bytes)
                .build(),
            places: Cache::new(REMEMBERED),
            sees_balances: Cache::new(REMEMBERED),
            folder,
        }))
    }

    /// The code with this hash. Reads a file when it is not in memory.
    pub(crate) fn get(&self, hash: B256) -> Option<Bytes> {
        if let Some(code) = self.memory.get(&hash) {
            return Some(code);
        }
        let code = self.folder.as_ref()?.read(hash)?;
        self.memory.insert(hash, code.clone());
        Some(code)
    }

    /// Keeps code whose hash this is; true when it must still be [written](Self::write).
    pub(crate) fn insert(&self, hash: B256, code: &Bytes) -> bool {
        if self.memory.contains_key(&hash) {
            return false;
        }
        self.memory.insert(hash, code.clone());
        self.folder.is_some()
    }

    /// Writes code into the folder. Blocks. A full or read-only disk costs speed later and is only logged.
    pub(crate) fn write(&self, hash: B256, code: &Bytes) {
        if let Some(folder) = &self.folder
            && let Err(error) = folder.write(hash, code)
        {
            tracing::warn!(folder = %folder.path.display(), %error, "cannot keep code on disk");
        }
    }

    /// Remembers an account that has this code.
    pub(crate) fn found_at(&self, hash: B256, address: Address) {
        if !self.places.contains_key(&hash) {
            self.places.insert(hash, address);
        }
    }

    /// An account that had this code when it was last read.
    pub(crate) fn place_of(&self, hash: B256) -> Option<Address> {
        self.places.get(&hash)
    }

    /// Whether executing this code may look at balances; looked through once.
    pub(crate) fn sees_balances(&self, hash: B256, code: &Bytes) -> bool {
        self.sees_balances.get_with(hash, || may_see_balances(code))
    }
}

impl Folder {
    fn open(path: &Path, limit: u64) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let size = files(path)?.into_iter().map(|(_, _, size)| size).sum();
        Ok(Self {
            path: path.to_owned(),
            limit,
            size: AtomicU64::new(size),
        })
    }

    fn file(&self, hash: B256) -> PathBuf {
        self.path.join(format!("{hash:x}.code"))
    }

    fn read(&self, hash: B256) -> Option<Bytes> {
        let code = fs::read(self.file(hash)).ok()?;
        if keccak256(&code) == hash {
            Some(code.into())
        } else {
            tracing::warn!(%hash, "a file of code is damaged; it is fetched again");
            None
        }
    }

    /// A reader sees the whole file or none.
    fn write(&self, hash: B256, code: &Bytes) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.path.join(format!("{hash:x}.{}.{number}.tmp", std::process::id()));
        fs::write(&unfinished, code)?;
        fs::rename(&unfinished, self.file(hash))?;
        let size = self.size.fetch_add(code.len() as u64, Ordering::Relaxed) + code.len() as u64;
        if size > self.limit {
            self.prune()?;
        }
        Ok(())
    }

    /// Removes the oldest files until a tenth is free.
    fn prune(&self) -> io::Result<()> {
        let mut files = files(&self.path)?;
        files.sort_unstable();
        let mut size: u64 = files.iter().map(|(_, _, size)| size).sum();
        for (_, path, of) in files {
            if size <= self.limit / 10 * 9 {
                break;
            }
            fs::remove_file(path)?;
            size = size.saturating_sub(of);
        }
        self.size.store(size, Ordering::Relaxed);
        Ok(())
    }
}

/// Our files: when each was written, where it is, and its size.
fn files(folder: &Path) -> io::Result<Vec<(std::time::SystemTime, PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "code" || extension == "tmp")
        {
            let about = entry.metadata()?;
            files.push((about.modified()?, path, about.len()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(byte: u8) -> (B256, Bytes) {
        let code = Bytes::from(vec![byte; 1000]);
        (keccak256(&code), code)
    }

    #[test]
    fn code_is_there_again_after_a_restart_and_damage_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Codes::new(1 << 20, Some(folder.path()), 1 << 20).unwrap();
        let (hash, code) = code(1);
        let codes = open();
        assert!(codes.insert(hash, &code), "must be written");
        codes.write(hash, &code);
        assert!(!codes.insert(hash, &code), "already kept");
        let again = open();
        assert_eq!(again.get(hash), Some(code));
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        fs::write(file, b"damaged").unwrap();
        assert_eq!(open().get(hash), None);
    }

    #[test]
    fn memory_and_folder_are_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let codes = Codes::new(5_000, Some(folder.path()), 10_000).unwrap();
        for byte in 0..50 {
            let (hash, code) = code(byte);
            codes.insert(hash, &code);
            codes.write(hash, &code);
        }
        codes.memory.run_pending_tasks();
        assert!(codes.memory.weighted_size() <= 5_000);
        let size: u64 = files(folder.path()).unwrap().into_iter().map(|(_, _, size)| size).sum();
        assert!(size <= 10_000 && size > 0, "{size}");
    }

    #[test]
    fn a_code_is_asked_for_where_it_was_found() {
        let codes = Codes::new(1 << 20, None, 0).unwrap();
        let (hash, code) = code(0x31);
        codes.found_at(hash, Address::repeat_byte(1));
        codes.found_at(hash, Address::repeat_byte(2));
        assert_eq!(codes.place_of(hash), Some(Address::repeat_byte(1)));
        assert!(codes.sees_balances(hash, &code));
    }
}
