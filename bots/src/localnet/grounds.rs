//! Where a run takes place: a folder of its own, the processes in it, and what is shown of them.
//!
//! What always holds: whoever makes it ends it, however the run ended; then no process is left, and the folder only where it is wanted.

use std::path::PathBuf;

use super::error::LocalnetError;
use super::fleet::{Fleet, Folder};
use super::progress::Progress;

/// The place of a run.
#[derive(Debug)]
pub(super) struct Grounds {
    place: tempfile::TempDir,
    /// In which everything is written.
    pub(super) folder: Folder,
    /// The processes.
    pub(super) fleet: Fleet,
    /// What is shown.
    pub(super) progress: Progress,
}

impl Grounds {
    /// A new folder whose name begins with `prefix`, and nobody in it yet; the binaries are in `binaries`.
    ///
    /// # Errors
    /// [`LocalnetError::File`].
    pub(super) fn new(prefix: &str, binaries: PathBuf, progress: Progress) -> Result<Self, LocalnetError> {
        let place = tempfile::Builder::new().prefix(prefix).tempdir();
        let place = place.map_err(|error| LocalnetError::File {
            path: std::env::temp_dir(),
            reason: error.to_string(),
        })?;
        let folder = Folder::new(place.path());
        let fleet = Fleet::new(binaries, folder.clone());
        Ok(Self {
            place,
            folder,
            fleet,
            progress,
        })
    }

    /// Ends all processes, and removes the folder unless it is to be kept.
    pub(super) async fn end(mut self, keep: bool) {
        self.progress.phase("ending all processes");
        self.fleet.stop().await;
        if keep {
            let kept = self.place.keep();
            self.progress
                .say(&format!("everything that the run wrote is in {}", kept.display()));
        }
        self.progress.clear();
    }
}
