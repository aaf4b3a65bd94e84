//! How a transaction is run: as revm's mainnet handler does, but without committing, and within a deadline.
//!
//! The deadline is asked at every call frame, at every read of state, and every 64th `JUMPDEST`: no loop is without one. An
//! execution without deadline runs revm's own instruction table.

use std::marker::PhantomData;

use revm::{
    Journal,
    bytecode::opcode::JUMPDEST,
    context::{
        BlockEnv, CfgEnv, Context, Evm, LocalContext, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, Output, ResultGas, SuccessReason},
    },
    context_interface::{
        ContextTr,
        context::{ContextError, take_error},
    },
    handler::{
        EthFrame, EthPrecompiles, EvmTr, FrameResult, FrameTr, Handler, ItemOrResult, instructions::InstructionProvider,
    },
    interpreter::{
        InstructionContext, InstructionExecResult, InstructionResult, SuccessOrHalt,
        instructions::{GasTable, Instruction, InstructionTable, instruction_table},
        interpreter::EthInterpreter,
    },
    primitives::Bytes,
};

use super::database::{ReadError, StateDatabase};

/// The context of one execution: everything but state and buffers is borrowed.
pub(super) type Ctx<'a> =
    Context<&'a BlockEnv, &'a TxEnv, &'a CfgEnv, StateDatabase<'a>, Journal<StateDatabase<'a>>, Jumps, LocalContext>;

/// The EVM of one execution.
pub(super) type ExecutionEvm<'a> = Evm<Ctx<'a>, (), Instructions<'a>, EthPrecompiles, EthFrame<EthInterpreter>>;

/// Jump destinations passed so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Jumps(u32);

/// Jump destinations between two looks at the deadline; a power of two.
const JUMPS_PER_LOOK: u32 = 64;

/// What revm reports when it cannot execute.
pub(super) type ExecutionError = EVMError<ReadError, InvalidTransaction>;

/// The instruction table, a constant, and the gas table of the rules in force. revm's own is a heap allocation per EVM.
pub(super) struct Instructions<'a> {
    pub(super) gas: &'a GasTable,
    pub(super) has_deadline: bool,
}

impl<'a> InstructionProvider for Instructions<'a> {
    type Context = Ctx<'a>;
    type InterpreterTypes = EthInterpreter;

    fn instruction_table(&self) -> &InstructionTable<EthInterpreter, Ctx<'a>> {
        if self.has_deadline {
            const { &table_with_deadline() }
        } else {
            const { &instruction_table::<EthInterpreter, Ctx<'a>>() }
        }
    }

    fn gas_table(&self) -> &GasTable {
        self.gas
    }
}

#[expect(
    clippy::indexing_slicing,
    reason = "the table has 256 entries and JUMPDEST is a byte; checked when compiled"
)]
const fn table_with_deadline<'a>() -> InstructionTable<EthInterpreter, Ctx<'a>> {
    let mut table = instruction_table::<EthInterpreter, Ctx<'a>>();
    table[JUMPDEST as usize] = Instruction::new(jumpdest);
    table
}

/// `JUMPDEST`, which by itself does nothing.
fn jumpdest(context: InstructionContext<'_, Ctx<'_>, EthInterpreter>) -> InstructionExecResult {
    let host = context.host;
    host.chain.0 = host.chain.0.wrapping_add(1);
    if host.chain.0.is_multiple_of(JUMPS_PER_LOOK)
        && let Err(late) = host.journaled_state.database.in_time()
    {
        host.error = Err(ContextError::Db(late));
        return Err(InstructionResult::FatalExternalError);
    }
    Ok(())
}

/// Runs a transaction and leaves its result on the journal.
pub(super) struct JudgingHandler<'a>(pub(super) PhantomData<&'a ()>);

impl<'a> Handler for JudgingHandler<'a> {
    type Evm = ExecutionEvm<'a>;
    type Error = ExecutionError;
    type HaltReason = HaltReason;

    /// The same loop, asking for the deadline at every frame.
    fn run_exec_loop(
        &mut self,
        evm: &mut Self::Evm,
        first_frame_input: <<Self::Evm as EvmTr>::Frame as FrameTr>::FrameInit,
    ) -> Result<FrameResult, Self::Error> {
        if let ItemOrResult::Result(result) = evm.frame_init(first_frame_input)? {
            return Ok(result);
        }
        loop {
            evm.ctx.db().in_time()?;
            let result = match evm.frame_run()? {
                ItemOrResult::Item(init) => match evm.frame_init(init)? {
                    ItemOrResult::Item(_) => continue,
                    ItemOrResult::Result(result) => result,
                },
                ItemOrResult::Result(result) => result,
            };
            if let Some(result) = evm.frame_return_result(result)? {
                // What stopped the outermost frame must not be followed by further reads.
                take_error::<Self::Error, _>(evm.ctx().error())?;
                return Ok(result);
            }
        }
    }

    /// Neither commits nor takes the logs: both are read off the journal.
    fn execution_result(
        &mut self,
        evm: &mut Self::Evm,
        result: FrameResult,
        gas: ResultGas,
    ) -> Result<ExecutionResult<HaltReason>, Self::Error> {
        take_error::<Self::Error, _>(evm.ctx().error())?;
        let ended = result.instruction_result();
        let logs = Vec::new();
        match SuccessOrHalt::<HaltReason>::from(ended) {
            SuccessOrHalt::Success(SuccessReason::Stop | SuccessReason::Return | SuccessReason::SelfDestruct) => {
                let (reason, output) = (SuccessReason::Stop, Output::Call(Bytes::new()));
                Ok(ExecutionResult::Success {
                    reason,
                    gas,
                    logs,
                    output,
                })
            }
            SuccessOrHalt::Revert => Ok(ExecutionResult::Revert {
                gas,
                logs,
                output: Bytes::new(),
            }),
            SuccessOrHalt::Halt(reason) => Ok(ExecutionResult::Halt { reason, gas, logs }),
            SuccessOrHalt::FatalExternalError | SuccessOrHalt::Internal(_) => {
                Err(EVMError::Custom(format!("execution ended with {ended:?}")))
            }
        }
    }
}
