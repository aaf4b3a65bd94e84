//! What people do besides executing: keepers, jobs and credits, the owner, and nonsense.

use alloy::primitives::aliases::U96;
use alloy::primitives::{Address, Bytes, U256};
use alloy::sol_types::SolCall;
use contracts::{Agent, TestJob};
use rand::Rng as _;

use super::{MAX_JOBS, MAX_KEEPERS, Play, person, worker_of};
use crate::contract::world::{GWEI, WHOLE, owner, whole};

impl Play {
    /// Time, fees, random numbers, and what the targets do.
    pub(super) fn surroundings(&mut self) {
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

    pub(super) fn keepers(&mut self) {
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

    pub(super) fn jobs(&mut self) {
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

    pub(super) fn owner(&mut self) {
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
    pub(super) fn nonsense(&mut self) {
        let from = self.anybody();
        let length = usize::try_from(self.below(80)).unwrap();
        let data: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
        let wei = U256::from(self.below(2));
        let agent = self.world.agent;
        let result = self.world.chain.send(from, agent, wei, data.into());
        assert!(result.is_err(), "nonsense went through");
        self.note("nonsense", result);
    }
}
