//! Where the recorded data is that the engine's tests run on.

use std::path::{Path, PathBuf};

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
