//! A pause through a `PauseGuard`: the calls that reporters, keepers and owners make of it.
//!
//! The right to pause a protocol is held by a guard of its own. Reporters, the validators, confirm an incident there; with as many as its
//! owner wants, the pause is due, and the guard is at the same time resolver and target of a defence job of the Agent: its keeper
//! executes it at once, any active keeper after the job's window. Pure: calldata only.

use alloy::primitives::aliases::{U24, U96};
use alloy::primitives::{Address, B256, Bytes, Keccak256, U256};
use alloy::sol_types::SolCall as _;

use crate::{Agent, PauseGuard};

/// Flag of a job that may be executed at all.
pub const ACTIVE: u8 = 0x01;
/// Flag of a job of the defence lane.
pub const DEFENCE: u8 = 0x20;

/// The incident's name at a guard: the same for every validator, so that their confirmations are told to be of one thing. `attack`: the
/// hash of the transaction that opened it.
#[must_use]
pub fn incident(chain_id: u64, invariant: u64, attack: B256) -> B256 {
    let mut hasher = Keccak256::new();
    hasher.update(b"portcullis/incident/1");
    hasher.update(chain_id.to_be_bytes());
    hasher.update(invariant.to_be_bytes());
    hasher.update(attack);
    hasher.finalize()
}

/// Confirms an incident; with the last confirmation needed keepers execute the pause.
#[must_use]
pub fn confirm(incident: B256) -> Bytes {
    PauseGuard::confirmCall { incident_: incident }.abi_encode().into()
}

/// Confirms, and pauses in the same transaction where that was the last confirmation needed.
#[must_use]
pub fn confirm_and_fire(incident: B256) -> Bytes {
    PauseGuard::confirmAndFireCall { incident_: incident }
        .abi_encode()
        .into()
}

/// Pauses what is due already: what a keeper's job does, by anybody.
#[must_use]
pub fn fire() -> Bytes {
    PauseGuard::fireCall {}.abi_encode().into()
}

/// The execution of a guard's job by the worker of `keeper`.
#[must_use]
pub fn execute(job: B256, keeper: u64) -> Bytes {
    Agent::executeCall {
        jobKey: job,
        keeperId: U256::from(keeper),
        options: U256::ZERO,
        jobCalldata: fire(),
    }
    .abi_encode()
    .into()
}

/// The registration of a guard's defence job at the Agent; the ether sent with it are its credits.
///
/// `window`: blocks from the last confirmation until any active keeper may execute, 0 for all at once; `gas`: what the protocol's pause
/// needs, with some 60,000 for the guard itself.
#[must_use]
pub fn register_job(guard: Address, window: u8, gas: u32) -> Bytes {
    Agent::registerJobCall {
        terms: Agent::JobTerms {
            target: guard,
            selector: PauseGuard::fireCall::SELECTOR.into(),
            source: 2,
            interval: U24::ZERO,
            flags: ACTIVE | DEFENCE,
            // Not looked at for defence jobs, and must not be 0.
            maxBaseFeeGwei: u16::MAX,
            defenceWindow: window,
            gasLimit: gas,
            minStake: U96::ZERO,
            maxStake: U96::ZERO,
        },
        resolver: guard,
        data: PauseGuard::checkCall {}.abi_encode().into(),
    }
    .abi_encode()
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incident_has_one_name_and_every_other_one_another() {
        let attack = B256::repeat_byte(1);
        let name = incident(1, 2, attack);
        assert_eq!(name, incident(1, 2, attack));
        for other in [
            incident(2, 2, attack),
            incident(1, 3, attack),
            incident(1, 2, B256::ZERO),
        ] {
            assert_ne!(name, other);
        }
    }

    #[test]
    fn the_calls_are_the_guards() {
        let name = B256::repeat_byte(7);
        let confirmed = PauseGuard::confirmCall::abi_decode(&confirm(name)).unwrap();
        assert_eq!(confirmed.incident_, name);
        let fired = PauseGuard::confirmAndFireCall::abi_decode(&confirm_and_fire(name)).unwrap();
        assert_eq!(fired.incident_, name);
        let execution = Agent::executeCall::abi_decode(&execute(name, 3)).unwrap();
        assert_eq!((execution.keeperId, execution.jobCalldata), (U256::from(3), fire()));
        let job = Agent::registerJobCall::abi_decode(&register_job(Address::repeat_byte(9), 2, 200_000)).unwrap();
        assert_eq!(
            (job.resolver, job.terms.flags, job.terms.defenceWindow),
            (Address::repeat_byte(9), 33, 2)
        );
    }
}
