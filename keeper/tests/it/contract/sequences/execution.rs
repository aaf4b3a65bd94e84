//! Executions and slashes, each held to the pure rules: who is paid what, and what moves.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::sol_types::SolCall;
use contracts::{Agent, TestJob};

use super::Play;
use crate::contract::world::{GWEI, World, number, owner};

impl Play {
    pub(super) fn execution(&mut self) {
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
    pub(super) fn initiate_slashing(&mut self, data: Bytes) {
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
}
