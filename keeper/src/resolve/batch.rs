//! All resolvers of one head in one pass, over the threads there are.
//!
//! A pure function of the state. What always holds: every query has exactly one answer, at its own place; one that has not had
//! its turn by the deadline is [`Answer::Late`]; a resolver that loops costs its own gas budget and no more.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use engine::{Address, BlockEnv, State};

use super::call::Caller;
use super::{Answer, Answered, Query};

/// Queries that a thread takes at a time: enough to share loaded accounts, few enough to end together.
const CHUNK: usize = 64;

/// How far an evaluation may go.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// In whose name resolvers are called: the Agent's.
    pub from: Address,
    /// Gas for each.
    pub gas: u64,
    /// No query is begun after this.
    pub deadline: Instant,
    /// Threads; at least one is used.
    pub threads: usize,
}

/// Evaluates `queries` on `state` under `env`, in their order of urgency.
#[must_use]
pub fn evaluate(
    chain_id: u64,
    env: &BlockEnv,
    state: &(dyn State + Sync),
    queries: &[Query],
    limits: &Limits,
) -> Vec<Answered> {
    let next = AtomicUsize::new(0);
    let chunks: Vec<&[Query]> = queries.chunks(CHUNK).collect();
    let work = || {
        let mut caller = Caller::new(chain_id, env, state, limits.from, limits.gas);
        let mut done = Vec::new();
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(turn) else { return done };
            let answers: Vec<Answered> = chunk
                .iter()
                .map(|query| {
                    if Instant::now() >= limits.deadline {
                        return Answered {
                            answer: Answer::Late,
                            gas: 0,
                        };
                    }
                    let (answer, gas) = caller.call(query);
                    Answered { answer, gas }
                })
                .collect();
            done.push((turn, answers));
        }
    };
    let threads = limits.threads.clamp(1, chunks.len().max(1));
    let mut done = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut done = work();
        for other in others {
            // A panic of the EVM's loses that thread's answers, which are given as late below.
            done.extend(other.join().unwrap_or_default());
        }
        done
    });
    done.sort_unstable_by_key(|(turn, _)| *turn);
    let mut answers: Vec<Option<Answered>> = (0..queries.len()).map(|_| None).collect();
    for (turn, chunk) in done {
        let places = answers.iter_mut().skip(turn * CHUNK);
        for (place, answered) in places.zip(chunk) {
            *place = Some(answered);
        }
    }
    let late = || Answered {
        answer: Answer::Late,
        gas: 0,
    };
    answers.into_iter().map(|answer| answer.unwrap_or_else(late)).collect()
}
