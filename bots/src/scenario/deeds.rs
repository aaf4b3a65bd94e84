//! The single things that users do, each planned so that it ends as it says.

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall;
use contracts::{Pair, Router, Token, Vault};
use rand::Rng;
use rand::seq::IndexedRandom;

use super::setup::{ether, milli_ether};
use super::traffic::{Plan, Traffic, VaultMood};
use super::wallet::Draft;
use super::{Ending, ScenarioError};

impl Traffic<'_> {
    pub(super) fn ether_transfer(&mut self, user: usize) -> Result<Plan, ScenarioError> {
        let to = if self.rng.random_ratio(1, 10) {
            Address::from(self.rng.random::<[u8; 20]>())
        } else {
            self.someone_else(user)
                .ok_or_else(|| ScenarioError::Plan("a town needs two users".to_owned()))?
        };
        let value = milli_ether(self.rng.random_range(1..2_000)).min(self.spendable(user));
        Ok(Plan {
            user,
            draft: Draft::transfer(to, value),
            ending: Ending::Success,
            what: "ETH transfer",
        })
    }

    pub(super) fn token_transfer(&mut self, user: usize) -> Option<Plan> {
        let token = self.rng.random_range(0..self.town.tokens.len());
        let to = self.someone_else(user)?;
        let value = self.spend_tokens(user, token)?;
        let address = *self.town.tokens.get(token)?;
        Some(call(
            user,
            address,
            &Token::transferCall { to, value },
            80_000,
            "ERC-20 transfer",
        ))
    }

    pub(super) fn approval(&mut self, user: usize) -> Option<Plan> {
        let token = *self.town.tokens.choose(self.rng)?;
        let spender = self.someone_else(user)?;
        let value = milli_ether(self.rng.random_range(1..100_000));
        Some(call(
            user,
            token,
            &Token::approveCall { spender, value },
            60_000,
            "ERC-20 approval",
        ))
    }

    pub(super) fn pair_swap(&mut self, user: usize) -> Option<Plan> {
        let index = self.rng.random_range(0..self.town.pairs.len());
        let pair = self.town.pairs.get(index)?;
        let side = self.rng.random_range(0..2_usize);
        let token = *pair.tokens.get(side)?;
        let amount = self.spend_tokens(user, token)?;
        let token_in = *self.town.tokens.get(token)?;
        let [reserve0, reserve1] = *self.reserves.get(index)?;
        let (reserve_in, reserve_out) = if side == 0 {
            (reserve0, reserve1)
        } else {
            (reserve1, reserve0)
        };
        // Half of the naive price: whatever the block's other swaps do, it is met.
        let min_out = amount * reserve_out / (reserve_in + amount) / U256::from(2);
        let to = self.users.get(user)?.address();
        let swap = Pair::swapCall {
            tokenIn: token_in,
            amountIn: amount,
            minOut: min_out,
            to,
        };
        Some(call(user, pair.address, &swap, 180_000, "swap"))
    }

    pub(super) fn router_swap(&mut self, user: usize, hops: usize) -> Option<Plan> {
        let first = if hops == 2 {
            0
        } else {
            self.rng.random_range(0..self.town.pairs.len())
        };
        let path: Vec<_> = self
            .town
            .pairs
            .iter()
            .skip(first)
            .take(hops)
            .map(|pair| pair.address)
            .collect();
        let token = *self.town.pairs.get(first)?.tokens.first()?;
        let amount_in = self.spend_tokens(user, token)?;
        let token_in = *self.town.tokens.get(token)?;
        let deadline = U256::from(self.now + self.rng.random_range(0..600));
        let swap = Router::swapCall {
            path,
            tokenIn: token_in,
            amountIn: amount_in,
            minOut: U256::from(1),
            deadline,
        };
        let what = if hops == 2 { "2-hop swap" } else { "swap by router" };
        Some(call(
            user,
            self.town.router,
            &swap,
            260_000 + 120_000 * hops as u64,
            what,
        ))
    }

    pub(super) fn liquidity(&mut self, user: usize) -> Option<Plan> {
        let index = self.rng.random_range(0..self.town.pairs.len());
        let pair = self.town.pairs.get(index)?;
        let [token0, token1] = pair.tokens;
        let amount0 = self.spend_tokens(user, token0)?;
        let amount1 = self.spend_tokens(user, token1)?;
        let add = Pair::addLiquidityCall { amount0, amount1 };
        Some(call(user, pair.address, &add, 220_000, "liquidity"))
    }

    pub(super) fn vault_business(&mut self, user: usize) -> Option<Plan> {
        match (self.mood, self.rng.random_range(0..100_u32)) {
            (VaultMood::Open, 0..28) => self.deposit(user, false),
            (VaultMood::Open, 28..52) => self.deposit(user, true),
            (VaultMood::Open, 52..88) => self.withdrawal(user),
            (VaultMood::Open, _) => self.flash(user),
            (VaultMood::Robbed, _) => self.run_on_the_vault(),
            (VaultMood::Paused, 0..50) => self.deposit(user, false).map(refused),
            (VaultMood::Paused, _) => {
                let shares = self.purses.get(user)?.shares;
                Some(refused(call(
                    user,
                    self.town.vault,
                    &Vault::withdrawCall { shares },
                    120_000,
                    "",
                )))
            }
        }
    }

    fn deposit(&mut self, user: usize, by_router: bool) -> Option<Plan> {
        let value = milli_ether(self.rng.random_range(100..6_000));
        if value > self.spendable(user) {
            return None;
        }
        if self.mood == VaultMood::Open {
            let shares = value * self.books.shares / self.books.assets;
            self.books.assets += value;
            self.books.shares += shares;
        }
        let vault = self.town.vault;
        let receiver = self.users.get(user)?.address();
        let plan = if by_router {
            call(
                user,
                self.town.router,
                &Router::depositCall { vault },
                160_000,
                "deposit by router",
            )
        } else {
            call(user, vault, &Vault::depositCall { receiver }, 140_000, "deposit")
        };
        Some(plan.with(value))
    }

    fn withdrawal(&mut self, user: usize) -> Option<Plan> {
        let part = self.rng.random_range(5..=60_u64);
        let held = &mut self.purses.get_mut(user)?.shares;
        let shares = *held * U256::from(part) / U256::from(100);
        if shares.is_zero() {
            return None;
        }
        *held -= shares;
        self.books.assets -= shares * self.books.assets / self.books.shares;
        self.books.shares -= shares;
        Some(call(
            user,
            self.town.vault,
            &Vault::withdrawCall { shares },
            120_000,
            "withdrawal",
        ))
    }

    /// A loan of nearly everything: inside, `totalAssets` stands far below the seed; at the end it is back.
    fn flash(&mut self, user: usize) -> Option<Plan> {
        let amount = self.books.assets * U256::from(self.rng.random_range(970..=995_u64)) / U256::from(1000);
        let fee = amount * self.books.flash_fee_bps / U256::from(10_000);
        if fee > self.spendable(user) {
            return None;
        }
        self.books.assets += fee;
        let loan = Router::flashAndRepayCall {
            vault: self.town.vault,
            amount,
        };
        Some(call(user, self.town.router, &loan, 220_000, "flash loan").with(fee))
    }

    /// Somebody who holds more than the robbed vault can have left wants it all.
    fn run_on_the_vault(&mut self) -> Option<Plan> {
        let large: Vec<_> = (0..self.purses.len())
            .filter(|user| {
                self.purses
                    .get(*user)
                    .is_some_and(|purse| purse.shares >= self.town.raid_stake)
            })
            .collect();
        let user = *large.choose(self.rng)?;
        let shares = self.purses.get(user)?.shares;
        let plan = call(
            user,
            self.town.vault,
            &Vault::withdrawCall { shares },
            120_000,
            "withdrawal in vain",
        );
        Some(Plan {
            ending: Ending::Revert,
            ..plan
        })
    }

    /// Transactions that fail, each for another reason.
    pub(super) fn mistake(&mut self, user: usize) -> Option<Plan> {
        let token = *self.town.tokens.choose(self.rng)?;
        let pair = self.town.pairs.choose(self.rng)?;
        let one = ether(1);
        let to = self.someone_else(user)?;
        let plan = match self.rng.random_range(0..5_u32) {
            0 => {
                let transfer = Token::transferCall {
                    to,
                    value: self.town.supply,
                };
                call(user, token, &transfer, 80_000, "transfer of more than is held")
            }
            1 => {
                let token_in = *self.town.tokens.get(*pair.tokens.first()?)?;
                let swap = Pair::swapCall {
                    tokenIn: token_in,
                    amountIn: one,
                    minOut: one * U256::from(1000),
                    to,
                };
                call(user, pair.address, &swap, 180_000, "swap past its limit")
            }
            2 => {
                let token_in = *self.town.tokens.get(*pair.tokens.first()?)?;
                let path = vec![pair.address];
                let deadline = U256::from(self.now - 1);
                let swap = Router::swapCall {
                    path,
                    tokenIn: token_in,
                    amountIn: one,
                    minOut: U256::ZERO,
                    deadline,
                };
                call(user, self.town.router, &swap, 260_000, "swap past its deadline")
            }
            3 => {
                let withdrawal = Vault::withdrawCall { shares: U256::MAX };
                let what = "withdrawal of too many shares";
                call(user, self.town.vault, &withdrawal, 120_000, what)
            }
            _ => {
                let transfer = Token::transferCall { to, value: one };
                return Some(Plan {
                    ending: Ending::Halt,
                    ..call(user, token, &transfer, 30_000, "transfer out of gas")
                });
            }
        };
        Some(Plan {
            ending: Ending::Revert,
            ..plan
        })
    }
}

impl Plan {
    /// With so many wei.
    fn with(self, value: U256) -> Self {
        Self {
            draft: self.draft.with(value),
            ..self
        }
    }
}

fn refused(plan: Plan) -> Plan {
    Plan {
        ending: Ending::Revert,
        what: "a call of the paused vault",
        ..plan
    }
}

fn call(user: usize, to: Address, call: &impl SolCall, gas_limit: u64, what: &'static str) -> Plan {
    Plan {
        user,
        draft: Draft::call(to, call, gas_limit),
        ending: Ending::Success,
        what,
    }
}
