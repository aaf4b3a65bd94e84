//! One static call of a resolver, as the contract makes it: nothing is kept, nothing is cloned.
//!
//! What always holds: an answer that rests on something missing is never given as an answer.

use engine::{Address, BlockEnv, State, U256};
use revm::bytecode::Bytecode;
use revm::context::result::HaltReason;
use revm::context::{ContextTr as _, TxEnv};
use revm::context_interface::context::take_error;
use revm::context_interface::{JournalTr as _, LocalContextTr as _};
use revm::handler::{EthFrame, EvmTr as _, FrameResult, Handler as _, MainnetHandler};
use revm::interpreter::interpreter_action::FrameInit;
use revm::interpreter::{
    CallInput, CallInputs, CallScheme, CallValue, FrameInput, InstructionResult, SharedMemory, SuccessOrHalt,
};

use super::{Answer, Fault, Query, decode};
use crate::vm::{self, Evm, RunError};

/// Calls resolvers, one after the other, on one state.
pub(super) struct Caller<'a> {
    evm: Evm<'a>,
    from: Address,
    gas: u64,
}

impl<'a> Caller<'a> {
    /// Calls in `from`'s name (the Agent's: it is who calls on the chain), with `gas` for each.
    pub(super) fn new(chain_id: u64, env: &BlockEnv, state: &'a dyn State, from: Address, gas: u64) -> Self {
        let mut evm = vm::evm(chain_id, env, state);
        evm.ctx.tx = TxEnv {
            caller: from,
            gas_price: 0,
            gas_limit: gas,
            chain_id: Some(chain_id),
            ..TxEnv::default()
        };
        Self { evm, from, gas }
    }

    /// What the resolver says, and the gas that it used.
    pub(super) fn call(&mut self, query: &Query) -> (Answer, u64) {
        let ran = self.run(query);
        self.evm.frame_stack.clear();
        let missing = vm::take_missing(&mut self.evm, ran.is_err());
        match ran {
            _ if !missing.is_empty() => (Answer::Missing(missing), 0),
            Ok(None) => (Answer::Bad(Fault::NoCode), 0),
            Ok(Some(result)) => self.judge(result),
            Err(error) => (Answer::Bad(Fault::Halted(error.to_string())), 0),
        }
    }

    fn judge(&self, result: FrameResult) -> (Answer, u64) {
        let ended = result.instruction_result();
        let left = if ended.is_ok() || ended == InstructionResult::Revert {
            result.gas().remaining()
        } else {
            0
        };
        let answer = match SuccessOrHalt::<HaltReason>::from(ended) {
            SuccessOrHalt::Success(_) => match result {
                FrameResult::Call(outcome) => decode(&outcome.result.output),
                FrameResult::Create(_) => Answer::Bad(Fault::Garbage),
            },
            SuccessOrHalt::Revert => Answer::Bad(Fault::Reverted),
            SuccessOrHalt::Halt(HaltReason::OutOfGas(_)) => Answer::Bad(Fault::OutOfGas { gas: self.gas }),
            SuccessOrHalt::Halt(reason) => Answer::Bad(Fault::Halted(format!("{reason:?}"))),
            SuccessOrHalt::FatalExternalError | SuccessOrHalt::Internal(_) => {
                Answer::Bad(Fault::Halted(format!("{ended:?}")))
            }
        };
        (answer, self.gas.saturating_sub(left))
    }

    fn run(&mut self, query: &Query) -> Result<Option<FrameResult>, RunError> {
        let evm = &mut self.evm;
        let depth = evm.ctx.journaled_state.inner.depth;
        let checkpoint = evm.ctx.journal_mut().checkpoint();
        let result = enter(evm, self.from, query, self.gas);
        let journal = evm.ctx.journal_mut();
        journal.checkpoint_revert(checkpoint);
        journal.inner.depth = depth;
        result
    }
}

/// `None` when there is no code to call.
fn enter(evm: &mut Evm<'_>, from: Address, query: &Query, gas: u64) -> Result<Option<FrameResult>, RunError> {
    let journal = evm.ctx.journal_mut();
    let account = journal.load_account_with_code(query.resolver)?;
    let delegate = account.info.code.as_ref().and_then(Bytecode::eip7702_address);
    let account = match delegate {
        Some(delegate) => journal.load_account_with_code(delegate)?,
        None => account,
    };
    let known_bytecode = (account.info.code_hash(), account.info.code.clone().unwrap_or_default());
    if known_bytecode.1.is_empty() {
        return Ok(None);
    }
    let memory = SharedMemory::new_with_buffer(evm.ctx.local().shared_memory_buffer().clone());
    let frame_input = FrameInput::Call(Box::new(CallInputs {
        input: CallInput::Bytes(query.calldata.clone()),
        gas_limit: gas,
        target_address: query.resolver,
        bytecode_address: query.resolver,
        known_bytecode,
        caller: from,
        value: CallValue::Apparent(U256::ZERO),
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
    let result = MainnetHandler::<_, RunError, EthFrame>::default().run_exec_loop(evm, init)?;
    take_error::<RunError, _>(evm.ctx().error())?;
    Ok(Some(result))
}
