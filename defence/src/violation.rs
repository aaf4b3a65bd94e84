//! What the validator hands over: a violation that its own engine has confirmed.
//!
//! Plain values, stored as they are and shown to people: nothing here depends on how a violation was found.

use alloy_primitives::{Address, B256, Bytes, I256, Keccak256, U256};
use serde::{Deserialize, Serialize};

/// How bad it is. Ordered: `Low < Critical`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Should be looked at today.
    Medium,
    /// Funds may be at risk.
    #[default]
    High,
    /// Funds are at risk now.
    Critical,
}

impl Severity {
    /// In the order of the enum, from 0.
    #[must_use]
    pub fn rank(self) -> u8 {
        self as u8
    }

    /// The severity of a rank; `None` above 3.
    #[must_use]
    pub fn from_rank(rank: u8) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .get(usize::from(rank))
            .copied()
    }

    /// `LOW`, `MEDIUM`, `HIGH` or `CRITICAL`.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }
}

/// The invariant that is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenInvariant {
    /// Its id in the platform's registry.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What should hold, for people: `totalSupply <= 1000000`.
    pub condition: String,
    /// Version of the invariant set that it was judged under.
    pub set_version: u64,
    /// The contract that it watches.
    pub contract: Address,
}

/// One call on the way to the write that broke the invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallStep {
    /// Who is called; of a creation the address that comes to be.
    pub to: Address,
    /// The first four bytes of its input; `None` when there are fewer.
    pub selector: Option<[u8; 4]>,
}

/// A balance that the transaction changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenDelta {
    /// The token's contract; `None` is ether.
    pub token: Option<Address>,
    /// Whose balance.
    pub holder: Address,
    /// By how much, in the token's smallest unit.
    pub change: I256,
}

/// A transaction that breaks the invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Its hash.
    pub tx_hash: B256,
    /// Who signed it.
    pub sender: Address,
    /// Whom it calls; `None` when it creates a contract.
    pub target: Option<Address>,
    /// The first four bytes of its calldata.
    pub selector: Option<[u8; 4]>,
    /// Calls from the transaction down to the write; empty where it was not traced.
    #[serde(default)]
    pub path: Vec<CallStep>,
    /// Wei that it carries.
    pub value: U256,
    /// The transaction itself (EIP-2718); empty where it is not known. What a pause is simulated against.
    #[serde(default)]
    pub raw: Bytes,
    /// Waiting transactions of its sender that go before it, in their order (EIP-2718).
    #[serde(default)]
    pub predecessors: Vec<Bytes>,
    /// Balances that it changes, where they are known: those that matter most.
    #[serde(default)]
    pub deltas: Vec<TokenDelta>,
    /// How many change besides.
    #[serde(default)]
    pub more_deltas: u64,
    /// The watched value before it, for people.
    pub pre: String,
    /// The watched value after it, for people.
    pub post: String,
}

impl Suspect {
    /// Digest of the way into `contract`: the calls from the first one that enters it down to the write. What is before, an attacker's
    /// own contract, changes from attacker to attacker. Without such a call it is the transaction's own call.
    #[must_use]
    pub fn path_digest(&self, contract: Address) -> B256 {
        let mut hasher = Keccak256::new();
        let mut step = |to: Address, selector: Option<[u8; 4]>| {
            hasher.update(to);
            hasher.update([u8::from(selector.is_some())]);
            hasher.update(selector.unwrap_or_default());
        };
        let entered = self.path.iter().skip_while(|call| call.to != contract);
        let mut empty = true;
        for call in entered {
            empty = false;
            step(call.to, call.selector);
        }
        if empty {
            step(self.target.unwrap_or_default(), self.selector);
        }
        hasher.finalize()
    }
}

/// What the miners said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkView {
    /// Miners that were asked.
    pub asked: u32,
    /// Miners that answered in time.
    pub answered: u32,
    /// Answers that say what the validator holds to be true.
    pub agreed: u32,
    /// The validator's own engine decided.
    pub arbitrated: bool,
}

/// A violation that the validator's own engine has confirmed. Times are milliseconds since 1970, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedViolation {
    /// EIP-155 chain id.
    pub chain_id: u64,
    /// What is broken.
    pub invariant: BrokenInvariant,
    /// How bad that is.
    pub severity: Severity,
    /// By what.
    pub suspect: Suspect,
    /// When the transaction reached the validator.
    pub seen_ms: u64,
    /// When the first answer claimed the violation.
    pub judged_ms: u64,
    /// When the validator's own engine confirmed it.
    pub confirmed_ms: u64,
    /// What the miners had said by then.
    pub view: NetworkView,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspect(path: &[(u8, u8)]) -> Suspect {
        Suspect {
            tx_hash: B256::repeat_byte(1),
            sender: Address::repeat_byte(2),
            target: Some(Address::repeat_byte(3)),
            selector: Some([9; 4]),
            path: path
                .iter()
                .map(|(to, selector)| CallStep {
                    to: Address::repeat_byte(*to),
                    selector: Some([*selector; 4]),
                })
                .collect(),
            value: U256::ZERO,
            raw: Bytes::new(),
            predecessors: Vec::new(),
            deltas: Vec::new(),
            more_deltas: 0,
            pre: "1".into(),
            post: "2".into(),
        }
    }

    #[test]
    fn the_attackers_own_contract_is_no_part_of_the_path() {
        let contract = Address::repeat_byte(7);
        let one = suspect(&[(0xa, 1), (7, 5), (8, 6)]).path_digest(contract);
        assert_eq!(one, suspect(&[(0xb, 2), (7, 5), (8, 6)]).path_digest(contract));
        assert_ne!(one, suspect(&[(0xa, 1), (7, 4), (8, 6)]).path_digest(contract));
        assert_ne!(one, suspect(&[(0xa, 1), (7, 5)]).path_digest(contract));
    }

    #[test]
    fn without_a_trace_the_transactions_own_call_is_the_path() {
        let contract = Address::repeat_byte(7);
        let direct = suspect(&[]).path_digest(contract);
        assert_eq!(direct, suspect(&[(0xa, 1)]).path_digest(contract));
        let mut other = suspect(&[]);
        other.selector = None;
        assert_ne!(direct, other.path_digest(contract));
    }

    #[test]
    fn severities_come_back_from_their_rank() {
        for severity in [Severity::Low, Severity::Medium, Severity::High, Severity::Critical] {
            assert_eq!(Severity::from_rank(severity.rank()), Some(severity));
        }
        assert_eq!(Severity::from_rank(4), None);
    }
}
