//! What happens in the recorded blocks: ordinary traffic throughout, and in it the story of one attack.
//!
//! | block | besides the traffic |
//! |---|---|
//! | 2, 5 | the vault's owner adds yield |
//! | 3 | a rollup posts blobs (type 3) |
//! | 4 | somebody deploys a token of its own |
//! | 5 | the captain deploys `Raider` |
//! | 6 | an account delegates to the router's code and deposits through itself (type 4) |
//! | 7 | the captain rehearses: the raid runs and reverts, since the booty is below what was asked |
//! | 8 | **the raid**, in the middle of the block; afterwards large holders try in vain to get out |
//! | 10 | the owner pauses the vault; from here on its calls revert |

use alloy::primitives::{B256, Bytes, TxKind, U256, keccak256};
use alloy::sol_types::SolCall;
use contracts::{Contract, Raider, Router, Token, Vault};
use rand::Rng;
use rand_chacha::ChaCha20Rng;

use super::setup::{People, Town, ether};
use super::traffic::{Traffic, VaultMood};
use super::wallet::{Draft, Form, Wallet};
use super::world::{Entry, Mined, World};
use super::{Ending, ScenarioError};

/// Blocks recorded.
pub const BLOCKS: usize = 12;
/// What the transaction that breaks the invariant is called.
pub const RAID: &str = "the raid";

/// Something that happens once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    AddYield,
    Blobs,
    TokenDeployment,
    RaiderDeployment,
    Delegation,
    Rehearsal,
    Raid,
    Pause,
}

/// What happens in block `number` of the recording, counted from 1.
fn events(number: usize) -> &'static [Event] {
    match number {
        2 => &[Event::AddYield],
        3 => &[Event::Blobs],
        4 => &[Event::TokenDeployment],
        5 => &[Event::AddYield, Event::RaiderDeployment],
        6 => &[Event::Delegation],
        7 => &[Event::Rehearsal],
        8 => &[Event::Raid],
        10 => &[Event::Pause],
        _ => &[],
    }
}

/// Plays the story; one item per block.
///
/// # Errors
/// When a transaction does not end as planned.
pub fn play(
    world: &mut World,
    town: &Town,
    people: &mut People,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<Mined>, ScenarioError> {
    let mut mood = VaultMood::Open;
    let mut raider = None;
    let mut blocks = Vec::with_capacity(BLOCKS);
    for number in 1..=BLOCKS {
        let mut entries = Vec::new();
        let size = rng.random_range(40..=60_usize);
        let mut users = std::mem::take(&mut people.users);
        let mut traffic = Traffic::new(world, town, &mut users, rng, mood)?;
        for position in 0..size {
            // The raid stands in the middle of its block; the other events a little off it.
            let happening = events(number);
            let at = |index: usize| size / 2 + index * 7;
            for (index, event) in happening.iter().enumerate() {
                if position == at(index) {
                    let (signer, draft, form, ending, what) = once(*event, town, people, &mut raider)?;
                    let fees = traffic.fees(&form);
                    let from = signer.address();
                    entries.push(Entry {
                        tx: signer.sign(draft, form, fees)?,
                        from,
                        ending,
                        what,
                    });
                    match event {
                        Event::AddYield => traffic.yield_added(YIELD_ETHER),
                        Event::Raid => traffic.mood = VaultMood::Robbed,
                        Event::Pause => traffic.mood = VaultMood::Paused,
                        _ => {}
                    }
                }
            }
            entries.push(traffic.transaction()?);
        }
        mood = traffic.mood;
        people.users = users;
        blocks.push(world.mine(&entries)?);
    }
    Ok(blocks)
}

/// What the owner adds each time, in ether.
const YIELD_ETHER: u64 = 3;

type Once<'a> = (&'a mut Wallet, Draft, Form, Ending, &'static str);

fn once<'a>(
    event: Event,
    town: &Town,
    people: &'a mut People,
    raider: &mut Option<alloy::primitives::Address>,
) -> Result<Once<'a>, ScenarioError> {
    let vault = town.vault;
    let to_raider = || {
        raider
            .map(TxKind::Call)
            .ok_or_else(|| ScenarioError::Plan("no raider yet".to_owned()))
    };
    let call = |to: TxKind, value: U256, input: Vec<u8>, gas_limit: u64| Draft {
        to,
        value,
        input: input.into(),
        gas_limit,
    };
    Ok(match event {
        Event::AddYield => {
            let draft = call(
                vault.into(),
                ether(YIELD_ETHER),
                Vault::addYieldCall {}.abi_encode(),
                80_000,
            );
            (&mut people.owner, draft, Form::DynamicFee, Ending::Success, "yield")
        }
        Event::Blobs => {
            let draft = Draft {
                to: people.owner.address().into(),
                value: U256::ZERO,
                input: Bytes::from_static(b"batch 1"),
                gas_limit: 30_000,
            };
            let blobs = (0..2_u8).map(blob_hash).collect();
            (&mut people.rollup, draft, Form::Blobs(blobs), Ending::Success, "blobs")
        }
        Event::TokenDeployment => {
            let user = people.modern.address();
            let arguments = Token::constructorCall {
                name_: "Yew".to_owned(),
                symbol_: "YEW".to_owned(),
                supply: ether(1_000_000),
                holder: user,
            };
            let input = Contract::Token.creation(&arguments);
            let draft = Draft {
                to: TxKind::Create,
                value: U256::ZERO,
                input,
                gas_limit: 1_200_000,
            };
            (
                &mut people.modern,
                draft,
                Form::DynamicFee,
                Ending::Success,
                "deployment",
            )
        }
        Event::RaiderDeployment => {
            let captain = &mut people.captain;
            *raider = Some(captain.address().create(captain.nonce()));
            let input = Raider::BYTECODE.clone();
            let draft = Draft {
                to: TxKind::Create,
                value: U256::ZERO,
                input,
                gas_limit: 800_000,
            };
            (
                captain,
                draft,
                Form::DynamicFee,
                Ending::Success,
                "the raider's deployment",
            )
        }
        Event::Delegation => {
            let modern = &mut people.modern;
            let authorization = modern.authorize_in_next(town.router)?;
            let deposit = Router::depositCall { vault }.abi_encode();
            let draft = call(modern.address().into(), ether(1), deposit, 220_000);
            (
                modern,
                draft,
                Form::SetCode(vec![authorization]),
                Ending::Success,
                "delegation",
            )
        }
        Event::Rehearsal => {
            let raid = Raider::raidCall {
                vault,
                wanted: ether(100_000),
            };
            let draft = call(to_raider()?, town.raid_stake, raid.abi_encode(), 3_000_000);
            (
                &mut people.captain,
                draft,
                Form::DynamicFee,
                Ending::Revert,
                "the rehearsal",
            )
        }
        Event::Raid => {
            let raid = Raider::raidCall {
                vault,
                wanted: ether(100),
            };
            let draft = call(to_raider()?, town.raid_stake, raid.abi_encode(), 3_000_000);
            (&mut people.captain, draft, Form::DynamicFee, Ending::Success, RAID)
        }
        Event::Pause => {
            let pause = Vault::setPausedCall { paused_: true };
            let draft = call(vault.into(), U256::ZERO, pause.abi_encode(), 60_000);
            (&mut people.owner, draft, Form::DynamicFee, Ending::Success, "the pause")
        }
    })
}

/// A versioned hash (EIP-4844): a hash whose first byte is the version, 1.
fn blob_hash(index: u8) -> B256 {
    let mut hash = keccak256([b"blob".as_slice(), &[index]].concat());
    if let Some(version) = hash.0.first_mut() {
        *version = 1;
    }
    hash
}
