//! A copy of a database that is in use.

use std::path::Path;

use super::{Database, DatabaseError};

impl Database {
    /// Copies the SQLite file to `target` while others read and write: the copy is of one moment, whole or not there, and made
    /// smaller of what was deleted. Gives its size, bytes.
    ///
    /// # Errors
    /// A server (its own tools do that), a target that is there already or cannot be written, a copy that is not sound.
    pub async fn back_up(&self, target: &Path) -> Result<u64, DatabaseError> {
        let fail = |reason: &dyn std::fmt::Display| DatabaseError::new(self.place(), reason);
        if self.is_server() {
            return Err(fail(&"is PostgreSQL's; back it up by `pg_dump`"));
        }
        if target.exists() {
            return Err(fail(&format_args!(
                "the backup {} is there already; name another file, or remove it",
                target.display()
            )));
        }
        // Under another name until it is whole: a backup that was broken off is not mistaken for one.
        let draft = target.with_extension("draft");
        let name = draft
            .to_str()
            .ok_or_else(|| fail(&format_args!("the path {} is not UTF-8", draft.display())))?;
        match std::fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(&error)),
            _ => {}
        }
        sqlx::query("VACUUM INTO $1")
            .bind(name)
            .execute(self.pool())
            .await
            .map_err(|error| fail(&error))?;
        std::fs::File::open(&draft)
            .and_then(|file| file.sync_all())
            .and_then(|()| std::fs::rename(&draft, target))
            .and_then(|()| std::fs::metadata(target))
            .map(|file| file.len())
            .map_err(|error| fail(&format_args!("backup {}: {error}", target.display())))
    }
}
