//! One static call of a resolver on a state, as the contract makes it: nothing is kept, nothing is cloned.
//!
//! The EVM runs on over what is missing as if it were nothing, and notes it: so one run tells everything that a resolver will
//! probably read. What always holds: an answer that rests on something missing is never given as an answer.

use std::collections::HashMap;

use alloy::primitives::KECCAK256_EMPTY;
use engine::{Account, Address, B256, BlockEnv, Hardfork, Missing, State, StateError, U256};
use revm::bytecode::Bytecode;
use revm::context::result::{EVMError, HaltReason};
use revm::context::{Context, ContextTr as _, TxEnv};
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::context_interface::context::take_error;
use revm::context_interface::{JournalTr as _, LocalContextTr as _};
use revm::database_interface::{DBErrorMarker, Database};
use revm::handler::{EthFrame, EvmTr as _, FrameResult, Handler as _, MainnetContext, MainnetHandler};
use revm::interpreter::interpreter_action::FrameInit;
use revm::interpreter::{
    CallInput, CallInputs, CallScheme, CallValue, FrameInput, InstructionResult, SharedMemory, SuccessOrHalt,
};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{MainBuilder as _, MainContext as _, MainnetEvm};

use super::{Answer, Fault, Query, decode};

/// Missing pieces that one call notes at most; further ones wait for the next round.
const MOST_MISSING: usize = 256;

/// Accounts that the journal may have seen before it is emptied.
const KEEP_ACCOUNTS: usize = 4096;

/// A broken state source stops a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state source broken: {0}")]
pub(super) struct Broken(String);

impl DBErrorMarker for Broken {}

/// The state as revm reads it, with what was missing.
struct Source<'a> {
    state: &'a dyn State,
    codes: HashMap<B256, Bytecode>,
    missing: Vec<Missing>,
}

impl Source<'_> {
    fn known<T>(&mut self, read: Result<T, StateError>) -> Result<Option<T>, Broken> {
        match read {
            Ok(value) => Ok(Some(value)),
            Err(StateError::Missing(what)) => {
                if self.missing.len() < MOST_MISSING && !self.missing.contains(&what) {
                    self.missing.push(what);
                }
                Ok(None)
            }
            Err(StateError::Broken(why)) => Err(Broken(why)),
        }
    }
}

impl Database for Source<'_> {
    type Error = Broken;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, Broken> {
        let read = self.state.account(address);
        let account = self.known(read)?.flatten();
        Ok(account.map(|account: Account| AccountInfo {
            balance: account.balance,
            nonce: account.nonce,
            code_hash: if account.has_code() {
                account.code_hash
            } else {
                KECCAK256_EMPTY
            },
            code: None,
            account_id: None,
        }))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, Broken> {
        if let Some(code) = self.codes.get(&code_hash) {
            return Ok(code.clone());
        }
        let read = self.state.code(code_hash);
        let Some(code) = self.known(read)? else {
            return Ok(Bytecode::default());
        };
        let code = Bytecode::new_raw_checked(code).map_err(|error| Broken(error.to_string()))?;
        self.codes.insert(code_hash, code.clone());
        Ok(code)
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, Broken> {
        let read = self.state.storage(address, slot);
        Ok(self.known(read)?.unwrap_or_default())
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, Broken> {
        let read = self.state.block_hash(number);
        Ok(self.known(read)?.unwrap_or_default())
    }
}

type Evm<'a> = MainnetEvm<MainnetContext<Source<'a>>>;
type CallError = EVMError<Broken>;

/// Calls resolvers, one after the other, on one state.
pub(super) struct Caller<'a> {
    evm: Evm<'a>,
    from: Address,
    gas: u64,
}

impl<'a> Caller<'a> {
    /// Calls in `from`'s name (the Agent's: it is who calls on the chain), with `gas` for each.
    pub(super) fn new(chain_id: u64, env: &BlockEnv, state: &'a dyn State, from: Address, gas: u64) -> Self {
        let spec = spec(env.rules(chain_id).unwrap_or(Hardfork::NEWEST));
        let source = Source {
            state,
            codes: HashMap::new(),
            missing: Vec::new(),
        };
        let evm = Context::mainnet()
            .with_db(source)
            .modify_cfg_chained(|cfg| {
                cfg.chain_id = chain_id;
                cfg.set_spec_and_mainnet_gas_params(spec);
            })
            .modify_block_chained(|block| {
                block.number = U256::from(env.number);
                block.timestamp = U256::from(env.timestamp);
                block.beneficiary = env.beneficiary;
                block.gas_limit = env.gas_limit;
                block.basefee = env.base_fee;
                block.difficulty = env.difficulty;
                block.prevrandao = Some(env.prevrandao.unwrap_or_default());
                // Resolvers do not live on blobs: their fee is taken from any schedule.
                block.blob_excess_gas_and_price =
                    Some(BlobExcessGasAndPrice::new(env.excess_blob_gas.unwrap_or_default().min(1 << 28), 5_007_716));
            })
            .with_tx(TxEnv {
                caller: from,
                gas_price: 0,
                gas_limit: gas,
                chain_id: Some(chain_id),
                ..TxEnv::default()
            })
            .build_mainnet();
        Self { evm, from, gas }
    }

    /// What the resolver says, and the gas that it used.
    pub(super) fn call(&mut self, query: &Query) -> (Answer, u64) {
        let ran = self.run(query);
        self.evm.frame_stack.clear();
        // What was noted under a missing value must not be read by the next one.
        let missing = std::mem::take(&mut self.evm.ctx.journaled_state.database.missing);
        if !missing.is_empty() || ran.is_err() || self.evm.ctx.journaled_state.inner.state.len() > KEEP_ACCOUNTS {
            self.evm.ctx.journaled_state.finalize();
            self.evm.ctx.error = Ok(());
        }
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

    fn run(&mut self, query: &Query) -> Result<Option<FrameResult>, CallError> {
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
fn enter(evm: &mut Evm<'_>, from: Address, query: &Query, gas: u64) -> Result<Option<FrameResult>, CallError> {
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
    let result = MainnetHandler::<_, CallError, EthFrame>::default().run_exec_loop(evm, init)?;
    take_error::<CallError, _>(evm.ctx().error())?;
    Ok(Some(result))
}

/// revm's name of the rules. Bytes of code decide what is returned, not fees: rules before Berlin are not told apart.
const fn spec(hardfork: Hardfork) -> SpecId {
    match hardfork {
        Hardfork::London => SpecId::LONDON,
        Hardfork::Merge => SpecId::MERGE,
        Hardfork::Shanghai => SpecId::SHANGHAI,
        Hardfork::Cancun => SpecId::CANCUN,
        Hardfork::Prague => SpecId::PRAGUE,
        Hardfork::Osaka => SpecId::OSAKA,
        _ => SpecId::BERLIN,
    }
}

