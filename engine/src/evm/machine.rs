//! One EVM, used again for every transaction.
//!
//! What does not depend on the state source (journal, call stack, memory, precompiles, tables) is kept between executions and
//! moved into an EVM that borrows state, transaction and environment for the time of one execution. Between executions the
//! journal is empty.

use revm::{
    context::{
        CfgEnv, TxEnv,
        result::{EVMError, ExecutionResult},
    },
    context_interface::JournalTr,
    handler::{Handler, PrecompileProvider},
    interpreter::instructions::{GasTable, gas_table_spec},
    primitives::{eip4844::GAS_PER_BLOB, hardfork::SpecId},
    state::EvmState,
};
use std::fmt;

use super::{
    changes::{self, Scratch},
    codes::Codes,
    database::{ReadError, StateDatabase},
    environment::Environment,
    handler::{Ctx, ExecutionError, JudgingHandler},
    moment::Moment,
    parts::{Parts, assemble, disassemble},
    rewind::Rewind,
    trace::{Trace, Undo, Watcher},
    view::{self, ViewCalls},
};
use crate::{
    B256, BlockEnv, Call, EngineError, EnvReads, Execution, Hardfork, Reason, State, StateError, Status, Transaction,
    U256,
};

/// Bytes of analysed code kept per engine.
const CODES_LIMIT: usize = 64 << 20;
/// A journal that has grown to more accounts than this is given back instead of being kept: walking it costs by capacity.
const KEEP_ACCOUNTS: usize = 4096;
/// Memory of a call stack beyond this is given back.
const KEEP_MEMORY: usize = 4 << 20;

/// Most gas a transaction may have to be executed here. No chain has blocks near this; beyond it memory alone could take
/// gigabytes, and the gas limit of a block comes from outside like everything else. A view has no more either.
pub(crate) const MOST_GAS: u64 = 1 << 32;

/// Why an execution gave nothing to judge.
#[derive(Debug)]
pub(crate) enum Fault {
    Undecided(Reason),
    Broken(EngineError),
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
    /// What views are called under: nobody's transaction.
    view_tx: TxEnv,
    /// Executions note what they read of the block environment.
    noting: bool,
    env_reads: EnvReads,
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
            view_tx: TxEnv {
                gas_price: 0,
                chain_id: Some(chain_id),
                ..TxEnv::default()
            },
            noting: false,
            env_reads: EnvReads::NONE,
        }
    }

    /// From now on executions note, or do not, what they read of the block environment. Returns what was noted since the last
    /// time.
    pub(crate) fn note(&mut self, noting: bool) -> EnvReads {
        self.noting = noting;
        std::mem::take(&mut self.env_reads)
    }

    pub(crate) const fn chain_id(&self) -> u64 {
        self.chain_id
    }

    /// The rules of the last environment.
    pub(super) const fn spec(&self) -> SpecId {
        self.cfg.spec
    }

    /// Executes a transaction; until [`Machine::reset`] its result can be read. The digest costs a hash and is made on demand.
    pub(crate) fn execute(
        &mut self,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        expired: Expired<'_>,
        digest: bool,
    ) -> Result<Execution, Fault> {
        self.run(env, tx, state, expired, digest, None)
    }

    /// Executes it again, showing each frame that ends badly before its changes are undone, and at the end hands out the way back
    /// through it. Slow; for evidence only. The way back may leave the journal anywhere: reset it.
    pub(crate) fn explain(
        &mut self,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        expired: Expired<'_>,
        on_revert: &mut dyn FnMut(&mut Moment<'_, '_>, &Call),
        back: &mut dyn FnMut(Rewind<'_, '_>),
    ) -> Result<(), Fault> {
        let mut trace = Trace::new(on_revert);
        let result = self.run(env, tx, state, expired, false, Some(&mut trace));
        if result.is_ok() {
            let marks = self.parts.as_mut().and_then(|parts| parts.marks.take());
            back(Rewind::new(self, &trace, marks.unwrap_or_default()));
        }
        result.map(drop)
    }

    fn run(
        &mut self,
        env: &BlockEnv,
        tx: &Transaction,
        state: &dyn State,
        expired: Expired<'_>,
        digest: bool,
        trace: Option<&mut dyn Watcher>,
    ) -> Result<Execution, Fault> {
        if expired.is_some_and(|expired| expired()) {
            return Err(Fault::Undecided(Reason::Deadline));
        }
        self.prepare(env)
            .map_err(|why| Fault::Undecided(Reason::Unsupported(why)))?;
        let Some((_, environment)) = &self.environment else {
            return Err(no_environment());
        };
        if tx.gas_limit() > MOST_GAS {
            let why = format!("gas limit {} of the transaction is above {MOST_GAS}", tx.gas_limit());
            return Err(Fault::Undecided(Reason::Unsupported(why)));
        }
        if let Err(why) = precheck(tx, environment.hardfork) {
            return Ok(self.ended(Status::Invalid(why), 0, 0, digest));
        }
        let relaxed = tx.is_unsigned();
        self.cfg.disable_nonce_check = relaxed;
        self.cfg.disable_eip3607 = relaxed;
        self.cfg.disable_balance_check = relaxed;
        self.cfg.disable_base_fee = relaxed;

        let mut parts = self.parts.take().unwrap_or_else(|| Parts::new(environment.spec));
        parts.marks = trace.is_some().then(Vec::new);
        let database = StateDatabase {
            state,
            codes: &mut self.codes,
            expired,
        };
        let mut evm = assemble(
            environment,
            tx.fields().env(),
            &self.cfg,
            &self.gas,
            database,
            parts,
            self.noting,
        );

        let result = JudgingHandler::new(trace.map(|trace| (trace, &self.view_tx))).run_without_catch_error(&mut evm);
        let env_reads = evm.ctx.chain.env;
        let parts = disassemble(evm);
        self.env_reads.insert(env_reads);
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
                Ok(self.ended(status, gas_used, logs, digest))
            }
            Err(error) => self.failed(error, digest),
        }
    }

    /// Static calls on the state as it stands: after an execution on its post-state, else on the state given. `each` is asked for
    /// the next view and its gas and given what came of it; whether it read the block environment is known only when `noted`.
    ///
    /// Contracts that the transaction destroyed are gone for the calls, and transient storage is empty: this is the state after
    /// the whole transaction.
    pub(crate) fn views(
        &mut self,
        env: &BlockEnv,
        state: &dyn State,
        expired: Expired<'_>,
        noted: bool,
        calls: &mut dyn ViewCalls,
    ) -> Result<(), Fault> {
        self.prepare(env)
            .map_err(|why| Fault::Undecided(Reason::Unsupported(why)))?;
        let Some((_, environment)) = &self.environment else {
            return Err(no_environment());
        };
        let mut parts = self.parts.take().unwrap_or_else(|| Parts::new(environment.spec));
        parts.journal.transient_storage.clear();
        let destroyed = view::hide_destroyed(&mut parts.journal);
        let database = StateDatabase {
            state,
            codes: &mut self.codes,
            expired,
        };
        let mut evm = assemble(
            environment,
            &self.view_tx,
            &self.cfg,
            &self.gas,
            database,
            parts,
            noted || self.noting,
        );
        // As before a transaction: what a view costs must not depend on what ran before.
        let new_rules = PrecompileProvider::<Ctx<'_>>::set_spec(&mut evm.precompiles, environment.spec);
        if new_rules || evm.ctx.journaled_state.precompile_addresses().is_empty() {
            let warm = PrecompileProvider::<Ctx<'_>>::warm_addresses(&evm.precompiles);
            evm.ctx.journaled_state.warm_precompiles(warm);
        }
        let (noted_reads, ended) = view::call_all(&mut evm, calls);
        let mut parts = disassemble(evm);
        self.env_reads.insert(noted_reads);
        for (address, account) in destroyed {
            parts.journal.state.insert(address, account);
        }
        self.parts = Some(parts);
        ended.map_err(Fault::Broken)
    }

    /// The journal of the last execution.
    pub(super) fn journal(&self) -> Option<&Undo> {
        self.parts.as_ref().map(|parts| &*parts.journal)
    }

    pub(super) fn journal_mut(&mut self) -> Option<&mut Undo> {
        self.parts.as_mut().map(|parts| &mut *parts.journal)
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

    fn ended(&mut self, status: Status, gas_used: u64, logs: usize, digest: bool) -> Execution {
        if !digest {
            return Execution {
                status,
                gas_used,
                logs,
                post_state_digest: B256::ZERO,
            };
        }
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

    fn failed(&mut self, error: ExecutionError, digest: bool) -> Result<Execution, Fault> {
        if let EVMError::Transaction(why) = error {
            // A check may have failed after the sender was charged; nothing of that counts.
            self.discard();
            return Ok(self.ended(Status::Invalid(why.to_string()), 0, 0, digest));
        }
        Err(fault(error))
    }
}

/// What it means when revm cannot go on.
pub(super) fn fault(error: ExecutionError) -> Fault {
    match error {
        EVMError::Transaction(why) => Fault::Undecided(Reason::InvalidTransaction(why.to_string())),
        EVMError::Header(why) => Fault::Undecided(Reason::Unsupported(why.to_string())),
        EVMError::Database(ReadError::Deadline) => Fault::Undecided(Reason::Deadline),
        EVMError::Database(ReadError::State(error)) => match *error {
            StateError::Missing(what) => Fault::Undecided(Reason::MissingState(what)),
            StateError::Broken(why) => Fault::Broken(EngineError::State(why)),
        },
        EVMError::Custom(why) => Fault::Broken(EngineError::Evm(why)),
        EVMError::CustomAny(why) => Fault::Broken(EngineError::Evm(why.to_string())),
    }
}

fn no_environment() -> Fault {
    Fault::Broken(EngineError::Evm("no environment after preparing one".to_owned()))
}

/// Asks to stop.
pub(crate) type Expired<'a> = Option<&'a dyn Fn() -> bool>;

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

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine")
            .field("chain_id", &self.chain_id)
            .field("spec", &self.cfg.spec)
            .finish_non_exhaustive()
    }
}
