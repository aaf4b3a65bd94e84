//! What always holds: balances are what is owed, jobs and stakes add up, the active set is consistent.

use std::collections::BTreeSet;

use alloy::primitives::{Address, U256};
use contracts::{Agent, AgentLens};

use super::{PEOPLE, Play, person};
use crate::contract::world::{WHOLE, number, owner};

impl Play {
    /// What always holds.
    pub(super) fn check(&mut self) {
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
