//! Configuration: a TOML file, then the environment, then flags, each over the one before.
//!
//! A binary has two structs: flags (`clap` and `Serialize`, every field optional, absent ones not serialised) and the
//! configuration (`Deserialize`, defaults, `deny_unknown_fields`), in which each flag has a field of its name.

use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named by `--config` is not there.
    #[error("configuration file {path}: {reason}")]
    File {
        /// As given.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A key that is unknown, missing, or of the wrong form.
    #[error("configuration: {0}")]
    Value(String),
    /// A secret that is not where `env:NAME` or `file:PATH` says.
    #[error("secret {reference}: {reason}")]
    Secret {
        /// The reference as given; never the secret.
        reference: String,
        /// Why it could not be read.
        reason: String,
    },
}

/// Loads `binary`'s configuration: `file`, then variables `PORTCULLIS_<BINARY>_KEY` (nested: `__`), then `flags`.
///
/// # Errors
/// [`ConfigError`] names the key, its source and what is wrong with it.
pub fn load<C: DeserializeOwned>(binary: &str, file: Option<&Path>, flags: &impl Serialize) -> Result<C, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        std::fs::metadata(path).map_err(|reason| ConfigError::File {
            path: path.to_owned(),
            reason,
        })?;
        figment = figment.merge(Toml::file_exact(path));
    }
    let prefix = format!("PORTCULLIS_{}_", binary.to_uppercase());
    figment
        .merge(Env::prefixed(&prefix).split("__"))
        .merge(Serialized::defaults(flags))
        .extract()
        .map_err(|error| ConfigError::Value(describe(error)))
}

fn describe(error: figment::Error) -> String {
    error
        .into_iter()
        .map(|e| {
            let source = e.metadata.as_ref().map(|m| match &m.source {
                Some(source) => format!(" (in {source})"),
                None => format!(" (in {})", m.name),
            });
            let path = if e.path.is_empty() {
                String::new()
            } else {
                format!("`{}`: ", e.path.join("."))
            };
            format!("{path}{}{}", e.kind, source.unwrap_or_default())
        })
        .collect::<Vec<_>>()
        .join("; ")
}

/// A secret: given as it is, or as `env:NAME` or `file:PATH`. Never printed.
#[derive(Clone, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Reads it from where it is. A file's trailing newline is not part of the secret.
    ///
    /// # Errors
    /// [`ConfigError::Secret`] names the reference, never the content.
    pub fn reveal(&self) -> Result<String, ConfigError> {
        let fail = |reason: String| ConfigError::Secret {
            reference: self.0.clone(),
            reason,
        };
        if let Some(name) = self.0.strip_prefix("env:") {
            std::env::var(name).map_err(|error| fail(error.to_string()))
        } else if let Some(path) = self.0.strip_prefix("file:") {
            let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
            Ok(text.trim_end_matches(['\n', '\r']).to_owned())
        } else {
            Ok(self.0.clone())
        }
    }
}

/// Of a flag or its environment variable.
impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::NodeArgs;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Config {
        #[serde(default = "five")]
        replicas: u32,
        #[serde(default)]
        node: crate::cli::NodeConfig,
    }
    fn five() -> u32 {
        5
    }
    #[derive(Serialize)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        replicas: Option<u32>,
        node: NodeArgs,
    }
    fn flags(replicas: Option<u32>) -> Flags {
        Flags {
            replicas,
            node: NodeArgs::default(),
        }
    }
    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn flags_win_over_the_file_and_the_file_over_defaults() {
        let toml = file("replicas = 7\n[node]\nlog = \"debug\"\n");
        let config: Config = load("t1", Some(toml.path()), &flags(None)).unwrap();
        assert_eq!((config.replicas, config.node.log.as_str()), (7, "debug"));
        let config: Config = load("t1", Some(toml.path()), &flags(Some(9))).unwrap();
        assert_eq!(config.replicas, 9);
        let config: Config = load("t1", None, &flags(None)).unwrap();
        assert_eq!(config.replicas, 5);
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file() {
        let toml = file("replicaz = 7\n");
        let error = load::<Config>("t2", Some(toml.path()), &flags(None))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("replicaz") && error.contains(toml.path().file_name().unwrap().to_str().unwrap()),
            "{error}"
        );
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load::<Config>("t3", Some(Path::new("nowhere.toml")), &flags(None))
            .unwrap_err()
            .to_string();
        assert!(error.contains("nowhere.toml"), "{error}");
    }

    #[test]
    fn a_secret_is_read_from_a_file_and_never_printed() {
        let place = file("s3cret\n");
        let secret = Secret(format!("file:{}", place.path().display()));
        assert_eq!(secret.reveal().unwrap(), "s3cret");
        assert!(!format!("{secret:?}").contains("s3cret"));
        assert!(
            Secret("env:PORTCULLIS_NO_SUCH_NAME".into())
                .reveal()
                .unwrap_err()
                .to_string()
                .contains("NO_SUCH_NAME")
        );
    }
}
