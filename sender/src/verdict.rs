//! What a node's answer to `eth_sendRawTransaction` means.
//!
//! Nodes agree on the meanings, not on the words, and hardly on the codes: this reads the words of go-ethereum, reth,
//! erigon, Nethermind, Besu and anvil. What is not recognised is [`Verdict::Refused`] with the node's own words.

/// An endpoint's answer to a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It has it: just taken, or known already.
    Accepted,
    /// Its nonce is mined.
    NonceTooLow,
    /// Another one has its nonce, and it does not offer enough more.
    Underpriced(String),
    /// The account cannot pay.
    InsufficientFunds(String),
    /// The node will not have it, for a reason that asking again does not change.
    Refused(String),
    /// The node will not have it now: it is full, limits us, or is not in sync.
    Busy(String),
    /// No answer, or none that means anything.
    Unreachable(String),
}

impl Verdict {
    /// Whether asking the same endpoint again can end differently.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_))
    }
}

/// Reads a JSON-RPC error's message.
#[must_use]
pub fn of_message(message: &str) -> Verdict {
    let words = message.to_ascii_lowercase();
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    if says(&[
        "already known",
        "already imported",
        "known transaction",
        "alreadyknown",
        "already exists",
        "already in the pool",
    ]) {
        return Verdict::Accepted;
    }
    if says(&[
        "nonce too low",
        "oldnonce",
        "nonce is too low",
        "nonce below",
        "nonce_too_low",
    ]) {
        return Verdict::NonceTooLow;
    }
    if says(&[
        "insufficient funds",
        "insufficientfunds",
        "insufficient balance",
        "upfront cost exceeds",
        "overshot",
    ]) {
        return Verdict::InsufficientFunds(message.to_owned());
    }
    if says(&[
        "underpriced",
        "feetoolow",
        "fee too low",
        "replacement",
        "max fee per gas less than block base fee",
        "feecap",
    ]) {
        return Verdict::Underpriced(message.to_owned());
    }
    if says(&[
        "rate limit",
        "too many requests",
        "txpool is full",
        "pool is full",
        "limit exceeded",
        "not in sync",
        "syncing",
        "timeout",
    ]) {
        return Verdict::Busy(message.to_owned());
    }
    Verdict::Refused(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nodes_words_mean_the_same() {
        for known in [
            "already known",
            "transaction already imported",
            "AlreadyKnown",
            "Known transaction",
        ] {
            assert_eq!(of_message(known), Verdict::Accepted, "{known}");
        }
        for low in [
            "nonce too low",
            "OldNonce, current nonce: 4, nonce of rejected tx: 3",
            "nonce too low: next nonce 5, tx nonce 4",
        ] {
            assert_eq!(of_message(low), Verdict::NonceTooLow, "{low}");
        }
        for poor in [
            "insufficient funds for gas * price + value: balance 0, tx cost 1, overshot 1",
            "Insufficient funds for gas * price + value",
            "InsufficientFunds, Account balance: 0",
            "Upfront cost exceeds account balance",
        ] {
            assert!(matches!(of_message(poor), Verdict::InsufficientFunds(_)), "{poor}");
        }
        for cheap in [
            "replacement transaction underpriced",
            "transaction underpriced",
            "FeeTooLow",
            "ReplacementNotAllowed",
        ] {
            assert!(matches!(of_message(cheap), Verdict::Underpriced(_)), "{cheap}");
        }
        assert!(matches!(of_message("txpool is full"), Verdict::Busy(_)));
        assert!(matches!(of_message("exceeds block gas limit"), Verdict::Refused(_)));
        assert!(matches!(of_message("intrinsic gas too low"), Verdict::Refused(_)));
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        assert!(Verdict::Unreachable(String::new()).is_passing());
        assert!(of_message("429 too many requests").is_passing());
        assert!(!of_message("nonce too low").is_passing());
    }
}
