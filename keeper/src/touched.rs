//! What a block's events may have changed: which jobs, whose credits, the Agent itself.
//!
//! Pure. Events tell what changed, never what it is now: that is read from the chain at the new head. So a block that is undone
//! costs the same: what it had touched is read again.

use std::collections::BTreeSet;

use alloy::primitives::{Address, B256};
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent as _;
use contracts::Agent;

/// Events whose first topic is a job's key.
const JOB_EVENTS: [B256; 14] = [
    Agent::RegisterJob::SIGNATURE_HASH,
    Agent::UpdateJob::SIGNATURE_HASH,
    Agent::SetResolver::SIGNATURE_HASH,
    Agent::SetPreDefinedCalldata::SIGNATURE_HASH,
    Agent::InitiateJobTransfer::SIGNATURE_HASH,
    Agent::AcceptJobTransfer::SIGNATURE_HASH,
    Agent::DepositJobCredits::SIGNATURE_HASH,
    Agent::WithdrawJobCredits::SIGNATURE_HASH,
    Agent::JobKeeperChanged::SIGNATURE_HASH,
    Agent::Execute::SIGNATURE_HASH,
    Agent::ExecutionReverted::SIGNATURE_HASH,
    Agent::InitiateKeeperSlashing::SIGNATURE_HASH,
    Agent::SlashKeeper::SIGNATURE_HASH,
    Agent::OpenDefence::SIGNATURE_HASH,
];

/// Events whose first topic is an owner of credits.
const OWNER_EVENTS: [B256; 2] = [
    Agent::DepositOwnerCredits::SIGNATURE_HASH,
    Agent::WithdrawOwnerCredits::SIGNATURE_HASH,
];

/// What may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// Jobs.
    pub jobs: BTreeSet<B256>,
    /// Jobs that were executed, whether or not their body went through.
    pub executed: BTreeSet<B256>,
    /// Jobs that were announced, and where.
    pub registered: Vec<(B256, u64)>,
    /// Owners whose credits moved.
    pub owners: BTreeSet<Address>,
    /// All jobs: the parameters changed.
    pub everything: bool,
    /// Keepers or parameters.
    pub agent: bool,
}

impl Touched {
    /// Adds an event of the Agent's, in a block of this number.
    pub fn add(&mut self, log: &Log, block: u64) {
        // Whatever happens at the Agent may have moved a stake or a compensation.
        self.agent = true;
        let topics = log.topics();
        let (Some(kind), first) = (topics.first(), topics.get(1).copied().unwrap_or_default()) else {
            return;
        };
        if JOB_EVENTS.contains(kind) {
            self.jobs.insert(first);
            if *kind == Agent::Execute::SIGNATURE_HASH {
                self.executed.insert(first);
            }
            if *kind == Agent::RegisterJob::SIGNATURE_HASH {
                self.registered.push((first, block));
            }
        } else if OWNER_EVENTS.contains(kind) {
            self.owners.insert(Address::from_word(first));
        } else if *kind == Agent::SetConfig::SIGNATURE_HASH {
            self.everything = true;
        }
    }

    /// Everything that the other one touched, too.
    pub fn merge(&mut self, other: &Self) {
        self.jobs.extend(&other.jobs);
        self.executed.extend(&other.executed);
        self.registered.extend(&other.registered);
        self.owners.extend(&other.owners);
        self.everything |= other.everything;
        self.agent |= other.agent;
    }

    /// Whether it touched nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::{LogData, U256};

    use super::*;

    fn log(event: LogData) -> Log {
        Log {
            inner: alloy::primitives::Log {
                address: Address::ZERO,
                data: event,
            },
            ..Log::default()
        }
    }

    #[test]
    fn an_execution_touches_its_job_and_a_deposit_its_owner() {
        let mut touched = Touched::default();
        let key = B256::repeat_byte(1);
        let executed = Agent::Execute {
            jobKey: key,
            keeperId: U256::ONE,
            target: Address::ZERO,
            ok: true,
            gasUsed: U256::ZERO,
            gasPrice: U256::ZERO,
            compensation: U256::ZERO,
        };
        touched.add(&log(executed.encode_log_data()), 7);
        let owner = Address::repeat_byte(2);
        let paid = Agent::DepositOwnerCredits {
            jobOwner: owner,
            depositor: Address::ZERO,
            amount: U256::ONE,
            fee: U256::ZERO,
        };
        touched.add(&log(paid.encode_log_data()), 7);
        assert_eq!(touched.jobs, BTreeSet::from([key]));
        assert_eq!(touched.executed, BTreeSet::from([key]));
        assert_eq!(touched.owners, BTreeSet::from([owner]));
        assert!(touched.agent && !touched.everything);
    }

    #[test]
    fn a_keepers_event_touches_no_job() {
        let mut touched = Touched::default();
        let disabled = Agent::DisableKeeper { keeperId: U256::ONE };
        touched.add(&log(disabled.encode_log_data()), 7);
        assert!(touched.agent && touched.jobs.is_empty());
    }
}
