//! A static call on the journal as it stands: nothing is copied, and what it loaded or warmed is undone.
//!
//! The call has the zero address as caller and origin, no value and no gas price: a view says the same whoever sends the
//! transaction.

use revm::{
    context::ContextTr as _,
    context_interface::{JournalTr as _, LocalContextTr as _},
    handler::{EvmTr as _, FrameResult, Handler as _},
    interpreter::{
        CallInput, CallInputs, CallScheme, CallValue, FrameInput, InstructionResult, SharedMemory, SuccessOrHalt,
        interpreter_action::FrameInit,
    },
    primitives::Bytes,
};

use super::{
    changes,
    handler::{ExecutionError, ExecutionEvm, JudgingHandler, Looks},
    machine::{Fault, fault},
    trace::Undo,
};
use crate::{Address, EngineError, EnvReads, Reason, ViewError, lang::View};

/// What a call came to: the gas that it used, and what it returned.
pub(super) struct Called {
    pub(super) gas_used: u64,
    pub(super) output: Result<Bytes, ViewError>,
}

/// Calls with this much gas. Whatever happens, the journal is as it was before.
pub(super) fn call(evm: &mut ExecutionEvm<'_>, view: &View, gas: u64) -> Result<Called, ExecutionError> {
    let depth = evm.ctx.journaled_state.inner.depth;
    let checkpoint = evm.ctx.journal_mut().checkpoint();
    let result = run(evm, view, gas);
    evm.frame_stack.clear();
    let journal = evm.ctx.journal_mut();
    journal.checkpoint_revert(checkpoint);
    journal.inner.depth = depth;
    let Some(result) = result? else {
        return Ok(Called {
            gas_used: 0,
            output: Err(ViewError::NoCode),
        });
    };
    let ended = result.instruction_result();
    // Unused gas of an exceptional halt is gone.
    let gas_used = match ended {
        InstructionResult::Revert => gas.saturating_sub(result.gas().remaining()),
        ended if ended.is_ok() => gas.saturating_sub(result.gas().remaining()),
        _ => gas,
    };
    let output = match SuccessOrHalt::<revm::context::result::HaltReason>::from(ended) {
        SuccessOrHalt::Success(_) => match result {
            FrameResult::Call(outcome) => Ok(outcome.result.output),
            FrameResult::Create(_) => Err(ViewError::Halted("it created".to_owned())),
        },
        SuccessOrHalt::Revert => Err(ViewError::Reverted),
        SuccessOrHalt::Halt(revm::context::result::HaltReason::OutOfGas(_)) => Err(ViewError::OutOfGas { gas }),
        SuccessOrHalt::Halt(reason) => Err(ViewError::Halted(format!("{reason:?}"))),
        SuccessOrHalt::FatalExternalError | SuccessOrHalt::Internal(_) => {
            return Err(ExecutionError::Custom(format!("view ended with {ended:?}")));
        }
    };
    Ok(Called { gas_used, output })
}

/// `None` when there is no code to call.
fn run(evm: &mut ExecutionEvm<'_>, view: &View, gas: u64) -> Result<Option<FrameResult>, ExecutionError> {
    evm.ctx.db().in_time()?;
    let journal = evm.ctx.journal_mut();
    let account = journal.load_account_with_code(view.contract)?;
    let delegate = account
        .info
        .code
        .as_ref()
        .and_then(revm::bytecode::Bytecode::eip7702_address);
    let account = match delegate {
        Some(delegate) => journal.load_account_with_code(delegate)?,
        None => account,
    };
    let known_bytecode = (account.info.code_hash(), account.info.code.clone().unwrap_or_default());
    if known_bytecode.1.is_empty() && !evm.precompiles.contains(&view.contract) {
        return Ok(None);
    }
    let memory = SharedMemory::new_with_buffer(evm.ctx.local().shared_memory_buffer().clone());
    let frame_input = FrameInput::Call(Box::new(CallInputs {
        input: CallInput::Bytes(view.calldata.clone()),
        gas_limit: gas,
        target_address: view.contract,
        bytecode_address: view.contract,
        known_bytecode,
        caller: Address::ZERO,
        value: CallValue::Apparent(crate::U256::ZERO),
        scheme: CallScheme::StaticCall,
        is_static: true,
        return_memory_offset: 0..0,
        reservoir: 0,
        charged_new_account_state_gas: false,
    }));
    let init = FrameInit {
        depth: 0,
        memory,
        frame_input,
    };
    let result = JudgingHandler::new(None).run_exec_loop(evm, init)?;
    revm::context_interface::context::take_error::<ExecutionError, _>(evm.ctx().error())?;
    Ok(Some(result))
}

/// Why a view has no output.
#[derive(Debug)]
pub(crate) enum ViewFault {
    View(ViewError),
    Reason(Reason),
}

/// Views to call, one after the other.
pub(crate) trait ViewCalls {
    /// The next one, and its gas.
    fn next(&mut self) -> Option<(&View, u64)>;
    /// What it used, whether it read the block environment, and what it returned.
    fn done(&mut self, gas_used: u64, read_block: bool, result: Result<Bytes, ViewFault>);
}

/// Calls one view after the other. Returns what they read of the block environment, where that is noted.
pub(super) fn call_all(evm: &mut ExecutionEvm<'_>, calls: &mut dyn ViewCalls) -> (EnvReads, Result<(), EngineError>) {
    let mut reads = EnvReads::NONE;
    while let Some((view, gas)) = calls.next() {
        evm.ctx.chain = Looks::default();
        let (used, result) = match call(evm, view, gas) {
            Ok(called) => (called.gas_used, called.output.map_err(ViewFault::View)),
            Err(error) => match fault(error) {
                Fault::Undecided(reason) => (0, Err(ViewFault::Reason(reason))),
                Fault::Broken(error) => return (reads, Err(error)),
            },
        };
        // revm leaves an error of the database where the next call would find it.
        evm.ctx.error = Ok(());
        reads.insert(evm.ctx.chain.env);
        calls.done(used, evm.ctx.chain.env.of_block(), result);
    }
    (reads, Ok(()))
}

/// revm removes a destroyed contract only when it commits. Puts an account without anything in its place, and returns what was
/// there.
pub(super) fn hide_destroyed(journal: &mut Undo) -> Vec<(Address, revm::state::Account)> {
    let gone: Vec<Address> = journal
        .state
        .iter()
        .filter(|(_, account)| changes::is_destroyed(account))
        .map(|(address, _)| *address)
        .collect();
    let transaction = journal.transaction_id;
    gone.into_iter()
        .filter_map(|address| {
            // "Created" keeps its storage from being asked of the state source.
            let empty = revm::state::Account::new_not_existing(transaction).with_created_mark();
            journal.state.insert(address, empty).map(|account| (address, account))
        })
        .collect()
}
