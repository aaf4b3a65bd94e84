//! What ordinary users do in a block: transfers, swaps, deposits, withdrawals, loans, and now and then a mistake.
//!
//! Every transaction is planned on the state at the block's start and on what was planned since, so that how it ends is
//! known beforehand; the recorded world refuses a block in which one ends otherwise. (On a living chain the block's author decides
//! on the order, and an ending is only a good guess.)

use std::collections::BTreeSet;

use alloy::eips::eip2930::{AccessList, AccessListItem};
use alloy::primitives::{Address, B256, TxKind, U256};
use contracts::Contract;
use rand::Rng;
use rand_chacha::ChaCha20Rng;

use super::setup::{Town, ether};
use super::view::View;
use super::wallet::{Draft, Fees, Form, Wallet};
use super::world::Entry;
use super::{Ending, ScenarioError};

const GWEI: u128 = 1_000_000_000;
/// No user goes below this, so that fees can always be paid.
const RESERVE_ETHER: u64 = 20;

/// How the vault stands, as its users know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultMood {
    /// Business as usual.
    Open,
    /// It was robbed: large holders try to get out, in vain.
    Robbed,
    /// Its owner closed it.
    Paused,
}

/// The vault as it will be after the transactions planned so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Books {
    pub(super) assets: U256,
    pub(super) shares: U256,
    pub(super) flash_fee_bps: U256,
}

/// A user as it will be after the transactions planned so far; what it receives meanwhile is left out.
#[derive(Debug, Clone)]
pub(super) struct Purse {
    pub(super) wei: U256,
    pub(super) tokens: Vec<U256>,
    pub(super) shares: U256,
}

/// What planning a block needs to know, read once from the head.
#[derive(Debug, Clone)]
pub struct Sight {
    purses: Vec<Purse>,
    reserves: Vec<[U256; 2]>,
    books: Books,
    base_fee: u128,
    now: u64,
}

impl Sight {
    /// Reads it: the purses of these users, the markets' reserves, the vault's books.
    ///
    /// # Errors
    /// When a contract of the town has not the storage that its artifact says.
    pub fn of(view: &impl View, town: &Town, users: &[Wallet]) -> Result<Self, ScenarioError> {
        let mut purses = Vec::with_capacity(users.len());
        for user in users {
            let who = user.address();
            let tokens = town
                .tokens
                .iter()
                .map(|token| view.mapped(*token, Contract::Token, "balanceOf", who));
            purses.push(Purse {
                wei: view.balance(who),
                tokens: tokens.collect::<Result<_, _>>()?,
                shares: view.mapped(town.vault, Contract::Vault, "sharesOf", who)?,
            });
        }
        let mut reserves = Vec::with_capacity(town.pairs.len());
        for pair in &town.pairs {
            let reserve = |name| view.variable(pair.address, Contract::Pair, name);
            reserves.push([reserve("reserve0")?, reserve("reserve1")?]);
        }
        let vault = |name| view.variable(town.vault, Contract::Vault, name);
        let books = Books {
            assets: vault("totalAssets")?,
            shares: vault("totalShares")?,
            flash_fee_bps: vault("flashFeeBps")?,
        };
        Ok(Self {
            purses,
            reserves,
            books,
            base_fee: view.base_fee().into(),
            now: view.timestamp(),
        })
    }
}

/// Who makes the next transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turns {
    /// Anybody, however often: the block's author puts a user's transactions in their order.
    Anybody,
    /// Each user once in a block: on a living chain a user's second transaction cannot be executed on the head's state, which has
    /// not the first one in it.
    OnceEach,
}

/// Plans one block's ordinary transactions.
pub struct Traffic<'a> {
    pub(super) town: &'a Town,
    pub(super) users: &'a mut [Wallet],
    pub(super) rng: &'a mut ChaCha20Rng,
    pub(super) purses: Vec<Purse>,
    pub(super) reserves: Vec<[U256; 2]>,
    pub(super) books: Books,
    base_fee: u128,
    pub(super) now: u64,
    /// Users that may make a transaction, by number; `None`: all of them, at any time.
    idle: Option<Vec<usize>>,
    /// How the vault stands from the next transaction on.
    pub mood: VaultMood,
}

/// A planned call of one user.
pub(super) struct Plan {
    pub(super) user: usize,
    pub(super) draft: Draft,
    pub(super) ending: Ending,
    pub(super) what: &'static str,
}

impl<'a> Traffic<'a> {
    /// Traffic for the block after the head that `sight` is of, by those of its users that `busy` does not name.
    pub fn new(
        sight: Sight,
        town: &'a Town,
        users: &'a mut [Wallet],
        rng: &'a mut ChaCha20Rng,
        mood: VaultMood,
        turns: Turns,
        busy: &BTreeSet<Address>,
    ) -> Self {
        let may = |(number, user): (usize, &Wallet)| (!busy.contains(&user.address())).then_some(number);
        let idle = match turns {
            Turns::Anybody => None,
            Turns::OnceEach => Some(users.iter().enumerate().filter_map(may).collect()),
        };
        let Sight {
            purses,
            reserves,
            books,
            base_fee,
            now,
        } = sight;
        Self {
            town,
            users,
            rng,
            purses,
            reserves,
            books,
            base_fee,
            now,
            idle,
            mood,
        }
    }

    /// Whose turn it is; `None` when everybody's has been.
    fn turn(&mut self) -> Option<usize> {
        match &mut self.idle {
            None => Some(self.rng.random_range(0..self.users.len())),
            Some(idle) if idle.is_empty() => None,
            Some(idle) => {
                let place = self.rng.random_range(0..idle.len());
                Some(idle.swap_remove(place))
            }
        }
    }

    /// Plans and signs one transaction of one user; `None` when no user has a turn left.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn transaction(&mut self) -> Result<Option<Entry>, ScenarioError> {
        let Some(user) = self.turn() else {
            return Ok(None);
        };
        let plan = match self.rng.random_range(0..100_u32) {
            0..22 => None,
            22..44 => self.token_transfer(user),
            44..56 => self.pair_swap(user),
            56..66 => self.router_swap(user, 1),
            66..71 => self.router_swap(user, 2),
            71..85 => self.vault_business(user),
            85..87 => self.approval(user),
            87..91 => self.liquidity(user),
            _ => self.mistake(user),
        };
        let plan = match plan {
            Some(plan) => plan,
            None => self.ether_transfer(user)?,
        };
        let form = self.form(&plan.draft);
        let fees = self.fees(&form);
        let limit = U256::from(plan.draft.gas_limit) * U256::from(fees.max);
        let spent = plan.draft.value + limit;
        let (wallet, purse) = self
            .users
            .get_mut(plan.user)
            .zip(self.purses.get_mut(plan.user))
            .ok_or_else(|| ScenarioError::Plan("a plan names a user who is not there".to_owned()))?;
        purse.wei = purse.wei.saturating_sub(spent);
        let from = wallet.address();
        Ok(Some(Entry {
            tx: wallet.sign(plan.draft, form, fees)?,
            from,
            ending: plan.ending,
            what: plan.what,
        }))
    }

    /// The vault's owner has added this many ether of yield.
    pub fn yield_added(&mut self, amount: u64) {
        self.books.assets += ether(amount);
    }

    /// Fees that a transaction in this block can pay.
    pub fn fees(&mut self, form: &Form) -> Fees {
        let tip = self.rng.random_range(GWEI / 10..3 * GWEI);
        match form {
            Form::Legacy | Form::AccessList(_) => {
                let max = self.base_fee * self.rng.random_range(105..150) / 100 + tip;
                Fees { max, tip: max }
            }
            Form::DynamicFee | Form::Blobs(_) | Form::SetCode(_) => Fees {
                max: 2 * self.base_fee + tip,
                tip,
            },
        }
    }

    fn form(&mut self, draft: &Draft) -> Form {
        match self.rng.random_range(0..100_u32) {
            0..22 => Form::Legacy,
            22..30 => match draft.to {
                TxKind::Call(address) if !draft.input.is_empty() => {
                    let storage_keys = vec![B256::ZERO, B256::with_last_byte(1)];
                    Form::AccessList(AccessList(vec![AccessListItem { address, storage_keys }]))
                }
                _ => Form::Legacy,
            },
            _ => Form::DynamicFee,
        }
    }

    /// Wei that a user can part with.
    pub(super) fn spendable(&self, user: usize) -> U256 {
        self.purses
            .get(user)
            .map_or(U256::ZERO, |purse| purse.wei.saturating_sub(ether(RESERVE_ETHER)))
    }

    /// Takes between 0.1 and 1 % of a user's tokens out of its purse.
    pub(super) fn spend_tokens(&mut self, user: usize, token: usize) -> Option<U256> {
        let part = self.rng.random_range(1..=10_u64);
        let held = self.purses.get_mut(user)?.tokens.get_mut(token)?;
        let amount = *held * U256::from(part) / U256::from(1000);
        *held -= amount;
        (!amount.is_zero()).then_some(amount)
    }

    pub(super) fn someone_else(&mut self, user: usize) -> Option<Address> {
        let other = (user + self.rng.random_range(1..self.users.len())) % self.users.len();
        self.users.get(other).map(Wallet::address)
    }
}
