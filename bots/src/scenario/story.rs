//! What happens, block by block: ordinary traffic throughout, and in it the story of one attack.
//!
//! The same story is told on two chains: the recorded one executes each planned block as it is ([`play`]), on a living one its
//! transactions are sent to a node, whose author orders them. In the recording ([`RECORDED`]):
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

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use alloy::consensus::Transaction as _;
use alloy::primitives::{Address, B256, Bytes, U256, keccak256};
use contracts::{Contract, Raider, Router, Token, Vault, VaultAdmin};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use super::setup::{People, Town, ether};
use super::traffic::{Sight, Traffic, Turns, VaultMood};
use super::view::{Asked, Reads, View};
use super::wallet::{Draft, Form, Wallet};
use super::world::{Entry, Mined, World};
use super::{Ending, ScenarioError};

/// Blocks recorded.
pub const BLOCKS: usize = RECORDED.blocks;
/// What the transaction that breaks the invariant is called.
pub const RAID: &str = "the raid";
/// What the transaction that closes the vault is called.
pub const PAUSE: &str = "the pause";

/// When the story's events happen: blocks, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    /// How many blocks there are.
    pub blocks: usize,
    /// The raid's.
    pub raid: usize,
}

/// The recording's calendar.
pub const RECORDED: Calendar = Calendar { blocks: 12, raid: 8 };

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

/// Each event, and how many blocks before or after the raid it happens.
const EVENTS: [(Event, isize); 9] = [
    (Event::AddYield, -6),
    (Event::Blobs, -5),
    (Event::TokenDeployment, -4),
    (Event::AddYield, -3),
    (Event::RaiderDeployment, -3),
    (Event::Delegation, -2),
    (Event::Rehearsal, -1),
    (Event::Raid, 0),
    (Event::Pause, 2),
];

impl Calendar {
    /// Blocks that the raid needs before it: the raider must be deployed, and rehearse, in blocks of their own.
    pub const LEAD: usize = 3;
    /// Blocks after the raid, in which people find the vault empty, and then closed.
    pub const REST: usize = 4;

    /// A raid in this block, and what belongs around it.
    ///
    /// # Errors
    /// When there are fewer than [`Self::LEAD`] blocks before it.
    pub fn around(raid: usize) -> Result<Self, ScenarioError> {
        if raid <= Self::LEAD {
            return Err(ScenarioError::Plan(format!(
                "a raid in block {raid} leaves no time to prepare it: it needs {} blocks before it",
                Self::LEAD
            )));
        }
        Ok(Self {
            blocks: raid + Self::REST,
            raid,
        })
    }

    /// What happens in a block. What would lie before the first block happens in it; only of yield there is enough.
    fn events(self, number: usize) -> Vec<Event> {
        let here = |(event, offset): (Event, isize)| {
            let block = self.raid.saturating_add_signed(offset);
            let left_out = block == 0 && event == Event::AddYield;
            (block.max(1) == number && !left_out).then_some(event)
        };
        EVENTS.into_iter().filter_map(here).collect()
    }
}

/// What differs between the recording and a living chain.
#[derive(Debug, Clone)]
pub struct Script {
    /// When what happens.
    pub calendar: Calendar,
    /// Fewest and most ordinary transactions of a block.
    pub size: RangeInclusive<usize>,
    /// Who makes them.
    pub turns: Turns,
    /// Versioned hashes of the blobs that are posted.
    pub blobs: Vec<B256>,
}

impl Script {
    /// The recording's.
    #[must_use]
    pub fn recorded() -> Self {
        Self {
            calendar: RECORDED,
            size: 40..=60,
            turns: Turns::Anybody,
            blobs: (0..2_u8).map(blob_hash).collect(),
        }
    }
}

/// A story under way: block by block it says what its people send, given the head that they see.
#[derive(Debug)]
pub struct Story {
    script: Script,
    town: Town,
    people: People,
    rng: ChaCha20Rng,
    mood: VaultMood,
    raider: Option<Address>,
    /// The block that is planned next, from 1.
    next: usize,
}

impl Story {
    /// A story that has not begun.
    #[must_use]
    pub fn new(script: Script, town: Town, people: People, seed: u64) -> Self {
        Self {
            script,
            town,
            people,
            rng: ChaCha20Rng::seed_from_u64(seed),
            mood: VaultMood::Open,
            raider: None,
            next: 1,
        }
    }

    /// Everybody in it.
    #[must_use]
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// The same, to sign something outside the story, before it begins.
    pub const fn people_mut(&mut self) -> &mut People {
        &mut self.people
    }

    /// Where it plays.
    #[must_use]
    pub const fn town(&self) -> &Town {
        &self.town
    }

    /// The wallet of an ordinary user; `None` for everybody else.
    #[must_use]
    pub fn user(&self, address: Address) -> Option<&Wallet> {
        self.people.users.iter().find(|user| user.address() == address)
    }

    /// A chain did not want this transaction: its sender's next one has its nonce. False when it was one without which the story
    /// cannot go on.
    pub fn take_back(&mut self, entry: &Entry) -> bool {
        let user = self.people.users.iter_mut().find(|user| user.address() == entry.from);
        user.map(|user| user.set_nonce(entry.tx.nonce())).is_some()
    }

    /// The number of the block that is planned next, from 1; `None` at the end.
    #[must_use]
    pub fn next(&self) -> Option<usize> {
        (self.next <= self.script.calendar.blocks).then_some(self.next)
    }

    /// What planning a block reads of the chain.
    ///
    /// # Errors
    /// When a contract of the town has not the storage that its artifact says.
    pub fn reads(&self) -> Result<Reads, ScenarioError> {
        let asked = Asked::default();
        Sight::of(&asked, &self.town, &self.people.users)?;
        Ok(asked.into_reads())
    }

    /// The transactions of the next block, in their order, planned on the head that `view` shows. Users that `busy` names wait.
    ///
    /// # Errors
    /// When something cannot be signed, or the plan contradicts itself.
    pub fn block(&mut self, view: &impl View, busy: &BTreeSet<Address>) -> Result<Vec<Entry>, ScenarioError> {
        let mut happening = self.script.calendar.events(self.next);
        // A vault takes yield from its owner alone, and a contract that owns one gives none.
        happening.retain(|event| *event != Event::AddYield || self.town.admin.is_none());
        self.next += 1;
        let mut entries = Vec::new();
        let size = self.rng.random_range(self.script.size.clone()).max(1);
        let sight = Sight::of(view, &self.town, &self.people.users)?;
        let mut users = std::mem::take(&mut self.people.users);
        let (turns, mood) = (self.script.turns, self.mood);
        let mut traffic = Traffic::new(sight, &self.town, &mut users, &mut self.rng, mood, turns, busy);
        for position in 0..size {
            // The raid stands in the middle of its block; the other events a little off it.
            for (index, event) in happening.iter().enumerate() {
                if position != (size / 2 + index * EVENT_DISTANCE).min(size - 1) {
                    continue;
                }
                let blobs = &self.script.blobs;
                let (signer, draft, form, ending, what) =
                    once(*event, &self.town, &mut self.people, &mut self.raider, blobs)?;
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
            entries.extend(traffic.transaction()?);
        }
        self.mood = traffic.mood;
        self.people.users = users;
        Ok(entries)
    }
}

/// Transactions between two events of a block.
const EVENT_DISTANCE: usize = 7;

/// Plays the recorded story to its end; one item per block.
///
/// # Errors
/// When a transaction does not end as planned.
pub fn play(world: &mut World, town: &Town, people: &People, seed: u64) -> Result<Vec<Mined>, ScenarioError> {
    let mut story = Story::new(Script::recorded(), town.clone(), people.clone(), seed);
    let mut blocks = Vec::with_capacity(BLOCKS);
    while story.next().is_some() {
        let entries = story.block(world, &BTreeSet::new())?;
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
    raider: &mut Option<Address>,
    blobs: &[B256],
) -> Result<Once<'a>, ScenarioError> {
    let vault = town.vault;
    let raid = |wanted| {
        let raider = raider.ok_or_else(|| ScenarioError::Plan("no raider yet".to_owned()))?;
        let raid = Raider::raidCall { vault, wanted };
        Ok::<_, ScenarioError>(Draft::call(raider, &raid, 3_000_000).with(town.raid_stake))
    };
    let (signer, draft, ending, what) = match event {
        Event::AddYield => {
            let draft = Draft::call(vault, &Vault::addYieldCall {}, 80_000).with(ether(YIELD_ETHER));
            (&mut people.owner, draft, Ending::Success, "yield")
        }
        Event::Blobs => {
            let draft = Draft {
                input: Bytes::from_static(b"batch 1"),
                gas_limit: 30_000,
                ..Draft::transfer(people.owner.address(), U256::ZERO)
            };
            let form = Form::Blobs(blobs.to_vec());
            return Ok((&mut people.rollup, draft, form, Ending::Success, "blobs"));
        }
        Event::TokenDeployment => {
            let user = people.modern.address();
            let arguments = Token::constructorCall {
                name_: "Yew".to_owned(),
                symbol_: "YEW".to_owned(),
                supply: ether(1_000_000),
                holder: user,
            };
            let draft = Draft::creation(Contract::Token.creation(&arguments), 1_200_000);
            (&mut people.modern, draft, Ending::Success, "deployment")
        }
        Event::RaiderDeployment => {
            let captain = &mut people.captain;
            *raider = Some(captain.address().create(captain.nonce()));
            let draft = Draft::creation(Raider::BYTECODE.clone(), 800_000);
            (captain, draft, Ending::Success, "the raider's deployment")
        }
        Event::Delegation => {
            let modern = &mut people.modern;
            let authorization = modern.authorize_in_next(town.router)?;
            let draft = Draft::call(modern.address(), &Router::depositCall { vault }, 220_000).with(ether(1));
            let form = Form::SetCode(vec![authorization]);
            return Ok((modern, draft, form, Ending::Success, "delegation"));
        }
        Event::Rehearsal => (
            &mut people.captain,
            raid(ether(100_000))?,
            Ending::Revert,
            "the rehearsal",
        ),
        Event::Raid => (&mut people.captain, raid(ether(100))?, Ending::Success, RAID),
        Event::Pause => {
            let draft = match town.admin {
                Some(admin) => Draft::call(admin, &VaultAdmin::pauseCall {}, 60_000),
                None => Draft::call(vault, &Vault::setPausedCall { paused_: true }, 60_000),
            };
            (&mut people.owner, draft, Ending::Success, PAUSE)
        }
    };
    Ok((signer, draft, Form::DynamicFee, ending, what))
}

/// A versioned hash (EIP-4844): a hash whose first byte is the version, 1.
fn blob_hash(index: u8) -> B256 {
    let mut hash = keccak256([b"blob".as_slice(), &[index]].concat());
    if let Some(version) = hash.0.first_mut() {
        *version = 1;
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(calendar: Calendar) -> Vec<(usize, Event)> {
        let blocks = 1..=calendar.blocks;
        blocks
            .flat_map(|block| calendar.events(block).into_iter().map(move |event| (block, event)))
            .collect()
    }

    #[test]
    fn the_recorded_calendar_is_the_one_that_is_written_down() {
        assert_eq!(Calendar::around(8).unwrap(), RECORDED);
        let written = [
            (2, Event::AddYield),
            (3, Event::Blobs),
            (4, Event::TokenDeployment),
            (5, Event::AddYield),
            (5, Event::RaiderDeployment),
            (6, Event::Delegation),
            (7, Event::Rehearsal),
            (8, Event::Raid),
            (10, Event::Pause),
        ];
        assert_eq!(told(RECORDED), written);
    }

    #[test]
    fn an_early_raid_is_prepared_in_the_first_block_and_no_earlier() {
        let early = told(Calendar::around(4).unwrap());
        let block = |event| early.iter().find(|(_, told)| *told == event).unwrap().0;
        assert_eq!(
            [Event::Blobs, Event::RaiderDeployment, Event::Delegation].map(block),
            [1, 1, 2]
        );
        assert_eq!([Event::Rehearsal, Event::Raid, Event::Pause].map(block), [3, 4, 6]);
        assert!(Calendar::around(3).unwrap_err().to_string().contains("block 3"));
    }
}
