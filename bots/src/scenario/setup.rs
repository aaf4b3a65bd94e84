//! The town before the story starts: users with money, contracts deployed, liquidity provided, shares bought.
//!
//! Everything here is done by ordinary transactions in ordinary blocks: [`plan`] says which, whoever has a chain signs and mines
//! them ([`build`] does on the recorded one, which leaves these blocks out of its record). So the state that the story starts on
//! is one that constructors and calls have really made.

use alloy::primitives::{Address, Bytes, U256};
use contracts::{Contract, Pair, Router, Token, Vault, VaultAdmin};

use super::wallet::{Draft, Fees, Form, Wallet};
use super::world::{Entry, World};
use super::{Ending, ScenarioError};

/// Users who make the ordinary traffic of the recording.
pub const USERS: usize = 20;
/// How many users, at most, have shares of the vault when the story starts.
const DEPOSITORS: usize = 20;
/// The vault's flash loan fee in basis points.
const FLASH_FEE_BPS: u16 = 9;
/// The pairs' swap fee in basis points.
const SWAP_FEE_BPS: u16 = 30;
/// The vault's seed, in ether.
const SEED_ETHER: u64 = 10;
/// Gas of the creation of a contract.
const CREATION_GAS: u64 = 1_500_000;
/// Gas of the creation of a vault with the contract that owns it.
const ADMIN_GAS: u64 = 2_000_000;
/// What the raider deposits: less than the seed, so that what is left after the raid is less than the seed as well.
const RAID_STAKE_ETHER: u64 = 9;

/// A market and the numbers of its tokens in [`Town::tokens`].
#[derive(Debug, Clone, Copy)]
pub struct Market {
    /// The pair's address.
    pub address: Address,
    /// `token0` and `token1`.
    pub tokens: [usize; 2],
}

/// Where everything stands.
#[derive(Debug, Clone)]
pub struct Town {
    /// Three tokens.
    pub tokens: Vec<Address>,
    /// Two markets: first with second token, second with third.
    pub pairs: Vec<Market>,
    /// The router.
    pub router: Address,
    /// The vault.
    pub vault: Address,
    /// The contract that owns it; without one the town's owner does.
    pub admin: Option<Address>,
    /// Units of each token.
    pub supply: U256,
    /// The vault's seed in wei.
    pub seed: U256,
    /// What the raider will deposit, in wei.
    pub raid_stake: U256,
}

/// Who owns the vault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Ownership {
    /// The town's owner.
    #[default]
    Person,
    /// A contract of his, which lends out the right to pause it.
    Admin,
}

/// Everybody who signs.
#[derive(Debug, Clone)]
pub struct People {
    /// Deployer and owner of all contracts.
    pub owner: Wallet,
    /// The ordinary ones.
    pub users: Vec<Wallet>,
    /// Who runs the raid.
    pub captain: Wallet,
    /// Whose account will delegate to the router's code (EIP-7702).
    pub modern: Wallet,
    /// Who posts blobs (EIP-4844).
    pub rollup: Wallet,
}

impl Town {
    /// Who owns the vault, in a town of this owner's.
    #[must_use]
    pub fn vault_owner(&self, owner: Address) -> Address {
        self.admin.unwrap_or(owner)
    }
}

/// `n` ether in wei.
#[must_use]
pub fn ether(n: u64) -> U256 {
    milli_ether(n) * U256::from(1000)
}

/// `n` thousandths of an ether (or of any token with 18 decimals).
#[must_use]
pub fn milli_ether(n: u64) -> U256 {
    U256::from(n) * U256::from(1_000_000_000_000_000_u64)
}

impl People {
    /// Everybody, out of one seed, with [`USERS`] users.
    ///
    /// # Errors
    /// When a key cannot be derived.
    pub fn derive(seed: u64) -> Result<Self, ScenarioError> {
        Self::with_users(seed, USERS)
    }

    /// Everybody, out of one seed, with so many users.
    ///
    /// # Errors
    /// When a key cannot be derived.
    pub fn with_users(seed: u64, users: usize) -> Result<Self, ScenarioError> {
        Ok(Self {
            owner: Wallet::derive(seed, "owner", 0)?,
            users: Wallet::derive_all(seed, "user", users)?,
            captain: Wallet::derive(seed, "captain", 0)?,
            modern: Wallet::derive(seed, "modern", 0)?,
            rollup: Wallet::derive(seed, "rollup", 0)?,
        })
    }

    /// Balances at the genesis, in wei.
    #[must_use]
    pub fn funds(&self) -> Vec<(Address, U256)> {
        let users = self.users.iter().map(|user| (user.address(), ether(1_000)));
        let others = [
            (&self.owner, 10_000),
            (&self.captain, 50),
            (&self.modern, 100),
            (&self.rollup, 100),
        ];
        users
            .chain(
                others
                    .into_iter()
                    .map(|(wallet, amount)| (wallet.address(), ether(amount))),
            )
            .collect()
    }

    /// Everybody's wallet.
    pub fn wallets_mut(&mut self) -> impl Iterator<Item = &mut Wallet> {
        let others = [&mut self.owner, &mut self.captain, &mut self.modern, &mut self.rollup];
        self.users.iter_mut().chain(others)
    }
}

/// Who signs a step of the setup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// [`People::owner`].
    Owner,
    /// One of [`People::users`], by number.
    User(usize),
}

/// One transaction of the setup, which always succeeds.
#[derive(Debug, Clone)]
pub struct Step {
    /// Who signs it.
    pub who: Who,
    /// What it does.
    pub draft: Draft,
}

impl Who {
    const fn signs(self, draft: Draft) -> Step {
        Step { who: self, draft }
    }
}

/// What one block of the setup includes; each needs those before it.
pub type Stage = Vec<Step>;

/// Where everything will stand, and the blocks that build it.
///
/// # Errors
/// When the plan contradicts itself.
pub fn plan(people: &People, ownership: Ownership) -> Result<(Town, Vec<Stage>), ScenarioError> {
    let (town, deployment) = deploy(&people.owner, ownership)?;
    let mut stages = vec![deployment];

    let mut liquidity = Stage::new();
    let million = ether(1_000_000);
    for market in &town.pairs {
        for token in market.tokens {
            let approval = Token::approveCall {
                spender: market.address,
                value: U256::MAX,
            };
            let token = *lookup(&town.tokens, token)?;
            liquidity.push(Who::Owner.signs(Draft::call(token, &approval, 60_000)));
        }
        let add = Pair::addLiquidityCall {
            amount0: million,
            amount1: million * U256::from(2),
        };
        liquidity.push(Who::Owner.signs(Draft::call(market.address, &add, 300_000)));
    }
    stages.push(liquidity);

    for token in &town.tokens {
        let transfer = |user: &Wallet| Token::transferCall {
            to: user.address(),
            value: ether(100_000),
        };
        let gift = |user| Who::Owner.signs(Draft::call(*token, &transfer(user), 80_000));
        stages.push(people.users.iter().map(gift).collect());
    }

    // Each user lets the router and each market take its tokens.
    for (number, token) in town.tokens.iter().enumerate() {
        let markets = town
            .pairs
            .iter()
            .filter(|market| market.tokens.contains(&number))
            .map(|market| market.address);
        for spender in markets.chain([town.router]) {
            let approval = Token::approveCall {
                spender,
                value: U256::MAX,
            };
            let approve = |user| Who::User(user).signs(Draft::call(*token, &approval, 60_000));
            stages.push((0..people.users.len()).map(approve).collect());
        }
    }

    let deposit = |(number, user): (usize, &Wallet)| {
        let receiver = user.address();
        let value = ether(5 + number as u64 % 4 * 4);
        let deposit = Draft::call(town.vault, &Vault::depositCall { receiver }, 140_000);
        Who::User(number).signs(deposit.with(value))
    };
    stages.push(people.users.iter().enumerate().take(DEPOSITORS).map(deposit).collect());
    Ok((town, stages))
}

/// Signs a stage for a block with this base fee, in wei per gas.
///
/// # Errors
/// When a transaction cannot be signed.
pub fn sign(stage: Stage, people: &mut People, base_fee: u64) -> Result<Vec<Entry>, ScenarioError> {
    let max = u128::from(base_fee) * 2;
    let signed = |step: Step| {
        let wallet = match step.who {
            Who::Owner => &mut people.owner,
            Who::User(number) => people
                .users
                .get_mut(number)
                .ok_or_else(|| ScenarioError::Plan(format!("the setup names a user {number} who is not there")))?,
        };
        Ok(Entry {
            tx: wallet.sign(step.draft, Form::DynamicFee, Fees { max, tip: 1 })?,
            from: wallet.address(),
            ending: Ending::Success,
            what: "setup",
        })
    };
    stage.into_iter().map(signed).collect()
}

/// Builds the town in the world's next blocks.
///
/// # Errors
/// When a transaction does not end as it should.
pub fn build(world: &mut World, people: &mut People) -> Result<Town, ScenarioError> {
    let (town, stages) = plan(people, Ownership::Person)?;
    for stage in stages {
        let entries = sign(stage, people, world.base_fee())?;
        world.mine(&entries)?;
    }
    Ok(town)
}

fn deploy(owner: &Wallet, ownership: Ownership) -> Result<(Town, Stage), ScenarioError> {
    let supply = ether(1_000_000_000);
    let holder = owner.address();
    let mut stage = Stage::new();
    let mut create_with = |input: Bytes, value: U256, gas_limit: u64| {
        let address = holder.create(owner.nonce() + stage.len() as u64);
        stage.push(Who::Owner.signs(Draft::creation(input, gas_limit).with(value)));
        address
    };
    let mut create = |input: Bytes, value: U256| create_with(input, value, CREATION_GAS);
    let mut tokens = Vec::new();
    for (name, symbol) in [("Oak", "OAK"), ("Elm", "ELM"), ("Ash", "ASH")] {
        let arguments = Token::constructorCall {
            name_: name.to_owned(),
            symbol_: symbol.to_owned(),
            supply,
            holder,
        };
        tokens.push(create(Contract::Token.creation(&arguments), U256::ZERO));
    }
    let mut pairs = Vec::new();
    for numbers in [[0, 1], [1, 2]] {
        let [token0_, token1_] = [*lookup(&tokens, numbers[0])?, *lookup(&tokens, numbers[1])?];
        let input = Contract::Pair.creation(&Pair::constructorCall {
            token0_,
            token1_,
            feeBps_: SWAP_FEE_BPS,
        });
        pairs.push(Market {
            address: create(input, U256::ZERO),
            tokens: numbers,
        });
    }
    // The router has no constructor arguments.
    let router = create(Router::BYTECODE.clone(), U256::ZERO);
    let seed = ether(SEED_ETHER);
    let (vault, admin) = match ownership {
        Ownership::Person => {
            let input = Contract::Vault.creation(&Vault::constructorCall {
                flashFeeBps_: FLASH_FEE_BPS,
            });
            (create(input, seed), None)
        }
        Ownership::Admin => {
            let input = Contract::VaultAdmin.creation(&VaultAdmin::constructorCall {
                guardian_: holder,
                flashFeeBps: FLASH_FEE_BPS,
            });
            let admin = create_with(input, seed, ADMIN_GAS);
            // A contract's own first creation has the nonce 1 (EIP-161).
            (admin.create(1), Some(admin))
        }
    };
    let town = Town {
        tokens,
        pairs,
        router,
        vault,
        admin,
        supply,
        seed,
        raid_stake: ether(RAID_STAKE_ETHER),
    };
    Ok((town, stage))
}

/// Item `index` of a list.
///
/// # Errors
/// When the list is shorter.
pub fn lookup<T>(list: &[T], index: usize) -> Result<&T, ScenarioError> {
    list.get(index)
        .ok_or_else(|| ScenarioError::Plan(format!("the town has no number {index} of {}", list.len())))
}
