//! An EVM put together for one execution, and taken apart again.
//!
//! What does not depend on the state source outlives an execution in [`Parts`]; the EVM borrows state, transaction and environment
//! for its time. Neither step allocates.

use revm::{
    context::{CfgEnv, Context, Evm, LocalContext, TxEnv},
    context_interface::{FrameStack, JournalTr, LocalContextTr},
    handler::{EthFrame, EthPrecompiles},
    interpreter::{instructions::GasTable, interpreter::EthInterpreter},
    primitives::hardfork::SpecId,
};

use super::{
    database::StateDatabase,
    environment::Environment,
    handler::{ExecutionEvm, Instructions, Looks},
    journal::Boxed,
    trace::Undo,
};

/// The parts of an EVM that outlive an execution.
pub(super) struct Parts {
    pub(super) journal: Box<Undo>,
    pub(super) local: LocalContext,
    pub(super) frames: FrameStack<EthFrame<EthInterpreter>>,
    pub(super) precompiles: EthPrecompiles,
    /// See [`Boxed::marks`].
    pub(super) marks: Option<Vec<usize>>,
}

impl Parts {
    pub(super) fn new(spec: SpecId) -> Self {
        Self {
            journal: Box::new(Undo::new()),
            local: LocalContext::new(),
            frames: FrameStack::new_prealloc(8),
            precompiles: EthPrecompiles::new(spec),
            marks: None,
        }
    }
}

/// Puts an EVM together for the time of one execution. Inlined with its counterpart: a kilobyte less to move.
#[inline(always)]
pub(super) fn assemble<'a>(
    environment: &'a Environment,
    tx: &'a TxEnv,
    cfg: &'a CfgEnv,
    gas: &'a GasTable,
    database: StateDatabase<'a>,
    parts: Parts,
    noted: bool,
) -> ExecutionEvm<'a> {
    let watched = noted || database.expired.is_some();
    let mut evm: ExecutionEvm<'a> = Evm {
        ctx: Context {
            block: &environment.block,
            tx,
            cfg,
            journaled_state: Boxed {
                database,
                inner: parts.journal,
                marks: parts.marks,
            },
            chain: Looks::default(),
            local: parts.local,
            error: Ok(()),
        },
        inspector: (),
        instruction: Instructions { gas, watched },
        precompiles: parts.precompiles,
        frame_stack: parts.frames,
    };
    evm.ctx.journaled_state.set_spec_id(environment.spec);
    evm
}

/// Takes it apart again, keeping what can be used again.
#[inline(always)]
pub(super) fn disassemble(mut evm: ExecutionEvm<'_>) -> Parts {
    evm.frame_stack.clear();
    evm.ctx.local.clear();
    Parts {
        journal: evm.ctx.journaled_state.inner,
        marks: evm.ctx.journaled_state.marks,
        local: evm.ctx.local,
        frames: evm.frame_stack,
        precompiles: evm.precompiles,
    }
}
