//! What is executed on both sides: an ETH transfer, an ERC-20 transfer, a swap and a 2-hop swap of our own contracts, on the
//! state of the scenario's town. The engine judges one invariant with each; all but the ETH transfer write what it reads.

mod fair;
mod raw;

use alloy::consensus::Transaction as _;
use alloy::eips::eip2718::Encodable2718;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use bots::scenario::setup::{self, People, ether};
use bots::scenario::wallet::{Draft, Fees, Form, Wallet};
use bots::scenario::world::World;
use bots::scenario::{CHAIN_ID, SEED, ScenarioError};
use contracts::{Contract, Pair, Router, Token, layout};
use engine::lang::View;
use engine::{
    BlockEnv, Comparison, Engine, Invariant, Options, Transaction, ValueType, ViewInvariant, WatchError, WatchSet,
    Watched,
};
use revm::context::TxEnv;

pub use self::raw::RawEvm;
use crate::snapshot::Snapshot;

/// One transaction in both shapes, and the invariant judged with it.
#[derive(Debug, Clone)]
pub struct Contender {
    /// What it is.
    pub name: &'static str,
    /// As the engine takes it.
    pub transaction: Transaction,
    /// As revm takes it.
    pub fields: TxEnv,
    /// Judged by the engine.
    pub invariants: [Invariant; 1],
}

/// State, environment and transactions.
#[derive(Debug)]
pub struct Contest {
    /// Both sides read it.
    pub state: Snapshot,
    /// Hash of the block that the state is of.
    pub head: B256,
    /// Environment of the block after it.
    pub env: BlockEnv,
    /// What is executed.
    pub contenders: Vec<Contender>,
    /// `token.balanceOf(user)`: the ERC-20 transfer and the swaps write what it reads.
    pub view: View,
}

/// Why there is no contest.
#[derive(Debug, thiserror::Error)]
pub enum ContestError {
    /// The town could not be built.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// A variable is not where it was looked for.
    #[error(transparent)]
    Layout(#[from] layout::LayoutError),
    /// An invariant cannot be stated.
    #[error(transparent)]
    Invariant(#[from] engine::InvariantError),
    /// A set cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// A type is unknown.
    #[error(transparent)]
    Type(#[from] engine::ValueTypeError),
    /// A transaction does not decode.
    #[error(transparent)]
    Transaction(#[from] engine::TransactionError),
    /// The sides do not do the same.
    #[error("{name}: {why}; comparing would mean nothing")]
    Unequal {
        /// The transaction.
        name: &'static str,
        /// What was seen.
        why: String,
    },
}

impl Contest {
    /// Builds the town and signs the transactions.
    ///
    /// # Errors
    /// When the town cannot be built or the two sides give different results.
    pub fn new() -> Result<Self, ContestError> {
        let mut people = People::derive(SEED)?;
        let mut world = World::genesis(SEED, &people.funds());
        let town = setup::build(&mut world, &mut people)?;

        let (first, second) = (
            setup::lookup(&town.pairs, 0)?.address,
            setup::lookup(&town.pairs, 1)?.address,
        );
        let token = *setup::lookup(&town.tokens, 0)?;
        let (user, friend) = (
            setup::lookup(&people.users, 0)?,
            setup::lookup(&people.users, 1)?.address(),
        );
        let (amount, least, minimum) = (ether(3), U256::from(1), U256::from(1000));

        let balance = layout::variable(Contract::Token, "balanceOf")?.of(user.address());
        let bounded = Invariant::new(
            1,
            "balance",
            token,
            balance,
            ValueType::Uint(256),
            0,
            Comparison::Le,
            town.supply,
        )?;
        let supply = stated(
            "supply",
            token,
            Contract::Token,
            "totalSupply",
            Comparison::Eq,
            town.supply,
        )?;
        let reserve = stated("reserve", first, Contract::Pair, "reserve0", Comparison::Gt, minimum)?;
        let last_reserve = stated(
            "last reserve",
            second,
            Contract::Pair,
            "reserve1",
            Comparison::Gt,
            minimum,
        )?;

        let transfer = Token::transferCall {
            to: friend,
            value: amount,
        }
        .abi_encode();
        let swap = Pair::swapCall {
            tokenIn: token,
            amountIn: amount,
            minOut: least,
            to: user.address(),
        }
        .abi_encode();
        let hops = Router::swapCall {
            path: vec![first, second],
            tokenIn: token,
            amountIn: amount,
            minOut: least,
            deadline: U256::from(world.timestamp()),
        }
        .abi_encode();
        let contender = |name, to: Address, value, input: Vec<u8>, gas_limit, invariant| {
            let draft = Draft {
                to: to.into(),
                value,
                input: Bytes::from(input),
                gas_limit,
            };
            contender(name, &world, user.clone(), draft, invariant)
        };
        let contest = Self {
            state: Snapshot::new(world.state()),
            head: world.head(),
            env: world.env().clone(),
            contenders: vec![
                contender("ETH transfer", friend, ether(1), Vec::new(), 21_000, supply)?,
                contender("ERC-20 transfer", token, U256::ZERO, transfer, 80_000, bounded)?,
                contender("swap", first, U256::ZERO, swap, 180_000, reserve)?,
                contender("2-hop swap", town.router, U256::ZERO, hops, 500_000, last_reserve)?,
            ],
            view: View {
                contract: token,
                calldata: Token::balanceOfCall {
                    account: user.address(),
                }
                .abi_encode()
                .into(),
                word: 0,
                value_type: ValueType::Uint(256),
            },
        };
        contest.check()?;
        Ok(contest)
    }

    /// The invariant of a contender, and so many others that its transaction has nothing to do with: half of them over other
    /// slots of the contract that it writes.
    ///
    /// # Errors
    /// When they make no set.
    pub fn crowd(&self, contender: &Contender, others: u64) -> Result<WatchSet, WatchError> {
        let [relevant] = &contender.invariants;
        let other = |n: u64| {
            let far = U256::from(1) << 200;
            let contract = if n.is_multiple_of(2) {
                relevant.contract
            } else {
                Address::from_word(B256::from(U256::from(n / 4 + 1) << 32))
            };
            Watched::Slot(Invariant {
                id: n + 2,
                name: format!("other {n}"),
                contract,
                slot: far + U256::from(n),
                ..relevant.clone()
            })
        };
        WatchSet::new(
            std::iter::once(relevant.clone().into())
                .chain((0..others).map(other))
                .collect(),
        )
    }

    /// So many views, all of them `token.balanceOf(user)` but for a byte at the end of the calldata that the contract ignores.
    ///
    /// # Errors
    /// When they make no set.
    pub fn views(&self, count: u8) -> Result<WatchSet, WatchError> {
        let view = |n: u8| {
            let mut calldata = self.view.calldata.to_vec();
            calldata.push(n);
            Watched::View(ViewInvariant {
                id: n.into(),
                name: format!("balance {n}"),
                view: View {
                    calldata: calldata.into(),
                    ..self.view.clone()
                },
                comparison: Comparison::Ge,
                target: U256::from(1),
            })
        };
        WatchSet::new((0..count).map(view).collect())
    }

    /// What judges as the bench does: verdicts only, on a state with a name.
    #[must_use]
    pub fn options(&self) -> Options<'static> {
        Options {
            state_id: Some(self.head),
            ..Options::default()
        }
    }

    /// An engine for the town's chain.
    #[must_use]
    pub fn engine(&self) -> Engine {
        Engine::new(CHAIN_ID)
    }
}

fn stated(
    name: &str,
    address: Address,
    contract: Contract,
    variable: &str,
    comparison: Comparison,
    target: U256,
) -> Result<Invariant, ContestError> {
    let variable = layout::variable(contract, variable)?;
    let value_type = variable.label.parse()?;
    Ok(Invariant::new(
        1,
        name,
        address,
        variable.slot,
        value_type,
        variable.offset,
        comparison,
        target,
    )?)
}

fn contender(
    name: &'static str,
    world: &World,
    mut signer: Wallet,
    draft: Draft,
    invariant: Invariant,
) -> Result<Contender, ContestError> {
    let fees = Fees {
        max: u128::from(world.base_fee()) * 2,
        tip: 1_000_000_000,
    };
    let caller = signer.address();
    let tx = signer.sign(draft, Form::DynamicFee, fees)?;
    let fields = TxEnv {
        tx_type: 2,
        caller,
        gas_limit: tx.gas_limit(),
        gas_price: tx.max_fee_per_gas(),
        gas_priority_fee: tx.max_priority_fee_per_gas(),
        kind: tx.kind(),
        value: tx.value(),
        data: tx.input().clone(),
        nonce: tx.nonce(),
        chain_id: tx.chain_id(),
        ..TxEnv::default()
    };
    let transaction = Transaction::decode(&tx.encoded_2718())?;
    Ok(Contender {
        name,
        transaction,
        fields,
        invariants: [invariant],
    })
}

#[cfg(test)]
mod tests {
    use engine::Transition;

    use super::*;

    #[test]
    fn the_contest_is_fair_and_its_invariants_are_evaluated() {
        let contest = Contest::new().unwrap();
        let mut engine = contest.engine();
        let transitions: Vec<_> = contest
            .contenders
            .iter()
            .map(|c| {
                engine
                    .judge(&contest.env, &c.transaction, &contest.state, &c.invariants)
                    .unwrap()
            })
            .map(|outcome| outcome.judgements[0].transition.unwrap())
            .collect();
        assert_eq!(
            transitions,
            [
                Transition::Untouched,
                Transition::Kept,
                Transition::Kept,
                Transition::Kept
            ]
        );
    }
}
