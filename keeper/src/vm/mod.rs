//! An EVM over a state of which only a part is known.
//!
//! It runs on over what is missing as if it were nothing, and notes it: so one run tells everything that will probably be read. What
//! always holds: whoever uses it looks at [`take_missing`] first; what ran over something missing counts for nothing.

use std::collections::HashMap;

use alloy::primitives::KECCAK256_EMPTY;
use engine::{Account, Address, B256, BlockEnv, Hardfork, Missing, State, StateError, U256};
use revm::bytecode::Bytecode;
use revm::context::result::EVMError;
use revm::context::{Context, ContextTr as _};
use revm::context_interface::JournalTr as _;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database_interface::{DBErrorMarker, Database};
use revm::handler::MainnetContext;
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{MainBuilder as _, MainContext as _, MainnetEvm};

pub(crate) mod fetch;
pub mod simulate;

/// Missing pieces that one run notes at most; further ones wait for the next round.
const MOST_MISSING: usize = 256;

/// Accounts that the journal may have seen before it is emptied.
const KEEP_ACCOUNTS: usize = 4096;

/// A broken state source stops a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("state source broken: {0}")]
pub(crate) struct Broken(String);

impl DBErrorMarker for Broken {}

/// The state as revm reads it, with what was missing.
pub(crate) struct Source<'a> {
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

pub(crate) type Evm<'a> = MainnetEvm<MainnetContext<Source<'a>>>;
pub(crate) type RunError = EVMError<Broken>;

/// An EVM for the block `env` on `state`.
pub(crate) fn evm<'a>(chain_id: u64, env: &BlockEnv, state: &'a dyn State) -> Evm<'a> {
    let spec = spec(env.rules(chain_id).unwrap_or(Hardfork::NEWEST));
    let source = Source {
        state,
        codes: HashMap::new(),
        missing: Vec::new(),
    };
    Context::mainnet()
        .with_db(source)
        .modify_cfg_chained(|cfg| {
            cfg.chain_id = chain_id;
            cfg.disable_nonce_check = true;
            cfg.disable_balance_check = true;
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
            // Jobs do not live on blobs: their fee is taken from one schedule, and from no impossible excess.
            let excess = env.excess_blob_gas.unwrap_or_default().min(1 << 28);
            block.blob_excess_gas_and_price = Some(BlobExcessGasAndPrice::new(excess, 5_007_716));
        })
        .build_mainnet()
}

/// What the last run missed. Empties the journal where the next run would read something that is not so.
pub(crate) fn take_missing(evm: &mut Evm<'_>, failed: bool) -> Vec<Missing> {
    let missing = std::mem::take(&mut evm.ctx.journaled_state.database.missing);
    if !missing.is_empty() || failed || evm.ctx.journaled_state.inner.state.len() > KEEP_ACCOUNTS {
        evm.ctx.journal_mut().finalize();
        evm.ctx.error = Ok(());
    }
    missing
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
