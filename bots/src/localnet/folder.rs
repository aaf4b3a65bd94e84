//! The folder of a run: every file in it has its member's name.

use std::path::{Path, PathBuf};

use super::error::LocalnetError;
use super::plan::Member;

/// Where everything of a run lies.
#[derive(Debug, Clone)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The file into which a member writes its address.
    pub(crate) fn ready(&self, member: Member) -> PathBuf {
        self.0.join(format!("{member}.ready"))
    }

    /// The file into which a member logs.
    pub(crate) fn log(&self, name: impl std::fmt::Display) -> PathBuf {
        self.0.join(format!("{name}.log"))
    }

    /// A member's hotkey.
    pub(crate) fn hotkey(&self, member: Member) -> PathBuf {
        self.0.join(format!("{member}.hotkey"))
    }

    /// A member's database.
    pub(crate) fn database(&self, member: Member) -> PathBuf {
        self.file(member, "db")
    }

    /// Another file of a member's, or a folder.
    pub(crate) fn file(&self, member: Member, ending: &str) -> PathBuf {
        self.0.join(format!("{member}.{ending}"))
    }

    /// Writes such a file; gives where it is.
    ///
    /// # Errors
    /// [`LocalnetError::File`].
    pub(crate) fn write(&self, member: Member, ending: &str, text: &str) -> Result<PathBuf, LocalnetError> {
        let path = self.file(member, ending);
        match std::fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(error) => Err(LocalnetError::File {
                path,
                reason: error.to_string(),
            }),
        }
    }
}
