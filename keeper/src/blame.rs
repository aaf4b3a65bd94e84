//! What a revert means: whose fault it is, in words.
//!
//! Pure. An Agent's error that says "not you" or "not now" is nobody's fault: another keeper was faster, an epoch passed. All else is
//! the job's.

use alloy::primitives::Bytes;
use alloy::sol_types::SolInterface as _;
use contracts::Agent::AgentErrors as Error;

use crate::aside::Blame;

/// Whose fault a revert with this data is, and what it says.
#[must_use]
pub fn of_revert(data: &Bytes) -> (Blame, String) {
    let Ok(error) = Error::abi_decode(data) else {
        let shown: Bytes = data.get(..data.len().min(68)).unwrap_or_default().to_vec().into();
        return (Blame::Job, format!("reverted with {shown}"));
    };
    (blame(&error), format!("reverted: {error:?}"))
}

/// The same of a sender's words about a transaction that was mined and reverted, which end with the revert's bytes where a replay
/// told them.
#[must_use]
pub fn of_words(words: Option<&str>) -> (Blame, String) {
    let Some(words) = words else {
        return (Blame::Job, "mined and reverted; why is not known".to_owned());
    };
    let data = words
        .rsplit_once("0x")
        .and_then(|(_, digits)| hex::decode(digits.trim()).ok());
    match data {
        Some(data) => of_revert(&data.into()),
        None => (Blame::Job, format!("mined and reverted: {words}")),
    }
}

fn blame(error: &Error) -> Blame {
    match error {
        // Not this keeper, or not any more.
        Error::OnlyCurrentSlasher(_)
        | Error::OnlyNextKeeper(_)
        | Error::OnlyReservedSlasher(_)
        | Error::AssignedKeeperCantSlash(_)
        | Error::JobHasNoKeeperAssigned(_)
        | Error::KeeperWorkerNotAuthorized(_)
        | Error::InactiveKeeper(_)
        | Error::InsufficientKeeperStake(_)
        | Error::DefenceAlreadyOpen(_)
        | Error::UnknownJob(_)
        // Not now.
        | Error::IntervalNotReached(_)
        | Error::SlashingNotInitiated(_)
        | Error::TooEarlyForSlashing(_)
        | Error::TooEarlyToReinitiateSlashing(_)
        | Error::TooEarlyToRelease(_)
        | Error::TooEarlyToRetry(_)
        | Error::CantRelease(_)
        | Error::DefenceLaneClosed(_)
        | Error::InactiveJob(_)
        | Error::BaseFeeGtCap(_)
        // It was due when it was asked, and is not any more: somebody else did it.
        | Error::JobCheckResolverReturnedFalse(_)
        | Error::JobCheckCalldataError(_) => Blame::Nobody,
        _ => Blame::Job,
    }
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use alloy::sol_types::SolError as _;
    use contracts::Agent;

    use super::*;

    #[test]
    fn another_keepers_turn_is_nobodys_fault_and_a_broken_body_is_the_jobs() {
        let turn = Agent::OnlyCurrentSlasher {
            slasherId: U256::from(7),
        };
        let (whose, said) = of_revert(&turn.abi_encode().into());
        assert_eq!(whose, Blame::Nobody);
        assert!(said.contains("OnlyCurrentSlasher") && said.contains('7'), "{said}");
        let broken = Agent::SlashingNotInitiatedExecutionReverted {};
        assert_eq!(of_revert(&broken.abi_encode().into()).0, Blame::Job);
        let (whose, said) = of_revert(&Bytes::from(vec![0xab; 4000]));
        assert_eq!(whose, Blame::Job);
        assert!(said.len() < 200, "{said}");
        let words = format!("execution reverted: {}", Bytes::from(turn.abi_encode()));
        assert_eq!(of_words(Some(&words)).0, Blame::Nobody);
        assert_eq!(of_words(Some("not the owner")).0, Blame::Job);
        assert_eq!(of_words(None).0, Blame::Job);
    }
}
