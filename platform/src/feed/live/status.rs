//! What a live feed tells of itself: for `platform status`, for metrics, and for the log when nodes come and go.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use engine::B256;
use protos::v1;
use url::Url;

/// The state of a live feed, shared between its tasks and whoever asks.
#[derive(Debug, Clone)]
pub struct LiveStatus {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    status: v1::FeedStatus,
    /// Since when no node is listened to.
    unheard: Option<Instant>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Gave way.
    Replaced,
    /// Dropped.
    Dropped,
    /// Included.
    Included,
    /// Heads that left the chain.
    Orphaned,
    /// Stayed good over a head.
    CarriedOver,
    /// Asked for anew.
    Rejudged,
    /// Logged without state.
    WithoutPrestate,
    /// Bodies that were none.
    Refused,
}

impl LiveStatus {
    /// Of a feed of these nodes, none of which is connected.
    #[must_use]
    pub fn new(urls: &[Url]) -> Self {
        let endpoints = urls
            .iter()
            .map(|url| v1::EndpointStatus {
                url: state::label(url),
                ..Default::default()
            })
            .collect();
        let status = v1::FeedStatus {
            endpoints,
            ..Default::default()
        };
        Self {
            inner: Arc::new(Mutex::new(Inner {
                status,
                unheard: Some(Instant::now()),
            })),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn snapshot(&self) -> v1::FeedStatus {
        self.lock().status.clone()
    }

    /// A node is listened to, in this mode. Says for how long none was, if none was.
    pub(super) fn up(&self, endpoint: usize, mode: &str) {
        let mut inner = self.lock();
        if let Some(node) = inner.status.endpoints.get_mut(endpoint) {
            node.connected = true;
            mode.clone_into(&mut node.mode);
            node.error.clear();
            node.connections += 1;
            tracing::info!(node = node.url, mode, "listening to the node");
        }
        let first = inner.status.endpoints.iter().map(|node| node.connections).sum::<u64>() == 1;
        if let Some(since) = inner.unheard.take()
            && !first
        {
            let gap_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            inner.status.gaps += 1;
            inner.status.gap_ms += gap_ms;
            inner.status.last_gap = format!("no node was heard for {gap_ms} ms");
            metrics::counter!("platform_feed_gaps_total").increment(1);
            metrics::counter!("platform_feed_gap_ms_total").increment(gap_ms);
            tracing::warn!(gap_ms, "no node was heard; what was shown and gone meanwhile is missed");
        }
    }

    /// A node is not listened to any more, or cannot be.
    pub(super) fn down(&self, endpoint: usize, error: &str) {
        let mut inner = self.lock();
        if let Some(node) = inner.status.endpoints.get_mut(endpoint) {
            if node.connected || node.error != error {
                tracing::warn!(node = node.url, error, "not listening to the node; trying again");
            }
            node.connected = false;
            node.followed = false;
            node.mode.clear();
            error.clone_into(&mut node.error);
            metrics::counter!("platform_feed_faults_total", "node" => node.url.clone()).increment(1);
        }
        if inner.unheard.is_none() && !inner.status.endpoints.iter().any(|node| node.connected) {
            inner.unheard = Some(Instant::now());
        }
    }

    /// Something that does not end the listening, for people.
    pub(super) fn note(&self, endpoint: usize, error: &str) {
        let mut inner = self.lock();
        if let Some(node) = inner.status.endpoints.get_mut(endpoint) {
            error.clone_into(&mut node.error);
        }
    }

    /// How its pending transactions come, now that it is known.
    pub(super) fn mode(&self, endpoint: usize, mode: &str) {
        if let Some(node) = self.lock().status.endpoints.get_mut(endpoint) {
            mode.clone_into(&mut node.mode);
        }
    }

    pub(super) fn followed(&self, endpoint: Option<usize>) {
        let mut inner = self.lock();
        for (index, node) in inner.status.endpoints.iter_mut().enumerate() {
            node.followed = Some(index) == endpoint;
        }
    }

    pub(super) fn first(&self, endpoint: usize) {
        if let Some(node) = self.lock().status.endpoints.get_mut(endpoint) {
            node.first += 1;
        }
    }

    pub(super) fn head(&self, number: u64, hash: B256) {
        let mut inner = self.lock();
        inner.status.head_number = number;
        inner.status.head_hash = wire::hash_bytes(hash);
        metrics::gauge!("platform_feed_head").set(number as f64);
    }

    /// Heads of which the pending transactions were not heard.
    pub(super) fn missed(&self, heads: u64, until: u64) {
        let mut inner = self.lock();
        inner.status.missed_heads += heads;
        inner.status.last_gap = format!("{heads} heads before {until} were not followed as they came");
        metrics::counter!("platform_feed_missed_heads_total").increment(heads);
        tracing::warn!(
            heads,
            until,
            "heads were not followed as they came; what was pending then is missed"
        );
    }

    pub(super) fn pending(&self, pending: usize) {
        self.lock().status.pending = pending as u64;
        metrics::gauge!("platform_feed_pending").set(pending as f64);
    }

    pub(super) fn count(&self, what: Count, by: u64) {
        if by == 0 {
            return;
        }
        let mut inner = self.lock();
        let status = &mut inner.status;
        let (field, name) = match what {
            Count::Replaced => (&mut status.replaced, "platform_feed_replaced_total"),
            Count::Dropped => (&mut status.dropped, "platform_feed_dropped_total"),
            Count::Included => (&mut status.included, "platform_feed_included_total"),
            Count::Orphaned => (&mut status.orphaned, "platform_feed_orphaned_total"),
            Count::CarriedOver => (&mut status.carried_over, "platform_feed_carried_over_total"),
            Count::Rejudged => (&mut status.rejudged, "platform_feed_rejudged_total"),
            Count::WithoutPrestate => (&mut status.without_prestate, "platform_feed_without_prestate_total"),
            Count::Refused => (&mut status.refused, "platform_feed_refused_total"),
        };
        *field += by;
        metrics::counter!(name).increment(by);
    }
}
