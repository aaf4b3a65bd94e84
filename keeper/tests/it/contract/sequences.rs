//! Random sequences of all calls by many people: what always holds is checked all along.
//!
//! `PORTCULLIS_CALLS` says how many calls (default 5,000), `PORTCULLIS_SEED` with which seed.

mod books;
mod execution;
mod moves;

use std::collections::BTreeMap;

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, U256};
use alloy::sol_types::SolCall;
use contracts::{Agent, Contract, TestJob};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use testkit::{Receipt, Refused};

use super::world::{WHOLE, World, config, owner, who, whole};

const PEOPLE: u64 = 10;
const MAX_JOBS: usize = 24;
const MAX_KEEPERS: u32 = 14;

/// What happened, by call: how often it went through and how often it was refused.
type Tally = BTreeMap<&'static str, (u32, u32)>;

struct Play {
    world: World,
    random: StdRng,
    /// Targets that are told what to do, the first of them the world's.
    targets: Vec<Address>,
    jobs: Vec<B256>,
    keepers: u32,
    tally: Tally,
    /// Stake tokens that left in slashes by the owner or by redemption need no book: the token's own balance is compared.
    slashes: u32,
}

/// Keepers' admins and workers are among the same people as the jobs' owners.
fn person(number: u64) -> Address {
    who(5_000 + number)
}

fn worker_of(keeper: u32) -> Address {
    who(6_000 + u64::from(keeper))
}

impl Play {
    fn new(seed: u64) -> Self {
        let mut parameters = config();
        parameters.minKeeperStake = U96::from(100 * WHOLE);
        parameters.slashingFeeFixed = U96::from(40 * WHOLE);
        parameters.withdrawalTimeout = 60;
        parameters.activationTimeout = 30;
        parameters.feePpm = U24::from(10_000);
        parameters.retryCap = 60;
        let mut world = World::with(parameters, whole(50));
        let mut targets = vec![world.job];
        for _ in 0..3 {
            targets.push(
                world
                    .chain
                    .create(owner(), Contract::TestJob.bytecode().clone())
                    .unwrap(),
            );
        }
        for target in targets.clone() {
            world.chain.fund(target, whole(1_000));
        }
        for number in 0..PEOPLE {
            world.chain.fund(person(number), whole(1_000_000));
            world.endow(person(number), whole(1_000_000));
        }
        Self {
            world,
            random: StdRng::seed_from_u64(seed),
            targets,
            jobs: Vec::new(),
            keepers: 0,
            tally: Tally::new(),
            slashes: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound)
    }

    fn anybody(&mut self) -> Address {
        let number = self.below(PEOPLE);
        person(number)
    }

    fn a_keeper(&mut self) -> u32 {
        // Sometimes one that does not exist.
        u32::try_from(self.below(u64::from(self.keepers) + 1)).unwrap() + 1
    }

    /// Mostly the keeper's own admin.
    fn admin_of(&mut self, keeper: u32) -> Address {
        if self.below(10) == 0 {
            return self.anybody();
        }
        self.world.info(keeper).admin
    }

    fn a_job(&mut self) -> B256 {
        let index = self.below(self.jobs.len() as u64 + 1);
        let found = self.jobs.get(usize::try_from(index).unwrap()).copied();
        found.unwrap_or_else(|| B256::from(U256::from(index)))
    }

    fn owner_of(&mut self, job: B256) -> Address {
        if self.below(10) == 0 {
            return self.anybody();
        }
        self.world.job(job).owner
    }

    fn an_amount(&mut self) -> U256 {
        match self.below(8) {
            0 => U256::ZERO,
            1 => U256::MAX,
            2 => U256::from(1),
            3 => whole(self.random.random_range(1..2_000)),
            _ => U256::from(self.random.random_range(1..400_u128) * (WHOLE / 4)),
        }
    }

    fn a_target(&mut self) -> Address {
        let index = usize::try_from(self.below(4)).unwrap();
        self.targets[index]
    }

    fn terms(&mut self) -> Agent::JobTerms {
        let source = u8::try_from(self.below(3)).unwrap();
        let mut flags = u8::try_from(self.below(64)).unwrap();
        if self.below(4) != 0 {
            flags |= 1;
        }
        if source != 2 && self.below(8) != 0 {
            flags &= !32;
        }
        if self.below(8) != 0 {
            flags &= !8;
        }
        Agent::JobTerms {
            target: self.a_target(),
            selector: TestJob::workCall::SELECTOR.into(),
            source,
            interval: if source == 2 {
                U24::ZERO
            } else {
                U24::from(self.below(60) + 1)
            },
            flags,
            maxBaseFeeGwei: u16::try_from(self.below(2_000)).unwrap(),
            defenceWindow: u8::try_from(self.below(3)).unwrap(),
            gasLimit: u32::try_from(self.below(400_000) + 1).unwrap(),
            minStake: U96::from(u128::from(self.below(4)) * 150 * WHOLE),
            maxStake: U96::from(u128::from(self.below(3)) * 100 * WHOLE),
        }
    }

    fn note(&mut self, name: &'static str, result: Result<Receipt, Refused>) -> Option<Receipt> {
        let entry = self.tally.entry(name).or_default();
        match result {
            Ok(receipt) => {
                entry.0 += 1;
                Some(receipt)
            }
            Err(_) => {
                entry.1 += 1;
                None
            }
        }
    }

    fn act<C: SolCall>(&mut self, name: &'static str, from: Address, call: &C) -> Option<Receipt> {
        // Nobody calls as the zero address, which stands for "nobody" in the contract.
        let from = if from.is_zero() { person(0) } else { from };
        let result = self.world.act(from, call);
        self.note(name, result)
    }

    fn pay<C: SolCall>(&mut self, name: &'static str, from: Address, wei: U256, call: &C) -> Option<Receipt> {
        let result = self.world.pay(from, wei.min(whole(100)), call);
        self.note(name, result)
    }

    fn step(&mut self) {
        match self.below(100) {
            0..=9 => self.surroundings(),
            10..=29 => self.keepers(),
            30..=54 => self.jobs(),
            55..=57 => self.owner(),
            58..=60 => self.nonsense(),
            _ => self.execution(),
        }
    }
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn whatever_is_called_the_books_are_right() {
    let calls = number_from("PORTCULLIS_CALLS", 5_000);
    let seed = number_from("PORTCULLIS_SEED", 20_261_121);
    let mut play = Play::new(seed);
    let mut made = 0_u64;
    let mut checks = 0;
    while made < calls {
        play.step();
        made = play.tally.values().map(|(ok, no)| u64::from(ok + no)).sum();
        if checks * 8 <= made {
            play.check();
            checks += 1;
        }
    }
    play.check();
    println!(
        "seed {seed}: {made} calls, {checks} checks of everything, {} slashes",
        play.slashes
    );
    for (name, (ok, no)) in &play.tally {
        println!("{name}: {ok} went through, {no} were refused");
    }
    for name in [
        "execute",
        "initiateKeeperSlashing",
        "openDefence",
        "registerJob",
        "registerAsKeeper",
        "finalizeKeeperActivation",
        "initiateRedeem",
        "withdrawJobCredits",
        "releaseJob",
        "ownerSlash",
    ] {
        let (ok, _) = play.tally.get(name).copied().unwrap_or_default();
        assert!(ok > 0, "{name} never went through: the play shows nothing of it");
    }
    assert!(play.slashes > 0, "nobody was slashed: the play shows nothing of it");
}
