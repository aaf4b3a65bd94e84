//! A chain in one value, for tests of contracts: accounts with ether, calls in anybody's name, and a clock that tests set.
//!
//! No signatures, nonces or fees: a contract's own rules are what is tested. Gas is counted as on the chain.

use alloy::primitives::{Address, Bytes, Log, TxKind, U256};
use alloy::sol_types::{SolCall, SolError, SolEvent};
use revm::context::result::{ExecutionResult, Output};
use revm::context::{Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::{DatabaseRef as _, ExecuteCommitEvm as _, ExecuteEvm as _, MainBuilder as _, MainContext as _, MainnetEvm};

type Evm = MainnetEvm<revm::handler::MainnetContext<CacheDB<EmptyDB>>>;

/// A chain of one test's own.
#[expect(missing_debug_implementations, reason = "an EVM has none")]
pub struct Chain {
    evm: Evm,
}

/// What a call that went through gave.
#[derive(Debug, Clone)]
pub struct Receipt {
    /// What it returned, ABI-encoded; for a creation, the code.
    pub output: Bytes,
    /// Gas used, after refunds.
    pub gas: u64,
    /// Events, in order.
    pub logs: Vec<Log>,
}

impl Receipt {
    /// The first event of that type.
    pub fn event<E: SolEvent>(&self) -> Option<E> {
        self.logs
            .iter()
            .find_map(|log| E::decode_log(log).ok())
            .map(|log| log.data)
    }
}

/// A call that did not go through; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// What was returned with the revert; empty for a halt.
    pub output: Bytes,
    /// The halt, when it was one (out of gas, invalid opcode).
    pub halt: Option<String>,
}

impl Refused {
    /// The revert as that error of the contract's.
    pub fn decode<E: SolError>(&self) -> Option<E> {
        E::abi_decode(&self.output).ok()
    }

    /// Whether it is that error.
    pub fn is<E: SolError>(&self) -> bool {
        self.decode::<E>().is_some()
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::at(1_700_000_000)
    }
}

impl Chain {
    /// A chain at block 1 and this Unix time in seconds.
    pub fn at(timestamp: u64) -> Self {
        let evm = Context::mainnet()
            .with_db(CacheDB::new(EmptyDB::default()))
            .modify_cfg_chained(|cfg| {
                cfg.disable_nonce_check = true;
                cfg.chain_id = 31_337;
                cfg.set_spec_and_mainnet_gas_params(SpecId::CANCUN);
            })
            .modify_block_chained(|block| {
                block.timestamp = U256::from(timestamp);
                block.number = U256::ONE;
                block.gas_limit = 1_000_000_000;
                block.basefee = 0;
            })
            .build_mainnet();
        Self { evm }
    }

    /// Unix seconds of the block that calls are in.
    pub fn now(&self) -> u64 {
        self.evm.ctx.block.timestamp.saturating_to()
    }

    /// Goes to this Unix time, one block later.
    pub fn warp(&mut self, timestamp: u64) {
        self.evm.ctx.modify_block(|block| {
            block.timestamp = U256::from(timestamp);
            block.number += U256::ONE;
        });
    }

    /// So many seconds later, one block later.
    pub fn pass(&mut self, seconds: u64) {
        self.warp(self.now() + seconds);
    }

    /// The base fee of the block that calls are in, in wei. Callers do not pay it; contracts read it.
    pub fn set_base_fee(&mut self, wei: u64) {
        self.evm.ctx.modify_block(|block| block.basefee = wei);
        self.evm.ctx.modify_cfg(|cfg| cfg.disable_base_fee = true);
    }

    /// What `PREVRANDAO` gives.
    pub fn set_randao(&mut self, word: alloy::primitives::B256) {
        self.evm.ctx.modify_block(|block| block.prevrandao = Some(word));
    }

    /// The number of the block that calls are in.
    pub fn number(&self) -> u64 {
        self.evm.ctx.block.number.saturating_to()
    }

    /// Gives an account so many wei.
    pub fn fund(&mut self, account: Address, wei: U256) {
        self.evm.ctx.modify_db(|db| {
            let mut info = db.basic_ref(account).ok().flatten().unwrap_or_default();
            info.balance += wei;
            db.insert_account_info(account, info);
        });
    }

    /// Wei of an account.
    pub fn balance(&self, account: Address) -> U256 {
        let db = &self.evm.ctx.journaled_state.database;
        db.basic_ref(account)
            .ok()
            .flatten()
            .map_or(U256::ZERO, |info| info.balance)
    }

    /// Creates a contract by its whole creation input.
    ///
    /// # Errors
    ///
    /// What the constructor refused.
    pub fn create(&mut self, from: Address, input: Bytes) -> Result<Address, Refused> {
        let result = self.transact(from, TxKind::Create, U256::ZERO, input, 30_000_000);
        match result {
            ExecutionResult::Success {
                output: Output::Create(_, Some(address)),
                ..
            } => Ok(address),
            other => Err(refused(other)),
        }
    }

    /// Calls a contract in `from`'s name and keeps what it did.
    ///
    /// # Errors
    ///
    /// What the contract refused.
    pub fn call<C: SolCall>(&mut self, from: Address, to: Address, call: &C) -> Result<Receipt, Refused> {
        self.send(from, to, U256::ZERO, call.abi_encode().into())
    }

    /// As [`Chain::call`], with wei.
    ///
    /// # Errors
    ///
    /// What the contract refused.
    pub fn call_with_value<C: SolCall>(
        &mut self,
        from: Address,
        to: Address,
        wei: U256,
        call: &C,
    ) -> Result<Receipt, Refused> {
        self.send(from, to, wei, call.abi_encode().into())
    }

    /// Sends any input and keeps what it did.
    ///
    /// # Errors
    ///
    /// What the contract refused.
    pub fn send(&mut self, from: Address, to: Address, wei: U256, input: Bytes) -> Result<Receipt, Refused> {
        receipt(self.transact(from, TxKind::Call(to), wei, input, 30_000_000))
    }

    /// As [`Chain::send`], with so much gas.
    ///
    /// # Errors
    ///
    /// What the contract refused.
    pub fn send_with_gas(
        &mut self,
        from: Address,
        to: Address,
        wei: U256,
        input: Bytes,
        gas: u64,
    ) -> Result<Receipt, Refused> {
        receipt(self.transact(from, TxKind::Call(to), wei, input, gas))
    }

    /// What a view answers; nothing is kept.
    ///
    /// # Errors
    ///
    /// What the contract refused.
    ///
    /// # Panics
    ///
    /// When the contract's answer is not of the call's type.
    pub fn view<C: SolCall>(&mut self, to: Address, call: &C) -> Result<C::Return, Refused> {
        let tx = environment(
            Address::ZERO,
            TxKind::Call(to),
            U256::ZERO,
            call.abi_encode().into(),
            30_000_000,
        );
        let executed = self
            .evm
            .transact(tx)
            .unwrap_or_else(|error| panic!("the call is not valid: {error}"));
        let receipt = receipt(executed.result)?;
        Ok(C::abi_decode_returns(&receipt.output).unwrap_or_else(|error| panic!("{}: {error}", C::SIGNATURE)))
    }

    fn transact(&mut self, from: Address, kind: TxKind, wei: U256, input: Bytes, gas: u64) -> ExecutionResult {
        let tx = environment(from, kind, wei, input, gas);
        self.evm
            .transact_commit(tx)
            .unwrap_or_else(|error| panic!("the transaction is not valid: {error}"))
    }
}

fn environment(from: Address, kind: TxKind, value: U256, data: Bytes, gas_limit: u64) -> TxEnv {
    TxEnv {
        caller: from,
        kind,
        value,
        data,
        gas_limit,
        gas_price: 0,
        chain_id: Some(31_337),
        ..TxEnv::default()
    }
}

fn receipt(result: ExecutionResult) -> Result<Receipt, Refused> {
    match result {
        ExecutionResult::Success { output, gas, logs, .. } => Ok(Receipt {
            output: output.into_data(),
            gas: gas.tx_gas_used(),
            logs,
        }),
        other => Err(refused(other)),
    }
}

fn refused(result: ExecutionResult) -> Refused {
    match result {
        ExecutionResult::Revert { output, .. } => Refused { output, halt: None },
        ExecutionResult::Halt { reason, .. } => Refused {
            output: Bytes::new(),
            halt: Some(format!("{reason:?}")),
        },
        ExecutionResult::Success { output, .. } => Refused {
            output: output.into_data(),
            halt: None,
        },
    }
}
