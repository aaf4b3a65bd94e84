//! The machine against revm as it comes: its mainnet handler, an EVM per transaction, and a commit written down separately.

use std::{collections::BTreeMap, path::Path};

use alloy::primitives::KECCAK256_EMPTY;
use revm::{
    Context, ExecuteEvm, MainBuilder,
    bytecode::Bytecode,
    context::{CfgEnv, result::ExecutionResult},
    database_interface::{DBErrorMarker, Database},
    handler::MainnetContext,
    primitives::hardfork::SpecId,
    state::{AccountInfo, EvmState},
};

use super::{environment::Environment, machine::Machine};
use crate::{
    Account, Address, B256, CompleteState, Replay, State, StateError, Status, U256,
    case::{Case, CaseFile},
};

/// The state as revm's database, without any cache.
struct Plain<'a>(&'a CompleteState);

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct PlainError(#[from] StateError);

impl DBErrorMarker for PlainError {}

impl Database for Plain<'_> {
    type Error = PlainError;

    fn basic(&mut self, address: Address) -> Result<Option<AccountInfo>, PlainError> {
        let Some(account) = self.0.account(address)? else {
            return Ok(None);
        };
        let code = if account.code_hash == KECCAK256_EMPTY {
            Bytecode::default()
        } else {
            Bytecode::new_raw(self.0.code(account.code_hash)?)
        };
        Ok(Some(AccountInfo::new(
            account.balance,
            account.nonce,
            account.code_hash,
            code,
        )))
    }

    fn code_by_hash(&mut self, code_hash: B256) -> Result<Bytecode, PlainError> {
        Ok(Bytecode::new_raw(self.0.code(code_hash)?))
    }

    fn storage(&mut self, address: Address, slot: U256) -> Result<U256, PlainError> {
        Ok(self.0.storage(address, slot)?)
    }

    fn block_hash(&mut self, number: u64) -> Result<B256, PlainError> {
        Ok(self.0.block_hash(number)?)
    }
}

/// What revm says must be done with a finalized state: only touched accounts count, destroyed and empty ones are removed,
/// created ones begin with empty storage. (Before Spurious Dragon revm has marked empty accounts for keeping.)
fn commit(world: &mut CompleteState, state: EvmState) {
    for (address, account) in state {
        if !account.is_touched() {
            continue;
        }
        if account.is_selfdestructed() || (account.is_empty() && !account.is_created()) {
            world.0.accounts.remove(&address);
            continue;
        }
        let known = world.0.accounts.entry(address).or_default();
        if account.is_created() {
            known.storage.clear();
        }
        if let Some(code) = &account.info.code {
            world
                .0
                .codes
                .entry(account.info.code_hash)
                .or_insert_with(|| code.original_bytes());
        }
        let info = account.info;
        known.account = Some(Account {
            balance: info.balance,
            nonce: info.nonce,
            code_hash: info.code_hash,
        });
        known
            .storage
            .extend(account.storage.iter().map(|(slot, value)| (*slot, value.present_value)));
    }
}

/// The state without what says nothing: accounts that do not exist and slots that are zero.
fn normal(state: &CompleteState) -> BTreeMap<Address, (Account, BTreeMap<U256, U256>)> {
    let nonzero = |storage: &BTreeMap<U256, U256>| {
        storage
            .iter()
            .filter(|(_, value)| !value.is_zero())
            .map(|(slot, value)| (*slot, *value))
            .collect()
    };
    let accounts = state.0.accounts.iter();
    accounts
        .filter_map(|(address, known)| Some((*address, (known.account?, nonzero(&known.storage)))))
        .collect()
}

fn replay_both(case: Case) -> usize {
    let (id, relaxed) = (case.id.clone(), case.relaxed);
    let environment = Environment::new(&case.block, case.chain_id).unwrap();
    let mut cfg: CfgEnv<SpecId> = CfgEnv::new_with_spec(environment.spec).with_chain_id(case.chain_id);
    cfg.set_spec_and_mainnet_gas_params(environment.spec);
    cfg.disable_nonce_check = relaxed;
    cfg.disable_eip3607 = relaxed;
    cfg.disable_balance_check = relaxed;
    let mut world = case.pre.clone();
    let mut replay = Replay::new(case);
    let mut machine = Machine::new(replay.chain_id());
    let mut steps = 0;
    while let Some(step) = replay.next() {
        let step = step.unwrap();
        let judged = machine.execute(replay.env(), &step.transaction, &step.prestate, None, false);
        assert_eq!(judged.unwrap().gas_used, step.outcome.gas_used);
        let context: MainnetContext<Plain<'_>> = Context::new(Plain(&world), environment.spec);
        let mut evm = context
            .with_block(environment.block.clone())
            .with_cfg(cfg.clone())
            .build_mainnet();
        let plain = evm.transact(step.transaction.fields().env().clone()).unwrap();
        let at = format!("{id} #{}", step.index);
        assert_eq!(plain.result.tx_gas_used(), step.outcome.gas_used, "{at}");
        assert_eq!(plain.result.logs(), machine.logs(), "{at}");
        assert_eq!(step.outcome.logs, machine.logs().len(), "{at}");
        machine.reset();
        let same = match &plain.result {
            ExecutionResult::Success { .. } => step.outcome.status == Status::Success,
            ExecutionResult::Revert { .. } => step.outcome.status == Status::Revert,
            ExecutionResult::Halt { .. } => matches!(step.outcome.status, Status::Halt(_)),
        };
        assert!(same, "{at}: {:?} and {:?}", plain.result, step.outcome.status);
        commit(&mut world, plain.state);
        steps += 1;
        // The whole state each time is slow for large blocks; every tenth step finds the transaction well enough.
        if steps % 10 == 0 {
            assert!(normal(&world) == normal(replay.state()), "{at}: states differ");
        }
    }
    assert!(normal(&world) == normal(replay.state()), "{id}: states differ");
    steps
}

#[test]
fn gas_status_logs_and_state_are_those_of_plain_revm_on_everything_recorded() {
    let folder = std::env::var_os("PORTCULLIS_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        std::path::PathBuf::from,
    );
    if !folder.exists() {
        eprintln!(
            "SKIPPED: comparison with plain revm, because {} does not exist",
            folder.display()
        );
        return;
    }
    let mut transactions = 0;
    for part in ["blocks", "exploits", "txs"] {
        for case in CaseFile::open(folder.join(part)).unwrap() {
            transactions += replay_both(case.unwrap());
        }
    }
    eprintln!("{transactions} transactions executed as by plain revm, with the same state afterwards");
    assert!(transactions >= 11_784);
}
