//! The baseline: revm alone, under the same rules, environment and state.

use alloy::primitives::{Address, Bytes, U256};
use bots::scenario::CHAIN_ID;
use revm::context::{BlockEnv as RevmBlock, Context, ContextTr as _, LocalContextTr as _};
use revm::context_interface::JournalTr as _;
use revm::context_interface::block::BlobExcessGasAndPrice;
use revm::database_interface::WrapDatabaseRef;
use revm::handler::{Handler as _, MainnetContext, MainnetHandler};
use revm::interpreter::{
    CallInput, CallInputs, CallScheme, CallValue, FrameInput, SharedMemory, interpreter_action::FrameInit,
};
use revm::primitives::hardfork::SpecId;
use revm::{MainBuilder, MainContext, MainnetEvm};

use super::Contest;
use crate::snapshot::Snapshot;

/// Update fraction of the blob base fee under Prague (EIP-7691).
const PRAGUE_UPDATE_FRACTION: u64 = 5_007_716;

/// revm as one uses it without the engine: one EVM for all transactions, reading the snapshot.
pub type RawEvm<'a> = MainnetEvm<MainnetContext<WrapDatabaseRef<&'a Snapshot>>>;

impl Contest {
    /// A plain revm under the same rules and environment.
    #[must_use]
    pub fn raw(&self) -> RawEvm<'_> {
        let block = RevmBlock {
            number: U256::from(self.env.number),
            beneficiary: self.env.beneficiary,
            timestamp: U256::from(self.env.timestamp),
            gas_limit: self.env.gas_limit,
            basefee: self.env.base_fee,
            difficulty: self.env.difficulty,
            prevrandao: self.env.prevrandao,
            blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(0, PRAGUE_UPDATE_FRACTION)),
            ..RevmBlock::default()
        };
        Context::mainnet()
            .with_db(WrapDatabaseRef(&self.state))
            .with_block(block)
            .modify_cfg_chained(|cfg| {
                cfg.chain_id = CHAIN_ID;
                cfg.set_spec_and_mainnet_gas_params(SpecId::PRAGUE);
            })
            .build_mainnet()
    }

    /// The view in raw revm, on the journal as it is, undone afterwards. `None` when it failed.
    #[must_use]
    pub fn raw_view(&self, raw: &mut RawEvm<'_>) -> Option<Bytes> {
        let journal = raw.ctx.journal_mut();
        let checkpoint = journal.checkpoint();
        let account = journal.load_account_with_code(self.view.contract).ok()?;
        let known_bytecode = (account.info.code_hash(), account.info.code.clone()?);
        let memory = SharedMemory::new_with_buffer(raw.ctx.local().shared_memory_buffer().clone());
        let frame_input = FrameInput::Call(Box::new(CallInputs {
            input: CallInput::Bytes(self.view.calldata.clone()),
            gas_limit: 1_000_000,
            target_address: self.view.contract,
            bytecode_address: self.view.contract,
            known_bytecode,
            caller: Address::ZERO,
            value: CallValue::Apparent(U256::ZERO),
            scheme: CallScheme::StaticCall,
            is_static: true,
            return_memory_offset: 0..0,
            reservoir: 0,
            charged_new_account_state_gas: false,
        }));
        let first = FrameInit {
            depth: 0,
            memory,
            frame_input,
        };
        let mut handler = MainnetHandler::<_, revm::context::result::EVMError<_>, _>::default();
        let result = handler.run_exec_loop(raw, first).ok();
        raw.frame_stack.clear();
        raw.ctx.journal_mut().checkpoint_revert(checkpoint);
        let result = result?;
        result.instruction_result().is_ok().then(|| result.output().into_data())
    }
}
