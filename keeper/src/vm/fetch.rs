//! Fetching what runs missed, in batches.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use engine::Missing;
use futures::{StreamExt as _, stream};
use state::{Reader, Snapshot};

/// Pieces of state in one batch: as many as a reader takes.
const BATCH: usize = 256;
/// Batches under way at a time.
const UNDER_WAY: usize = 8;

/// Fetches these pieces and gives how many they were. What cannot be had is logged and stays missing.
pub(crate) async fn fetch(
    reader: &Reader,
    snapshot: &Arc<Snapshot>,
    mut missing: Vec<Missing>,
    deadline: Instant,
) -> usize {
    let mut seen = HashSet::new();
    missing.retain(|piece| seen.insert(*piece));
    let batches: Vec<Vec<Missing>> = missing.chunks(BATCH).map(<[Missing]>::to_vec).collect();
    let fetched: Vec<_> = stream::iter(batches)
        .map(|batch| reader.fetch(snapshot, batch, deadline))
        .buffer_unordered(UNDER_WAY)
        .collect()
        .await;
    for failed in fetched.into_iter().filter_map(Result::err) {
        tracing::warn!(error = %failed, head = %snapshot.hash(), "state that jobs read cannot be fetched");
    }
    missing.len()
}
