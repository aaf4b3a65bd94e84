//! The resolvers of one head, over a node: evaluates, fetches what was missing, evaluates those again.
//!
//! What always holds: what is known is never asked for again; the rounds are bounded and end at the deadline, and what is unknown
//! by then is said so.

use std::sync::Arc;
use std::time::Instant;

use engine::Missing;
use state::{Reader, Snapshot};

use super::batch::{Limits, evaluate};
use super::{Answer, Answered, Query};
use crate::vm::fetch::fetch;

/// Rounds of fetching for one head: a resolver that follows more pointers than this waits for the next one.
const ROUNDS: u32 = 8;

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
        cost.fetched += fetch(reader, snapshot, missing, limits.deadline).await;
        open = again;
    }
}
