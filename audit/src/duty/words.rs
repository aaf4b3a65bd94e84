//! What a revert of the AuditManager says, in words: pure.

use alloy::sol_types::SolInterface as _;
use contracts::AuditManager::AuditManagerErrors as Error;
use sender::Inclusion;

use crate::events::outcome;

/// The contract's error at the end of a sender's words, where a node told the revert's bytes and they are such.
fn error(words: &str) -> Option<Error> {
    let (_, digits) = words.rsplit_once("0x")?;
    let data = hex::decode(digits.trim().trim_end_matches(')')).ok()?;
    Error::abi_decode(&data).ok()
}

/// The sender's words about a transaction that reverted or would; in the contract's words where the revert is one of its errors.
#[must_use]
pub fn of_revert(words: &str) -> String {
    match error(words) {
        Some(Error::NothingReported(error)) => {
            format!(
                "nothing of it was taken; peer {}: {}",
                error.subject,
                outcome(error.outcome)
            )
        }
        Some(Error::TooEarly(error)) => format!("too early: the reward date is {}", error.nextReward),
        Some(Error::GroupIsWhole(_)) => "the group is whole".to_owned(),
        Some(Error::TooLateToFill(error)) => format!("too late: groups are completed until {}", error.until),
        Some(Error::OnlyNode(_)) => "the account is neither the node's operator nor its owner".to_owned(),
        Some(error) => format!("{error:?}"),
        None => words.to_owned(),
    }
}

/// Why a transaction that is in a block came to nothing.
#[must_use]
pub fn reverted(inclusion: &Inclusion) -> String {
    let words = inclusion.revert.as_deref();
    let words = words.map_or_else(|| "why is not known".to_owned(), of_revert);
    format!("transaction {} reverted: {words}", inclusion.transaction)
}

/// Whether a revert says that somebody else has done it, or that it is not its time: nobody's fault.
#[must_use]
pub fn is_benign(words: &str) -> bool {
    matches!(error(words), Some(Error::GroupIsWhole(_) | Error::TooLateToFill(_)))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::U256;
    use alloy::sol_types::SolError as _;
    use contracts::AuditManager;

    use super::*;

    #[test]
    fn a_contracts_error_is_told_in_words() {
        let error = AuditManager::NothingReported { subject: 7, outcome: 5 };
        let words = format!("execution reverted: 0x{}", hex::encode(error.abi_encode()));
        assert_eq!(of_revert(&words), "nothing of it was taken; peer 7: sent already");
        let early = AuditManager::TooEarly {
            nextReward: U256::from(99),
        };
        assert!(of_revert(&format!("x 0x{}", hex::encode(early.abi_encode()))).contains("99"));
        assert_eq!(of_revert("out of gas"), "out of gas");
        let whole = format!("0x{}", hex::encode(AuditManager::GroupIsWhole {}.abi_encode()));
        assert!(is_benign(&whole) && !is_benign(&words));
    }
}
