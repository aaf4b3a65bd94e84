//! From a step to a transaction: calldata, lane, gas, and the name under which it is sent at most once.
//!
//! Pure. What always holds: the gas covers what the Agent wants to see left before it calls a job's body or a resolver, so that a
//! keeper never burns gas on `InsufficientGas`; the name is another one as soon as anything about the job changed.

use alloy::primitives::{B256, Bytes, Keccak256, U256};
use alloy::sol_types::SolCall as _;
use contracts::Agent;
use sender::Lane;

use crate::job::Job;
use crate::plan::Step;
use crate::resolve::{RESOLVER_GAS, Ready};

/// Execute although the base fee is above the job's cap.
const ACCEPT_MAX_BASE_FEE: u64 = 1;
/// Keep the payment in the Agent.
const ACCRUE_REWARD: u64 = 2;
/// The resolver is asked in the execution too.
const CALL_RESOLVER: u8 = 0x10;
/// Gas that the Agent wants to have left after a job's body.
const RESERVED_GAS: u64 = 500_000;
/// The state may be another one when it is mined: a cold slot more, an assignment to somebody else.
const SPARE_GAS: u64 = 60_000;

/// How executions are paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Payment {
    /// Execute assigned jobs above their cap on the base fee.
    pub accept_max_base_fee: bool,
    /// Keep rewards in the Agent.
    pub accrue: bool,
}

/// The call that a step makes of the Agent; `None`: it makes none.
#[must_use]
pub fn calldata(step: Step, job: &Job, keeper: u64, ready: Option<&Ready>, payment: Payment) -> Option<Bytes> {
    let job_calldata = ready.map(|ready| ready.calldata.clone()).unwrap_or_default();
    let keeper_id = U256::from(keeper);
    let call = match step {
        Step::Wait => return None,
        Step::Execute | Step::Slash | Step::Defend => {
            let mut options = 0;
            if payment.accrue {
                options |= ACCRUE_REWARD;
            }
            if payment.accept_max_base_fee && step == Step::Execute {
                options |= ACCEPT_MAX_BASE_FEE;
            }
            Agent::executeCall {
                jobKey: job.key,
                keeperId: keeper_id,
                options: U256::from(options),
                jobCalldata: job_calldata,
            }
            .abi_encode()
        }
        Step::Announce => Agent::initiateKeeperSlashingCall {
            jobKey: job.key,
            keeperId: keeper_id,
            // The body itself is tried: a keeper is not late with what cannot be executed.
            useResolver: false,
            jobCalldata: job_calldata,
        }
        .abi_encode(),
        Step::Open => Agent::openDefenceCall { jobKey: job.key }.abi_encode(),
        Step::Release => Agent::releaseJobCall { jobKey: job.key }.abi_encode(),
    };
    Some(call.into())
}

/// How urgent a step is: pause > slash > claim > report.
#[must_use]
pub const fn lane(step: Step) -> Lane {
    match step {
        Step::Defend | Step::Open => Lane::Pause,
        Step::Slash | Step::Announce => Lane::Slash,
        Step::Execute => Lane::Claim,
        Step::Release | Step::Wait => Lane::Report,
    }
}

/// A call that is to be granted `gas` out of what is left: EIP-150 keeps a 64th back.
const fn granting(gas: u64) -> u64 {
    gas.saturating_add(gas / 63).saturating_add(1)
}

/// The gas limit for a step that used `spent` gas in simulation.
#[must_use]
pub fn gas_limit(step: Step, job: &Job, spent: u64) -> u64 {
    let body = granting(job.gas_limit).saturating_add(RESERVED_GAS);
    let asking = granting(RESOLVER_GAS).saturating_add(RESERVED_GAS);
    let asks = job.is_defence() || job.flags & CALL_RESOLVER != 0;
    let left = match step {
        Step::Wait | Step::Release => 0,
        Step::Open => asking,
        // Twice: the trial is a call of its own.
        Step::Announce => granting(body).max(if asks { asking } else { 0 }),
        Step::Execute | Step::Slash | Step::Defend => body.max(if asks { asking } else { 0 }),
    };
    spent
        .saturating_add(spent / 8)
        .saturating_add(SPARE_GAS)
        .saturating_add(left)
}

/// The name of a step's effect: the same as long as nothing about the job changed.
#[must_use]
pub fn name(step: Step, job: &Job, calldata: &Bytes, attempt: u32) -> String {
    let mut hasher = Keccak256::new();
    for number in [
        job.last_execution_at,
        u64::from(job.failures),
        job.slashing_possible_after,
        job.reserved_slasher,
        job.keeper,
        job.assigned_at,
        job.retry_at,
        job.defence_open_at,
    ] {
        hasher.update(number.to_be_bytes());
    }
    // Two executions in blocks of the same second differ in what they cost.
    hasher.update(job.credits.to_be_bytes::<32>());
    hasher.update(calldata);
    let state = hasher.finalize();
    let state = hex::encode(state.get(..8).unwrap_or_default());
    format!("keeper/{}/{:x}/{state}/{attempt}", step.name(), job.key)
}

/// The step and the job of a name.
#[must_use]
pub fn parse_name(name: &str) -> Option<(Step, B256)> {
    let mut parts = name.strip_prefix("keeper/")?.split('/');
    let step = match parts.next()? {
        "execute" => Step::Execute,
        "slash" => Step::Slash,
        "defend" => Step::Defend,
        "announce" => Step::Announce,
        "open" => Step::Open,
        "release" => Step::Release,
        _ => return None,
    };
    Some((step, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{ACTIVE, DEFENCE};

    fn job(flags: u8) -> Job {
        Job {
            key: B256::repeat_byte(7),
            flags: ACTIVE | flags,
            last_execution_at: 5,
            gas_limit: 630_000,
            ..Job::example()
        }
    }

    #[test]
    fn the_gas_covers_what_the_agent_wants_to_see_left() {
        // The body alone: 630,000 + a 63rd + 500,000.
        let plain = gas_limit(Step::Execute, &job(0), 200_000);
        assert!(
            (200_000 + 630_000 + 10_000 + 500_000..1_500_000).contains(&plain),
            "{plain}"
        );
        // A resolver is asked first: 1,000,000 + a 63rd + 500,000.
        let defence = gas_limit(Step::Defend, &job(DEFENCE), 200_000);
        assert!(defence >= 200_000 + 1_015_873 + 500_000, "{defence}");
        assert!(gas_limit(Step::Release, &job(0), 80_000) < 160_000);
        let largest = Job {
            gas_limit: 15_000_000,
            ..job(0)
        };
        assert!(gas_limit(Step::Execute, &largest, 300_000) < 16_777_216, "EIP-7825");
    }

    #[test]
    fn a_name_changes_with_the_job_and_tells_which_it_is() {
        let call = Bytes::from_static(b"call");
        let first = name(Step::Execute, &job(0), &call, 0);
        assert_eq!(first, name(Step::Execute, &job(0), &call, 0));
        let later = Job {
            last_execution_at: 6,
            ..job(0)
        };
        for other in [
            name(Step::Execute, &later, &call, 0),
            name(Step::Execute, &job(0), &Bytes::from_static(b"tall"), 0),
            name(Step::Slash, &job(0), &call, 0),
            name(Step::Execute, &job(0), &call, 1),
        ] {
            assert_ne!(first, other);
        }
        assert_eq!(parse_name(&first), Some((Step::Execute, B256::repeat_byte(7))));
        assert_eq!(parse_name("pause/17"), None);
        assert!(first.len() < 200);
    }

    #[test]
    fn only_an_assigned_keeper_accepts_the_base_fee() {
        let payment = Payment {
            accept_max_base_fee: true,
            accrue: true,
        };
        let options = |step| {
            let call = calldata(step, &job(0), 3, None, payment).unwrap();
            Agent::executeCall::abi_decode(&call).unwrap().options
        };
        assert_eq!(options(Step::Execute), U256::from(3));
        assert_eq!(options(Step::Slash), U256::from(2));
        assert_eq!(calldata(Step::Wait, &job(0), 3, None, payment), None);
    }
}
