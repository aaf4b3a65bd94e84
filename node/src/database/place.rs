//! Where a database is: a SQLite file, or a PostgreSQL server.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Deserialize;
use url::Url;

use crate::config::Secret;

/// Where a database is. Shown without its password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Place {
    /// A SQLite file: a path, or `sqlite:PATH`.
    File(PathBuf),
    /// A PostgreSQL database, `postgres://USER:PASSWORD@HOST:PORT/NAME`; for several processes on several machines.
    Server(Url),
}

/// A text that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Neither a path nor an address of a kind that there is. The address may hold a password and is not repeated.
    #[error("no database of this kind: use a path, sqlite:PATH, or postgres://USER:PASSWORD@HOST:PORT/NAME")]
    Kind,
    /// Not an address.
    #[error("the database's address does not parse: {0}")]
    Address(String),
    /// `env:NAME` or `file:PATH` that is not there.
    #[error("{0}")]
    Secret(String),
    /// SQLite takes its file's name as text.
    #[error("database {0}: the path is not UTF-8")]
    Path(PathBuf),
}

impl Place {
    /// The SQLite file; `None` for a server.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Server(_) => None,
        }
    }

    /// As sqlx takes it.
    pub(super) fn url(&self) -> Result<Url, PlaceError> {
        match self {
            Self::Server(url) => Ok(url.clone()),
            Self::File(path) => {
                let absolute = std::path::absolute(path).map_err(|error| PlaceError::Address(error.to_string()))?;
                let text = absolute.to_str().ok_or_else(|| PlaceError::Path(path.clone()))?;
                let mut url =
                    Url::parse("sqlite:///?mode=rwc").map_err(|error| PlaceError::Address(error.to_string()))?;
                // A path's own percent sign is one; everything else that an address cannot hold is encoded by `set_path`.
                url.set_path(&text.replace('%', "%25"));
                Ok(url)
            }
        }
    }
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        if text.starts_with("env:") || text.starts_with("file:") {
            let revealed = Secret::from(text.to_owned()).reveal();
            let address = revealed.map_err(|error| PlaceError::Secret(error.to_string()))?;
            return server(&address);
        }
        if let Some(path) = text.strip_prefix("sqlite:") {
            return Ok(Self::File(path.strip_prefix("//").unwrap_or(path).into()));
        }
        if text.contains("://") {
            return server(text);
        }
        Ok(Self::File(text.into()))
    }
}

fn server(address: &str) -> Result<Place, PlaceError> {
    if !address.starts_with("postgres://") && !address.starts_with("postgresql://") {
        return Err(PlaceError::Kind);
    }
    let url = Url::parse(address).map_err(|error| PlaceError::Address(error.to_string()))?;
    Ok(Place::Server(url))
}

impl TryFrom<String> for Place {
    type Error = PlaceError;

    fn try_from(text: String) -> Result<Self, PlaceError> {
        text.parse()
    }
}

impl From<&Path> for Place {
    fn from(path: &Path) -> Self {
        Self::File(path.to_owned())
    }
}

impl From<&PathBuf> for Place {
    fn from(path: &PathBuf) -> Self {
        Self::File(path.clone())
    }
}

impl From<&Place> for Place {
    fn from(place: &Place) -> Self {
        place.clone()
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Server(url) => {
                // Also what is hidden among the parameters (`?password=`).
                let mut shown = url.clone();
                shown.set_query(None);
                if shown.password().is_some() && shown.set_password(Some("***")).is_err() {
                    return f.write_str("a PostgreSQL server");
                }
                shown.fmt(f)
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_file_and_an_address_a_server() {
        for (text, path) in [
            ("platform.db", "platform.db"),
            ("/var/lib/x.db", "/var/lib/x.db"),
            ("sqlite:x.db", "x.db"),
            ("sqlite:///var/x.db", "/var/x.db"),
        ] {
            assert_eq!(text.parse(), Ok(Place::File(path.into())), "{text}");
        }
        let server: Place = "postgres://portcullis:pa55@db:5432/platform?password=pa55"
            .parse()
            .unwrap();
        assert_eq!(server.file(), None);
        for shown in [server.to_string(), format!("{server:?}")] {
            assert!(shown.contains("db:5432/platform") && !shown.contains("pa55"), "{shown}");
        }
    }

    #[test]
    fn what_is_neither_says_what_to_use_and_repeats_no_password() {
        for text in [
            "mysql://root:pa55@db/x",
            "env:PORTCULLIS_NO_SUCH_NAME",
            "postgres://db:port/x",
        ] {
            let error = text.parse::<Place>().unwrap_err().to_string();
            assert!(!error.contains("pa55"), "{error}");
        }
        assert_eq!("mysql://root:pa55@db/x".parse::<Place>(), Err(PlaceError::Kind));
    }

    #[test]
    fn any_file_name_reaches_the_database_as_it_is() {
        let url = Place::File("/tmp/a b?c#d%20.db".into()).url().unwrap();
        assert_eq!(url.as_str(), "sqlite:///tmp/a%20b%3Fc%23d%2520.db?mode=rwc");
    }
}
