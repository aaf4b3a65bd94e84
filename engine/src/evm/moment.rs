//! The state in the middle of a traced run, right before a frame that ended badly is undone.
//!
//! What always holds: the run goes on as if nobody had looked.

use std::mem;

use alloy::primitives::Log;
use revm::{
    context::{LocalContext, TxEnv},
    context_interface::FrameStack,
};

use super::{
    changes,
    handler::ExecutionEvm,
    post_state::Written,
    rewind,
    trace::{Place, Undo},
    view::{ViewCalls, call_all, hide_destroyed},
};
use crate::{Account, Address, EngineError, State, StateError, U256};

/// A frame that is about to be undone, with what it did.
pub(crate) struct Moment<'j, 'a> {
    evm: &'j mut ExecutionEvm<'a>,
    view_tx: &'a TxEnv,
    from: Place,
}

impl<'j, 'a> Moment<'j, 'a> {
    pub(super) const fn new(evm: &'j mut ExecutionEvm<'a>, view_tx: &'a TxEnv, from: Place) -> Self {
        Self { evm, view_tx, from }
    }

    fn journal(&self) -> &Undo {
        &self.evm.ctx.journaled_state.inner
    }

    /// A slot's word before the transaction and now.
    pub(crate) fn words(&self, state: &dyn State, contract: Address, slot: U256) -> Result<(U256, U256), StateError> {
        changes::words(Some(&self.journal().state), state, contract, slot)
    }

    /// An account before the transaction and now.
    pub(crate) fn account(
        &self,
        state: &dyn State,
        address: Address,
    ) -> Result<(Option<Account>, Option<Account>), StateError> {
        changes::account(Some(&self.journal().state), self.journal().cfg.spec, state, address)
    }

    /// What has been logged up to now.
    pub(crate) fn logs(&self) -> &[Log] {
        &self.journal().logs
    }

    /// What the frame itself has logged.
    pub(crate) fn own_logs(&self) -> &[Log] {
        self.logs().get(self.from.logs..).unwrap_or_default()
    }

    /// Everything that the frame wrote; may name one thing repeatedly.
    pub(crate) fn written(&self) -> impl Iterator<Item = (Address, Written)> {
        let entries = self.journal().journal.iter().skip(self.from.entries);
        entries.flat_map(|entry| rewind::written(entry).into_iter().flatten())
    }

    /// Static calls on the state as it is now, as [`super::Machine::views`] makes them.
    pub(crate) fn views(&mut self, calls: &mut dyn ViewCalls) -> Result<(), EngineError> {
        let evm = &mut *self.evm;
        // The frames that are open, their memory and their transient storage stay out of reach.
        let frames = mem::replace(&mut evm.frame_stack, FrameStack::new_prealloc(8));
        let local = mem::replace(&mut evm.ctx.local, LocalContext::new());
        let tx = mem::replace(&mut evm.ctx.tx, self.view_tx);
        let looks = mem::take(&mut evm.ctx.chain);
        let transient = mem::take(&mut evm.ctx.journaled_state.inner.transient_storage);
        let destroyed = hide_destroyed(&mut evm.ctx.journaled_state.inner);
        let (_, ended) = call_all(evm, calls);
        let journal = &mut evm.ctx.journaled_state.inner;
        journal.state.extend(destroyed);
        journal.transient_storage = transient;
        (evm.frame_stack, evm.ctx.local, evm.ctx.tx, evm.ctx.chain) = (frames, local, tx, looks);
        ended
    }
}
