//! What a transaction is judged on, by and within.

use crate::{BlockEnv, Options, State, WatchSet};

/// Everything around a transaction that decides its verdicts. It is borrowed and copied freely: many transactions are judged in one.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The block that it would be mined in.
    pub env: &'a BlockEnv,
    /// The state before it.
    pub state: &'a dyn State,
    /// What must hold.
    pub set: &'a WatchSet,
    /// Budgets and wishes.
    pub options: &'a Options<'a>,
}

impl<'a> Context<'a> {
    /// In the order of reading: this block, on this state, this must hold, within these budgets.
    #[must_use]
    pub const fn new(env: &'a BlockEnv, state: &'a dyn State, set: &'a WatchSet, options: &'a Options<'a>) -> Self {
        Self {
            env,
            state,
            set,
            options,
        }
    }
}
