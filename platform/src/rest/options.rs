//! The part `[http]` of the configuration, and the HTTP server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use node::config::Secret;
use node::database::Place;
use node::exit::{Failure, OrConfiguration as _};
use node::tls::Tls;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Rest;
use super::key::{Role, make};
use super::limits::{LimitOptions, Limits};
use super::serve::serve;
use super::vault::Vault;
use crate::audits::Standings;
use crate::store::Store;

/// How the registry is served over HTTP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpOptions {
    /// Where it listens, as in `127.0.0.1:8000`; without it nothing is served.
    pub listen: Option<SocketAddr>,
    /// What may be done without a key: `read` unless said otherwise. `"none"` asks for a key always, `"write"` for none ever.
    pub anonymous: Anonymous,
    /// The key of stored secrets, 64 hexadecimal digits: `env:NAME` or `file:PATH`. Without it a file beside the database, made
    /// when it is not there.
    pub secrets_key: Option<Secret>,
    /// How often anybody may ask.
    pub limits: LimitOptions,
    /// Written with the address once it is served, as `node.ready_file`.
    pub ready_file: Option<PathBuf>,
}

/// What may be done without a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anonymous {
    /// Nothing.
    None,
    /// Reading.
    #[default]
    Read,
    /// Reading and writing: for a machine of one's own.
    Write,
}

impl HttpOptions {
    fn vault(&self, database: &Place) -> Result<Vault, Failure> {
        match (&self.secrets_key, database) {
            (Some(secret), _) => {
                Vault::with_key("http.secrets_key", &secret.reveal().or_configuration()?).or_configuration()
            }
            (None, Place::File(path)) => Vault::in_file(&path.with_extension("secrets-key")).or_configuration(),
            // Each platform on that database needs the same one.
            (None, Place::Server(_)) => Err(Failure::configuration(eyre::eyre!(
                "configuration: `http.secrets_key`: is needed where the database is a server: 64 hexadecimal digits, as env:NAME or file:PATH"
            ))),
        }
    }

    /// Serves the registry until `shutdown`, over TLS where it is given; at once done where it is not to be served. The first start makes an admin key and
    /// prints it, once.
    ///
    /// # Errors
    /// Exit code 2: the address, or the key of the secrets.
    pub async fn serve(
        &self,
        store: Arc<Store>,
        audits: watch::Receiver<Standings>,
        tls: Option<&Tls>,
        shutdown: CancellationToken,
    ) -> Result<(), Failure> {
        let Some(listen) = self.listen else { return Ok(()) };
        let vault = self.vault(store.database().place())?;
        if store.keys(None).await?.is_empty() {
            let key = make(&store, "first", Role::Admin).await?;
            eprintln!(
                "the first API key, with the role admin; it is not shown again: {}",
                key.as_str()
            );
        }
        let anonymous = match self.anonymous {
            Anonymous::None => None,
            Anonymous::Read => Some(Role::Read),
            Anonymous::Write => Some(Role::Write),
        };
        let listener = node::server::bind(listen).await?;
        let address = listener.local_addr()?;
        if let Some(path) = &self.ready_file {
            node::server::announce(path, address)?;
        }
        tracing::info!(%address, "the registry is served over HTTP; /docs is a page to try it on");
        let rest = Rest::new(store, vault, anonymous)
            .until(shutdown.clone())
            .audits(audits)
            .limits(Limits::new(self.limits));
        Ok(serve(listener, rest.router(), tls, shutdown).await?)
    }
}
