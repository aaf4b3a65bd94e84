//! Subscriptions at endpoints that push (`ws(s)://`), kept open. What always holds: one that is lost is opened again after a pause; its
//! address, which may hold a key, is in no log; it ends on shutdown.

use std::time::Duration;

use alloy::providers::{Provider, ProviderBuilder, WsConnect};
use state::Node;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Pause before a lost subscription is opened again.
const AGAIN: Duration = Duration::from_secs(1);

/// The endpoints of a node that push.
pub(crate) fn endpoints(node: &Node) -> impl Iterator<Item = Url> {
    let all = node.config().endpoints.iter();
    all.filter(|url| matches!(url.scheme(), "ws" | "wss")).cloned()
}

/// A connection of its own, which is not mended when it breaks; or why there is none.
pub(crate) async fn connect(url: &Url) -> Result<impl Provider, String> {
    let connect = WsConnect::new(url.as_str()).with_max_retries(0);
    let provider = ProviderBuilder::new()
        .disable_recommended_fillers()
        .connect_ws(connect)
        .await;
    provider.map_err(|error| error.to_string())
}

/// Runs `subscription`, which tells why it ended, again and again until `shutdown`, or until it says that nobody wants it any more
/// (`None`). `without` says in the log what is missing while it is away.
pub(crate) async fn keep_open<F>(
    url: Url,
    without: &'static str,
    shutdown: CancellationToken,
    mut subscription: impl FnMut(Url) -> F,
) where
    F: Future<Output = Option<String>>,
{
    loop {
        let ended = tokio::select! {
            () = shutdown.cancelled() => return,
            ended = subscription(url.clone()) => ended,
        };
        let Some(reason) = ended else { return };
        let reason = reason.replace(url.as_str(), "the endpoint");
        tracing::warn!(endpoint = state::label(&url), reason, "{without}");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_opened_again_until_nobody_wants_it_or_all_ends() {
        let url: Url = "ws://127.0.0.1:1/key".parse().unwrap();
        let shutdown = CancellationToken::new();
        let mut opened = 0;
        let lost = |_| {
            opened += 1;
            std::future::ready((opened < 3).then(|| "lost".to_owned()))
        };
        keep_open(url.clone(), "nothing is pushed", shutdown.clone(), lost).await;
        assert_eq!(opened, 3);
        shutdown.cancel();
        keep_open(url, "nothing is pushed", shutdown, |_| std::future::pending()).await;
    }
}
