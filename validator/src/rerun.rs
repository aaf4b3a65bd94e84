//! What only running it once more tells of a confirmed violation: the calls down to the write that broke the invariant, and the
//! balances that the transaction changes.
//!
//! Both are for people and for telling attacks apart; nothing is decided by them, and where the state for it is not there they are empty.

use engine::{Call, Context, Engine, Moved, Options, WatchSet};

use crate::defend::Finding;

/// Changed balances that are told of one transaction.
const BALANCES: usize = 32;

/// What the second run told.
#[derive(Debug, Default)]
pub(crate) struct Rerun {
    /// From the transaction down to the write. Empty: the attack is known by its sender and its own call.
    pub(crate) path: Vec<Call>,
    /// The watched contract's balances first.
    pub(crate) moved: Moved,
}

/// Runs it on a thread of its own kind, never on the runtime's.
pub(crate) async fn rerun(finding: &Finding<'_>) -> Rerun {
    let Some(state) = finding.prestate.cloned() else {
        return Rerun::default();
    };
    let (challenge, invariant) = (finding.challenge.clone(), finding.invariant.clone());
    let ran = tokio::task::spawn_blocking(move || {
        let victim = invariant.contract();
        let set = WatchSet::of([invariant]).ok()?;
        let (env, before, tx) = (&challenge.env, &challenge.predecessors, &challenge.transaction);
        let mut engine = Engine::new(challenge.chain_id);
        let ran = engine.judge_and_moved(before, tx, Context::new(env, &state, &set, &Options::default()));
        let (outcome, moved) = ran.ok()?;
        let path = outcome.violations().next().map(|witness| witness.path.clone());
        Some(Rerun {
            path: path.unwrap_or_default(),
            moved: moved.largest(BALANCES, victim),
        })
    });
    ran.await.ok().flatten().unwrap_or_default()
}
