//! The resolvers of one head, over a node: evaluates, fetches what was missing, evaluates those again.
//!
//! What always holds: what is known is never asked for again; the rounds are bounded and end at the deadline, and what is unknown
//! by then is said so.

use std::sync::Arc;
use std::time::Instant;

use engine::Missing;
use futures::{StreamExt as _, stream};
use state::{Reader, Snapshot};

use super::batch::{Limits, evaluate};
use super::{Answer, Answered, Query};

/// Rounds of fetching for one head: a resolver that follows more pointers than this waits for the next one.
const ROUNDS: u32 = 8;
/// Pieces of state in one batch.
const BATCH: usize = 256;
/// Batches under way at a time.
const UNDER_WAY: usize = 8;

/// What one head's evaluation cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cost {
    /// Rounds of fetching.
    pub rounds: u32,
    /// Pieces of state that were asked for.
    pub fetched: usize,
    /// Resolver calls, repetitions counted.
    pub calls: usize,
}

/// Evaluates `queries` on `snapshot`, the most urgent first.
///
/// # Errors
/// When the engine's thread died.
pub async fn resolve(
    reader: &Reader,
    snapshot: &Arc<Snapshot>,
    queries: Arc<[Query]>,
    limits: Limits,
) -> Result<(Vec<Answered>, Cost), tokio::task::JoinError> {
    let mut cost = Cost::default();
    let everything: Vec<usize> = (0..queries.len()).collect();
    let mut answers = vec![
        Answered {
            answer: Answer::Late,
            gas: 0
        };
        queries.len()
    ];
    let mut open = everything;
    loop {
        cost.calls += open.len();
        let asked: Vec<Query> = open.iter().filter_map(|place| queries.get(*place).cloned()).collect();
        let (state, chain_id) = (Arc::clone(snapshot), reader.chain_id());
        let given = tokio::task::spawn_blocking(move || {
            let env = state.head().next.clone();
            evaluate(chain_id, &env, &*state, &asked, &limits)
        })
        .await?;
        let mut again = Vec::new();
        let mut missing: Vec<Missing> = Vec::new();
        for (place, answered) in open.into_iter().zip(given) {
            if let Answer::Missing(pieces) = &answered.answer {
                missing.extend(pieces);
                again.push(place);
            }
            if let Some(answer) = answers.get_mut(place) {
                *answer = answered;
            }
        }
        if again.is_empty() || cost.rounds >= ROUNDS || Instant::now() >= limits.deadline {
            return Ok((answers, cost));
        }
        cost.rounds += 1;
        let mut seen = std::collections::HashSet::new();
        missing.retain(|piece| seen.insert(*piece));
        cost.fetched += missing.len();
        let batches: Vec<Vec<Missing>> = missing.chunks(BATCH).map(<[Missing]>::to_vec).collect();
        let fetched: Vec<_> = stream::iter(batches)
            .map(|batch| reader.fetch_pieces(snapshot, batch, limits.deadline))
            .buffer_unordered(UNDER_WAY)
            .collect()
            .await;
        for failed in fetched.into_iter().filter_map(Result::err) {
            tracing::warn!(error = %failed, head = %snapshot.hash(), "state that resolvers read cannot be fetched");
        }
        open = again;
    }
}
