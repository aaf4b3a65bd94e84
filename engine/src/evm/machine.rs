//! One EVM, used again for every transaction.
//!
//! What does not depend on the state source (journal, call stack, memory, precompiles, tables) is kept between executions and
//! moved into an EVM that borrows state, transaction and environment for the time of one execution. Between executions the
//! journal is empty.

use revm::{
    Journal,
    context::{
        CfgEnv, Context, Evm, LocalContext,
        journal::{JournalEntry, JournalInner},
        result::{EVMError, ExecutionResult},
    },
    context_interface::{FrameStack, JournalTr, LocalContextTr},
    handler::{EthFrame, EthPrecompiles, Handler},
    interpreter::{
        instructions::{GasTable, gas_table_spec},
        interpreter::EthInterpreter,
    },
    primitives::{eip4844::GAS_PER_BLOB, hardfork::SpecId},
    state::EvmState,
};
use std::{fmt, marker::PhantomData};

use super::{
    changes::{self, Changes, Scratch},
    codes::Codes,
    database::{ReadError, StateDatabase},
    environment::Environment,
    handler::{ExecutionError, ExecutionEvm, Instructions, JudgingHandler, Jumps},
};
use crate::{
    Address, BlockEnv, EngineError, Execution, Hardfork, Reason, State, StateError, Status, Transaction, U256,
    judge::Words,
};

/// Bytes of analysed code kept per engine.
const CODES_LIMIT: usize = 64 << 20;
/// A journal that has grown to more accounts than this is given back instead of being kept: walking it costs by capacity.
const KEEP_ACCOUNTS: usize = 4096;
/// Memory of a call stack beyond this is given back.
const KEEP_MEMORY: usize = 4 << 20;

/// Most gas a transaction may have to be executed here. No chain has blocks near this; beyond it memory alone could take
/// gigabytes, and the gas limit of a block comes from outside like everything else.
const MOST_GAS: u64 = 1 << 32;

/// Why an execution gave nothing to judge.
#[derive(Debug)]
pub(crate) enum Fault {
    Undecided(Reason),
    Broken(EngineError),
}

/// The parts of an EVM that outlive an execution.
struct Parts {
    journal: JournalInner<JournalEntry>,
    local: LocalContext,
    frames: FrameStack<EthFrame<EthInterpreter>>,
    precompiles: EthPrecompiles,
}

/// Executes transactions of one chain.
pub(crate) struct Machine {
    chain_id: u64,
    cfg: CfgEnv,
    gas: Box<GasTable>,
    /// The environment executed under last, and what was made of it.
    environment: Option<(BlockEnv, Environment)>,
    parts: Option<Parts>,
    codes: Codes,
    scratch: Scratch,
}

impl Machine {
    pub(crate) fn new(chain_id: u64) -> Self {
        let spec = SpecId::default();
        let mut cfg = CfgEnv::new_with_spec(spec).with_chain_id(chain_id);
        cfg.set_spec_and_mainnet_gas_params(spec);
        Self {
            chain_id,
            cfg,
            gas: Box::new(gas_table_spec(spec)),
            environment: None,
            parts: Some(Parts::new(spec)),
            codes: Codes::new(CODES_LIMIT),
            scratch: Scratch::default(),
        }
    }

    pub(crate) const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// Executes a transaction; until [`Machine::reset`] its result can be read.
    pub(crate) fn execute(
        &mut self,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        expired: Option<&dyn Fn() -> bool>,
    ) -> Result<Execution, Fault> {
        if expired.is_some_and(|expired| expired()) {
            return Err(Fault::Undecided(Reason::Deadline));
        }
        self.prepare(env)
            .map_err(|why| Fault::Undecided(Reason::Unsupported(why)))?;
        let Some((_, environment)) = &self.environment else {
            return Err(Fault::Broken(EngineError::Evm(
                "no environment after preparing one".to_owned(),
            )));
        };
        if tx.gas_limit() > MOST_GAS {
            let why = format!("gas limit {} of the transaction is above {MOST_GAS}", tx.gas_limit());
            return Err(Fault::Undecided(Reason::Unsupported(why)));
        }
        if let Err(why) = precheck(tx, environment.hardfork) {
            return Ok(self.ended(Status::Invalid(why), 0, 0));
        }
        let relaxed = tx.is_unsigned();
        self.cfg.disable_nonce_check = relaxed;
        self.cfg.disable_eip3607 = relaxed;
        self.cfg.disable_balance_check = relaxed;
        self.cfg.disable_base_fee = relaxed;

        let parts = self.parts.take().unwrap_or_else(|| Parts::new(environment.spec));
        let database = StateDatabase {
            state,
            codes: &mut self.codes,
            expired,
        };
        let mut evm: ExecutionEvm<'_> = Evm {
            ctx: Context {
                block: &environment.block,
                tx: tx.fields().env(),
                cfg: &self.cfg,
                journaled_state: Journal::new_with_inner(database, parts.journal),
                chain: Jumps::default(),
                local: parts.local,
                error: Ok(()),
            },
            inspector: (),
            instruction: Instructions {
                gas: &self.gas,
                has_deadline: expired.is_some(),
            },
            precompiles: parts.precompiles,
            frame_stack: parts.frames,
        };
        evm.ctx.journaled_state.set_spec_id(environment.spec);
        let result = JudgingHandler(PhantomData).run_without_catch_error(&mut evm);
        evm.frame_stack.clear();
        evm.ctx.local.clear();
        let parts = Parts {
            journal: evm.ctx.journaled_state.inner,
            local: evm.ctx.local,
            frames: evm.frame_stack,
            precompiles: evm.precompiles,
        };
        let logs = parts.journal.logs.len();
        self.parts = Some(parts);
        match result {
            Ok(result) => {
                let gas_used = result.tx_gas_used();
                let status = match result {
                    ExecutionResult::Success { .. } => Status::Success,
                    ExecutionResult::Revert { .. } => Status::Revert,
                    ExecutionResult::Halt { reason, .. } => Status::Halt(format!("{reason:?}")),
                };
                Ok(self.ended(status, gas_used, logs))
            }
            Err(error) => self.failed(error),
        }
    }

    /// Reads a slot before and after the transaction; `None` when it was left as it was. Asks the state source only for a slot
    /// of a destroyed contract that the transaction itself did not read.
    pub(crate) fn slot(&self, state: &dyn State, contract: Address, slot: U256) -> Result<Words, StateError> {
        let Some(account) = self.state().and_then(|accounts| accounts.get(&contract)) else {
            return Ok(None);
        };
        let loaded = account.storage.get(&slot);
        let (pre, post) = if changes::is_destroyed(account) {
            let pre = match loaded {
                Some(value) => value.original_value,
                // A contract that did not exist before the transaction had no storage.
                None if account.is_loaded_as_not_existing() || account.is_created() => U256::ZERO,
                None => state.storage(contract, slot)?,
            };
            (pre, U256::ZERO)
        } else {
            let Some(value) = loaded else { return Ok(None) };
            (value.original_value, value.present_value)
        };
        Ok((pre != post).then_some((pre, post)))
    }

    /// Everything that the transaction changed.
    pub(crate) fn changes(&self) -> Changes {
        let spec = self.cfg.spec;
        self.state()
            .map(|state| changes::changes(state, spec))
            .unwrap_or_default()
    }

    /// Forgets the last execution.
    pub(crate) fn reset(&mut self) {
        let Some(parts) = &mut self.parts else { return };
        let mut state = parts.journal.finalize();
        if state.capacity() <= KEEP_ACCOUNTS {
            state.clear();
            parts.journal.state = state;
        }
        if let Ok(mut memory) = parts.local.shared_memory_buffer.try_borrow_mut() {
            memory.shrink_to(KEEP_MEMORY);
        }
    }

    /// Makes the tables ready for this environment, if they are not yet.
    fn prepare(&mut self, env: &BlockEnv) -> Result<(), String> {
        if self.environment.as_ref().is_some_and(|(known, _)| known == env) {
            return Ok(());
        }
        self.environment = None;
        let environment = Environment::new(env, self.chain_id)?;
        if self.cfg.spec != environment.spec {
            self.cfg.set_spec_and_mainnet_gas_params(environment.spec);
            *self.gas = gas_table_spec(environment.spec);
        }
        self.cfg.blob_base_fee_update_fraction = Some(environment.blobs.update_fraction);
        self.cfg.max_blobs_per_tx = Some(environment.blobs.max_per_transaction);
        self.environment = Some((env.clone(), environment));
        Ok(())
    }

    fn state(&self) -> Option<&EvmState> {
        self.parts.as_ref().map(|parts| &parts.journal.state)
    }

    fn ended(&mut self, status: Status, gas_used: u64, logs: usize) -> Execution {
        let nothing = EvmState::default();
        let changed = match (&status, &self.parts) {
            (Status::Success | Status::Revert | Status::Halt(_), Some(parts)) => &parts.journal.state,
            _ => &nothing,
        };
        let post_state_digest = changes::digest(&status, gas_used, logs, changed, self.cfg.spec, &mut self.scratch);
        Execution {
            status,
            gas_used,
            logs,
            post_state_digest,
        }
    }

    fn failed(&mut self, error: ExecutionError) -> Result<Execution, Fault> {
        match error {
            EVMError::Transaction(why) => {
                // A check may have failed after the sender was charged; nothing of that counts.
                self.reset();
                Ok(self.ended(Status::Invalid(why.to_string()), 0, 0))
            }
            EVMError::Header(why) => Err(Fault::Undecided(Reason::Unsupported(why.to_string()))),
            EVMError::Database(ReadError::Deadline) => Err(Fault::Undecided(Reason::Deadline)),
            EVMError::Database(ReadError::State(StateError::Missing(what))) => {
                Err(Fault::Undecided(Reason::MissingState(what)))
            }
            EVMError::Database(ReadError::State(StateError::Broken(why))) => {
                Err(Fault::Broken(EngineError::State(why)))
            }
            EVMError::Custom(why) => Err(Fault::Broken(EngineError::Evm(why))),
            EVMError::CustomAny(why) => Err(Fault::Broken(EngineError::Evm(why.to_string()))),
        }
    }
}

/// What revm does not check, or computes with numbers that could overflow.
fn precheck(tx: &Transaction, hardfork: Hardfork) -> Result<(), String> {
    if tx.has_high_s() && hardfork >= Hardfork::Homestead {
        return Err(format!(
            "s of the signature is above half the curve order (EIP-2) under {hardfork} rules"
        ));
    }
    let env = tx.fields().env();
    let gas = u128::from(env.gas_limit).checked_mul(env.gas_price);
    let blob_gas = env.blob_hashes.len() as u128 * u128::from(GAS_PER_BLOB);
    let blobs = blob_gas.checked_mul(env.max_fee_per_blob_gas);
    let most = gas.zip(blobs).and_then(|(gas, blobs)| gas.checked_add(blobs));
    if most.and_then(|most| U256::from(most).checked_add(env.value)).is_none() {
        return Err("fees and value together exceed any balance".to_owned());
    }
    Ok(())
}

impl Parts {
    fn new(spec: SpecId) -> Self {
        Self {
            journal: JournalInner::new(),
            local: LocalContext::new(),
            frames: FrameStack::new_prealloc(8),
            precompiles: EthPrecompiles::new(spec),
        }
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("chain_id", &self.chain_id)
            .field("spec", &self.cfg.spec)
            .finish_non_exhaustive()
    }
}
