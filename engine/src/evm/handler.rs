//! How a transaction is run: as revm's mainnet handler does, but without committing, and within a deadline.
//!
//! The deadline is asked at every call frame, at every read of state, and every 64th `JUMPDEST`: no loop is without one. An
//! execution without deadline runs revm's own instruction table. The other table also notes whether the block environment was
//! read; only a traced run (a second one) looks at frames.

use revm::{
    bytecode::opcode::{
        BASEFEE, BLOBBASEFEE, BLOCKHASH, COINBASE, DIFFICULTY, GASLIMIT, GASPRICE, JUMPDEST, NUMBER, TIMESTAMP,
    },
    context::{
        BlockEnv, CfgEnv, Context, Evm, LocalContext, TxEnv,
        result::{EVMError, ExecutionResult, HaltReason, InvalidTransaction, Output, ResultGas, SuccessReason},
    },
    context_interface::{
        ContextTr,
        context::{ContextError, take_error},
    },
    handler::{
        EthFrame, EthPrecompiles, EvmTr, FrameData, FrameResult, FrameTr, Handler, ItemOrResult,
        instructions::InstructionProvider,
    },
    interpreter::{
        InstructionContext, InstructionExecResult, InstructionResult, InterpreterAction, SuccessOrHalt,
        instructions::{GasTable, Instruction, InstructionTable, block_info, host, instruction_table, tx_info},
        interpreter::EthInterpreter,
    },
    primitives::{Address, Bytes},
};

use super::{
    database::{ReadError, StateDatabase},
    journal::Boxed,
    trace::Watcher,
};
use crate::EnvReads;

/// The context of one execution: everything but state and buffers is borrowed.
pub(super) type Ctx<'a> =
    Context<&'a BlockEnv, &'a TxEnv, &'a CfgEnv, StateDatabase<'a>, Boxed<'a>, Looks, LocalContext>;

/// The EVM of one execution.
pub(super) type ExecutionEvm<'a> = Evm<Ctx<'a>, (), Instructions<'a>, EthPrecompiles, EthFrame<EthInterpreter>>;

/// What the watched instructions saw.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Looks {
    /// Jump destinations passed so far.
    jumps: u32,
    /// What was read of the block environment.
    pub(super) env: EnvReads,
}

/// Jump destinations between two looks at the deadline; a power of two.
const JUMPS_PER_LOOK: u32 = 64;

/// What revm reports when it cannot execute.
pub(super) type ExecutionError = EVMError<ReadError, InvalidTransaction>;

/// The instruction table, a constant, and the gas table of the rules in force. revm's own is a heap allocation per EVM.
pub(super) struct Instructions<'a> {
    pub(super) gas: &'a GasTable,
    /// Looks at the deadline, and notes reads of the block environment.
    pub(super) watched: bool,
}

impl<'a> InstructionProvider for Instructions<'a> {
    type Context = Ctx<'a>;
    type InterpreterTypes = EthInterpreter;

    fn instruction_table(&self) -> &InstructionTable<EthInterpreter, Ctx<'a>> {
        if self.watched {
            const { &watched_table() }
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
    reason = "the table has 256 entries and an opcode is a byte; checked when compiled"
)]
const fn watched_table<'a>() -> InstructionTable<EthInterpreter, Ctx<'a>> {
    let mut table = instruction_table::<EthInterpreter, Ctx<'a>>();
    table[JUMPDEST as usize] = Instruction::new(jumpdest);
    table[BLOCKHASH as usize] = Instruction::new(noted::blockhash);
    table[COINBASE as usize] = Instruction::new(noted::coinbase);
    table[TIMESTAMP as usize] = Instruction::new(noted::timestamp);
    table[NUMBER as usize] = Instruction::new(noted::number);
    table[DIFFICULTY as usize] = Instruction::new(noted::difficulty);
    table[GASLIMIT as usize] = Instruction::new(noted::gaslimit);
    table[BASEFEE as usize] = Instruction::new(noted::basefee);
    table[BLOBBASEFEE as usize] = Instruction::new(noted::blobbasefee);
    table[GASPRICE as usize] = Instruction::new(noted::gasprice);
    table
}

/// The instructions that read the block environment, noting that they did.
mod noted {
    use super::{Ctx, EnvReads, EthInterpreter, InstructionContext, InstructionExecResult, block_info, host, tx_info};

    macro_rules! noted {
        ($($name:ident, $what:ident => $instruction:path);* $(;)?) => {$(
            pub(super) fn $name(context: InstructionContext<'_, Ctx<'_>, EthInterpreter>) -> InstructionExecResult {
                context.host.chain.env.insert(EnvReads::$what);
                $instruction(context)
            }
        )*};
    }

    noted! {
        blockhash, BLOCK_HASH => host::blockhash;
        coinbase, BENEFICIARY => block_info::coinbase;
        timestamp, TIMESTAMP => block_info::timestamp;
        number, NUMBER => block_info::block_number;
        difficulty, PREVRANDAO => block_info::difficulty;
        gaslimit, GAS_LIMIT => block_info::gaslimit;
        basefee, BASE_FEE => block_info::basefee;
        blobbasefee, BLOB_BASE_FEE => block_info::blob_basefee;
        gasprice, GAS_PRICE => tx_info::gasprice;
    }
}

/// `JUMPDEST`, which by itself does nothing.
fn jumpdest(context: InstructionContext<'_, Ctx<'_>, EthInterpreter>) -> InstructionExecResult {
    let host = context.host;
    host.chain.jumps = host.chain.jumps.wrapping_add(1);
    if host.chain.jumps.is_multiple_of(JUMPS_PER_LOOK)
        && let Err(late) = host.journaled_state.database.in_time()
    {
        host.error = Err(ContextError::Db(late));
        return Err(InstructionResult::FatalExternalError);
    }
    Ok(())
}

/// Runs a transaction and leaves its result on the journal.
pub(super) struct JudgingHandler<'a, 't> {
    /// Looks at the frames, and what views are called under meanwhile; nobody does in an ordinary run.
    trace: Option<(&'t mut dyn Watcher, &'a TxEnv)>,
}

impl<'a, 't> JudgingHandler<'a, 't> {
    pub(super) const fn new(trace: Option<(&'t mut dyn Watcher, &'a TxEnv)>) -> Self {
        Self { trace }
    }
}

impl<'a> Handler for JudgingHandler<'a, '_> {
    type Evm = ExecutionEvm<'a>;
    type Error = ExecutionError;
    type HaltReason = HaltReason;

    /// The same loop, asking for the deadline at every frame.
    fn run_exec_loop(
        &mut self,
        evm: &mut Self::Evm,
        first_frame_input: <<Self::Evm as EvmTr>::Frame as FrameTr>::FrameInit,
    ) -> Result<FrameResult, Self::Error> {
        if let Some((trace, view_tx)) = &mut self.trace {
            return run_traced(evm, first_frame_input, *trace, view_tx);
        }
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

/// The same loop again, showing every frame to the trace: on entry, before its changes are undone, and on return.
fn run_traced<'a>(
    evm: &mut ExecutionEvm<'a>,
    first: <EthFrame<EthInterpreter> as FrameTr>::FrameInit,
    trace: &mut dyn Watcher,
    view_tx: &'a TxEnv,
) -> Result<FrameResult, ExecutionError> {
    let entered = trace.describe(&first, &evm.ctx);
    if let ItemOrResult::Result(result) = evm.frame_init(first)? {
        return Ok(result);
    }
    trace.enter(entered, created(evm.frame_stack.get()));
    loop {
        evm.ctx.db().in_time()?;
        let frame = evm.frame_stack.get();
        let action = {
            let (table, gas) = (evm.instruction.instruction_table(), evm.instruction.gas_table());
            frame.interpreter.run_plain(table, gas, &mut evm.ctx)
        };
        if let InterpreterAction::Return(result) = &action
            && !result.result.is_ok()
            && evm.ctx.error.is_ok()
        {
            trace.reverting(evm, view_tx);
        }
        let frame = evm.frame_stack.get();
        let result = match frame.process_next_action::<_, ContextError<ReadError>>(&mut evm.ctx, action)? {
            ItemOrResult::Item(init) => {
                let entered = trace.describe(&init, &evm.ctx);
                match evm.frame_init(init)? {
                    ItemOrResult::Item(_) => {
                        trace.enter(entered, created(evm.frame_stack.get()));
                        continue;
                    }
                    ItemOrResult::Result(result) => result,
                }
            }
            ItemOrResult::Result(result) => {
                frame.set_finished(true);
                trace.leave(&evm.ctx.journaled_state.inner, result.instruction_result().is_ok());
                result
            }
        };
        if let Some(result) = evm.frame_return_result(result)? {
            take_error::<ExecutionError, _>(evm.ctx().error())?;
            return Ok(result);
        }
    }
}

const fn created(frame: &EthFrame<EthInterpreter>) -> Option<Address> {
    match &frame.data {
        FrameData::Create(create) => Some(create.created_address),
        FrameData::Call(_) => None,
    }
}
