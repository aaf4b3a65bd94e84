//! What the engine's test files share: where the recorded data is, and how to walk through it.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, mpsc},
};

use engine::case::{Case, CaseFile};

/// A part of the recorded data; `None`, said aloud, when it is not on this machine.
pub(crate) fn recorded(part: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("PORTCULLIS_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    );
    let path = folder.join(part);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: recorded data {part}, because {} does not exist (set PORTCULLIS_DATA)",
        path.display()
    );
    None
}

/// Runs `check` on every case of a file or folder, on two threads, and returns what it gave. At most two cases wait in memory.
pub(crate) fn on_every_case<T: Send>(path: &Path, check: impl Fn(Case) -> T + Sync) -> Vec<T> {
    let (give, take) = mpsc::sync_channel(2);
    let take = Mutex::new(take);
    std::thread::scope(|scope| {
        let worker = || {
            let mut results = Vec::new();
            loop {
                let next = take.lock().unwrap().recv();
                let Ok(case) = next else { return results };
                results.push(check(case));
            }
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        for case in CaseFile::open(path).unwrap() {
            if give.send(case.unwrap_or_else(|error| panic!("{error}"))).is_err() {
                break;
            }
        }
        drop(give);
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}
