//! A gRPC server: health, reflection, a ready file, and an end that lets calls under way finish.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;

use crate::exit::Failure;
use crate::tls::Tls;

/// The largest message that is sent or taken: a transaction with its whole prestate and code fits many times.
pub const MESSAGE_LIMIT: usize = 64 << 20;

/// How long calls under way may take to finish once the server is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Binds the address that a node serves on.
///
/// # Errors
/// A port in use, or an address that is not this machine's: exit code 2, naming the address.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address)
        .await
        .map_err(|error| Failure::configuration(eyre::eyre!("cannot listen on {address}: {error}")))
}

/// Writes `address` into `path`, whole or not at all: who waits for the file never reads half of it.
///
/// # Errors
/// When the file cannot be written.
pub fn announce(path: &Path, address: SocketAddr) -> Result<(), Failure> {
    let fail = |error: std::io::Error| Failure::configuration(eyre::eyre!("ready file {}: {error}", path.display()));
    let draft = path.with_extension("draft");
    std::fs::write(&draft, address.to_string()).map_err(fail)?;
    std::fs::rename(&draft, path).map_err(fail)
}

/// As [`serve_over`], without TLS.
///
/// # Errors
/// When the transport fails.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    services: &[&'static str],
    descriptors: &'static [u8],
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    serve_over(None, listener, routes, services, descriptors, shutdown).await
}

/// Serves `routes`, over TLS where it is given, with reflection over `descriptors` and a health service that says SERVING for each of `services`,
/// until `shutdown`; then no new calls are taken, and those under way have five seconds.
///
/// # Errors
/// When the transport fails.
pub async fn serve_over(
    tls: Option<&Tls>,
    listener: TcpListener,
    routes: Routes,
    services: &[&'static str],
    descriptors: &'static [u8],
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    let (reporter, health) = tonic_health::server::health_reporter();
    for service in services {
        reporter
            .set_service_status(service, tonic_health::ServingStatus::Serving)
            .await;
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(descriptors)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    // Without it the kernel holds small answers back for 40 ms (Nagle's algorithm against delayed acknowledgements).
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let asked_to_end = shutdown.clone();
    let last_words = async move {
        asked_to_end.cancelled().await;
        // Who balances over several nodes sends no more calls here while those under way finish.
        for service in services {
            reporter
                .set_service_status(service, tonic_health::ServingStatus::NotServing)
                .await;
        }
        reporter
            .set_service_status("", tonic_health::ServingStatus::NotServing)
            .await;
    };
    let mut server = tonic::transport::Server::builder();
    if let Some(tls) = tls {
        server = server.tls_config(tls.grpc())?;
    }
    let server = server
        .http2_keepalive_interval(Some(Duration::from_secs(20)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_routes(routes)
        .add_service(health)
        .add_service(reflection)
        .serve_with_incoming_shutdown(incoming, last_words);
    tokio::select! {
        ended = server => Ok(ended?),
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}
