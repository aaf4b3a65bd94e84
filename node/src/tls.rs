//! TLS for what a node serves: a certificate and its key, checked at the start, for gRPC and HTTP alike; and how a client knows it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::Deserialize;
use tonic::transport::{Certificate, ClientTlsConfig, Identity, ServerTlsConfig};
use zeroize::Zeroizing;

/// The part `[tls]` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsOptions {
    /// The certificate, followed by those of its issuers: PEM.
    pub certificate: PathBuf,
    /// Its private key: PEM.
    pub key: PathBuf,
}

/// A certificate or a key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{name} {}: {reason}", path.display())]
pub struct TlsError {
    name: &'static str,
    path: PathBuf,
    reason: String,
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Tls {
    certificate: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    http: Arc<ServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls(***)")
    }
}

impl TlsOptions {
    /// Reads both, and sees whether they belong together.
    ///
    /// # Errors
    /// [`TlsError`] names the file.
    pub fn load(&self) -> Result<Tls, TlsError> {
        let certificate = read("tls.certificate", &self.certificate)?;
        let key = Zeroizing::new(read("tls.key", &self.key)?);
        let of_certificate = |reason: String| TlsError {
            name: "tls.certificate",
            path: self.certificate.clone(),
            reason,
        };
        let of_key = |reason: String| TlsError {
            name: "tls.key",
            path: self.key.clone(),
            reason,
        };
        let chain = CertificateDer::pem_slice_iter(&certificate)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| of_certificate(error.to_string()))?;
        if chain.is_empty() {
            return Err(of_certificate("no certificate is in it (PEM)".to_owned()));
        }
        let private = PrivateKeyDer::from_pem_slice(&key).map_err(|error| of_key(error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut http = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| of_certificate(error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| of_key(format!("with {}: {error}", self.certificate.display())))?;
        http.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Tls {
            certificate,
            key,
            http: Arc::new(http),
        })
    }
}

impl Tls {
    /// For an HTTP server.
    #[must_use]
    pub fn http(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.http)
    }

    /// For a gRPC server.
    pub(crate) fn grpc(&self) -> ServerTlsConfig {
        choose_cryptography();
        ServerTlsConfig::new().identity(Identity::from_pem(&self.certificate, self.key.as_slice()))
    }
}

/// For a gRPC client: servers are known by the certificate in the file `ca` (PEM), or by the authorities that browsers trust.
///
/// # Errors
/// [`TlsError`] names the file.
pub fn client(ca: Option<&Path>) -> Result<ClientTlsConfig, TlsError> {
    choose_cryptography();
    Ok(match ca {
        Some(path) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read("certificate", path)?)),
        None => ClientTlsConfig::new().with_webpki_roots(),
    })
}

/// The process's default, that tonic asks for; whoever was first to choose has chosen.
fn choose_cryptography() {
    let _chosen = rustls::crypto::ring::default_provider().install_default();
}

fn read(name: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError {
        name,
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(folder: &Path, certificate: &str, key: &str) -> TlsOptions {
        let file = |name: &str, text: &str| {
            let path = folder.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        TlsOptions {
            certificate: file("certificate.pem", certificate),
            key: file("key.pem", key),
        }
    }

    #[test]
    fn a_certificate_and_its_key_are_taken_and_no_other_pair() {
        let folder = tempfile::tempdir().unwrap();
        let pair = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (one, other) = (pair(), pair());
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        assert!(options(folder.path(), &certificate, &key).load().is_ok());
        let others_key = other.signing_key.serialize_pem();
        for (certificate, key, names) in [
            (certificate.as_str(), others_key.as_str(), "tls.key"),
            ("", key.as_str(), "tls.certificate"),
            (certificate.as_str(), "no key", "tls.key"),
        ] {
            let error = options(folder.path(), certificate, key).load().unwrap_err().to_string();
            assert!(error.starts_with(names) && !error.contains("PRIVATE KEY"), "{error}");
        }
        let gone = TlsOptions {
            certificate: folder.path().join("gone.pem"),
            key: folder.path().join("key.pem"),
        };
        assert!(gone.load().unwrap_err().to_string().contains("gone.pem"));
    }
}
