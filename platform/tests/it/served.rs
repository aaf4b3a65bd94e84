//! A served registry, and a client with keys.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use platform::audits::Standings;
use platform::rest::Rest;
use platform::rest::key::{Role, make};
use platform::rest::vault::Vault;
use platform::store::Store;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::world::open;

/// A contract's address.
pub(crate) const VAULT: &str = "0x5FbDB2315678afecb367f032d93F642f64180aa3";

pub(crate) struct World {
    pub address: SocketAddr,
    pub client: Client,
    /// With the role write.
    pub key: String,
    /// With the role admin.
    pub admin: String,
    pub store: Arc<Store>,
    pub shutdown: CancellationToken,
    /// What the audits came to.
    pub audits: watch::Sender<Standings>,
    _folder: tempfile::TempDir,
    serving: tokio::task::JoinHandle<()>,
}

/// What came back.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Some(Role::Read)).await
    }

    pub(crate) async fn with(anonymous: Option<Role>) -> Self {
        Self::limited(anonymous, Duration::from_secs(30)).await
    }

    /// Gives a request no longer than `limit`.
    pub(crate) async fn limited(anonymous: Option<Role>, limit: Duration) -> Self {
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path()).await;
        let key = make(&store, "front end", Role::Write).await.unwrap().to_string();
        let admin = make(&store, "operator", Role::Admin).await.unwrap().to_string();
        let vault = Vault::in_file(&folder.path().join("secrets")).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (audits, audited) = watch::channel(Standings::default());
        let rest = Rest::new(Arc::clone(&store), vault, anonymous)
            .until(shutdown.clone())
            .audits(audited)
            .request_limit(limit);
        let router = rest.router();
        let ended = shutdown.clone();
        let serving = tokio::spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(async move { ended.cancelled().await });
            served.await.unwrap();
        });
        Self {
            address,
            client: Client::new(),
            key,
            admin,
            store,
            shutdown,
            audits,
            _folder: folder,
            serving,
        }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request with this key (none where it is empty) and these headers.
    pub(crate) async fn send(
        &self,
        key: &str,
        method: Method,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = self.client.request(method, self.url(path));
        if !key.is_empty() {
            request = request.header("X-API-Key", key);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body: response.json().await.unwrap_or_default(),
        }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        self.ask_with(&self.key, method, path, body).await
    }

    pub(crate) async fn ask_with(&self, key: &str, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let answer = self.send(key, method, path, body, &[]).await;
        (answer.status, answer.body)
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.ask(Method::GET, path, None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.ask(Method::POST, path, Some(body)).await
    }

    /// Posts what must be taken, and gives its number.
    pub(crate) async fn make(&self, path: &str, body: Value) -> u64 {
        let (status, made) = self.post(path, body).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {made}");
        made["id"].as_u64().unwrap()
    }

    /// Waits until the server has ended by itself.
    pub(crate) async fn ended(mut self) {
        (&mut self.serving).await.unwrap();
    }
}
