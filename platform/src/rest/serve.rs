//! The HTTP server under the routes: TLS, limits, and an end that waits for nobody for ever.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use hyper_util::rt::TokioTimer;
use node::tls::Tls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// How long a request's head may take to arrive.
const HEAD: Duration = Duration::from_secs(10);
/// How long requests under way may take once the server is told to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves `routes` until `shutdown`, over TLS where it is given; every request knows its caller's address.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    routes: Router,
    tls: Option<&Tls>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let handle = Handle::new();
    let ending = async {
        shutdown.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN));
        std::future::pending::<Infallible>().await
    };
    let service = routes.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.into_std()?;
    let serving = async {
        // A head that never ends would hold its connection for ever.
        macro_rules! patient {
            ($server:expr) => {{
                let mut server = $server;
                server
                    .http_builder()
                    .http1()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD);
                server.handle(handle.clone()).serve(service).await
            }};
        }
        match tls {
            Some(tls) => patient!(axum_server::from_tcp_rustls(
                listener,
                RustlsConfig::from_config(tls.http())
            )?),
            None => patient!(axum_server::from_tcp(listener)?),
        }
    };
    tokio::select! {
        served = serving => served,
        never = ending => match never {},
    }
}
