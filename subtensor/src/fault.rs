//! What can go wrong between us and a node, and what it means to who asked: names of the chain's own where it refused, and
//! otherwise whether the node, the connection or the runtime is to blame.

use chain::{LedgerError, Refusal};
use subxt::error::{
    AccountNonceError, BackendError, DispatchError, ExtrinsicError, OnlineClientAtBlockError, RpcError, StorageError,
};
use subxt::tx::{TransactionInvalid, TransactionUnknown};

/// Why something did not work, seen from the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// The chain's rules say no.
    #[error("{0}")]
    Refused(Refusal),
    /// The pool does not take the extrinsic now, and may take it with a newer nonce or in a later block.
    #[error("the node's pool does not take it now: {0}")]
    Later(String),
    /// This runtime does not have it.
    #[error("{what} is not in this runtime (specification version {spec}); update this program or the node")]
    Missing {
        /// Which call or storage.
        what: String,
        /// The runtime's version.
        spec: u32,
    },
    /// The node is of another chain.
    #[error("a foreign network: its genesis is {actual}, expected {expected}; check --ledger")]
    Foreign {
        /// The node's genesis hash.
        actual: String,
        /// The one that it should be.
        expected: String,
    },
    /// The node answered what makes no sense, or that it cannot.
    #[error("{0}")]
    Garbled(String),
    /// The connection is gone.
    #[error("{0}")]
    Lost(String),
}

impl Fault {
    pub(crate) fn garbled(error: impl std::fmt::Display) -> Self {
        Self::Garbled(error.to_string())
    }

    /// Whether another node may do better.
    pub(crate) const fn is_the_nodes(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Foreign { .. })
    }

    /// The same for who asked, `endpoint` being whom we asked.
    pub(crate) fn at(self, endpoint: &str) -> LedgerError {
        let endpoint = endpoint.to_owned();
        match self {
            Self::Refused(refusal) => LedgerError::Refused(refusal),
            Self::Lost(reason) => LedgerError::Unavailable { endpoint, reason },
            Self::Later(_) => LedgerError::Busy,
            other => LedgerError::Protocol {
                endpoint,
                reason: other.to_string(),
            },
        }
    }
}

/// A refusal by its name; the block of a later try is filled in by who can read it from the chain.
pub(crate) fn refusal(name: &str) -> Refusal {
    Refusal::from_name(name, None)
}

/// What the pool's check of Subtensor calls its numbers (`common/src/transaction_error.rs`), by the names of the pallet's errors
/// where both have one.
pub(crate) fn custom(code: u8) -> Refusal {
    refusal(match code {
        0 => "ColdkeyInSwapSchedule",
        1 => "AmountTooLow",
        2 => "NotEnoughBalanceToStake",
        3 => "SubnetNotExists",
        4 => "HotKeyAccountNotExists",
        5 => "NotEnoughStakeToWithdraw",
        6 => "RateLimitExceeded",
        7 => "InsufficientLiquidity",
        8 => "SlippageTooHigh",
        9 => "TransferDisallowed",
        10 => "HotKeyNotRegisteredInNetwork",
        11 => "InvalidIpAddress",
        12 => "ServingRateLimitExceeded",
        13 => "InvalidPort",
        14 => "ZeroMaxAmount",
        15 => "InvalidRevealRound",
        16 => "NoWeightsCommitFound",
        17 => "CommitBlockNotInRevealRange",
        18 => "InputLengthsUnequal",
        19 => "UidNotFound",
        20 => "EvmKeyAssociateRateLimitExceeded",
        21 => "ColdkeySwapDisputed",
        22 => "InvalidRealAccount",
        23 => "FailedShieldedTxParsing",
        24 => "InvalidShieldedTxPubKeyHash",
        25 => "NonAssociatedColdKey",
        26 => "DelegateTakeTooLow",
        27 => "DelegateTakeTooHigh",
        255 => "BadRequest",
        other => {
            return Refusal::Other {
                name: format!("InvalidTransaction::Custom({other})"),
            };
        }
    })
}

/// Why the runtime calls an extrinsic invalid before it stands in a block.
pub(crate) fn invalid(reason: &TransactionInvalid) -> Fault {
    match reason {
        TransactionInvalid::Custom(code) => Fault::Refused(custom(*code)),
        // Of these another nonce, another birth block or another block is the cure.
        TransactionInvalid::Stale
        | TransactionInvalid::Future
        | TransactionInvalid::AncientBirthBlock
        | TransactionInvalid::ExhaustsResources => Fault::Later(format!("{reason:?}")),
        other => Fault::Refused(Refusal::Other {
            name: format!("InvalidTransaction::{other:?}"),
        }),
    }
}

/// The runtime cannot say whether an extrinsic is valid.
pub(crate) fn unknown(reason: &TransactionUnknown) -> Fault {
    Fault::Refused(Refusal::Other {
        name: format!("UnknownTransaction::{reason:?}"),
    })
}

/// Why an extrinsic failed in its block, by the name that the pallet gives it.
pub(crate) fn dispatch(error: &DispatchError) -> Fault {
    let name = match error {
        DispatchError::Module(module) => match module.details() {
            Ok(details) if details.pallet.name() == crate::call::PALLET => details.variant.name.clone(),
            _ => module.details_string(),
        },
        // Its Debug is one of the standard names; the large metadata hides in `Module` only.
        other => format!("{other:?}"),
    };
    Fault::Refused(refusal(&name))
}

/// The node's answer to `author_submitExtrinsic`, by code and text: 1010 is an invalid extrinsic, the rest of 1010 to 1016 the pool's.
pub(crate) fn pool(code: i32, message: &str, data: &str) -> Fault {
    let said = if data.is_empty() {
        format!("{message} ({code})")
    } else {
        format!("{message}: {data} ({code})")
    };
    match code {
        1010 => {
            let lower = said.to_lowercase();
            let number = lower
                .split_once("custom")
                .and_then(|(_, after)| {
                    after
                        .split(|c: char| !c.is_ascii_digit())
                        .find(|digits| !digits.is_empty())
                })
                .and_then(|digits| digits.parse::<u8>().ok());
            if let Some(number) = number {
                Fault::Refused(custom(number))
            } else if ["outdated", "stale", "future", "ancient", "exhaust"]
                .iter()
                .any(|word| lower.contains(word))
            {
                Fault::Later(said)
            } else {
                Fault::Refused(Refusal::Other {
                    name: format!("InvalidTransaction: {said}"),
                })
            }
        }
        1011..=1016 => Fault::Later(said),
        _ => Fault::Garbled(said),
    }
}

pub(crate) fn backend(error: BackendError) -> Fault {
    match error {
        BackendError::Rpc(RpcError::ClientError(error)) => rpc(error),
        BackendError::Rpc(other) => Fault::Lost(other.to_string()),
        other => Fault::garbled(other),
    }
}

pub(crate) fn rpc(error: subxt::rpcs::Error) -> Fault {
    match error {
        subxt::rpcs::Error::User(user) => pool(
            user.code,
            &user.message,
            user.data
                .as_deref()
                .map(|data| data.get().trim_matches('"'))
                .unwrap_or_default(),
        ),
        subxt::rpcs::Error::Client(error) => Fault::Lost(error.to_string()),
        subxt::rpcs::Error::DisconnectedWillReconnect(reason) => Fault::Lost(reason),
        other => Fault::garbled(other),
    }
}

pub(crate) fn at_block(error: OnlineClientAtBlockError) -> Fault {
    use OnlineClientAtBlockError as E;
    match error {
        E::CannotGetCurrentBlock { reason }
        | E::CannotGetBlockHash { reason, .. }
        | E::CannotGetBlockHeader { reason, .. }
        | E::CannotGetSpecVersion { reason, .. } => backend(reason),
        E::CannotGetMetadata { reason, .. } => Fault::Lost(format!("the metadata: {reason}")),
        other => Fault::garbled(other),
    }
}

pub(crate) fn storage(error: StorageError, entry: &str, spec: u32) -> Fault {
    match error {
        StorageError::CannotFetchValue(error)
        | StorageError::CannotIterateValues(error)
        | StorageError::StreamFailure(error) => backend(error),
        StorageError::PalletNameNotFound(_)
        | StorageError::StorageEntryNotFound { .. }
        | StorageError::StorageInfoError(_)
        | StorageError::NoValueFound => Fault::Missing {
            what: format!("storage {entry}"),
            spec,
        },
        other => Fault::Garbled(format!("storage {entry}: {other}")),
    }
}

pub(crate) fn extrinsic(error: ExtrinsicError, call: &str, spec: u32) -> Fault {
    use ExtrinsicError as E;
    match error {
        E::ErrorSubmittingTransaction(error)
        | E::TransactionStatusStreamError(error)
        | E::CannotGetValidationInfo(error)
        | E::CannotGetBlockBody(error) => backend(error),
        E::AccountNonceError { reason, .. } => match reason {
            AccountNonceError::CouldNotRetrieve(error) => backend(error),
            other => Fault::garbled(other),
        },
        E::PalletNameNotFound(_) | E::CallNameNotFound { .. } => Fault::Missing {
            what: format!("call {call}"),
            spec,
        },
        E::EncodeError(error) => Fault::Garbled(format!(
            "call {call} has other arguments in this runtime (specification version {spec}): {error}"
        )),
        other => Fault::Garbled(format!("call {call}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_numbers_have_the_chains_names() {
        assert_eq!(custom(3), Refusal::SubnetNotExists);
        assert_eq!(custom(10), Refusal::HotKeyNotRegisteredInNetwork);
        assert_eq!(custom(15), Refusal::InvalidRevealRound);
        assert_eq!(custom(16), Refusal::NoWeightsCommitFound);
        assert_eq!(custom(200).name(), "InvalidTransaction::Custom(200)");
        assert_eq!(
            invalid(&TransactionInvalid::Custom(19)),
            Fault::Refused(Refusal::UidNotFound)
        );
    }

    #[test]
    fn what_a_node_says_at_submission_is_understood() {
        let invalid = "Invalid Transaction";
        assert_eq!(
            pool(1010, invalid, "Custom error: 15"),
            Fault::Refused(Refusal::InvalidRevealRound)
        );
        assert_eq!(
            pool(1010, "1010: {\"invalid\":{\"custom\":19}}", ""),
            Fault::Refused(Refusal::UidNotFound)
        );
        assert!(matches!(
            pool(1010, invalid, "Transaction is outdated"),
            Fault::Later(_)
        ));
        assert!(matches!(
            pool(1014, "Priority is too low: (1 vs 1)", ""),
            Fault::Later(_)
        ));
        assert!(matches!(
            pool(1010, invalid, "Transaction has a bad signature"),
            Fault::Refused(Refusal::Other { name }) if name.contains("bad signature")
        ));
        assert!(matches!(pool(-32601, "Method not found", ""), Fault::Garbled(_)));
    }

    #[test]
    fn who_is_to_blame_decides_what_the_caller_sees() {
        let missing = Fault::Missing {
            what: "storage SubtensorModule.Keys".to_owned(),
            spec: 218,
        };
        let LedgerError::Protocol { endpoint, reason } = missing.at("ws://node") else {
            panic!("not a protocol error")
        };
        assert_eq!(endpoint, "ws://node");
        assert!(
            reason.contains("SubtensorModule.Keys") && reason.contains("218"),
            "{reason}"
        );
        assert!(matches!(
            Fault::Lost("gone".to_owned()).at("ws://node"),
            LedgerError::Unavailable { .. }
        ));
        assert_eq!(
            Fault::Refused(Refusal::DuplicateUids).at("ws://node"),
            LedgerError::Refused(Refusal::DuplicateUids)
        );
    }
}
