//! Random sequences of all calls by many people: what always holds is checked all along.
//!
//! `PORTCULLIS_CALLS` says how many calls (default 5,000), `PORTCULLIS_SEED` with which seed.

use std::collections::{BTreeMap, BTreeSet};

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use contracts::{Agent, AgentLens, Contract, TestJob};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use testkit::{Receipt, Refused};

use crate::world::{GWEI, WHOLE, World, config, number, owner, who, whole};

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

    /// Time, fees, random numbers, and what the targets do.
    fn surroundings(&mut self) {
        let seconds = self.below(40);
        self.world.chain.pass(seconds);
        let random = self.random.random::<[u8; 32]>();
        self.world.chain.set_randao(random.into());
        let fee = if self.below(6) == 0 {
            self.below(60_000)
        } else {
            self.below(50)
        };
        self.world.chain.set_base_fee(fee * GWEI);
        let (target, answer, body) = (self.a_target(), self.below(10), self.below(8));
        let since = self.world.chain.number().saturating_sub(self.below(4));
        let answer = TestJob::setAnswerCall {
            answer_: u8::try_from(if answer > 7 { 1 } else { answer }).unwrap(),
            since_: U256::from(since),
        };
        self.world.chain.call(owner(), target, &answer).unwrap();
        if body == 3 {
            let job = self.a_job();
            let keeper = U256::from(self.a_keeper());
            let data: Bytes = match self.below(5) {
                0 => Agent::depositJobCreditsCall { jobKey: job }.abi_encode(),
                1 => Agent::withdrawJobCreditsCall {
                    jobKey: job,
                    to: target,
                    amount: U256::MAX,
                }
                .abi_encode(),
                2 => Agent::executeCall {
                    jobKey: job,
                    keeperId: keeper,
                    options: U256::ZERO,
                    jobCalldata: Bytes::new(),
                }
                .abi_encode(),
                3 => Agent::depositOwnerCreditsCall {
                    jobOwner: person(0),
                    jobKeys: vec![job],
                }
                .abi_encode(),
                _ => Agent::releaseJobCall { jobKey: job }.abi_encode(),
            }
            .into();
            let call = TestJob::setReentryCall {
                target: self.world.agent,
                data,
                value: U256::from(self.below(2) * 1_000_000),
            };
            self.world.chain.call(owner(), target, &call).unwrap();
        } else {
            let body = if body > 4 { 0 } else { u8::try_from(body).unwrap() };
            self.world
                .chain
                .call(owner(), target, &TestJob::setBodyCall { body_: body })
                .unwrap();
        }
    }

    fn keepers(&mut self) {
        let keeper = self.a_keeper();
        let id = U256::from(keeper);
        let admin = self.admin_of(keeper);
        let amount = self.an_amount();
        match self.below(10) {
            0 if self.keepers < MAX_KEEPERS => {
                let worker = worker_of(self.keepers + u32::try_from(self.below(2)).unwrap());
                let call = Agent::registerAsKeeperCall { worker, amount };
                let from = self.anybody();
                if self.act("registerAsKeeper", from, &call).is_some() {
                    self.keepers += 1;
                }
            }
            0 | 1 => {
                let from = self.anybody();
                self.act("stake", from, &Agent::stakeCall { keeperId: id, amount });
            }
            2 => {
                self.act(
                    "initiateKeeperActivation",
                    admin,
                    &Agent::initiateKeeperActivationCall { keeperId: id },
                );
            }
            3 | 4 => {
                self.act(
                    "finalizeKeeperActivation",
                    admin,
                    &Agent::finalizeKeeperActivationCall { keeperId: id },
                );
            }
            5 => {
                self.act("disableKeeper", admin, &Agent::disableKeeperCall { keeperId: id });
            }
            6 => {
                self.act(
                    "initiateRedeem",
                    admin,
                    &Agent::initiateRedeemCall { keeperId: id, amount },
                );
            }
            7 => {
                let to = self.anybody();
                self.act("finalizeRedeem", admin, &Agent::finalizeRedeemCall { keeperId: id, to });
            }
            8 => {
                let worker = worker_of(u32::try_from(self.below(20)).unwrap());
                self.act(
                    "setWorkerAddress",
                    admin,
                    &Agent::setWorkerAddressCall { keeperId: id, worker },
                );
            }
            _ => {
                let to = self.anybody();
                self.act(
                    "withdrawCompensation",
                    admin,
                    &Agent::withdrawCompensationCall {
                        keeperId: id,
                        to,
                        amount,
                    },
                );
            }
        }
    }

    fn jobs(&mut self) {
        let job = self.a_job();
        let from = self.owner_of(job);
        let amount = self.an_amount();
        let somebody = self.anybody();
        match self.below(14) {
            0 | 1 if self.jobs.len() < MAX_JOBS => {
                let terms = self.terms();
                let resolver = if self.below(10) == 0 {
                    Address::ZERO
                } else {
                    self.a_target()
                };
                let call = Agent::registerJobCall {
                    terms,
                    resolver,
                    data: TestJob::checkCall {}.abi_encode().into(),
                };
                if let Some(receipt) = self.pay("registerJob", somebody, amount, &call) {
                    self.jobs.push(receipt.event::<Agent::RegisterJob>().unwrap().jobKey);
                }
            }
            2 => {
                let mut terms = self.terms();
                let present = self.world.job(job).terms;
                (terms.target, terms.source) = (present.target, present.source);
                self.act("updateJob", from, &Agent::updateJobCall { jobKey: job, terms });
            }
            3 => {
                let call = Agent::setResolverCall {
                    jobKey: job,
                    resolver: self.a_target(),
                    data: TestJob::checkCall {}.abi_encode().into(),
                };
                self.act("setResolver", from, &call);
            }
            4 => {
                let data = vec![7; usize::try_from(self.below(200)).unwrap()].into();
                self.act(
                    "setPreDefinedCalldata",
                    from,
                    &Agent::setPreDefinedCalldataCall { jobKey: job, data },
                );
            }
            5 => {
                self.act(
                    "initiateJobTransfer",
                    from,
                    &Agent::initiateJobTransferCall {
                        jobKey: job,
                        to: somebody,
                    },
                );
            }
            6 => {
                let offered = self.world.job(job).pendingOwner;
                self.act(
                    "acceptJobTransfer",
                    offered,
                    &Agent::acceptJobTransferCall { jobKey: job },
                );
            }
            7 => {
                self.act(
                    "withdrawJobCredits",
                    from,
                    &Agent::withdrawJobCreditsCall {
                        jobKey: job,
                        to: somebody,
                        amount,
                    },
                );
            }
            8 => {
                self.act(
                    "withdrawOwnerCredits",
                    from,
                    &Agent::withdrawOwnerCreditsCall { to: somebody, amount },
                );
            }
            9 => {
                let call = Agent::depositOwnerCreditsCall {
                    jobOwner: from,
                    jobKeys: vec![job],
                };
                self.pay("depositOwnerCredits", somebody, amount, &call);
            }
            10 => {
                self.act("assignKeeper", from, &Agent::assignKeeperCall { jobKeys: vec![job] });
            }
            11 => {
                let assigned = self.world.assigned(job);
                let by = match self.below(3) {
                    0 => from,
                    1 => owner(),
                    _ => self.world.info(assigned).admin,
                };
                self.act("releaseJob", by, &Agent::releaseJobCall { jobKey: job });
            }
            _ => {
                self.pay(
                    "depositJobCredits",
                    somebody,
                    amount,
                    &Agent::depositJobCreditsCall { jobKey: job },
                );
            }
        }
    }

    fn owner(&mut self) {
        let amount = self.an_amount();
        let to = self.anybody();
        match self.below(4) {
            0 => {
                let call = Agent::ownerSlashCall {
                    keeperId: U256::from(self.a_keeper()),
                    to,
                    current: amount,
                    pending: self.an_amount() % whole(50),
                    disable: self.below(2) == 0,
                };
                self.act("ownerSlash", owner(), &call);
            }
            1 => {
                let mut parameters = self.world.ask(&Agent::configCall {});
                parameters.minKeeperStake = U96::from(u128::from(80 + self.below(60)) * WHOLE);
                parameters.jobMinCredits = U96::from(u128::from(self.below(4)) * WHOLE / 10);
                parameters.compensationMultiplierBps = u16::try_from(9_900 + self.below(5_000)).unwrap();
                self.act("setConfig", owner(), &Agent::setConfigCall { config_: parameters });
            }
            2 => {
                self.act("withdrawFees", owner(), &Agent::withdrawFeesCall { to });
            }
            _ => {
                self.act(
                    "transferOwnership",
                    owner(),
                    &Agent::transferOwnershipCall { to: owner() },
                );
                self.act("acceptOwnership", owner(), &Agent::acceptOwnershipCall {});
            }
        }
    }

    /// Bytes that mean nothing, and plain ether.
    fn nonsense(&mut self) {
        let from = self.anybody();
        let length = usize::try_from(self.below(80)).unwrap();
        let data: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        let wei = U256::from(self.below(2));
        let agent = self.world.agent;
        let result = self.world.chain.send(from, agent, wei, data.into());
        assert!(result.is_err(), "nonsense went through");
        self.note("nonsense", result);
    }

    fn execution(&mut self) {
        let job = self.a_job();
        let state = self.world.job(job);
        let keeper = match self.below(4) {
            0 => self.a_keeper(),
            1 => self.world.slasher(job),
            2 if !state.reservedSlasher.is_zero() => state.reservedSlasher.to(),
            _ => state.keeper.to(),
        };
        let from = self.world.info(keeper).worker;
        let data: Bytes = TestJob::workCall {}.abi_encode().into();
        match self.below(10) {
            0 | 1 => self.initiate_slashing(data),
            2 => {
                self.act("openDefence", from, &Agent::openDefenceCall { jobKey: job });
            }
            _ => self.execute(job, &state, keeper, from, data),
        }
    }

    /// Of a job that could be slashed, and half of the time when it is due.
    fn initiate_slashing(&mut self, data: Bytes) {
        let keys = self.jobs.clone();
        let states: Vec<_> = keys.iter().map(|key| self.world.job(*key)).collect();
        let slashable = |job: &Agent::Job| job.terms.interval.is_zero() && job.terms.flags & 33 == 1;
        let candidates: Vec<usize> = (0..keys.len()).filter(|index| slashable(&states[*index])).collect();
        if candidates.is_empty() {
            return;
        }
        let chosen = candidates[usize::try_from(self.below(candidates.len() as u64)).unwrap()];
        let (job, resolver) = (keys[chosen], states[chosen].resolver);
        if self.below(2) == 0 && self.targets.contains(&resolver) {
            let due = TestJob::setAnswerCall {
                answer_: 1,
                since_: U256::ZERO,
            };
            self.world.chain.call(owner(), resolver, &due).unwrap();
            self.world.chain.set_base_fee(GWEI);
        }
        let keeper = self.world.slasher(job);
        let from = self.world.info(keeper).worker;
        let call = Agent::initiateKeeperSlashingCall {
            jobKey: job,
            keeperId: U256::from(keeper),
            useResolver: self.below(2) == 0,
            jobCalldata: data,
        };
        self.act("initiateKeeperSlashing", from, &call);
    }

    /// With what must hold of every single execution.
    fn execute(&mut self, job: B256, before: &Agent::Job, keeper: u32, from: Address, data: Bytes) {
        let by_owner = before.terms.flags & 2 != 0;
        let credits = |world: &mut World| {
            if by_owner {
                number(world.ask(&Agent::ownerCreditsCall { jobOwner: before.owner }))
            } else {
                world.credits(job)
            }
        };
        let available = credits(&mut self.world);
        let assigned: u32 = before.keeper.to();
        let (victim, executor) = (self.world.stake_of(assigned), self.world.stake_of(keeper));
        let call = Agent::executeCall {
            jobKey: job,
            keeperId: U256::from(keeper),
            options: U256::from(self.below(4)),
            jobCalldata: data,
        };
        let Some(receipt) = self.act("execute", from, &call) else {
            return;
        };
        let event = receipt.event::<Agent::Execute>().unwrap();
        let left = credits(&mut self.world);
        let deposited: u128 = receipt
            .logs
            .iter()
            .filter_map(|log| {
                use alloy::sol_types::SolEvent as _;
                let own = Agent::DepositJobCredits::decode_log(log).ok();
                let owned = Agent::DepositOwnerCredits::decode_log(log).ok();
                own.filter(|event| !by_owner && event.jobKey == job)
                    .map(|event| event.amount)
                    .or_else(|| {
                        owned
                            .filter(|event| by_owner && event.jobOwner == before.owner)
                            .map(|event| event.amount)
                    })
            })
            .map(number)
            .sum();
        let paid = number(event.compensation);
        assert!(paid <= available + deposited, "paid {paid} of {available}");
        assert_eq!(left, available + deposited - paid);
        if let Some(slash) = receipt.event::<Agent::SlashKeeper>() {
            self.slashes += 1;
            let taken = number(slash.amount);
            assert!(taken <= victim, "slashed {taken} of {victim}");
            assert_eq!(slash.assignedId, U256::from(assigned));
            assert_eq!(
                (self.world.stake_of(assigned), self.world.stake_of(keeper)),
                (victim - taken, executor + taken)
            );
            assert_eq!(before.terms.flags & 32, 0, "nobody is slashed in defence");
        } else if assigned != keeper {
            assert!(
                !event.ok || before.terms.flags & 32 != 0,
                "a slasher that succeeded slashed nobody"
            );
        }
    }

    /// What always holds.
    fn check(&mut self) {
        let (agent, lens) = (self.world.agent, self.world.lens);
        let jobs = self
            .world
            .chain
            .view(
                lens,
                &AgentLens::jobsCall {
                    keys: self.jobs.clone(),
                },
            )
            .unwrap();
        let all = AgentLens::keepersCall {
            from: U256::from(1),
            count: U256::MAX,
        };
        let keepers = self.world.chain.view(lens, &all).unwrap();
        assert_eq!(keepers.len(), self.keepers as usize);

        // Ether: what is there is what is owed.
        let mut owed = number(self.world.ask(&Agent::feesCall {}));
        owed += jobs.iter().map(|view| number(view.job.credits)).sum::<u128>();
        owed += keepers
            .iter()
            .map(|view| number(view.keeper.compensation))
            .sum::<u128>();
        let people: Vec<Address> = (0..PEOPLE).map(person).chain([owner()]).collect();
        for person in people {
            owed += number(self.world.ask(&Agent::ownerCreditsCall { jobOwner: person }));
        }
        assert_eq!(number(self.world.chain.balance(agent)), owed);

        // The stake token too.
        let staked: u128 = keepers
            .iter()
            .map(|view| number(view.keeper.stake) + number(view.keeper.pendingWithdrawal))
            .sum();
        assert_eq!(number(self.world.tokens(agent)), staked);

        // The active set.
        let active: Vec<u32> = self
            .world
            .ask(&Agent::activeKeepersCall {})
            .into_iter()
            .map(|id| id.to())
            .collect();
        assert_eq!(active.iter().collect::<BTreeSet<_>>().len(), active.len());
        let mut tickets = 0;
        for view in &keepers {
            let (id, position) = (view.id.to::<u32>(), view.keeper.position as usize);
            let place = active.iter().position(|active| *active == id);
            assert_eq!(position, place.map_or(0, |place| place + 1), "keeper {id}");
            if position != 0 {
                tickets += (number(view.keeper.stake) / (50 * WHOLE)).max(1);
            }
            let assigned = jobs.iter().filter(|view| view.job.keeper.to::<u32>() == id).count();
            assert_eq!(view.keeper.assignedJobs.to::<usize>(), assigned, "keeper {id}");
        }
        assert_eq!(number(self.world.ask(&Agent::totalTicketsCall {})), tickets);

        for view in &jobs {
            let job = &view.job;
            assert!(job.keeper.to::<u32>() <= self.keepers);
            if job.terms.flags & 1 == 0 {
                assert!(job.keeper.is_zero(), "an inactive job has a keeper");
            }
            if job.slashingPossibleAfter.is_zero() {
                assert!(job.reservedSlasher.is_zero());
            } else {
                assert!(!job.reservedSlasher.is_zero() && !job.keeper.is_zero());
            }
            assert!(
                view.slasher.is_zero() || view.slasher != U256::from(job.keeper),
                "its own slasher"
            );
        }
        let exact = self.world.active_set();
        assert_eq!(exact.members().len(), active.len());
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
