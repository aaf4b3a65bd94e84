//! How test files walk through recorded cases.

use std::{
    path::Path,
    sync::{Mutex, mpsc},
};

use engine::case::{Case, CaseFile};

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
