//! Random sequences of all calls by many people: the contract and the rule stay the same, what is owed is there, nobody is paid twice.
//!
//! `PORTCULLIS_CALLS` says how many calls (default 3,000), `PORTCULLIS_SEED` with which seed.

use std::collections::{BTreeMap, BTreeSet};

use audit::rule::State;
use audit::rule::{Refusal, Terms, Verdict};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::world::{STAKE, START, WHOLE, World, terms};

/// What happened, by call: how often it went through and how often it was refused.
type Tally = BTreeMap<&'static str, (u32, u32)>;

struct Play {
    world: World,
    random: StdRng,
    tally: Tally,
    /// Epochs that were paid.
    paid: BTreeSet<(u32, u32)>,
    bounties: u128,
    given: u128,
}

fn short() -> Terms {
    Terms {
        reward_period: 4_000,
        delta_period: 1_000,
        check_time: 10,
        group_size: 5,
        ..terms()
    }
}

impl Play {
    fn new(seed: u64) -> Self {
        Self {
            world: World::new(short()),
            random: StdRng::seed_from_u64(seed),
            tally: Tally::new(),
            paid: BTreeSet::new(),
            bounties: 0,
            given: 0,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound)
    }

    /// Mostly an active one; sometimes one that left, or does not exist.
    fn a_node(&mut self) -> u32 {
        let active = self.world.rule.active().to_vec();
        if !active.is_empty() && self.below(4) != 0 {
            let place = usize::try_from(self.below(active.len() as u64)).unwrap();
            return active[place];
        }
        let count = self.world.rule.nodes().count() as u64;
        u32::try_from(self.below(count + 1)).unwrap() + 1
    }

    /// Verdicts about its peers, most of them in order.
    fn verdicts(&mut self, auditor: u32) -> Vec<Verdict> {
        let subjects: Vec<(u32, u32)> = self
            .world
            .rule
            .nodes()
            .filter(|(_, node)| node.group.contains(&auditor))
            .map(|(id, node)| (id, node.epoch))
            .collect();
        let mut verdicts = Vec::new();
        for (subject, epoch) in subjects {
            let known = u32::try_from(self.below(310)).unwrap();
            let odd = self.below(20) == 0;
            verdicts.push(Verdict {
                subject: if odd { self.a_node() } else { subject },
                epoch: if self.below(20) == 0 { epoch + 1 } else { epoch },
                failed: u32::try_from(self.below(40)).unwrap(),
                known: if self.below(4) == 0 { known } else { 300 },
                latency: self.random.random(),
            });
        }
        verdicts
    }

    fn note(&mut self, name: &'static str, ok: bool) {
        let (through, refused) = self.tally.entry(name).or_default();
        *if ok { through } else { refused } += 1;
    }

    /// One call by somebody.
    fn step(&mut self) {
        let id = self.a_node();
        let world = &mut self.world;
        match self.random.random_range(0..100) {
            0..=11 => {
                let pause = self.random.random_range(0..700);
                world.chain.pass(pause);
            }
            12..=14 if world.rule.active().len() < 14 => {
                let stake = STAKE - self.random.random_range(0..10_u128) / 8;
                let ok = world.register(stake).is_ok();
                self.note("register", ok);
            }
            15..=18 => {
                let by_owner = self.random.random_range(0..3) != 0;
                let ok = world.exit(id, by_owner).is_ok();
                self.note("exit", ok);
            }
            // A stranger is refused as one before anything else.
            19..=20 if world.rule.node(id).is_some() => {
                let ok = world.withdraw_stake(id).is_ok();
                self.note("withdrawStake", ok);
            }
            21 => {
                let ok = world.add_stake(id, self.random.random_range(0..WHOLE)).is_ok();
                self.note("addStake", ok);
            }
            22..=29 => {
                let ok = world.fill(id).is_ok();
                self.note("fillGroup", ok);
            }
            30..=31 => {
                let amount = self.random.random_range(0..10_000 * WHOLE);
                world.give(amount);
                self.given += amount;
            }
            32..=33 => {
                let end = world.chain.now() + self.random.random_range(0..20_000) - 1_000;
                let ok = world.release(end).is_ok();
                self.note("release", ok);
            }
            34 => {
                let terms = Terms {
                    duty_bps: self.random.random_range(0..=10_000),
                    group_size: self.random.random_range(1..9),
                    quorum_bps: self.random.random_range(1..=10_000),
                    ..short()
                };
                world.set_terms(terms);
            }
            35..=79 => {
                let verdicts = self.verdicts(id);
                let ok = self.world.report(id, &verdicts).is_ok();
                self.note("report", ok);
            }
            _ => self.claim(id),
        }
        self.check(id);
    }

    fn claim(&mut self, id: u32) {
        let epoch = self.world.rule.node(id).map(|node| node.epoch);
        let claimed = self.world.claim(id);
        self.note("claim", claimed.is_ok());
        match claimed {
            Ok(settlement) => {
                assert!(
                    self.paid.insert((id, epoch.unwrap())),
                    "node {id} was paid twice for {epoch:?}"
                );
                self.bounties += settlement.bounty;
                self.note(
                    if settlement.quorum { "quorum" } else { "withheld" },
                    settlement.bounty > 0,
                );
            }
            Err(Refusal::TooEarly { .. } | Refusal::WrongState { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }

    fn check(&mut self, id: u32) {
        self.world.compare(id);
        self.world.compare_money();
        assert_eq!(self.world.rule.pool().balance(), self.given - self.bounties);
        let rule = &self.world.rule;
        for (subject, node) in rule.nodes() {
            let members: BTreeSet<u32> = node.group.iter().copied().collect();
            assert_eq!(
                members.len(),
                node.group.len(),
                "nobody is twice in the group of {subject}"
            );
            assert!(!members.contains(&subject), "{subject} does not audit itself");
            assert!(node.verdicts.len() <= node.group.len());
            assert!(node.kept <= node.owed);
            assert_eq!(node.state == State::Active, rule.active().contains(&subject));
        }
    }
}

#[test]
fn whatever_is_called_the_books_are_right() {
    let from_environment = |name: &str| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let calls = from_environment("PORTCULLIS_CALLS").unwrap_or(3_000_u64);
    let mut play = Play::new(from_environment("PORTCULLIS_SEED").unwrap_or(9));
    for _ in 0..6 {
        play.world.register(STAKE).unwrap();
    }
    play.given = 100_000 * WHOLE;
    play.world.give(play.given);
    play.world.release(START + 100_000).unwrap();
    for number in 0..calls {
        play.step();
        if number % 250 == 0 {
            play.world.compare_all();
        }
    }
    play.world.compare_all();
    println!("{calls} calls: {:?}", play.tally);
    for (name, (through, refused)) in &play.tally {
        assert_eq!(*through > 0, *name != "withheld", "{name} that went through");
        assert!(*refused > 0 || *name == "quorum", "{name} that was refused");
    }
    assert!(play.tally.contains_key("withheld"));
}
