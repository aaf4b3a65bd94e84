//! The town before the recording starts: users with money, contracts deployed, liquidity provided, shares bought.
//!
//! Everything here is done by ordinary transactions in ordinary blocks, which are not recorded; so the recorded
//! prestate is one that constructors and calls have really made.

use alloy::primitives::{Address, Bytes, TxKind, U256};
use alloy::sol_types::SolCall;
use contracts::{Contract, Pair, Router, Token, Vault};

use super::wallet::{Draft, Fees, Form, Wallet};
use super::world::{Entry, World};
use super::{Ending, ScenarioError};

/// Users who make the ordinary traffic.
pub const USERS: usize = 20;
/// The vault's flash loan fee in basis points.
const FLASH_FEE_BPS: u16 = 9;
/// The pairs' swap fee in basis points.
const SWAP_FEE_BPS: u16 = 30;
/// The vault's seed, in ether.
const SEED_ETHER: u64 = 10;
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
    /// Units of each token.
    pub supply: U256,
    /// The vault's seed in wei.
    pub seed: U256,
    /// What the raider will deposit, in wei.
    pub raid_stake: U256,
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
    /// Everybody, out of one seed.
    ///
    /// # Errors
    /// When a key cannot be derived.
    pub fn derive(seed: u64) -> Result<Self, ScenarioError> {
        Ok(Self {
            owner: Wallet::derive(seed, "owner", 0)?,
            users: (0..USERS)
                .map(|index| Wallet::derive(seed, "user", index))
                .collect::<Result<_, _>>()?,
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
}

/// Builds the town in the world's next blocks.
///
/// # Errors
/// When a transaction does not end as it should.
pub fn build(world: &mut World, people: &mut People) -> Result<Town, ScenarioError> {
    let town = deploy(world, &mut people.owner)?;
    let owner = &mut people.owner;
    let mut entries = Vec::new();
    let million = ether(1_000_000);
    for market in &town.pairs {
        for token in market.tokens {
            let approval = Token::approveCall {
                spender: market.address,
                value: U256::MAX,
            };
            entries.push(call(
                world,
                owner,
                *lookup(&town.tokens, token)?,
                U256::ZERO,
                &approval,
                60_000,
            )?);
        }
        let liquidity = Pair::addLiquidityCall {
            amount0: million,
            amount1: million * U256::from(2),
        };
        entries.push(call(world, owner, market.address, U256::ZERO, &liquidity, 300_000)?);
    }
    world.mine(&entries)?;

    for token in &town.tokens {
        let mut entries = Vec::new();
        for user in &people.users {
            let transfer = Token::transferCall {
                to: user.address(),
                value: ether(100_000),
            };
            entries.push(call(world, &mut people.owner, *token, U256::ZERO, &transfer, 80_000)?);
        }
        world.mine(&entries)?;
    }

    // Each user lets the router and each market take its tokens.
    for (number, token) in town.tokens.iter().enumerate() {
        let markets = town
            .pairs
            .iter()
            .filter(|market| market.tokens.contains(&number))
            .map(|market| market.address);
        for spender in markets.chain([town.router]) {
            let mut entries = Vec::new();
            for user in &mut people.users {
                let approval = Token::approveCall {
                    spender,
                    value: U256::MAX,
                };
                entries.push(call(world, user, *token, U256::ZERO, &approval, 60_000)?);
            }
            world.mine(&entries)?;
        }
    }

    let mut entries = Vec::new();
    for (number, user) in people.users.iter_mut().enumerate() {
        let receiver = user.address();
        let value = ether(5 + number as u64 % 4 * 4);
        entries.push(call(
            world,
            user,
            town.vault,
            value,
            &Vault::depositCall { receiver },
            140_000,
        )?);
    }
    world.mine(&entries)?;
    Ok(town)
}

fn deploy(world: &mut World, owner: &mut Wallet) -> Result<Town, ScenarioError> {
    let supply = ether(1_000_000_000);
    let holder = owner.address();
    let (mut entries, mut tokens) = (Vec::new(), Vec::new());
    for (name, symbol) in [("Oak", "OAK"), ("Elm", "ELM"), ("Ash", "ASH")] {
        let arguments = Token::constructorCall {
            name_: name.to_owned(),
            symbol_: symbol.to_owned(),
            supply,
            holder,
        };
        tokens.push(create(
            world,
            owner,
            Contract::Token.creation(&arguments),
            U256::ZERO,
            &mut entries,
        )?);
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
            address: create(world, owner, input, U256::ZERO, &mut entries)?,
            tokens: numbers,
        });
    }
    // The router has no constructor arguments.
    let router = create(world, owner, Router::BYTECODE.clone(), U256::ZERO, &mut entries)?;
    let seed = ether(SEED_ETHER);
    let input = Contract::Vault.creation(&Vault::constructorCall {
        flashFeeBps_: FLASH_FEE_BPS,
    });
    let vault = create(world, owner, input, seed, &mut entries)?;
    world.mine(&entries)?;
    Ok(Town {
        tokens,
        pairs,
        router,
        vault,
        supply,
        seed,
        raid_stake: ether(RAID_STAKE_ETHER),
    })
}

fn create(
    world: &World,
    owner: &mut Wallet,
    input: Bytes,
    value: U256,
    entries: &mut Vec<Entry>,
) -> Result<Address, ScenarioError> {
    let address = owner.address().create(owner.nonce());
    let draft = Draft {
        to: TxKind::Create,
        value,
        input,
        gas_limit: 1_500_000,
    };
    entries.push(sign(world, owner, draft)?);
    Ok(address)
}

fn call(
    world: &World,
    wallet: &mut Wallet,
    to: Address,
    value: U256,
    call: &impl SolCall,
    gas_limit: u64,
) -> Result<Entry, ScenarioError> {
    sign(
        world,
        wallet,
        Draft {
            to: to.into(),
            value,
            input: call.abi_encode().into(),
            gas_limit,
        },
    )
}

/// Signs a transaction of the town's own, which always succeeds.
fn sign(world: &World, wallet: &mut Wallet, draft: Draft) -> Result<Entry, ScenarioError> {
    let max = u128::from(world.base_fee()) * 2;
    let tx = wallet.sign(draft, Form::DynamicFee, Fees { max, tip: 1 })?;
    Ok(Entry {
        tx,
        from: wallet.address(),
        ending: Ending::Success,
        what: "setup",
    })
}

/// Item `index` of a list.
///
/// # Errors
/// When the list is shorter.
pub fn lookup<T>(list: &[T], index: usize) -> Result<&T, ScenarioError> {
    list.get(index)
        .ok_or_else(|| ScenarioError::Plan(format!("the town has no number {index} of {}", list.len())))
}
